"""Kernels of programs compiled side by side before they run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from netc.ir.program import Launch, Program, View
from netc.ir.step import kernels_of
from netc.stages import staged
from netc_kernels import cpu
from netc_runtime.cores import cores
from netc_runtime.cpu.backend import DTYPES
from netc_runtime.cpu.bind import bind
from netc_runtime.making import MadeSoFar

COMPILED = "kernels are compiled for this machine"


def compile_ahead(
    programs: Iterable[Program], devices: Sequence[int], threads: int, told: Callable[[str], None],
    alone: bool,
) -> None:  # fmt: skip
    """Compile what launches of some devices want, and say so once if it takes long. Where it is
    not `alone` on the machine, this process does it without others.

    Each launch is gone through once with nothing run.
    """
    if not threads or cpu.available():
        return
    # Imported here: it imports Numba, which the reference kernels do without.
    with staged("import"):
        from netc_kernels.cpu.ahead import NotingPool, compile_all

    pool = NotingPool(threads)
    for program in programs:
        # devices of a class are equal
        for device in {program.class_of[each]: each for each in devices}.values():
            _list(program, device, pool)
    compile_all([*pool.wanted], cores() if alone else 1, MadeSoFar(COMPILED, told))


def _list(program: Program, device: int, pool: Any) -> None:
    """Go through a device's launches, each kind of them once."""
    seen = set()
    for launch in program.of(device).instructions.values():
        if isinstance(launch, Launch):
            kind = launch.joined, launch.steps, _shapes(launch.writes), _shapes(launch.reads)
            if kind not in seen:
                seen.add(kind)
                _go_through(program, launch, pool)


def _shapes(views: Sequence[View]) -> tuple[Any, ...]:
    return tuple((view.shape, view.format) for view in views)


def _go_through(program: Program, launch: Launch, pool: Any) -> None:
    parts = [launch.steps] if launch.joined else [*kernels_of(launch.steps)]
    if fast := [steps for steps in parts if steps[0].variant]:
        writes, reads = (
            [_like(program, view) for view in views] for views in (launch.writes, launch.reads)
        )
        with np.errstate(all="ignore"):
            for steps in fast:
                bind(steps, launch.joined, writes, reads, pool)()


def _like(program: Program, view: View) -> Any:
    """An array as the view's, of which nobody reads the elements; numbers are ones."""
    dtype, shape = DTYPES[program.buffer[view.buffer].dtype], view.shape
    if view.format == "nhwc":
        n, c, h, w = shape
        return np.empty((n, h, w, c), dtype).transpose(0, 3, 1, 2)
    return np.empty(shape, dtype) if shape else np.ones((), dtype)
