"""What was measured on a machine: seconds of launches and of exchanges, and of what is like them.

A launch is named by a text: its kernels, what they are told, and shapes. One that was measured
takes what it took. One that was not takes what the roofline says (`netc.cost.launch`), times what
it is off for the launches of the same kernels whose numbers are nearest.
"""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

from netc.ir.comm import Comm
from netc.ir.facts import UPDATES
from netc.ir.kernels import KernelCall
from netc.ir.plan import Split

STRIDED = "strided_"
"""Before the kind of exchanges of shards that are many runs of a tensor's bytes."""
VERSION = 1
"""Of files of measurements."""
NEAREST = 3
"""So many launches say how far the roofline is off for one like them."""
_NUMBER = re.compile(r"\d+")
_KINDS = {each.kernel for each in Comm.__subclasses__()}


@dataclass(frozen=True, slots=True)
class MeasuredLaunch:
    """What a launch took, and what it has to do."""

    seconds: float
    flops: int
    nbytes: int
    """To read and write."""


def launch_text(calls: Sequence[KernelCall], variants: Sequence[str | None]) -> str:
    """A launch's name in tables of times: all that they depend on, and nothing else."""
    return "; ".join(map(_call_text, calls, variants))


def kernel_and_dtype(text: str) -> tuple[str, str]:
    """The first kernel of a launch's text, and the data type of its result."""
    kernel, dtype, *_ = text.split(" ", 2)
    return kernel.partition(".")[0], dtype


def _call_text(call: KernelCall, variant: str | None) -> str:
    told = (f"{name}={_value(value)}" for name, value in call.attributes)
    # What a later step reads of the ones before it has the shape that they have.
    shapes = (s for a, s in zip(call.args, call.operands, strict=True) if a >= 0)
    by = "" if variant is None else f".{variant or 'reference'}"
    return " ".join(
        (call.kernel + by, call.dtype, *told, *map(_shape, shapes), _shape(call.result))
    )


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _value(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


@dataclass(frozen=True)
class LaunchTable:
    """Launches measured in one setting, by their texts. Not slotted: it caches what is alike."""

    launches: Mapping[str, MeasuredLaunch] = field(default_factory=dict)

    @cached_property
    def _alike(self) -> Mapping[str, list[tuple[tuple[float, ...], MeasuredLaunch]]]:
        """By text without its numbers: the numbers, on a logarithmic scale, and the launch."""
        found: dict[str, list[tuple[tuple[float, ...], MeasuredLaunch]]] = {}
        for text, launch in self.launches.items():
            found.setdefault(_form(text), []).append((_numbers(text), launch))
        return found

    def nearest(self, text: str) -> list[tuple[float, MeasuredLaunch]]:
        """The measured launches most like one, nearest first: distance, launch. The distance is 0
        where it was measured itself; none where no launch of its kernels was.
        """
        if (known := self.launches.get(text)) is not None:
            return [(0.0, known)]
        here = _numbers(text)
        distances = (
            (math.fsum(abs(a - b) for a, b in zip(here, there, strict=True)), launch)
            for there, launch in self._alike.get(_form(text), ())
        )
        return sorted(distances, key=lambda each: each[0])[:NEAREST]


def _form(text: str) -> str:
    return _NUMBER.sub("#", text)


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(math.log1p(int(each)) for each in _NUMBER.findall(text))


@dataclass(frozen=True, slots=True)
class MeasuredExchange:
    """Exchanges of one kind in groups of one size: seconds by bytes."""

    kind: str
    """As in programs, or such a kind of strided shards."""
    size: int
    """Devices in a group."""
    points: tuple[tuple[int, float], ...]
    """Bytes that the busiest device sends or receives, and seconds; ascending, two or more."""

    def has(self, size: int, nbytes: int) -> bool:
        """Whether groups of that size were measured, with fewer bytes and with more."""
        return size == self.size and self.points[0][0] <= nbytes <= self.points[-1][0]

    def off(self, nbytes: int, model: Callable[[int], float]) -> float:
        """By what a model's seconds are to be multiplied, by what they are off at the sizes that
        were measured: between two of them on a straight line through logarithms, elsewhere as at
        the nearest one.
        """
        sizes = [x for x, _ in self.points]
        place = bisect_left(sizes, nbytes)
        if place in (0, len(sizes)):
            x, y = self.points[min(place, len(sizes) - 1)]
            return y / model(x)
        (x0, y0), (x1, y1) = self.points[place - 1 : place + 1]
        first, second = math.log(y0 / model(x0)), math.log(y1 / model(x1))
        part = math.log(nbytes / x0) / math.log(x1 / x0)
        return math.exp(first + part * (second - first))


@dataclass(frozen=True, slots=True)
class MeasuredPlan:
    """What a step by a plan took."""

    name: str
    """The strategy, or where it comes from that was searched for."""
    seconds: float
    mesh: tuple[int, ...]
    """Devices along each axis."""
    scheme: str
    """Empty where nothing is exchanged in rounds."""
    updates: str
    """How devices that have the same weights update them (`netc.ir.facts.UPDATES`)."""
    splits: tuple[tuple[str, Split], ...]
    """Of every layer."""

    @property
    def key(self) -> object:
        """What makes it another plan."""
        return self.mesh, self.scheme, self.updates, tuple(sorted(self.splits))


@dataclass(frozen=True, slots=True)
class Measured:
    """All that was measured on a machine."""

    launches: Mapping[str, LaunchTable] = field(default_factory=dict)
    """By setting (`netc.cost.launch.setting`)."""
    exchanges: tuple[MeasuredExchange, ...] = ()
    plans: Mapping[str, tuple[MeasuredPlan, ...]] = field(default_factory=dict)
    """Whole steps, by what they compute (`netc.passes.options.task`)."""


def measured_json(measured: Measured) -> str:
    """The text of a file of measurements."""
    launches = {
        setting: {
            text: [each.seconds, each.flops, each.nbytes]
            for text, each in sorted(table.launches.items())
        }
        for setting, table in sorted(measured.launches.items())
    }
    exchanges = [[each.kind, each.size, list(each.points)] for each in measured.exchanges]
    content = {
        "netc_measured": VERSION,
        "exchanges": exchanges,
        "launches": launches,
        "plans": {task: [*map(_plan_json, own)] for task, own in sorted(measured.plans.items())},
    }
    return json.dumps(content, indent=0) + "\n"


def _plan_json(plan: MeasuredPlan) -> list[Any]:
    splits = {layer: ",".join(split) for layer, split in plan.splits}
    return [plan.name, plan.seconds, list(plan.mesh), plan.scheme, plan.updates, splits]


def parse_measured(text: str) -> Measured:
    """The inverse of `measured_json`. Raises ValueError where a text is nothing of the kind."""
    try:
        content = json.loads(text)
        if content["netc_measured"] != VERSION:
            raise ValueError(f"it is not of version {VERSION}")
        launches = {
            setting: LaunchTable({text: _launch(*each) for text, each in table.items()})
            for setting, table in content["launches"].items()
        }
        exchanges = tuple(_exchange(*each) for each in content["exchanges"])
        if len({(each.kind, each.size) for each in exchanges}) < len(exchanges):
            raise ValueError("an exchange is there twice")
        plans = {
            task: tuple(_plan(*each) for each in own)
            for task, own in content.get("plans", {}).items()
        }
    except (KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise ValueError("it is no file of measurements") from None
    return Measured(launches, exchanges, plans)


def _plan(
    name: str,
    seconds: float,
    mesh: Sequence[int],
    scheme: str,
    updates: str,
    splits: Mapping[str, str],
) -> MeasuredPlan:
    shape = tuple(map(int, mesh))
    made = tuple((layer, tuple(split.split(","))) for layer, split in splits.items())
    if not 0 < float(seconds) < math.inf:
        raise ValueError("a step takes seconds")
    if min(shape, default=0) < 1 or any(len(split) != len(shape) for _, split in made):
        raise ValueError("a plan splits every layer on every axis of its devices")
    if updates not in UPDATES:
        raise ValueError(f"'{updates}' is no way to update")
    return MeasuredPlan(str(name), float(seconds), shape, str(scheme), updates, made)


def _launch(seconds: float, flops: int, nbytes: int) -> MeasuredLaunch:
    if not (0 < float(seconds) < math.inf and min(int(flops), int(nbytes)) >= 0):
        raise ValueError("a launch takes seconds, and has operations and bytes")
    return MeasuredLaunch(float(seconds), int(flops), int(nbytes))


def _exchange(kind: str, size: int, points: Sequence[Sequence[float]]) -> MeasuredExchange:
    if kind.removeprefix(STRIDED) not in _KINDS:
        raise ValueError(f"'{kind}' is no exchange")
    pairs = tuple((int(nbytes), float(seconds)) for nbytes, seconds in points)
    rising = all(a < b for (a, _), (b, _) in pairwise(pairs))
    if len(pairs) < 2 or not rising or pairs[0][0] < 1 or int(size) < 2:
        raise ValueError("an exchange has two sizes or more, ascending")
    if not all(0 < seconds < math.inf for _, seconds in pairs):
        raise ValueError("an exchange takes seconds")
    return MeasuredExchange(str(kind), int(size), pairs)
