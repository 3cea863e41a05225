"""The progress words of a program on a GPU: pinned memory that its work writes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netc_kernels.cuda import native
from netc_kernels.cuda.tensor import ITEM_BYTES, Tensor
from netc_runtime.watch.words import StreamKey, WatchedProgram

ITEM = ITEM_BYTES["i32"]


class CudaWords:
    """A word for every stream of a program on this process's devices, and one for its end."""

    def __init__(self, watched: WatchedProgram, devices: Sequence[int]) -> None:
        import cupy

        program = watched.program
        used = {(class_, i.stream) for i in program.instructions for class_ in i.classes}
        lanes = sorted((d, kind) for d in devices for c, kind in used if program.class_of[d] == c)
        self.watched = watched
        self.place: dict[StreamKey, int] = {lane: place for place, lane in enumerate(lanes, 1)}
        # With unified addresses a GPU writes pinned memory where the host has it.
        self.memory = cupy.cuda.alloc_pinned_memory(ITEM * (len(lanes) + 1))
        self.words = np.frombuffer(self.memory, np.int32, len(lanes) + 1)
        self.words[:] = 0

    def clear(self) -> None:
        """Begin a run, while none is under way."""
        self.words[:] = 0

    def read(self) -> tuple[tuple[StreamKey, int], ...]:
        """By stream 1 more than the instruction that it has reached, 0 for none."""
        return tuple((lane, int(self.words[place])) for lane, place in self.place.items())

    @property
    def has_ended(self) -> bool:
        """Whether the run is over on the GPU."""
        return bool(self.words[0])

    def mark(self, number: int, device: int, stream: int) -> None:
        """Have a stream say that it has reached an instruction, if that is one that does."""
        if number in self.watched.marked:
            lane = device, self.watched.program.instructions[number].stream
            self._write(self.place[lane], number + 1, stream)

    def end(self, stream: int) -> None:
        """Have a stream say that the run is over."""
        self._write(0, 1, stream)

    def _write(self, place: int, value: int, stream: int) -> None:
        block = Tensor(self.words.ctypes.data + ITEM * place, (), "i32")
        native.KERNELS["mark"](block, value=value, stream=stream)
