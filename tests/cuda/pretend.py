"""A GPU that is none: what of CuPy the cuda backend uses, over host memory and NumPy.

Work on a stream is kept until somebody waits for it, and then the streams of a process go on in a
random order that only their events hold back. A recorded graph is replayed the same way. Kernels
are the reference's. So what the backend issues is tested without a GPU: its events, the joined
kernels, formats, copies between devices. Kernels themselves are not.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
import time
import types
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from math import prod
from typing import Any
from unittest import mock

import numpy as np
from numpy.lib.stride_tricks import as_strided
from streams import Try, World

from netc_kernels.cuda import exchange, table
from netc_kernels.cuda.block import ITEM_BYTES, Block
from netc_kernels.reference import KERNELS as REFERENCE
from netc_runtime.comm.reach import ALIGNED_BYTES
from netc_runtime.comm.watch import STALL

NUMPY = {"f32": np.float32, "bf16": np.uint16, "i64": np.int64, "f64": np.float64}


WORLD = World(0)


def array_of(block: Block) -> Any:
    """A NumPy view of a block, in its logical shape; bfloat16 as bits."""
    return over(block.pointer, block.shape, NUMPY[block.dtype], block.nhwc)


def over(pointer: int, shape: tuple[int, ...], dtype: Any, nhwc: bool = False) -> Any:
    start, memory = next((s, m) for s, m in list(WORLD.memory.items()) if s <= pointer < s + len(m))
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
    bias, other = (told.pop(key, None) for key in ("bias", "other"))
    relu, positive = (told.pop(key, None) for key in ("relu", "positive"))
    values = [read(block) for block in inputs]
    result = np.empty(out.shape, np.int64 if out.dtype == "i64" else np.float32)
    result.fill(-1 if out.dtype == "i64" else np.nan)
    REFERENCE[name](result, *values, **told)
    if bias is not None:
        result = result + read(bias).reshape(1, -1, *[1] * (result.ndim - 2))
    if other is not None:
        result = result + read(other)
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


def adam(
    m_out: Block, v_out: Block, w_out: Block, g: Block, m: Block, v: Block, w: Block,
    *scalars: Block, stream: int, decay: float, **told: Any,
) -> None:  # fmt: skip
    def work() -> bool:
        mean, square, moved = (np.empty(w.shape, np.float32) for _ in range(3))
        slope = {"decay": decay, "scale": told["scale"]}
        REFERENCE["adam_moment1"](mean, read(m), read(w), read(g), beta1=told["beta1"], **slope)
        REFERENCE["adam_moment2"](square, read(v), read(w), read(g), beta2=told["beta2"], **slope)
        REFERENCE["adam_apply"](moved, read(w), mean, square, *map(read, scalars), **told)
        for block, value in ((m_out, mean), (v_out, square), (w_out, moved)):
            store(array_of(block), value)
        return True

    WORLD.put(stream, work)


def bn_moments(mean: Block, var: Block, x: Block, *, work: Any, stream: int) -> None:
    count = x.elements // x.shape[1]
    kernel("bn_mean")(mean, x, stream=stream, count=count)
    kernel("bn_var")(var, x, mean, stream=stream, count=count)


def bn_slopes(
    dgamma: Block, dbeta: Block, x: Block, mean: Block, var: Block, dy: Block, *, work: Any,
    stream: int, eps: float,
) -> None:  # fmt: skip
    kernel("bn_dgamma")(dgamma, x, mean, var, dy, stream=stream, eps=eps)
    kernel("bias_db")(dbeta, dy, stream=stream)


def mark(out: Block, *, value: int, stream: int) -> None:
    """Its block is in the host's memory."""
    word = ctypes.c_int32.from_address(out.pointer)

    def work() -> bool:
        word.value = value
        return True

    WORLD.put(stream, work)


def stamp(out: Block, *, stream: int) -> None:
    """Its block is in the host's memory."""
    word = ctypes.c_int64.from_address(out.pointer)

    def work() -> bool:
        word.value = time.perf_counter_ns()
        return True

    WORLD.put(stream, work)


OWN = {
    "sgd": sgd, "adam": adam, "bn_moments": bn_moments, "bn_slopes": bn_slopes, "mark": mark,
    "stamp": stamp,
}  # fmt: skip


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
        WORLD.put(WORLD.current, lambda: np.copyto(self.held, value.held) is None)


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

        WORLD.put(WORLD.current, work)


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
    made = 0

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
        WORLD.own.tape, WORLD.own.tokens = {}, set()

    def end_capture(self) -> Graph:
        tape, WORLD.own.tape = WORLD.tape, None
        assert tape is not None
        return Graph(tape, WORLD.own.tokens)

    def __enter__(self) -> Stream:
        # One stream may be entered by several threads, so nothing is kept on it.
        WORLD.own.before, WORLD.own.current = WORLD.current, self.ptr
        return self

    def __exit__(self, *problem: Any) -> None:
        WORLD.own.current = WORLD.own.before


class NcclCommunicator:
    """Collectives between threads: done when all of a group have come to the same one."""

    def __init__(self, size: int, name: Any, rank: int) -> None:
        self.size, self.name, self.rank = size, name, rank
        self.count = 0

    def abort(self) -> None:
        """Nothing is held."""

    def allReduce(  # noqa: N802 (NCCL's name)
        self, source: int, target: int, count: int, kind: int, op: int, stream: int
    ) -> None:
        values = over(source, (count,), _KINDS[kind])
        self._collect(stream, values, lambda all_: _written(target, _reduced(op, all_)))

    def reduce(
        self, source: int, target: int, count: int, kind: int, op: int, root: int, stream: int
    ) -> None:
        def take(all_: list[Any]) -> None:
            if self.rank == root:
                _written(target, _reduced(op, all_))

        self._collect(stream, over(source, (count,), _KINDS[kind]), take)

    def broadcast(
        self, source: int, target: int, count: int, kind: int, root: int, stream: int
    ) -> None:
        values = over(source, (count,), _KINDS[kind])
        self._collect(stream, values, lambda all_: _written(target, all_[root]))

    def send(self, pointer: int, count: int, kind: int, peer: int, stream: int) -> None:
        _group(self, stream)[1].append((peer, over(pointer, (count,), _KINDS[kind])))

    def recv(self, pointer: int, count: int, kind: int, peer: int, stream: int) -> None:
        _group(self, stream)[2].append((peer, pointer))

    def _collect(self, stream: int, values: Any, take: Callable[[list[Any]], None]) -> None:
        _group(self, stream)[0].append((values, take))


_KINDS = {4: np.int64, 7: np.float32, 8: np.float64, 9: np.uint16}


def _reduced(op: int, values: list[Any]) -> Any:
    total = widened(values[0]).copy()
    for value in values[1:]:
        total = {0: np.add, 2: np.maximum, 3: np.minimum}[op](total, widened(value))
    bits = np.empty_like(values[0])
    store(bits, total)
    return bits


def _written(pointer: int, values: Any) -> None:
    over(pointer, values.shape, values.dtype)[...] = values


def _group(communicator: NcclCommunicator, stream: int) -> Any:
    """What the open group of this thread has: collectives, sent and received messages."""
    opened = WORLD.own.group
    opened[:2] = communicator, stream
    return opened[2]


def group_start() -> None:
    WORLD.own.group = [None, 0, ([], [], [])]


def group_end() -> None:
    communicator, stream, parts = WORLD.own.group
    told: list[int] = []

    def work() -> bool:
        return _meet(communicator, parts, told)

    WORLD.put(stream, work)


def _meet(communicator: NcclCommunicator, parts: Any, told: list[int]) -> bool:
    """Say what this rank gives, once; take what others gave when all of it is there."""
    collectives, sent, received = parts
    name, rank, mail = communicator.name, communicator.rank, WORLD.mail
    keys = [(name, communicator.count, each) for each in range(communicator.size)]
    if not told:
        told.append(1)
        if collectives:
            mail[keys[rank]] = [values.copy() for values, _ in collectives]
        for peer, values in sent:
            mail.setdefault((name, "from", rank, peer), deque()).append(values.copy())
    if collectives and any(key not in mail for key in keys):
        return False
    wanted = Counter(peer for peer, _ in received)
    if any(len(mail.get((name, "from", p, rank), ())) < n for p, n in wanted.items()):
        return False
    for index, (_, take) in enumerate(collectives):
        take([mail[key][index] for key in keys])
    for peer, pointer in received:
        _written(pointer, mail[name, "from", peer, rank].popleft())
    told.clear()
    communicator.count += bool(collectives)
    return True


class Exchange:
    """The kernel of that name, read from its table: all threads of a group come to the same one."""

    def __init__(self, phases: Any, dtype: str, op: str, meeting: Any) -> None:
        self.table, self.unit, _ = exchange.tabulated(phases, dtype, meeting)
        self.dtype, self.item, self.meeting = NUMPY[dtype], ITEM_BYTES[dtype], meeting
        self.combine = {"sum": np.add, "max": np.maximum, "min": np.minimum}.get(op)
        self.steps = [self._come, partial(self._take, 0, self.table[0]), self._come]
        if len(phases) == 2:
            self.steps += [partial(self._take, self.table[0], self.table[1]), self._come]
        self.left: list[Any] = []
        self.count = 0

    def __call__(self, stream: int) -> None:
        def work() -> bool:
            self.left = self.left or list(self.steps)
            while self.left:
                if not self.left[0]():
                    return False
                self.left.pop(0)
            return True

        WORLD.put(stream, work)

    def _come(self) -> bool:
        """Write the number of this meeting where every other sees it; whether all have come."""
        ranks = len(self.meeting.words)
        words = [over(each, (ranks + 1,), np.uint32) for each in self.meeting.words]
        mine = words[self.meeting.me]
        if not self.count:
            mine[-1] += 1
            self.count = int(mine[-1])
        for word in words:
            word[self.meeting.me] = self.count
        if (mine[:-1] < self.count).any():
            return False
        self.count = 0
        return True

    def _take(self, first: int, count: int) -> bool:
        ranks = len(self.meeting.words)
        size = 3 + 2 * (exchange.DIMS - 1) + exchange.DIMS * ranks
        for at in range(first, first + count):
            start = 2 + ranks + at * size
            self._piece(self.table[start : start + size])
        return True

    def _piece(self, piece: Any) -> None:
        outer = exchange.DIMS - 1
        target, terms, units = piece[:3]
        sizes, steps, rest = (
            piece[3 : 3 + outer],
            piece[3 + outer : 3 + 2 * outer],
            piece[3 + 2 * outer :],
        )
        assert units % prod(sizes) == 0
        sizes = (units // prod(sizes), *sizes[:-1], sizes[-1] * self.unit // self.item)
        places = [rest[i * exchange.DIMS : (i + 1) * exchange.DIMS] for i in range(terms)]
        total, *others = (self._seen(place[0], place[1:], sizes) for place in places)
        found = self._seen(target, steps, sizes)
        wide = widened(total)
        for other in others:
            assert self.combine is not None
            wide = self.combine(wide, widened(other))
        np.copyto(found, total) if not others else store(found, wide)

    def _seen(self, address: int, steps: Any, sizes: Any) -> Any:
        assert address % self.unit == 0
        assert all(step % self.unit == 0 for step in steps)
        strides = (*steps, self.item)
        reach = sum((n - 1) * step for n, step in zip(sizes, strides, strict=True))
        memory = over(address, (reach // self.item + 1,), self.dtype)
        return as_strided(memory, sizes, strides)


def malloc(nbytes: int) -> int:
    room = np.zeros(max(nbytes, 1) + ALIGNED_BYTES, np.uint8)
    start = -room.ctypes.data % ALIGNED_BYTES
    memory = room[start : start + max(nbytes, 1)]
    WORLD.memory[memory.ctypes.data] = memory
    return int(memory.ctypes.data)


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


def module() -> types.ModuleType:
    """The module `cupy`."""
    runtime = types.SimpleNamespace(
        malloc=malloc, free=lambda pointer: WORLD.memory.pop(pointer), memset=memset,
        memcpy=memcpy, memcpyAsync=memcpy_async, deviceSynchronize=lambda: WORLD.finish(),
        memcpyHostToDevice=1, memcpyDeviceToHost=2,
        memcpyDeviceToDevice=3, streamCaptureModeThreadLocal=1, CUDARuntimeError=RuntimeError,
        ipcGetMemHandle=lambda pointer: pointer, ipcOpenMemHandle=opened,
        ipcCloseMemHandle=lambda pointer: None,
    )  # fmt: skip
    cuda = types.SimpleNamespace(
        runtime=runtime, Stream=Stream, Event=Event,
        UnownedMemory=lambda pointer, nbytes, owner: pointer,
        MemoryPointer=lambda memory, offset: types.SimpleNamespace(ptr=memory + offset),
        alloc_pinned_memory=lambda nbytes: bytearray(nbytes),
    )  # fmt: skip
    cuda.nccl = types.SimpleNamespace(
        NcclCommunicator=NcclCommunicator, groupStart=group_start, groupEnd=group_end,
        get_unique_id=lambda: WORLD.random.random(), available=True,
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
    # Steps of tests that fail never end; nobody is to wait for them and end the tests.
    patience = mock.patch.dict(os.environ, {STALL: os.environ.get(STALL, "inf")})
    before = {"cupy": sys.modules.get("cupy"), "cupy.cuda": sys.modules.get("cupy.cuda")}
    kernels = {name: kernel(name) for name in REFERENCE} | OWN
    kept = table.KERNELS, native.KERNELS
    exchanges = mock.patch.object(exchange, "Exchange", Exchange)
    sys.modules["cupy"] = made = module()
    sys.modules["cupy.cuda"] = made.cuda
    table.KERNELS = native.KERNELS = kernels  # type: ignore[misc]
    caches = (source.stream_of, device_copies.combiner)
    try:
        for cached in caches:
            cached.cache_clear()
        with patience, exchanges:
            yield WORLD
    finally:
        table.KERNELS, native.KERNELS = kept  # type: ignore[misc]
        for cached in caches:
            cached.cache_clear()
        for name, found in before.items():
            sys.modules.pop(name)
            if found is not None:
                sys.modules[name] = found


__all__ = ["ITEM_BYTES", "World", "pretended"]
