"""Times on a GPU, by its own clock: runs, launches alone, and what the GPU reaches at most."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from statistics import median
from typing import Any

from netc.errors import DeviceError
from netc.ir.kernels import KernelCall
from netc.ir.step import NONE, Step
from netc_kernels.cuda import table
from netc_kernels.cuda.clock import elapsed
from netc_kernels.cuda.tensor import ITEM_BYTES, Tensor
from netc_runtime.backend import Ceilings
from netc_runtime.cuda.kernels import CudaKernels, LaunchBinder, Start
from netc_runtime.cuda.plans import Plans, vendor_missing

LEAST_SECONDS, MOST_LAUNCHES = 200e-6, 20
"""A short launch is repeated for so long, but not more often than that, and timed as a whole."""
REPEATS = 5
SIDE = 8192
"""Of the matrices whose product is timed."""
COPIED_BYTES = 2**29


def alone(start: Start, stream: Any, repeats: int, graph: bool) -> float:
    """Usual seconds of a launch that has the GPU for itself.

    A short one is repeated, with `graph` inside one CUDA graph, as it stands in a step: then the
    host's time for it does not count. Its kernels must be loaded.
    """
    import cupy

    def once() -> None:
        start(stream.ptr)

    cupy.cuda.runtime.deviceSynchronize()
    (first,) = elapsed(once, stream, 1)
    count = min(max(int(LEAST_SECONDS / max(first, 1e-9)), 1), MOST_LAUNCHES)
    if not graph:
        return median(elapsed(partial(_repeat, once, count), stream, repeats)) / count
    stream.begin_capture(cupy.cuda.runtime.streamCaptureModeThreadLocal)
    try:
        _repeat(once, count)
    finally:
        recorded = stream.end_capture()
    return median(elapsed(partial(recorded.launch, stream), stream, repeats)) / count


def _repeat(once: Callable[[], None], count: int) -> None:
    for _ in range(count):
        once()


class LaunchClock:
    """Times launches in the place of running them."""

    def __init__(self, repeats: int, graph: bool) -> None:
        self.repeats, self.graph = repeats, graph
        self.seconds: dict[int, float] = {}
        """By the instruction's number."""

    def timed(self, number: int, start: Start, stream: Any) -> Start:
        """What starts a launch on a stream, several times, and keeps what one took."""

        def run(pointer: int) -> None:
            assert pointer == stream.ptr, "a launch is on its device's stream"
            self.seconds[number] = alone(start, stream, self.repeats, self.graph)

        return run


def gpu_ceilings(precision: str) -> Ceilings:
    """What this GPU reaches in products of a precision and in copies, and what a launch takes.

    The product is that of two large matrices, by the fastest kernel here.
    """
    import cupy

    stream = cupy.cuda.Stream(non_blocking=True)
    flops = max(_products(precision, stream))
    nbytes = 2 * COPIED_BYTES / min(_copies(stream))
    tiny = Room((1, 1), "f32")
    start = partial(_relu, tiny.block)
    start(stream.ptr)
    launch = alone(start, stream, REPEATS, graph=True)
    cupy.get_default_memory_pool().free_all_blocks()
    return Ceilings(flops, nbytes, launch)


class Room:
    """A block with memory of its own."""

    def __init__(self, shape: tuple[int, ...], dtype: str, nhwc: bool = False) -> None:
        import cupy

        elements = Tensor(0, shape, dtype).elements
        self.memory = cupy.cuda.alloc(max(elements * ITEM_BYTES[dtype], 1))
        self.block = Tensor(self.memory.ptr, shape, dtype, nhwc)

    def fill(self, seed: Tensor, stream: int) -> None:
        """Normal numbers: products of zeros draw less power, and so are faster."""
        flat = Tensor(self.block.pointer, (self.block.elements,), self.block.dtype)
        normal = table.KERNELS["init_normal"]
        normal(flat, seed, std=1.0, key=0, shape=flat.shape, offset=(0,), stream=stream)


def zero_seed() -> Room:
    """A seed of random numbers, for `Room.fill`."""
    import cupy

    seed = Room((), "i64")
    cupy.cuda.runtime.memset(seed.block.pointer, 0, seed.block.nbytes)
    cupy.cuda.runtime.deviceSynchronize()
    return seed


def _products(precision: str, stream: Any) -> list[float]:
    """Operations a second of a large product, by every kernel that there is."""
    dtype, square = "bf16" if precision == "bf16" else "f32", (SIDE, SIDE)
    out, x, w = (Room(square, dtype) for _ in range(3))
    seed = zero_seed()
    x.fill(seed.block, stream.ptr)
    w.fill(seed.block, stream.ptr)
    binder = LaunchBinder(precision, Plans())
    call = KernelCall("fc", dtype, (), (0, 1), (square, square), square)
    found = []
    for kernels in ("native",) if vendor_missing() else ("native", "vendor"):
        choice = CudaKernels(precision, kernels).choose((call,))
        assert choice is not None, "there are kernels for every product"
        work = Room((-(-choice.workspace_bytes // ITEM_BYTES[dtype]),), dtype)
        step = Step("fc", (0, 1), NONE, square, choice.variants[0] or "")
        with suppress(DeviceError):  # where the vendor has no kernel for it
            start = binder.bind([step], "", [out.block, work.block], [x.block, w.block])
            seconds = min(elapsed(partial(start, stream.ptr), stream, REPEATS))
            found.append(2 * SIDE**3 / seconds)
    return found


def _copies(stream: Any) -> tuple[float, ...]:
    """Seconds of large copies inside the GPU's memory."""
    import cupy

    # Both rooms are held, or the second would be given the first one's memory.
    rooms = [Room((COPIED_BYTES // 4,), "f32") for _ in range(2)]
    target, source = (room.block for room in rooms)

    def copy() -> None:
        cupy.cuda.runtime.memcpyAsync(
            target.pointer, source.pointer, COPIED_BYTES,
            cupy.cuda.runtime.memcpyDeviceToDevice, stream.ptr,
        )  # fmt: skip

    return elapsed(copy, stream, REPEATS)


def _relu(block: Tensor, stream: int) -> None:
    table.KERNELS["relu"](block, block, stream=stream)
