"""Kernels compiled before they are called, by several processes.

Numba compiles one function at a time in a process. What helpers compile is kept on disk, where the
process that asked finds it: the same code as if it had compiled it. Helpers have these modules;
they get names of functions and signatures.
"""

import gc
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from numba import typeof
from numba.core import config

from netc_kernels.cpu.kept import any_place
from netc_kernels.cpu.ranges import SERVE, SHARE, serve, share, share_out, signatures
from netc_kernels.cpu.threads import Pool, RangeTask
from netc_kernels.cpu.vector import NAMED, name_of
from netc_kernels.helpers import hand_out, helped

Wanted = tuple[str, Any]
"""The name of a function and the signature that it is wanted for."""
Counted = Callable[[int, int], None]
"""Hears how many functions are compiled, and of how many."""
FEW = 4
"""Functions for which a further process does not pay: it takes a second to start."""
MOST_HELPERS = 15
_config: Any = config
_typeof: Any = typeof
COMMAND = "from netc_kernels.cpu.ahead import help_out; help_out()"


class NotingPool(Pool):
    """A pool that runs nothing, and notes which kernels would be."""

    def __init__(self, threads: int) -> None:
        """As many threads as the pool has that will run them."""
        self.threads = threads
        helped = {(name_of(serve), SERVE): None} if threads > 1 else {}
        self.wanted: dict[Wanted, None] = helped | {(name_of(share), SHARE): None}
        """In the order in which they are first run."""

    def run(self, count: int, grain: int, part: RangeTask, *arguments: Any) -> None:
        """Note a kernel. What functions of Python call is not known before they run."""
        if hasattr(part, "py_func"):
            own, shared = signatures(tuple(map(_typeof, arguments)))
            self.wanted[name_of(part), own] = None
            self.wanted[name_of(share_out), shared] = None

    def close(self) -> None:
        """There are no threads."""


def compile_all(wanted: Sequence[Wanted], processes: int, counted: Counted) -> None:
    """Compile what is neither here nor kept, in so many processes at most, this one among them."""
    todo = deque(each for each in wanted if not _is_there(*each))
    count, done = len(todo), list[Wanted]()
    helpers = min(processes - 1, count // FEW, MOST_HELPERS) if count and any_place() else 0
    threads = [
        threading.Thread(target=_ask, args=(todo, done), daemon=True) for _ in range(helpers)
    ]
    for thread in threads:
        thread.start()
    with _uncollected():
        try:
            for each in _taken(todo):
                done.append(_compile(*each))
                counted(len(done), count)
        finally:
            todo.clear()
            for thread in threads:
                thread.join()


def _taken(todo: deque[Wanted]) -> Iterator[Wanted]:
    """The first ones, until none is left; helpers take the last ones meanwhile."""
    while True:
        try:
            each = todo.popleft()
        except IndexError:
            return
        yield each


def _ask(todo: deque[Wanted], done: list[Wanted]) -> None:
    """Have a helper compile from the other end, where other pieces are wanted. What it has not kept
    is compiled where it is called.
    """
    folder = {"NUMBA_CACHE_DIR": str(_config.CACHE_DIR)} if _config.CACHE_DIR else {}
    hand_out(COMMAND, todo, done, {"OPENBLAS_NUM_THREADS": "1", **folder})


def help_out() -> None:
    """Compile what this helper is asked for."""
    # imported here: it has all kernels
    from netc_kernels.cpu import table

    assert table.IMPLEMENTATIONS
    gc.disable()
    for each in helped():
        _compile(*each)


def _compile(name: str, signature: Any) -> Wanted:
    """Nothing where this process has no such function."""
    if name in NAMED:
        NAMED[name].compile(signature)
    return name, signature


def _is_there(name: str, signature: Any) -> bool:
    if name not in NAMED:
        return True
    found = NAMED[name]
    kinds = signature if isinstance(signature, tuple) else signature.args
    return kinds in found.overloads or found._cache.holds(signature, found.targetctx)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without looking for garbage, which takes a tenth of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
