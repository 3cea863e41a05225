"""What exchanges between the devices at hand take."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np

from netc.api.elsewhere import once
from netc.api.held import blas_kept, placed, several
from netc.api.machine import shipped_kind
from netc.api.ranks import joined
from netc.api.targets import CUDA_ALIGNMENT_BYTES
from netc.cost import MeasuredExchange
from netc.ir.program import Bundle
from netc.ir.text import parse_bundle
from netc.planner.exchanges import KINDS, exchange_program
from netc_runtime.backend import Backend
from netc_runtime.choose import BackendChoice, open_devices
from netc_runtime.launch.ranks import Ranks

SIZES = tuple(2**n for n in (12, 15, 18, 21, 24, 26))
"""Bytes that a device exchanges, about."""
TIMES = (1, 5)
"""How often a program exchanges: the difference is what exchanges alone take."""
REPEATS = 7
Times = tuple[MeasuredExchange, ...]


def exchange_times(bundle: Bundle) -> Times:
    """What each kind of exchange takes between the devices of a program; GPUs in a process each.

    Raises DeviceError where they cannot run here.
    """
    choice = placed(bundle)
    if several(bundle, choice):
        found: Times = once(measure, bundle, choice, SIZES, REPEATS)
        return found
    with blas_kept():
        alone = replace(choice, watched=False)
        return tuple(_each_kind(alone, bundle, None, SIZES, REPEATS))


def measure(
    program: str, choice: BackendChoice, sizes: Sequence[int], repeats: int
) -> Generator[Times, None, None]:
    """The same in processes of their own, which are told what to measure."""
    with joined(parse_bundle(program), choice) as (ranks, bundle):
        yield tuple(_each_kind(choice, bundle, ranks, sizes, repeats))


def _each_kind(
    choice: BackendChoice,
    bundle: Bundle,
    ranks: Ranks | None,
    sizes: Sequence[int],
    repeats: int,
) -> Iterator[MeasuredExchange]:
    mesh, room, cluster = bundle.train.mesh, CUDA_ALIGNMENT_BYTES, shipped_kind("")
    made = {
        (kind, size): [exchange_program(kind, size, t, mesh, cluster, room) for t in TIMES]
        for kind in KINDS
        for size in sizes
    }
    every = [each.program for pair in made.values() for each in pair]
    with closing(open_devices(choice, every, bundle.facts, ranks)) as backend:
        for kind in KINDS:
            points = []
            for size in sizes:
                once_, often = made[kind, size]
                seconds = [_usual(backend, each.program, repeats) for each in (once_, often)]
                each = (seconds[1] - seconds[0]) / (often.times - once_.times)
                # Where noise is larger than that, all of it counts.
                points.append((once_.nbytes, each if each > 0 else seconds[1] / often.times))
            yield MeasuredExchange(kind, mesh.size, tuple(points))


def _usual(backend: Backend, program: Any, repeats: int) -> float:
    executable = backend.load(program)
    for port in program.inputs:
        executable.write(port, np.ones(port.shape, np.float32))
    executable.measure(2)
    return median(executable.measure(repeats).steps)
