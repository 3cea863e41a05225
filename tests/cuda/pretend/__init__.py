"""A GPU that is none: what of CuPy the cuda backend uses, over host memory and NumPy.

Work on a stream is kept until somebody waits for it, and then the streams of a process go on in a
random order that only their events hold back. A recorded graph is replayed the same way. Kernels
are the reference's. So what the backend issues is tested without a GPU: its events, the joined
kernels, formats, copies between devices. Kernels themselves are not.
"""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from unittest import mock

from netc_kernels.cuda import exchange, table
from netc_kernels.reference import KERNELS as REFERENCE
from netc_runtime.watch.process import STALL
from pretend import memory, nccl
from pretend.exchanges import Exchange, OwnCopy, SmallSum
from pretend.kernels import OWN, ElementwiseKernel, kernel
from pretend.streams import WORLD, Event, Stream


def module() -> types.ModuleType:
    """The module `cupy`."""
    runtime = types.SimpleNamespace(
        malloc=memory.malloc, free=memory.free, memset=memory.memset, memcpy=memory.memcpy,
        memcpyAsync=memory.memcpy_async, deviceSynchronize=WORLD.finish,
        memcpyHostToDevice=1, memcpyDeviceToHost=2, memcpyDeviceToDevice=3,
        streamCaptureModeThreadLocal=1, CUDARuntimeError=RuntimeError,
        ipcGetMemHandle=lambda pointer: pointer, ipcOpenMemHandle=memory.opened,
        ipcCloseMemHandle=lambda pointer: None, memGetInfo=lambda: (3 * 2**30, 2**32),
        getDevice=lambda: 0,
        getDeviceProperties=lambda device: {
            "name": b"Pretended", "major": 9, "multiProcessorCount": 132,
        },
    )  # fmt: skip
    cuda = types.SimpleNamespace(
        runtime=runtime, Stream=Stream, Event=Event, Device=nullcontext,
        UnownedMemory=lambda pointer, nbytes, owner: pointer,
        MemoryPointer=lambda start, offset: types.SimpleNamespace(ptr=start + offset),
        alloc=memory.Room, alloc_pinned_memory=lambda nbytes: bytearray(nbytes),
    )  # fmt: skip
    cuda.nccl = types.SimpleNamespace(
        NcclCommunicator=nccl.NcclCommunicator, groupStart=nccl.group_start,
        groupEnd=nccl.group_end, get_unique_id=lambda: WORLD.random.random(), available=True,
    )  # fmt: skip
    made = types.ModuleType("cupy")
    made.__dict__.update(cuda=cuda, ndarray=memory.Array, ElementwiseKernel=ElementwiseKernel,
                         isfinite=memory.is_finite)  # fmt: skip
    return made


@contextmanager
def pretended(seed: int = 0) -> Iterator[None]:
    """CuPy is what is here, and CUDA kernels are the reference's."""
    from netc_kernels.cuda import native, source
    from netc_runtime.comm import device_copies

    WORLD.restart(seed)
    # Steps of tests that fail never end; nobody is to wait for them and end the tests.
    patience = mock.patch.dict(os.environ, {STALL: os.environ.get(STALL, "inf")})
    before = {"cupy": sys.modules.get("cupy"), "cupy.cuda": sys.modules.get("cupy.cuda")}
    every = {name: kernel(name) for name in REFERENCE} | OWN
    kernels = {name: every[name] for name in every if name in table.KERNELS}
    kept = table.KERNELS, native.KERNELS
    exchanges = mock.patch.multiple(exchange, Exchange=Exchange, OwnCopy=OwnCopy, SmallSum=SmallSum)
    sys.modules["cupy"] = made = module()
    sys.modules["cupy.cuda"] = made.cuda
    table.KERNELS = native.KERNELS = kernels
    caches = (source.stream_of, device_copies.combiner)
    try:
        for cached in caches:
            cached.cache_clear()
        with patience, exchanges:
            yield
    finally:
        table.KERNELS, native.KERNELS = kept
        for cached in caches:
            cached.cache_clear()
        for name, found in before.items():
            sys.modules.pop(name)
            if found is not None:
                sys.modules[name] = found
