"""A GPU that is none: what of CuPy the cuda backend uses, over host memory and NumPy.

Work on a stream is kept until somebody waits for it, and then the streams of a process go on in a
random order that only their events hold back. A recorded graph is replayed the same way. Kernels
are the reference's. So what the backend issues is tested without a GPU: its events, the joined
kernels, formats, copies between devices. Kernels themselves are not.
"""

from __future__ import annotations

import random
import re
import sys
import types
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from netc_kernels.cuda import table
from netc_kernels.cuda.block import ITEM_BYTES, Block
from netc_kernels.reference import KERNELS as REFERENCE

Try = Callable[[], bool]
"""Work that says whether it could be done yet."""
NUMPY = {"f32": np.float32, "bf16": np.uint16, "i64": np.int64, "f64": np.float64}


class World:
    """The streams of one process."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.queues: dict[int, deque[Try]] = {}
        self.done: set[int] = set()
        self.tokens = 0
        self.tape: dict[int, deque[Try]] | None = None
        self.memory: dict[int, Any] = {}

    def put(self, stream: int, work: Try) -> None:
        queues = self.queues if self.tape is None else self.tape
        queues.setdefault(stream, deque()).append(work)

    def record(self, stream: int) -> int:
        self.tokens += 1
        token = self.tokens
        self.put(stream, lambda: self.done.add(token) is None)
        return token

    def wait(self, stream: int, token: int) -> None:
        self.put(stream, lambda: token in self.done)

    def drain(self, queues: dict[int, deque[Try]] | None = None) -> bool:
        """Do all that can be done, in a random order; whether anything was."""
        queues = self.queues if queues is None else queues
        any_, stuck = False, set[int]()
        while open_ := [s for s, q in queues.items() if q and s not in stuck]:
            stream = self.random.choice(open_)
            if queues[stream][0]():
                queues[stream].popleft()
                any_, stuck = True, set()
            else:
                stuck.add(stream)
        return any_

    def finish(self) -> None:
        while any(self.queues.values()):
            assert self.drain(), "streams wait for each other for ever"

    def replay(self, tape: dict[int, deque[Try]], tokens: set[int]) -> Try:
        """A recorded graph as one piece of work; its events begin anew each time."""
        left: dict[int, deque[Try]] = {}

        def work() -> bool:
            if not left:
                self.done -= tokens
                left.update({stream: deque(queue) for stream, queue in tape.items()})
            self.drain(left)
            if any(left.values()):
                return False
            left.clear()
            return True

        return work


WORLD = World(0)


def array_of(block: Block) -> Any:
    """A NumPy view of a block, in its logical shape; bfloat16 as bits."""
    return over(block.pointer, block.shape, NUMPY[block.dtype], block.nhwc)


def over(pointer: int, shape: tuple[int, ...], dtype: Any, nhwc: bool = False) -> Any:
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


def read(block: Block) -> Any:
    return widened(array_of(block)).copy()


def kernel(name: str) -> Callable[..., None]:
    """An operation's CUDA kernel, by the reference."""

    def start(out: Block, *inputs: Block, stream: int, **told: Any) -> None:
        def work() -> bool:
            if out.elements:
                store(array_of(out), _computed(name, out, inputs, dict(told)))
            return True

        WORLD.put(stream, work)

    return start


def _computed(name: str, out: Block, inputs: tuple[Block, ...], told: dict[str, Any]) -> Any:
    for extra in ("work", "precision"):
        told.pop(extra, None)
    bias, relu, positive = (told.pop(key, None) for key in ("bias", "relu", "positive"))
    values = [read(block) for block in inputs]
    result = np.full(out.shape, np.nan, np.int64 if out.dtype == "i64" else np.float32)
    REFERENCE[name](result, *values, **told)
    if bias is not None:
        result = result + read(bias).reshape(1, -1, *[1] * (result.ndim - 2))
    if relu:
        slope = name in ("maxpool_dx", "lrn_dx")
        result = np.where(values[0] > 0, result, 0) if slope else np.maximum(result, 0)
    return result if positive is None else np.where(read(positive) > 0, result, 0)


def sgd(
    v_out: Block, w_out: Block, g: Block, v: Block, w: Block, lr: Block, *, stream: int, **pace: Any
) -> None:
    def work() -> bool:
        moved = np.empty(v.shape, np.float32)
        REFERENCE["sgd_velocity"](moved, read(v), read(w), read(g), read(lr), **pace)
        store(array_of(w_out), read(w) + moved)
        store(array_of(v_out), moved)
        return True

    WORLD.put(stream, work)


class Array:
    """Of cupy.ndarray what communicators use."""

    def __init__(self, shape: Any, dtype: Any = None, memptr: Any = None, held: Any = None) -> None:
        self.held = over(memptr.ptr, tuple(shape), np.dtype(dtype)) if held is None else held
        self.data = types.SimpleNamespace(ptr=self.held.ctypes.data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.held, name)

    def __getitem__(self, where: Any) -> Array:
        return Array((), held=self.held[where])

    def transpose(self, *order: Any) -> Array:
        return Array((), held=self.held.transpose(*order))

    def reshape(self, *shape: Any) -> Array:
        flat = self.held.reshape(*shape)
        assert np.shares_memory(flat, self.held) or not flat.size, "CuPy would have copied"
        return Array((), held=flat)

    def __setitem__(self, where: Any, value: Array) -> None:
        assert where is Ellipsis
        WORLD.put(Stream.current, lambda: np.copyto(self.held, value.held) is None)


class ElementwiseKernel:
    """A reduction of several arrays into several."""

    def __init__(self, reads: str, writes: str, code: str, name: str, preamble: str) -> None:
        self.op, dtype, terms, _ = re.fullmatch(r"netc_(\w+?)_(\w+?)_(\d+)_(\d+)", name).groups()  # type: ignore[union-attr]
        self.terms, self.narrow = int(terms), dtype == "bf16"

    def __call__(self, *arrays: Array) -> None:
        combine = {"sum": np.add, "max": np.maximum, "min": np.minimum}[self.op]
        sources, targets = arrays[: self.terms], arrays[self.terms :]

        def work() -> bool:
            total = widened(sources[0].held).copy()
            for source in sources[1:]:
                total = combine(total, widened(source.held))
            for target in targets:
                store(target.held, total)
            return True

        WORLD.put(Stream.current, work)


class Event:
    def __init__(self, disable_timing: bool = False) -> None:
        self.token = 0

    def record(self, stream: Stream) -> None:
        self.token = WORLD.record(stream.ptr)

    def synchronize(self) -> None:
        WORLD.finish()


class Graph:
    def __init__(self, tape: dict[int, deque[Try]], tokens: set[int]) -> None:
        self.tape, self.tokens = tape, tokens

    def launch(self, stream: Stream) -> None:
        WORLD.put(stream.ptr, WORLD.replay(self.tape, self.tokens))


class Stream:
    current, made = 0, 0

    def __init__(self, non_blocking: bool = False, ptr: int = 0) -> None:
        Stream.made += not ptr
        self.ptr = ptr or Stream.made

    @classmethod
    def from_external(cls, other: Any) -> Stream:
        return cls(ptr=other.__cuda_stream__()[1])

    def wait_event(self, event: Event) -> None:
        if event.token:
            WORLD.wait(self.ptr, event.token)

    def synchronize(self) -> None:
        WORLD.finish()

    def begin_capture(self, mode: Any) -> None:
        WORLD.finish()
        WORLD.tape, self.first = {}, WORLD.tokens

    def end_capture(self) -> Graph:
        tape, WORLD.tape = WORLD.tape, None
        assert tape is not None
        return Graph(tape, set(range(self.first + 1, WORLD.tokens + 1)))

    def __enter__(self) -> Stream:
        self.before, Stream.current = Stream.current, self.ptr
        return self

    def __exit__(self, *problem: Any) -> None:
        Stream.current = self.before


def malloc(nbytes: int) -> int:
    memory = np.zeros(max(nbytes, 1), np.uint8)
    WORLD.memory[memory.ctypes.data] = memory
    return int(memory.ctypes.data)


def memset(pointer: int, value: int, nbytes: int) -> None:
    over(pointer, (nbytes,), np.uint8)[...] = value


def memcpy(target: int, source: int, nbytes: int, kind: int) -> None:
    import ctypes

    WORLD.finish()
    ctypes.memmove(target, source, nbytes)


def memcpy_async(target: int, source: int, nbytes: int, kind: int, stream: int) -> None:
    import ctypes

    WORLD.put(stream, lambda: ctypes.memmove(target, source, nbytes) is not None)


def module() -> types.ModuleType:
    """The module `cupy`."""
    runtime = types.SimpleNamespace(
        malloc=malloc, free=lambda pointer: WORLD.memory.pop(pointer), memset=memset,
        memcpy=memcpy, memcpyAsync=memcpy_async, deviceSynchronize=lambda: WORLD.finish(),
        memcpyHostToDevice=1, memcpyDeviceToHost=2,
        memcpyDeviceToDevice=3, streamCaptureModeThreadLocal=1,
    )  # fmt: skip
    cuda = types.SimpleNamespace(
        runtime=runtime, Stream=Stream, Event=Event,
        UnownedMemory=lambda pointer, nbytes, owner: pointer,
        MemoryPointer=lambda memory, offset: types.SimpleNamespace(ptr=memory + offset),
        alloc_pinned_memory=lambda nbytes: bytearray(nbytes),
    )  # fmt: skip
    made = types.ModuleType("cupy")
    made.__dict__.update(cuda=cuda, ndarray=Array, ElementwiseKernel=ElementwiseKernel)
    return made


@contextmanager
def pretended(seed: int = 0) -> Iterator[World]:
    """CuPy is this module, and CUDA kernels are the reference's."""
    global WORLD
    from netc_kernels.cuda import native, source
    from netc_runtime.comm import device_copies

    WORLD = World(seed)
    before = {"cupy": sys.modules.get("cupy")}
    kernels = {name: kernel(name) for name in REFERENCE} | {"sgd": sgd}
    kept = table.KERNELS, native.KERNELS
    sys.modules["cupy"] = module()
    table.KERNELS = native.KERNELS = kernels  # type: ignore[misc]
    caches = (source.stream_of, device_copies.combiner)
    try:
        for cached in caches:
            cached.cache_clear()
        yield WORLD
    finally:
        table.KERNELS, native.KERNELS = kept  # type: ignore[misc]
        for cached in caches:
            cached.cache_clear()
        sys.modules.pop("cupy")
        if before["cupy"] is not None:
            sys.modules["cupy"] = before["cupy"]


__all__ = ["ITEM_BYTES", "World", "pretended"]
