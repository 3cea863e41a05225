"""What goes between the host and the ports of a program on a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc_kernels.cuda import native
from netc_kernels.cuda.tensor import ITEM_BYTES, Tensor

Array = NDArray[Any]
LOOKED_AT = 2**24
"""Numbers that are looked at together."""
SLOTS = 2
"""Journeys of a block at a time: one is loaded while the other is placed."""
_HOST: Mapping[str, np.dtype[Any]] = {
    "f32": np.dtype(np.float32),
    "bf16": np.dtype(np.float32),
    "i64": np.dtype(np.int64),
}
"""Data types on the host."""


@dataclass(slots=True)
class _Slot:
    """Memory for one journey: pinned, then on the device, row-major and in the host's type."""

    array: Array
    memory: Any
    landing: Tensor
    landed: Any
    """The event of its arrival."""
    taken: Any
    """The event after which the landing may be written again."""


class PortWriter:
    """Copies to ports in two steps: to the device, where a program may run, and into place."""

    def __init__(self, stream: Any) -> None:
        """`stream` is the one that programs begin on."""
        import cupy

        self.stream = stream
        self.copies = cupy.cuda.Stream(non_blocking=True)
        self.slots: dict[Tensor, list[_Slot]] = {}
        self.rooms: dict[Tensor, list[Tensor]] = {}
        self.staged: dict[Tensor, _Slot] = {}

    def stage(self, target: Tensor, value: Array) -> None:
        """Start to bring a block to the device; `value` may be changed as soon as this returns."""
        import cupy

        if not target.elements:
            return
        slot = self._slot(target)
        slot.landed.synchronize()
        slot.taken.synchronize()
        slot.array[...] = value
        cupy.cuda.runtime.memcpyAsync(
            slot.landing.pointer, slot.array.ctypes.data, slot.landing.nbytes,
            cupy.cuda.runtime.memcpyHostToDevice, self.copies.ptr,
        )  # fmt: skip
        slot.landed.record(self.copies)
        self.staged[target] = slot

    def write(self, target: Tensor, value: Array) -> None:
        """Put a block where programs read it, and wait for that; nothing is kept."""
        import cupy

        if not target.elements:
            return
        self.stream.synchronize()
        whole = np.ascontiguousarray(value, _HOST[target.dtype])
        rooms = [_allocated(Tensor(0, target.shape, _landing_type(target))), *self._ways(target)]
        # On the stream that goes on with it: a copy from ordinary memory may return, on any other,
        # before it has arrived.
        cupy.cuda.runtime.memcpyAsync(
            rooms[0].pointer, whole.ctypes.data, rooms[0].nbytes,
            cupy.cuda.runtime.memcpyHostToDevice, self.stream.ptr,
        )  # fmt: skip
        for source, place in pairwise(rooms):
            _bring(place, source, self.stream.ptr)
        self.stream.synchronize()
        for room in rooms[:-1]:
            cupy.cuda.runtime.free(room.pointer)

    def close(self) -> None:
        """Give the memory back that journeys took; none is under way."""
        import cupy

        landings = [slot.landing for slots in self.slots.values() for slot in slots]
        between = [room for rooms in self.rooms.values() for room in rooms[:-1]]
        for block in (*landings, *between):
            cupy.cuda.runtime.free(block.pointer)
        self.slots, self.rooms = {}, {}

    def place(self) -> None:
        """Put what was staged where programs read it, in its format and type."""
        for target, slot in self.staged.items():
            self.stream.wait_event(slot.landed)
            for source, place in pairwise([slot.landing, *self._rooms(target)]):
                _bring(place, source, self.stream.ptr)
            slot.taken.record(self.stream)
        self.staged = {}

    def _slot(self, target: Tensor) -> _Slot:
        if target not in self.slots:
            self.slots[target] = [_new_slot(target) for _ in range(SLOTS)]
        slots = self.slots[target]
        slots.append(slots.pop(0))
        return slots[-1]

    def _rooms(self, target: Tensor) -> list[Tensor]:
        """Where a block goes after it landed: into the port's format, then into its data type."""
        if target not in self.rooms:
            self.rooms[target] = self._ways(target)
        return self.rooms[target]

    def _ways(self, target: Tensor) -> list[Tensor]:
        between = Tensor(0, target.shape, _landing_type(target), True)
        two = target.nhwc and target.dtype != between.dtype
        return [_allocated(between), target] if two else [target]


def read(source: Tensor) -> Array:
    """A block in its logical shape; bfloat16 comes as float32."""
    import cupy

    raw = np.empty(source.nbytes, np.uint8)
    if raw.size:
        cupy.cuda.runtime.memcpy(
            raw.ctypes.data, source.pointer, raw.size, cupy.cuda.runtime.memcpyDeviceToHost
        )
    if source.dtype == "bf16":
        flat: Array = (raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    else:
        flat = raw.view(_HOST[source.dtype])
    if not source.nhwc:
        return flat.reshape(source.shape)
    n, c, h, w = source.shape
    return flat.reshape(n, h, w, c).transpose(0, 3, 1, 2)


def is_finite(block: Tensor, stream: Any) -> bool:
    """Whether a block holds no NaN or infinity, looked at by the GPU, a piece at a time: there is
    little memory beside the arena.
    """
    import cupy

    from netc_runtime.comm.device_copies import as_array

    flat = Tensor(block.pointer, (block.elements,), block.dtype)
    for start in range(0, block.elements, LOOKED_AT):
        length = min(LOOKED_AT, block.elements - start)
        piece = Tensor(flat.pointer + start * ITEM_BYTES[flat.dtype], (length,), flat.dtype)
        with stream:
            if block.dtype == "f32" and not cupy.isfinite(as_array(piece)).all():
                return False
    return True


def _bring(place: Tensor, source: Tensor, stream: int) -> None:
    """Copy on the device, into another format or data type."""
    import cupy

    runtime = cupy.cuda.runtime
    if source.dtype != place.dtype:
        native.KERNELS["cast"](place, source, stream=stream)
    elif source.nhwc != place.nhwc:
        native.KERNELS["copy"](place, source, stream=stream)
    else:
        kind = runtime.memcpyDeviceToDevice
        runtime.memcpyAsync(place.pointer, source.pointer, place.nbytes, kind, stream)


def _landing_type(target: Tensor) -> str:
    return "f32" if target.dtype == "bf16" else target.dtype


def _new_slot(target: Tensor) -> _Slot:
    import cupy

    dtype = _HOST[target.dtype]
    memory = cupy.cuda.alloc_pinned_memory(target.elements * dtype.itemsize)
    array = np.frombuffer(memory, dtype, prod(target.shape)).reshape(target.shape)
    landing = _allocated(Tensor(0, target.shape, _landing_type(target)))
    landed, taken = (cupy.cuda.Event(disable_timing=True) for _ in range(2))
    return _Slot(array, memory, landing, landed, taken)


def _allocated(room: Tensor) -> Tensor:
    import cupy

    pointer = cupy.cuda.runtime.malloc(room.elements * ITEM_BYTES[room.dtype])
    return Tensor(pointer, room.shape, room.dtype, room.nhwc)
