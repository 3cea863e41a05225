"""Images loaded ahead, in as many threads as there are cores."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from netc.errors import DataError, Diagnostic

from ..cores import cores
from ..launch.ranks import Ranks
from .datasets import Dataset
from .survey import UNREAD, unread

Array = NDArray[Any]
Read = Callable[[NDArray[np.int64]], tuple[Array, ...]]
"""From the numbers of images to them, their labels, and what else belongs to each."""
LABELS = (np.dtype(np.int64),)
"""The types of what belongs to an image, where that is its label alone."""
AHEAD = 2
"""Batches that are being loaded while one is used: threads go on where one batch ends."""
KEPT_WAITS = 0.9
"""Of what earlier steps waited, from one step to the next."""
_PIECE_BYTES = 1 << 18
"""Of images that a thread loads at once, at least: handing them over takes time, too."""


def loaders(ranks: Ranks) -> int:
    """How many threads load images in each process: the cores, shared by those of a machine."""
    here = platform.node()
    return max(1, cores() // ranks.allgather(here).count(here))


@dataclass(slots=True)
class Waits:
    """For what the last steps of a training waited, in seconds; earlier ones are forgotten."""

    loading: float = 0.0
    devices: float = 0.0

    def add(self, loading: float, devices: float) -> None:
        """Count a step."""
        self.loading = KEPT_WAITS * self.loading + loading
        self.devices = KEPT_WAITS * self.devices + devices


@dataclass(frozen=True, slots=True)
class Loading:
    """A batch that is being loaded."""

    loader: Loader
    arrays: tuple[Array, ...] = field(repr=False)
    pieces: list[Future[None]] = field(repr=False)

    def result(self) -> tuple[Array, ...]:
        """The images, labels, and what else was read, once all are there.

        Raises DataError as the data set does. Where images cannot be read, it names others of the
        data set, too, as far as a minute is enough to look.
        """
        problems: dict[Diagnostic, None] = {}
        for piece in self.pieces:
            try:
                piece.result()
            except DataError as problem:
                problems |= dict.fromkeys(problem.diagnostics)
        if not problems:
            return self.arrays
        if all(each.code == UNREAD for each in problems):
            raise unread(self.loader.dataset, problems, self.loader.workers)
        raise DataError(*problems)


class Loader:
    """Threads that load batches of a data set; a context manager, whose end drops what is left.

    What they load does not depend on how many they are.
    """

    def __init__(
        self,
        dataset: Dataset,
        dtype: DTypeLike,
        workers: int,
        kinds: Sequence[np.dtype[Any]] = LABELS,
    ) -> None:
        """Images are of `dtype`, what belongs to each of `kinds`."""
        self.dataset, self.dtype, self.workers = dataset, np.dtype(dtype), workers
        self.kinds = kinds
        self._pool = ThreadPoolExecutor(workers, "netc-loader")

    def begin(
        self,
        read: Read,
        rows: NDArray[np.int64],
        first: int = 0,
        size: int | None = None,
    ) -> Loading:
        """Read the images `rows` in pieces: the threads take one after the other.

        They become the rows from `first` of a batch of `size`, whose others are left as they are.
        """
        whole = len(rows) if size is None else size
        images = np.empty((whole, *self.dataset.image_shape), self.dtype)
        arrays = images, *(np.zeros(whole, kind) for kind in self.kinds)

        def load(start: int, stop: int) -> None:
            wanted, place = rows[start:stop], slice(first + start, first + stop)
            for array, part in zip(arrays, read(wanted), strict=True):
                array[place] = part

        count = self._rows_a_piece(len(rows))
        pieces = [
            self._pool.submit(load, start, min(start + count, len(rows)))
            for start in range(0, len(rows), count)
        ]
        return Loading(self, arrays, pieces)

    def _rows_a_piece(self, rows: int) -> int:
        image_bytes = math.prod(self.dataset.image_shape) * self.dtype.itemsize
        return max(1, -(-rows // self.workers), -(-_PIECE_BYTES // image_bytes))

    def __enter__(self) -> Loader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
