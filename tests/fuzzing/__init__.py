"""Hostile input of every kind, made from a random generator; `tests/fuzz.py` runs it.

A kind is a module here with one function, `case(rng, folder) -> str`: it makes one input, in the
empty `folder` where it needs files, lets netc read it and says in a word what came of it. A
`NetError` is an outcome, named by its code; any other exception, a crash, and a case that takes too
long or too much memory are faults.
"""
