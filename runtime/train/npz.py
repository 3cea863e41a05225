"""NumPy's archives: `.npz` files with the arrays x_train, y_train, x_test and y_test."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.errors import DataError, listed

from ..io.problems import data_error, reason, unreadable
from .arrays import CLASSES, HELP, Arrays, Origin, array_set, needed
from .calls import text
from .images import Wanted
from .several import SeveralInputs


def npz(wanted: Wanted, path: str) -> Arrays | SeveralInputs:
    """The arrays x_train, y_train, x_test and y_test of a file, which is read into memory; for a
    network with inputs a and b its arrays a_train, b_train, a_test and b_test in place of x_....

    Images are of the wanted shape, channels first or last, or (n, H, W) for one channel: bytes or
    floats. Labels are whole numbers (n,) or (n, 1); an array `classes` may name the classes. Where
    no training is wanted, the arrays of the test are enough. Nothing that is pickled is read.

    Raises DataError: E061 where the file cannot be read, E062 where it or an array is none of
    these, E063 where images and labels disagree, E064 where a label is out of range or a class's
    name is no text, E065 without images, E067 where images are of another shape.
    """
    place = Path(text("the file of 'npz'", path))
    return array_set(Origin(place), _read(place, needed(wanted)), wanted)


def _read(place: Path, needed: Sequence[str]) -> Mapping[str, NDArray[Any]]:
    """The arrays that are needed, and the classes' names where they are there."""
    if os.path.exists(place) and not os.path.isfile(place):
        raise data_error("E061", f"'{place}' is no file.", HELP)
    try:
        opened = np.load(place, allow_pickle=False)
        if isinstance(opened, np.ndarray):
            raise data_error("E062", f"'{place}' holds one array, not several.", HELP)
        with opened as archive:
            return {name: archive[name] for name in _found(place, archive.files, needed)}
    except OSError as problem:
        raise unreadable(place, problem, HELP) from problem
    except MemoryError as problem:
        message = f"'{place}' does not fit in memory."
        help = "save fewer images, or bytes in place of floats"
        raise data_error("E062", message, help) from problem
    except DataError:
        raise
    except Exception as problem:  # a damaged file makes zipfile and NumPy raise nearly every kind
        message = f"'{place}' is no archive of arrays that can be read: {_why(problem)}."
        raise data_error("E062", message, HELP) from problem


def _why(problem: Exception) -> str:
    pickled = "pickled" in str(problem) or "allow_pickle" in str(problem)
    told = "it holds objects or is of another kind, and those are not read"
    return told if pickled else reason(problem).rstrip(".")


def _found(place: Path, names: Sequence[str], needed: Sequence[str]) -> list[str]:
    """The names of arrays that are read; DataError (E062) where one is missing."""
    missing = [name for name in needed if name not in names]
    if missing:
        here = f"it has {listed(names)}" if names else "it is empty"
        message = f"'{place}' has no array {listed(missing)}: {here}."
        raise data_error("E062", message, HELP)
    return [name for name in names if name in (*needed, CLASSES)]
