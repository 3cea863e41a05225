"""What every layer of a training step takes, measured, beside what the machine reaches."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median

from netc.api.calls import checked_calls
from netc.api.figures import (
    bytes_text,
    count,
    scaled,
    seconds_text,
    table,
    terminal_columns,
)
from netc.api.listener import Listener
from netc.api.parts import StepPart, parts, passes
from netc.api.predicted import outcome
from netc.api.running import check_trains, describe, kernel_notes, open_session
from netc.api.values import path_text
from netc.export.roofline import Roof, RooflinePoint, draw_roofline, write_roofline
from netc.export.scene import Scene
from netc.export.svg import svg_text
from netc.export.words import plural
from netc.ir.clock import simulate
from netc.ir.program import Bundle
from netc.spelling import in_python
from netc_runtime.backend import Ceilings, Timing
from netc_runtime.choose import BackendChoice
from netc_runtime.launch.ranks import Ranks
from netc_runtime.measure.profile import measure_ceilings, measure_step

_SPARE = ("bytes", "FLOP", "B/s", "FLOP/s")
"""Columns that are left out first where the terminal is narrow."""
_FIGURES = ("time", "of step", "FLOP", "bytes", "FLOP/s", "B/s", "bound by", "of it")


@checked_calls
@dataclass(frozen=True, eq=False, repr=False)
class Profile:
    """A measured step: a table of its layers in a terminal, a roofline in a notebook."""

    bundle: Bundle
    timing: Timing
    ceilings: Ceilings
    """What the machine reaches."""
    about: str
    """Two lines on what ran where."""
    backend: Mapping[str, object]
    """What it ran on, by name."""
    cluster: str | None = None
    """The machine whose prices the program has, as it was named; None is the one at hand."""

    @property
    def seconds(self) -> float:
        """Of a usual step."""
        return median(self.timing.steps)

    @property
    def predicted_seconds(self) -> float:
        """Of a step, by the prices in the program."""
        return simulate(self.bundle.train).seconds

    @property
    def images_per_second(self) -> float:
        """Of all devices."""
        return self.bundle.facts.batch / self.seconds

    @property
    def other_seconds(self) -> float:
        """What is left of a step without the first device's launches."""
        return self.seconds - sum(self.timing.launches.values())

    @cached_property
    def layers(self) -> tuple[StepPart, ...]:
        """The first device's layers, each pass by itself."""
        return tuple(parts(self.bundle.train, self.timing.launches, self.ceilings, False))

    @cached_property
    def launches(self) -> tuple[StepPart, ...]:
        """The first device's launches, with their kernels."""
        return tuple(parts(self.bundle.train, self.timing.launches, self.ceilings, True))

    @cached_property
    def passes(self) -> tuple[StepPart, ...]:
        """The sums over layers."""
        return tuple(passes(self.bundle.train, self.timing.launches, self.ceilings))

    @property
    def heading(self) -> str:
        """What ran where, and what the machine reaches."""
        roof = self.ceilings
        product = scaled(roof.flops_per_second, "FLOP/s")
        copy = scaled(roof.bytes_per_second, "B/s")
        launch = seconds_text(roof.launch_seconds)
        reached = f"{product} in a matrix product, {copy} in a copy, {launch} a launch"
        return f"{self.about}\nceilings  {reached}"

    def table(self, columns: int | None = None, *, launches: bool = False) -> str:
        """A row a layer and pass, or every launch, as wide as so many columns."""
        names = ("layer", "pass", *(("kernels",) if launches else ()))
        rows = (
            (p.layer, p.phase, *((p.kernels,) if launches else ()), *_row(p, self.seconds))
            for p in (self.launches if launches else self.layers)
        )
        return table((*names, *_FIGURES), rows, len(names), _SPARE, columns)

    def sums(self, columns: int | None = None) -> str:
        """A row a pass, and what else a step is made of, as wide as so many columns."""
        return table(("", *_FIGURES), self._sums(), spare=_SPARE, columns=columns)

    @property
    def footing(self) -> str:
        """How fast it is, and what was predicted."""
        devices, facts = self.bundle.train.mesh.size, self.bundle.facts
        whose = f", launches are the first device's of {devices}" if devices > 1 else ""
        steps = plural(len(self.timing.steps), "step")
        speed = f"median of {steps}, {count(self.images_per_second)} images/s{whose}"
        told = outcome(self.predicted_seconds, self.seconds, facts.target, self.cluster)
        return f"{speed}\n{told}"

    def save(self, path: str | os.PathLike[str], *, launches: bool = False) -> None:
        """Write a roofline of the layers, or of every launch: X.svg, .pdf or .png.

        Raises UsageError (E056) for another suffix, or where the system refuses.
        """
        write_roofline(Path(path_text("path", path)), self._drawing(launches))

    def __repr__(self) -> str:
        """All of it, as wide as the terminal."""
        columns = terminal_columns()
        tables = f"{self.table(columns)}\n\n{self.sums(columns)}"
        return f"{self.heading}\n\n{tables}\n\n{in_python(self.footing)}"

    def _repr_svg_(self) -> str:
        return svg_text(self._drawing(False))

    def _sums(self) -> Iterator[tuple[str, ...]]:
        blank = ("-",) * 6
        for part in self.passes:
            yield part.phase, *_row(part, self.seconds)
        other = self.other_seconds
        share = _percent(other / self.seconds) if other > 0 else "-"
        yield "communication and gaps", seconds_text(max(other, 0.0)), share, *blank
        if self.bundle.train.mesh.size > 1:
            waited = self.timing.exposed_seconds
            share = _percent(waited / self.seconds)
            yield "of it, waiting", seconds_text(waited), share, *blank
        yield "step", seconds_text(self.seconds), "100 %", *blank

    def _drawing(self, launches: bool) -> Scene:
        """The parts below the ceilings."""
        roof, facts = self.ceilings, self.bundle.facts
        tiles = [
            (facts.target, f"backend, {facts.precision}"),
            (f"{facts.batch} images", "a step"),
            (seconds_text(self.seconds), "a step"),
            (scaled(roof.flops_per_second, "FLOP/s"), "matrix product: the flat roof"),
            (scaled(roof.bytes_per_second, "B/s"), "copy: the slope"),
            (seconds_text(roof.launch_seconds), "a launch"),
        ]
        points = [
            RooflinePoint(p.layer, p.phase, p.flops / p.moved_bytes, p.flops_per_second,
                          p.seconds / self.seconds, p.bound == "launch")
            for p in (self.launches if launches else self.layers) if p.moved_bytes
        ]  # fmt: skip
        limits = Roof(roof.flops_per_second, roof.bytes_per_second)
        return draw_roofline(facts.network, tiles, points, limits)


def profiled(
    bundle: Bundle,
    choice: BackendChoice,
    steps: int,
    listener: Listener,
    cluster: str | None = None,
    ranks: Ranks | None = None,
) -> Profile | None:
    """Time some steps of a program and their launches; of several processes the first one tells
    what its device does, the others nothing.

    Raises DeviceError where this machine has too little.
    """
    check_trains(bundle)
    if ranks is not None and ranks.rank:
        with closing(open_session(choice, bundle, ranks)) as session:
            measure_step(session, steps)
        return None
    for text in kernel_notes(bundle):
        listener.note(text)
    # Before the programs take their memory, of which there may be little left.
    ceilings = measure_ceilings(bundle)
    with closing(open_session(choice, bundle, ranks, told=listener.wait)) as session:
        timing = measure_step(session, steps)
        backend = dict(session.backend.describe())
    return Profile(bundle, timing, ceilings, describe(bundle, choice), backend, cluster)


def measured_profile(
    bundle: Bundle,
    choice: BackendChoice,
    measured: tuple[Timing, Ceilings, Mapping[str, object]],
    cluster: str | None = None,
) -> Profile:
    """The profile of what was measured of a program elsewhere."""
    timing, ceilings, backend = measured
    return Profile(bundle, timing, ceilings, describe(bundle, choice), backend, cluster)


def _row(part: StepPart, step_seconds: float) -> tuple[str, ...]:
    return (
        seconds_text(part.seconds),
        _percent(part.seconds / step_seconds),
        scaled(part.flops, ""),
        bytes_text(part.moved_bytes),
        scaled(part.flops_per_second, ""),
        bytes_text(part.bytes_per_second),
        part.bound,
        f"{100 * part.reached:.0f} %",
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
