"""Plans of a network beside each other, by prediction: strategies, schemes, devices."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from netc.api.calls import checked_calls
from netc.api.choices import AUTO, PlanChoices
from netc.api.figures import bytes_text, count, html_table, seconds_text, table, terminal_columns
from netc.api.listener import Listener
from netc.api.request import ALONE, BASE_STRATEGY, Parameters, Request, request
from netc.api.rows import Rows
from netc.api.values import path_text, usage
from netc.errors import Diagnostic, NetError, UsageError, clip, did_you_mean
from netc.export.speedups import SpeedupLine, draw_speedups, write_speedups
from netc.ir.programs import TRAIN
from netc.planner.compare import (
    LARGEST_BATCH,
    STRATEGIES,
    WORTH_TELLING,
    ComparedPlan,
    crossover,
    priced,
    priced_schemes,
)
from netc.planner.recompute import WORDS
from netc.spelling import in_python
from netc.strategies.fixed import FIXED
from netc.syntax import Network

COUNTS = (1, 2, 4, 8)
"""Devices, where none are named, as far as the machine has them."""
_HEADER = ("devices", "batch", "plan", "step", "images/s", "speedup", "not computing", "sent",
           "memory", "")  # fmt: skip
_SPARE = ("not computing", "images/s", "batch", "sent")


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A plan that cannot be carried out, and why."""

    devices: int
    strategy: str
    problem: NetError

    @property
    def reason(self) -> str:
        """Without a full stop."""
        return self.problem.diagnostics[0].message.rstrip(".")

    @property
    def text(self) -> str:
        """A sentence."""
        return f"'{self.strategy}' on {self.devices} is left out: {self.reason}."


Row = tuple[ComparedPlan, float]
"""A plan, and how much faster than one device it is."""


@checked_calls
@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Comparison:
    """Plans with what a step of each is predicted to take, send and hold; a table of them."""

    one: Request
    """What is asked of one device."""
    rows: tuple[Row, ...]
    left_out: tuple[LeftOut, ...]
    weak: bool
    """Whether the batch is a device's, and grows with them."""

    @property
    def plans(self) -> tuple[ComparedPlan, ...]:
        """All of them, by devices."""
        return tuple(plan for plan, _ in self.rows)

    @property
    def best(self) -> Mapping[int, Row]:
        """By devices the fastest plan that fits."""
        return _best(self.rows)

    @property
    def findings(self) -> tuple[str, ...]:
        """Where something else is faster than the papers' own strategy."""
        return tuple(_notes(self.rows, self.best))

    @property
    def notes(self) -> tuple[str, ...]:
        """What was found, and what is left out."""
        return (*self.findings, *(in_python(each.text) for each in self.left_out))

    @property
    def heading(self) -> str:
        """One line on what is compared."""
        chosen = self.one.options
        scaling = "the batch grows with the devices" if self.weak else "the same batch on all"
        goal = "" if chosen.goal == TRAIN else " of inference"
        where = f"{self.one.network.name} on '{chosen.cluster.name}', {chosen.precision}"
        return f"{where}: predicted steps{goal}, {scaling}"

    def cells(self) -> list[tuple[str, ...]]:
        """The table's rows, as text."""
        best = self.best
        return [
            (str(plan.devices), count(plan.batch), plan.name, seconds_text(plan.seconds),
             count(plan.images_per_second), f"{speedup:.2f}", seconds_text(plan.exposed_seconds),
             bytes_text(plan.sent_bytes), bytes_text(plan.peak_bytes), _mark(plan, best))
            for plan, speedup in self.rows
        ]  # fmt: skip

    def table(self, columns: int | None = None) -> str:
        """The table, as wide as so many columns."""
        return table(_HEADER, self.cells(), 1, _SPARE, columns)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a plot of speedups: X.svg, .pdf or .png.

        Raises UsageError (E056) for another suffix, or where the system refuses.
        """
        names = list(dict.fromkeys(plan.name for plan, _ in self.rows if plan.devices > 1))
        alone = [(1, speedup) for plan, speedup in self.rows if plan.devices == 1]
        lines = [
            SpeedupLine(n, (*alone, *((p.devices, s) for p, s in self.rows if p.name == n)))
            for n in names
        ]
        chosen = self.one.options
        images = f"{count(chosen.batch)} images" + (" a device" if self.weak else "")
        tiles = [(chosen.cluster.name, "machine"), (images, "a step"),
                 (chosen.precision, "precision")]  # fmt: skip
        scene = draw_speedups(self.one.network.name, tiles, lines)
        write_speedups(Path(path_text("path", path)), scene)

    def __repr__(self) -> str:
        """The table, as wide as the terminal."""
        notes = "".join(f"\nnote: {each}" for each in self.notes)
        return f"{self.heading}\n\n{self.table(terminal_columns())}{notes}"

    def _repr_html_(self) -> str:
        return html_table(self.heading, _HEADER, self.cells(), 1, self.notes)


@dataclass(frozen=True, slots=True)
class Compared:
    """What is compared, and how."""

    network: Network
    parameters: Parameters
    choices: PlanChoices
    """Of each plan but for its devices and strategy."""
    weak: bool = False

    def asked(self, devices: int, strategy: str, times: int = 1) -> Request:
        """What a plan would be asked, but that every scheme is to have layers of its own computed
        again where a word asks for some; of a search nothing is said.
        """
        word = () if self.choices.recompute not in WORDS else (self.choices.recompute,)
        given = replace(self.choices, devices=devices, strategy=strategy)
        given = replace(given, recompute=None) if word else given
        asked = request(self.network, self.parameters, given, Listener())
        if times > 1:
            given = replace(given, batch=times * asked.options.batch)
            asked = request(self.network, self.parameters, given, Listener())
        again = tuple(filter(None, word)) or asked.options.recompute
        return replace(asked, options=replace(asked.options, recompute=again))

    def plans(self, devices: int, strategy: str) -> list[ComparedPlan]:
        """A strategy on some devices, under each scheme. Raises NetError where it cannot be carried
        out.
        """
        asked = self.asked(devices, strategy, devices if self.weak else 1)
        # What a search found has its scheme.
        if strategy == AUTO or self.choices.scheme is not None or devices == 1:
            return [priced(asked.network, asked.options, strategy)]
        return priced_schemes(asked.network, asked.options, strategy)


def compare(
    asked: Compared,
    counts: Sequence[int] | None,
    strategies: Sequence[str] | None,
    told: Callable[[LeftOut], None] = lambda _: None,
) -> Comparison:
    """Price every plan: of some numbers of devices, or those that the machine has; by some
    strategies, or all. What cannot be carried out is left out, and told.

    Raises the NetError of the last of them where nothing is left.
    """
    named = check_strategies(strategies)
    one = asked.asked(1, ALONE)
    base = priced(one.network, one.options, ALONE)
    most = one.options.cluster.links.devices
    if counts is None:
        counts = [n for n in COUNTS if most is None or n <= most]
    plans: list[ComparedPlan] = []
    left_out: list[LeftOut] = []
    for devices in counts:
        for strategy in named if devices > 1 else [ALONE]:
            try:
                plans += asked.plans(devices, strategy)
            except NetError as problem:
                left_out.append(LeftOut(devices, strategy, problem))
                told(left_out[-1])
    if not plans:
        raise left_out[-1].problem
    rows = tuple((plan, plan.images_per_second / base.images_per_second) for plan in plans)
    return Comparison(one, rows, tuple(left_out), asked.weak)


@dataclass(frozen=True, slots=True)
class Crossover:
    """Up to which batch, over all devices, one strategy is better than another; 0 where it never
    is, None where it is at the largest that is tried.
    """

    devices: int
    sent_bytes: int | None
    """By what a device sends."""
    seconds: int | None
    """By what a step takes."""

    def cells(self) -> tuple[str, ...]:
        """As text."""
        return str(self.devices), _up_to(self.sent_bytes), _up_to(self.seconds)


def _up_to(batch: int | None) -> str:
    if batch is None:
        return f"{count(LARGEST_BATCH)} or more"
    return count(batch) if batch else "never"


class Crossovers(Rows[Crossover]):
    """By devices up to which batch one strategy is better than another one; a table of that."""

    header = ("devices", "sends less", "takes less time")

    def __init__(self, rows: Iterable[Crossover], heading: str) -> None:
        """`heading` says which strategies they are."""
        self._heading = heading

    def __new__(cls, rows: Iterable[Crossover], heading: str) -> Self:
        """Rows are what a tuple is made of."""
        return super().__new__(cls, rows)

    def __getnewargs__(self) -> tuple[tuple[Crossover, ...], str]:
        """What a copy is made of."""
        return tuple(self), self._heading

    @property
    def heading(self) -> str:
        """Which strategies they are."""
        return self._heading


def crossovers(asked: Compared, counts: Sequence[int], small: str, large: str) -> Crossovers:
    """For some numbers of devices: up to which batch a strategy is better than another one. Raises
    UsageError (E051) for one device, on which they are the same.
    """
    if 1 in counts:
        raise usage("a crossover is of several devices: on one all strategies are the same.")
    rows = []
    for devices in counts:
        one = asked.asked(devices, small)
        chosen = replace(one.options, scheme=asked.choices.scheme or "a")
        sent, took = (
            crossover(one.network, chosen, small, large, of)
            for of in (lambda plan: plan.sent_bytes, lambda plan: plan.seconds)
        )
        rows.append(Crossover(devices, sent, took))
    heading = (
        f"'{small}' against '{large}', exchange in scheme {asked.choices.scheme or 'a'}: the "
        "largest batch, over all devices, at which it"
    )
    return Crossovers(rows, heading)


def fixed_pair(names: Sequence[str]) -> tuple[str, str]:
    """Two fixed strategies; UsageError (E051) for others."""
    pair = check_strategies(names)
    if len(set(pair)) != 2 or not set(pair) <= set(FIXED):
        message = f"'{clip(','.join(names))}' is not of the form hybrid,data."
        hint = f"fixed strategies are: {', '.join(FIXED)}."
        raise UsageError(Diagnostic("E051", message, help=hint))
    first, second = pair
    return first, second


def check_strategies(names: Sequence[str] | None) -> list[str]:
    """Strategies, each once; all where none are named. UsageError (E051) for unknown ones."""
    known = [*STRATEGIES, AUTO]
    if names is None:
        return known
    for name in names:
        if name not in (*FIXED, AUTO) and Path(name).suffix != ".toml":
            hint = did_you_mean(name, known) + f"strategies are: {', '.join((*FIXED, AUTO))}."
            raise UsageError(Diagnostic("E051", f"there is no strategy '{clip(name)}'.", help=hint))
    return list(dict.fromkeys(names))


def _best(rows: Sequence[tuple[ComparedPlan, float]]) -> dict[int, tuple[ComparedPlan, float]]:
    """By devices the fastest plan that fits."""
    found: dict[int, tuple[ComparedPlan, float]] = {}
    for row in sorted(rows, key=lambda each: each[0].seconds):
        if row[0].fits:
            found.setdefault(row[0].devices, row)
    return dict(sorted(found.items()))


def _mark(plan: ComparedPlan, best: Mapping[int, tuple[ComparedPlan, float]]) -> str:
    if not plan.fits:
        return "does not fit"
    return "fastest" if best[plan.devices][0] is plan else ""


def _notes(
    rows: Sequence[tuple[ComparedPlan, float]], best: Mapping[int, tuple[ComparedPlan, float]]
) -> list[str]:
    """Where something else is faster than the papers' own strategy."""
    found = []
    for devices, (plan, _) in best.items():
        usual = [p for p, _ in rows if p.devices == devices and p.strategy == BASE_STRATEGY]
        default = min(usual, key=lambda p: p.seconds, default=None)
        if default is not None and plan.seconds < default.seconds * (1 - WORTH_TELLING):
            gain = 100 * (1 - plan.seconds / default.seconds)
            found.append(
                f"on {devices} devices '{plan.name}' is predicted to take {gain:.1f} % less time "
                f"than '{default.name}'."
            )
    return found


__all__ = [
    "COUNTS", "Compared", "Comparison", "Crossover", "Crossovers", "LeftOut", "check_strategies",
    "compare", "crossovers", "fixed_pair",
]  # fmt: skip
