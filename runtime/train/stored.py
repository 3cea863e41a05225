"""Images that stay in their file and are read when asked for."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netc.errors import DataError

from ..io.problems import data_error, unreadable

_HELP = "put the file back as it was, and go on with '--resume'"


@dataclass(frozen=True, slots=True)
class Stored:
    """Equally sized images of unsigned bytes in a file, at equal distances.

    They are read, not mapped: where a mapped file is cut, the system ends the process.
    """

    path: Path
    """The file."""
    nbytes: int
    """Its length when it was checked."""
    start: int
    """Bytes before the first image."""
    stride: int
    """Bytes from the start of one image to that of the next."""
    shape: tuple[int, ...]
    """(n, C, H, W)."""

    def __len__(self) -> int:
        """How many images there are."""
        return self.shape[0]

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The images (len(rows), C, H, W) of these numbers; no others are read.

        Raises DataError: E061 where the file cannot be read any more, E062 where it has another
        length than it had.
        """
        out = np.empty((len(rows), *self.shape[1:]), np.uint8)
        try:
            with open(self.path, "rb", buffering=0) as file:
                if _length(file) != self.nbytes:
                    raise self._changed(file)
                self._read(file, rows.tolist(), out.reshape(-1).data)
        except OSError as problem:
            raise unreadable(self.path, problem, _HELP) from problem
        return out

    def _read(self, file: FileIO, rows: Sequence[int], out: memoryview) -> None:
        """One image after the other; `out` has a byte for each of theirs."""
        size = math.prod(self.shape[1:])
        for number, row in enumerate(rows):
            rest, place = out[number * size : (number + 1) * size], self.start + row * self.stride
            while rest:
                count = os.preadv(file.fileno(), (rest,), place)
                if not count:
                    raise self._changed(file)
                rest, place = rest[count:], place + count

    def _changed(self, file: FileIO) -> DataError:
        message = (
            f"'{self.path}' changed while it was in use: it has {_length(file):,} bytes, "
            f"and had {self.nbytes:,}."
        )
        return data_error("E062", message, _HELP)


def _length(file: FileIO) -> int:
    return os.fstat(file.fileno()).st_size
