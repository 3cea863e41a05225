"""What measurements say of a machine: rates that kernels reach, links, and how both go together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import fsum, log
from statistics import median

import numpy as np
from numpy.typing import NDArray

from netc.cost import (
    STRIDED,
    Cluster,
    LinkLevel,
    MeasuredExchange,
    MeasuredLaunch,
    Reached,
    kernel_and_dtype,
    kind_of,
)
from netc.ir.clock import simulate
from netc.ir.program import Collective, Program

_PARTS = np.geomspace(0.02, 1.0, 40)
"""Parts of the memory's bandwidth that may be reached."""
_RATES = np.geomspace(0.02, 4.0, 55)
"""Parts of the peak: fast convolutions spare arithmetic, and so reach more than all of it."""
_HALVES = np.concatenate([[0.0], np.geomspace(1e4, 1e11, 29)])
"""Operations at which half of that is."""
KEEPS = tuple(round(0.05 * step, 2) for step in range(21))
"""Parts of its speed that a device may keep while it exchanges."""


@dataclass(frozen=True, slots=True)
class MeasuredStep:
    """A program, and what its step took."""

    program: Program
    seconds: float


Launches = Mapping[str, MeasuredLaunch]
"""Measured launches by their texts."""


def fit_reached(measured: Iterable[tuple[Cluster, Launches]]) -> dict[str, Reached]:
    """What kernels of each kind reach of the rates of a device: the roofline that is least off.
    Launches come with the machine as their devices see it.

    What is made least is the sum of all launches' errors, in seconds.
    """
    kinds: dict[str, list[tuple[float, ...]]] = {}
    for cluster, launches in measured:
        for text, each in launches.items():
            kernel, dtype = kernel_and_dtype(text)
            moving = each.nbytes / cluster.memory_bytes_per_second
            rates = cluster.flops(dtype), cluster.fastest
            row = each.seconds, each.flops, *rates, moving, cluster.launch_seconds
            kinds.setdefault(kind_of(kernel), []).append(row)
    return {kind: _fit(np.array(rows)) for kind, rows in sorted(kinds.items())}


def _fit(rows: NDArray[np.float64]) -> Reached:
    """The best of a grid of parts of the arithmetic, shortness and memory."""
    seconds, flops, rates, fastest, moving, launching = rows.T
    best, least = Reached(), np.inf
    least_moving = np.maximum(moving[None, :] / _PARTS[:, None], launching)
    for half in _HALVES if flops.any() else _HALVES[:1]:
        work = np.where(flops > 0, flops / rates + half / fastest, 0.0)
        for part in _RATES if flops.any() else _RATES[-1:]:
            foreseen = np.maximum(work / part, least_moving)
            errors = np.abs(foreseen - seconds).sum(axis=1)
            i = int(errors.argmin())
            if errors[i] < least:
                least, best = errors[i], Reached(float(part), float(half), float(_PARTS[i]))
    return best


def fit_link(level: LinkLevel, exchanges: Iterable[MeasuredExchange]) -> LinkLevel:
    """A link as wide as the largest exchanges over it say, with the latency of the smallest."""
    rates, latencies = [], []
    for each in exchanges:
        if each.kind.startswith(STRIDED):
            # That is no matter of the link.
            continue
        (_, shortest), *_, (most, longest) = each.points
        rates.append(most / longest)
        # What is reduced for all goes out and back.
        latencies.append(shortest / (2 if each.kind == "all_reduce" else 1))
    if not rates:
        return level
    return replace(
        level, bytes_per_second=median(rates), latency_seconds=max(median(latencies), 1e-9)
    )


def fit_keeps(steps: Sequence[MeasuredStep]) -> float:
    """The part of its speed with which a device computes while it exchanges that explains best what
    steps took. Without any exchange: all of it.
    """
    with_exchanges = [
        s for s in steps if any(isinstance(i, Collective) for i in s.program.instructions)
    ]
    if not with_exchanges:
        return 1.0

    def error(keeps: float) -> float:
        predicted = (simulate(keeping(s.program, keeps)).seconds for s in with_exchanges)
        return fsum(abs(log(p / s.seconds)) for p, s in zip(predicted, with_exchanges, strict=True))

    # Of equal ones the largest: nothing says that it is less.
    return min(reversed(KEEPS), key=error)


def keeping(program: Program, keeps: float) -> Program:
    """The program on a machine whose devices keep that part of their speed while they exchange."""
    instructions = (
        replace(each, keeps=keeps) if isinstance(each, Collective) else each
        for each in program.instructions
    )
    return replace(program, instructions=tuple(instructions))
