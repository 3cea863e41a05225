"""Machines to plan for, as TOML files."""
