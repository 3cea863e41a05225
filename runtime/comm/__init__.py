"""Communicators: what carries data between devices."""
