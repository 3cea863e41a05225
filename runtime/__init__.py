"""Executes compiled programs. Everything was decided at compile time; this decides nothing."""
