"""Memory of a GPU that is none, in the host's, and of CuPy's arrays what communicators use."""

from __future__ import annotations

import ctypes
import types
from typing import Any

import numpy as np

from netc_kernels.cuda.tensor import Tensor
from netc_runtime.comm.reach import ALIGNED_BYTES
from pretend.streams import WORLD

NUMPY = {"f32": np.float32, "bf16": np.uint16, "i64": np.int64, "f64": np.float64,
         "u8": np.uint8}  # fmt: skip


def array_of(block: Tensor) -> Any:
    """A NumPy view of a block, in its logical shape; bfloat16 as bits."""
    return over(block.pointer, block.shape, NUMPY[block.dtype], block.nhwc)


def over(pointer: int, shape: tuple[int, ...], dtype: Any, nhwc: bool = False) -> Any:
    with WORLD.lock:
        start, memory = next((s, m) for s, m in WORLD.memory.items() if s <= pointer < s + len(m))
    dims = tuple(shape[i] for i in (0, 2, 3, 1)) if nhwc else shape
    found = np.ndarray(dims, dtype, memory, pointer - start)
    return found.transpose(0, 3, 1, 2) if nhwc else found


def widened(bits: Any) -> Any:
    return (bits.astype(np.uint32) << 16).view(np.float32) if bits.dtype == np.uint16 else bits


def store(target: Any, value: Any) -> None:
    """Write numbers into memory, rounded to bfloat16 where that is what it holds."""
    if target.dtype == np.uint16:
        bits = np.ascontiguousarray(value, np.float32).view(np.uint32).astype(np.uint64)
        value = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16).reshape(target.shape)
    target[...] = value


def read(block: Tensor) -> Any:
    return widened(array_of(block)).copy()


def malloc(nbytes: int) -> int:
    room = np.zeros(max(nbytes, 1) + ALIGNED_BYTES, np.uint8)
    start = -room.ctypes.data % ALIGNED_BYTES
    memory = room[start : start + max(nbytes, 1)]
    with WORLD.lock:
        WORLD.memory[memory.ctypes.data] = memory
    return int(memory.ctypes.data)


class Room:
    """Memory that is given back with whoever holds it."""

    def __init__(self, nbytes: int) -> None:
        self.ptr = malloc(nbytes)

    def __del__(self) -> None:
        WORLD.memory.pop(self.ptr, None)


def free(pointer: int) -> None:
    with WORLD.lock:
        del WORLD.memory[pointer]


def opened(handle: int) -> int:
    """Memory of another thread; that of another process is not to be had."""
    if handle not in WORLD.memory:
        raise RuntimeError("no such memory")
    return handle


def memset(pointer: int, value: int, nbytes: int) -> None:
    over(pointer, (nbytes,), np.uint8)[...] = value


def memcpy(target: int, source: int, nbytes: int, kind: int) -> None:
    WORLD.finish()
    ctypes.memmove(target, source, nbytes)


def memcpy_async(target: int, source: int, nbytes: int, kind: int, stream: int) -> None:
    WORLD.put(stream, lambda: ctypes.memmove(target, source, nbytes) is not None)


def is_finite(array: Array) -> Any:
    WORLD.finish()
    return np.isfinite(array.held)


class Array:
    """Of cupy.ndarray what communicators use."""

    def __init__(self, shape: Any, dtype: Any = None, memptr: Any = None, held: Any = None) -> None:
        self.held = over(memptr.ptr, tuple(shape), np.dtype(dtype)) if held is None else held
        self.data = types.SimpleNamespace(ptr=self.held.ctypes.data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.held, name)

    def __getitem__(self, where: Any) -> Array:
        # Of a scalar NumPy gives a number, CuPy the array.
        wanted = where if isinstance(where, tuple) else (where,)
        return Array((), held=self.held[(*wanted, ...)])

    def transpose(self, *order: Any) -> Array:
        return Array((), held=self.held.transpose(*order))

    def reshape(self, *shape: Any) -> Array:
        flat = self.held.reshape(*shape)
        assert np.shares_memory(flat, self.held) or not flat.size, "CuPy would have copied"
        return Array((), held=flat)

    def __setitem__(self, where: Any, value: Array) -> None:
        assert where is Ellipsis

        def work() -> bool:
            np.copyto(self.held, value.held)
            return True

        WORLD.put(WORLD.current, work)
