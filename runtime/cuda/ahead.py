"""Kernels of a program compiled side by side while the program is made ready."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from netc.stages import staged
from netc_kernels.cuda.source import only_compiling
from netc_runtime.cores import cores

Start = Callable[[int], None]
"""Starts work on a stream, given by its pointer."""
MOST_THREADS = 16


@staged("kernels")
def compiled_ahead(starts: Iterable[tuple[Start, bool]], stream: int) -> list[Start]:
    """What starts instructions, each with whether it is a launch's: what launches want is compiled
    by threads as soon as it is known, and nothing of it is started.

    The compiler lets other threads run meanwhile; the vendor's library, which makes its plans in
    this one, does not. Raises what the compiler says.
    """
    import cupy

    device = cupy.cuda.runtime.getDevice()
    made: list[Start] = []
    waited: list[Future[None]] = []
    pool = ThreadPoolExecutor(min(cores(), MOST_THREADS), "netc-compile")
    try:
        for start, is_launch in starts:
            made.append(start)
            if is_launch:
                waited.append(pool.submit(_compile, start, stream, device))
        for each in waited:
            each.result()
    finally:
        pool.shutdown(cancel_futures=True)
    return made


def _compile(start: Start, stream: int, device: int) -> None:
    import cupy

    # A thread begins with the first GPU.
    with cupy.cuda.Device(device), only_compiling():
        start(stream)
