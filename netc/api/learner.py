"""What measurements say of a machine: its rates, its links, and how true its prices are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from netc.api.configurations import Configuration
from netc.api.figures import scaled
from netc.api.listener import Told
from netc.api.machine import shipped_kind
from netc.cost import (
    Cluster,
    LaunchTable,
    LinkLevel,
    MeasuredExchange,
    MeasuredLaunch,
    MeasuredPlan,
    at_devices,
    at_precision,
    read_cluster,
)
from netc.ir.clock import simulate
from netc.passes.options import Options
from netc.passes.pipeline import lower_network
from netc.planner.calibration import MeasuredStep, fit_keeps, fit_link, fit_reached, keeping
from netc_runtime.cores import cores
from netc_runtime.measure.machine import machine_name, memory_bytes
from netc_runtime.measure.profile import device_ceilings

LEAST_ERROR, MOST_ERROR = 0.02, 0.9
_BY = "measured by netc calibrate: "
SLOW_LINK = 0.5
"""A link that has less than this part of what its kind has is worth a word."""


@dataclass(frozen=True, slots=True)
class CalibratedStep:
    """A step that was measured, beside what the machine, as it was measured, predicts of it."""

    measured: Configuration
    predicted_seconds: float

    @property
    def off(self) -> float:
        """How far that is off, as a part."""
        return self.predicted_seconds / self.measured.seconds - 1


@dataclass(frozen=True, slots=True)
class Learner:
    """The machine at hand: for which backend, and whether its devices share a GPU."""

    target: str
    share_gpus: bool
    told: Told
    """Who hears of what is slow."""

    def learned(
        self,
        found: Sequence[Configuration],
        exchanges: tuple[MeasuredExchange, ...],
        before: Cluster | None,
    ) -> tuple[Cluster, tuple[CalibratedStep, ...]]:
        """The machine by all that was measured, and what it predicts of the steps that were."""
        cluster, true = self._fitted(found, exchanges, before), self._true(found)
        steps = [MeasuredStep(_program(each, cluster), each.seconds) for each in true]
        exchanging = any(each.devices > 1 for each in true)
        keeps = before.while_exchanging if before and not exchanging else fit_keeps(steps)
        predicted = [simulate(keeping(each.program, keeps)).seconds for each in steps]
        rows = tuple(CalibratedStep(c, p) for p, c in zip(predicted, true, strict=True))
        error = min(max([LEAST_ERROR, *(abs(row.off) for row in rows)]), MOST_ERROR)
        if before and set(before.launches) - {each.setting for each in true}:
            # Of what was measured before, and is not anew, nothing better is known.
            error = max(error, before.error)
        return replace(cluster, while_exchanging=keeps, error=error), rows

    def exchanging_anew(self, before: Cluster, exchanges: tuple[MeasuredExchange, ...]) -> Cluster:
        """The machine as it was measured, with other exchanges."""
        merged = _merged(before, exchanges)
        kind = shipped_kind(before.name) if self.target == "cuda" else shipped_kind("")
        level = self._fitted_link(kind, merged)
        levels = (level, *before.links.levels[1:])
        return replace(before, links=replace(before.links, levels=levels, measured=merged))

    def _true(self, found: Sequence[Configuration]) -> list[Configuration]:
        """Those whose steps hold: devices that share a GPU take turns."""
        return [each for each in found if not (self.share_gpus and each.devices > 1)]

    def _fitted_link(self, kind: Cluster, exchanges: tuple[MeasuredExchange, ...]) -> LinkLevel:
        """The innermost link, by what was measured."""
        usual = kind.links.levels[0]
        level = fit_link(usual, exchanges)
        slow = level.bytes_per_second < SLOW_LINK * usual.bytes_per_second
        if self.target == "cuda" and exchanges and slow:
            reached, known = (scaled(each.bytes_per_second, "B/s") for each in (level, usual))
            self.told(
                f"GPUs exchange {reached}, where this kind reaches {known}: see "
                "'nvidia-smi topo -m' for how they are joined."
            )
        return level

    def _fitted(
        self,
        found: Sequence[Configuration],
        exchanges: tuple[MeasuredExchange, ...],
        before: Cluster | None,
    ) -> Cluster:
        """The machine: its rates, its links, and what was measured."""
        name, exchanges = machine_name(self.target), _merged(before, exchanges)
        said = before.source if before else ""
        earlier = said.removeprefix(_BY).split(", ") if said.startswith(_BY) else []
        kind = shipped_kind(name) if self.target == "cuda" else shipped_kind("")
        own = None if self.target == "cuda" else cores()
        rates, bandwidth, launch = _rates(self.target, own or 1, found[0])
        level = self._fitted_link(kind, exchanges)
        tables = dict(before.launches) if before else {}
        for where, launches in _tables(found).items():
            old = tables[where].launches if where in tables else {}
            tables[where] = LaunchTable({**old, **launches})
        cluster = Cluster(
            name, rates, bandwidth, float(memory_bytes(self.target)), launch,
            replace(kind.links, levels=(level, *kind.links.levels[1:]), measured=exchanges),
            f"{_BY}{', '.join(dict.fromkeys((*earlier, *(each.name for each in found))))}",
            cores=own, machine=name, launches=tables,
            plans=_plans(before, self._true(found)),
        )  # fmt: skip
        seen = {each.setting: at_devices(cluster, each.devices) for each in found}
        rows = [(seen[where], tables[where].launches) for where in seen]
        return replace(cluster, reached=fit_reached(rows))


def known_before(path: Path, target: str) -> Cluster | None:
    """What was measured on this machine before, to which more is added."""
    if not path.exists():
        return None
    known = read_cluster(path)
    return known if known.machine == machine_name(target) else None


def _merged(
    before: Cluster | None, exchanges: tuple[MeasuredExchange, ...]
) -> tuple[MeasuredExchange, ...]:  # fmt: skip
    known = {(e.kind, e.size): e for e in (before.links.measured if before else ())}
    return tuple((known | {(e.kind, e.size): e for e in exchanges}).values())


def _rates(
    target: str, own: int, first: Configuration
) -> tuple[dict[str, float], float, float]:  # fmt: skip
    """Peak rates by data type, of a core where cores are shared, and those of memory and launch."""
    threads = first.asked.options.target.threads
    if target == "cuda":
        each = {p: device_ceilings(target, p, 1, 0) for p in ("fp32", "tf32", "bf16")}
        rates = {"f32": "fp32", "tf32": "tf32", "bf16": "bf16"}
        found = {dtype: each[p].flops_per_second for dtype, p in rates.items()}
        one = each["fp32"]
        # No kernel computes in it there.
        found["f64"] = found["f32"] / 2
        return found, one.bytes_per_second, one.launch_seconds
    one = device_ceilings(target, "fp32", own, threads)
    double = device_ceilings(target, "fp64", own, 0)
    found = {"f32": one.flops_per_second / own, "f64": double.flops_per_second / own}
    return found, one.bytes_per_second, one.launch_seconds


def _plans(
    before: Cluster | None, found: Sequence[Configuration]
) -> dict[str, tuple[MeasuredPlan, ...]]:  # fmt: skip
    """By task the plans that were measured; what was measured anew is as it is now."""
    plans = dict(before.plans) if before else {}
    for each in found:
        kept = (plan for plan in plans.get(each.task, ()) if plan.key != each.plan.key)
        plans[each.task] = (*kept, each.plan)
    return plans


def _tables(found: Sequence[Configuration]) -> dict[str, dict[str, MeasuredLaunch]]:
    """By setting and text the usual seconds of every launch."""
    every: dict[str, dict[str, list[MeasuredLaunch]]] = defaultdict(lambda: defaultdict(list))
    for each in found:
        for text, launches in each.launches.items():
            every[each.setting][text] += launches
    return {
        where: {
            text: replace(own[0], seconds=max(median(each.seconds for each in own), 1e-9))
            for text, own in launches.items()
        }
        for where, launches in every.items()
    }


def _program(each: Configuration, cluster: Cluster) -> Any:
    """The program of a configuration, with the prices of the machine as it was measured."""
    asked: Options = each.asked.options
    seen = at_precision(at_devices(cluster, each.devices), asked.precision)
    return lower_network(each.asked.network, replace(asked, cluster=seen)).program
