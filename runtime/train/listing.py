"""Which files of a folder are pictures, and what else is there."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from netc.errors import listed

from ..io.problems import unreadable
from .pictures import readable


@dataclass(frozen=True, slots=True)
class Listing:
    """Files below a folder."""

    pictures: tuple[Path, ...] = ()
    """By the endings of their names, in the order of their paths' parts."""
    others: Counter[str] = field(default_factory=Counter)
    """How many are left out, by ending or reason."""


def pictures_below(place: Path, help: str) -> Listing:
    """The pictures in a folder and in folders below it; each folder is read once.

    Links are followed. Left out are files of other endings, what is hidden (its name begins with a
    dot), what is no file, and links to folders that were read already. Raises DataError (E061).
    """
    _, endings = readable()
    found: list[Path] = []
    others: Counter[str] = Counter()
    for path, word in _walk(place, help):
        ending = path.suffix.lower()
        if word or ending not in endings:
            others[word or ending or "no ending"] += 1
        else:
            found.append(path)
    return Listing(tuple(found), others)


def left_out(others: Counter[str]) -> str:
    """`; 3 other files left out: .json, .txt`, to end a description; of none, nothing."""
    count = others.total()
    return f"; {count:,} other file{'s' * (count > 1)} left out: {listed(others)}" if count else ""


def entries(place: Path, help: str) -> list[os.DirEntry[str]]:
    """What is in a folder, sorted by name. Raises DataError (E061)."""
    try:
        with os.scandir(place) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError as problem:
        raise unreadable(place, problem, help) from problem


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder or a link to one; links that lead nowhere are none."""
    return os.path.isdir(entry) if entry.is_symlink() else entry.is_dir()


def _walk(place: Path, help: str) -> Iterator[tuple[Path, str]]:
    """All that is below a folder, in order, and why it is no picture whatever its name is."""
    seen = {_identity(place, help)}
    waiting = entries(place, help)[::-1]
    while waiting:
        entry = waiting.pop()
        path = Path(entry.path)
        if entry.name.startswith("."):
            yield path, "hidden"
        elif not is_folder(entry):
            yield path, "" if entry.is_symlink() or entry.is_file() else "no regular file"
        elif (identity := _identity(path, help)) in seen:
            yield path, "linked folder that was read"
        else:
            seen.add(identity)
            waiting += entries(path, help)[::-1]


def _identity(place: Path, help: str) -> tuple[int, int]:
    try:
        status = place.stat()
    except OSError as problem:
        raise unreadable(place, problem, help) from problem
    return status.st_dev, status.st_ino
