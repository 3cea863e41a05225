"""Folders of pictures by class: what is in them, and which pictures are held out."""

from __future__ import annotations

import hashlib
import math
import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netc.errors import did_you_mean, escaped, listed

from ..io.problems import data_error
from .listing import entries, is_folder, left_out, pictures_below

LAYOUT = "lay the pictures out as train/<class>/*.jpg and val/<class>/*.jpg (or test/), or .png"
SPLITS = ("train", "val", "test")
"""Folders that hold classes' folders, and are none."""
_KEY = b"validation:"
"""Stands before the path that is hashed, so that nothing else hashes the same."""


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """The files of one split, and their labels."""

    paths: tuple[Path, ...] = field(repr=False)
    """One file an image."""
    labels: NDArray[np.int64] = field(repr=False)
    """One class index an image."""


@dataclass(frozen=True, slots=True, eq=False)
class ClassFolders:
    """What the folders of one split hold."""

    place: Path
    """The folder that they are in."""
    pictures: Mapping[str, tuple[Path, ...]]
    """By class, in the order of names; in a class in the order of paths."""
    others: Counter[str]
    """How many files are left out, by ending or reason."""
    empty: tuple[str, ...]
    """The folders without pictures, which count as not there."""

    def split(self, share: float) -> tuple[ClassFolders, ClassFolders]:
        """Parted in two: what stays, and of each class this share, held out.

        DataError (E065) where no class has two pictures: one of each stays.
        """
        out = {name: held_out(self.place, paths, share) for name, paths in self.pictures.items()}
        if not any(out.values()):
            message = f"no class in '{self.place}' has two pictures, one of them to be held out."
            raise data_error("E065", message, LAYOUT)
        stay = {
            name: tuple(path for path in paths if path not in out[name])
            for name, paths in self.pictures.items()
        }
        kept = {
            name: tuple(path for path in paths if path in out[name])
            for name, paths in self.pictures.items()
        }
        return (
            ClassFolders(self.place, stay, self.others, self.empty),
            ClassFolders(self.place, kept, Counter(), ()),
        )

    def labelled(self, classes: Sequence[str]) -> Pictures:
        """All pictures, class by class, with the classes' numbers."""
        paths = [path for found in self.pictures.values() for path in found]
        counts = [len(found) for found in self.pictures.values()]
        numbers = [classes.index(name) for name in self.pictures]
        return Pictures(tuple(paths), np.repeat(np.array(numbers, np.int64), counts))


def class_folders(
    place: Path, skip_empty: bool, known: Collection[str] | None = None
) -> ClassFolders:  # fmt: skip
    """The folders in `place`, each a class, and the pictures in and below them.

    Raises DataError: E061 where a folder cannot be read, E064 where a name is no text or none of
    the `known` classes, E065 where there is no class, or one without pictures unless `skip_empty`.
    """
    others: Counter[str] = Counter()
    pictures: dict[str, tuple[Path, ...]] = {}
    empty: list[str] = []
    for name in _names(place, others):
        found = pictures_below(place / name, LAYOUT)
        if not found.pictures and skip_empty:
            empty.append(name)
            continue
        if known is not None and name not in known:
            message = f"'{place / name}' is no class: there is no training folder '{name}'."
            raise data_error("E064", message, did_you_mean(name, known) + LAYOUT)
        if not found.pictures:
            here = left_out(found.others).removeprefix("; ")
            message = f"'{place / name}' holds no pictures{here and f': {here}'}."
            help = (
                "pictures end in .jpg, .png, .tif, or as other formats that Pillow reads; "
                "'skip_empty=true' leaves such classes out"
            )
            raise data_error("E065", message, help)
        others += found.others
        pictures[name] = found.pictures
    if pictures:
        return ClassFolders(place, pictures, others, tuple(empty))
    raise data_error("E065", f"'{place}' holds no pictures in any of its folders.", LAYOUT)


def held_out(place: Path, paths: Sequence[Path], share: float) -> frozenset[Path]:
    """Which pictures of a class are held out: those whose paths below `place` hash lowest.

    That is the share of them, rounded, but at least one, and at least one stays.
    """
    count = min(len(paths) - 1, max(1, math.floor(share * len(paths) + 0.5)))
    return frozenset(sorted(paths, key=lambda path: (_hash(place, path), path))[:count])


def skipped(*folders: ClassFolders) -> str:
    """`; 2 folders without pictures skipped: a, b`, to end a description; of none, nothing."""
    names = {name for each in folders for name in each.empty}
    many = f"{len(names):,} folder{'s' * (len(names) > 1)}"
    return f"; {many} without pictures skipped: {listed(names)}" if names else ""


def _hash(place: Path, path: Path) -> bytes:
    return hashlib.sha256(_KEY + os.fsencode(path.relative_to(place))).digest()


def _names(place: Path, others: Counter[str]) -> tuple[str, ...]:
    """The names of the class folders in `place`, sorted; there is at least one.

    What else is there is added to `others`.
    """
    names = []
    for entry in entries(place, LAYOUT):
        if entry.name.startswith("."):
            others["hidden"] += 1
        elif is_folder(entry):
            names.append(_checked_name(place, entry.name))
        else:
            others["outside the classes' folders"] += 1
    if names:
        return tuple(names)
    raise data_error("E065", f"'{place}' holds no classes: it has no folders.", LAYOUT)


def _checked_name(place: Path, name: str) -> str:
    """The name of a class, which checkpoints and other programs get as text."""
    if name == escaped(name):
        return name
    message = f"the name of the class folder '{place / name}' is no text of UTF-8 on one line."
    raise data_error("E064", message, "rename the folder, and that of the held-out images")
