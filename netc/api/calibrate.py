"""The machine at hand is measured, and kept as the machine to plan for."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

from netc.api.build import build
from netc.api.calls import checked_call, checked_calls
from netc.api.choices import (
    KERNELS,
    TARGETS,
    PlanChoices,
    Read,
    flag,
    number,
    one_of,
    wrong,
)
from netc.api.configurations import Configuration, Measuring, Skipped
from netc.api.exchange_times import Times, exchange_times
from netc.api.figures import html_table, scaled, seconds_text, table, terminal_columns
from netc.api.held import check_one_process
from netc.api.learner import CalibratedStep, Learner, known_before
from netc.api.listener import Listener, Notes, Told
from netc.api.model import Model, load
from netc.api.values import path_text
from netc.api.writable import check_writable
from netc.api.written import unwritable
from netc.cost import Cluster, Measured, cluster_toml, measured_json, read_cluster
from netc.errors import DeviceError, Diagnostic, UsageError
from netc.numbers import COUNT, DEVICES
from netc.planner.compare import STRATEGIES
from netc.spelling import in_python
from netc_kernels import cuda
from netc_kernels.files import write_whole
from netc_runtime.choose import choose_backend
from netc_runtime.cores import cores
from netc_runtime.measure.machine import own_cluster

NETWORKS = ("alexnet", "resnet18")
"""Measured where none is named."""
BATCH = {"cpu": 8, "cuda": 128}
"""Images of a step where nothing is said."""
PRECISIONS = ("fp32", "tf32", "bf16")
PARTS: tuple[Literal["exchanges", "steps"], ...] = ("exchanges", "steps")
"""What may be measured anew by itself."""
STEPS = 5
"""So many are timed where nothing is said."""
ROUGH = 0.2
"""An error of prices that is worth a word."""
_HEADER = ("network", "devices", "strategy", "measured", "predicted", "off")


@dataclass(frozen=True, slots=True)
class CalibrationChoices:
    """What is asked of a calibration; None leaves it to what is here."""

    devices: int | None = None
    """At most so many, besides 1, 2, 4, ..."""
    batch: int | None = None
    """Images of a step."""
    steps: int = STEPS
    """So many are timed."""
    precision: str | None = None
    kernels: str | None = None
    backend: str | None = None
    only: str | None = None
    """One of `PARTS`, which is measured anew; the rest is kept as it was measured before."""
    share_gpus: bool = False
    """Whether all devices are on one GPU: launches only."""
    output: str | None = None
    """A cluster file; None is this machine's own, which is then the one to plan for."""


class CalibrationWords(TypedDict, total=False):
    """What may be said of a calibration, by name: as the options of `netc calibrate`."""

    devices: int
    batch: int
    steps: int
    precision: Literal["fp32", "tf32", "bf16"]
    kernels: Literal["auto", "fast", "reference", "native", "vendor"]
    backend: Literal["cpu", "cuda"]
    only: Literal["exchanges", "steps"]
    share_gpus: bool
    output: str | os.PathLike[str]


_READ: dict[str, Read] = {
    "devices": number(DEVICES),
    "batch": number(COUNT),
    "steps": number(COUNT),
    "precision": one_of(PRECISIONS),
    "kernels": one_of(KERNELS),
    "backend": one_of(TARGETS),
    "only": one_of(PARTS),
    "share_gpus": flag,
    "output": path_text,
}
"""By name how a value is read."""
CALIBRATION_NAMES = tuple(_READ)
"""The names of `CalibrationWords`."""


@checked_calls
@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Calibration:
    """A machine as it was measured, and what that predicts of the steps that were; a table."""

    cluster: Cluster
    """The machine."""
    path: Path
    """Where it is kept."""
    own: bool
    """Whether it is the machine that every plan is for from now on."""
    steps: tuple[CalibratedStep, ...]
    notes: tuple[str, ...] = ()

    def cells(self) -> list[tuple[str, ...]]:
        """The table's rows, as text."""
        return [
            (row.measured.name, str(row.measured.devices), row.measured.strategy,
             seconds_text(row.measured.seconds), seconds_text(row.predicted_seconds),
             f"{100 * row.off:+.1f} %")
            for row in self.steps
        ]  # fmt: skip

    def table(self, columns: int | None = None) -> str:
        """A row a step that was measured, as wide as so many columns."""
        return table(_HEADER, self.cells(), columns=columns)

    @property
    def machine(self) -> str:
        """One line on what the machine reaches."""
        cluster, link = self.cluster, self.cluster.links.levels[0]
        return (
            f"machine   {cluster.machine}: {scaled(cluster.flops('f32'), 'FLOP/s')} in fp32"
            f"{' a core' if cluster.cores else ''}, "
            f"memory {scaled(cluster.memory_bytes_per_second, 'B/s')}, "
            f"links {scaled(link.bytes_per_second, 'B/s')}, "
            f"{100 * cluster.while_exchanging:.0f} % of its speed while exchanging, "
            f"prices off by up to {100 * cluster.error:.0f} %"
        )

    @property
    def rough(self) -> str:
        """What there is to say of prices that are far off; empty where they are not."""
        if self.cluster.error <= ROUGH:
            return ""
        return (
            "prices are that rough where little is timed, or others use the machine: more "
            "'--steps', when it is idle, make them truer."
        )

    @property
    def kept(self) -> str:
        """One line on where it is kept, and for what."""
        if self.own:
            return f"kept in   {self.path}: the machine that every plan is for from now on"
        return f"wrote     {self.path}, for '--cluster'"

    def __repr__(self) -> str:
        """All of it, as wide as the terminal."""
        steps = f"{self.table(terminal_columns())}\n\n" if self.steps else ""
        notes = "".join(f"\nnote: {each}" for each in (*self.notes, self.rough) if each)
        return in_python(f"{steps}{self.machine}\n{self.kept}{notes}")

    def _repr_html_(self) -> str:
        notes = [each for each in (self.machine, self.kept, *self.notes, self.rough) if each]
        return html_table("", _HEADER, self.cells(), 1, [*map(in_python, notes)])


@checked_call
def calibrate(
    *networks: str | os.PathLike[str] | Model, **words: Unpack[CalibrationWords]
) -> Calibration:
    """Measure this machine: its exchanges, then steps of some networks and their launches, each in
    a process of its own; and keep it as the machine that plans are for.

    Words are the options of `netc calibrate`, with underscores. It takes minutes. Raises NetError
    for what is chosen wrongly, and DeviceError (E076) where nothing could be measured.
    """
    given: dict[str, Any] = dict(words)
    chosen = {name: _READ[name](name, each) for name, each in given.items() if each is not None}
    models = [each if isinstance(each, Model) else load(_name(each)) for each in networks]
    notes = Notes()

    def told(each: Configuration | Skipped) -> None:
        if isinstance(each, Skipped):
            notes.note(each.text)

    return calibrated(models, CalibrationChoices(**chosen), notes, told)


def _name(network: object) -> str:
    if not isinstance(network, str | os.PathLike):
        raise wrong("networks", "networks, or their names", network)
    return path_text("networks", network)


def calibrated(
    models: Sequence[Model],
    choices: CalibrationChoices,
    listener: Listener,
    told: Callable[[Configuration | Skipped], None],
) -> Calibration:
    """Measure, fit and write; each configuration is told, as it is measured or left out.

    Raises as `calibrate`.
    """
    check_one_process()
    _check_output(choices.output)
    most = choices.devices or cuda.found()[0] or cores()
    precision = choices.precision or "fp32"
    target = choose_backend(choices.backend, most, precision, choices.share_gpus).name
    _mend(own_cluster(target), listener.note)
    measuring = Measuring(_plan_choices(choices, target), choices.steps, told)
    measured = models or [load(name) for name in NETWORKS]
    for model in measured:
        # What is no network is told before anything is measured.
        measuring.asked(model, 1, "single")
    path = own_cluster(target) if choices.output is None else Path(choices.output)
    before = known_before(path, target)
    if choices.only is not None:
        _check_part(choices, path, before, most)
    exchanges = () if choices.only == "steps" else _exchanges(measuring, measured[0], target, most)
    learner = Learner(target, choices.share_gpus, listener.note)
    rows: tuple[CalibratedStep, ...] = ()
    if choices.only == "exchanges":
        assert before is not None, "it was checked"
        cluster = learner.exchanging_anew(before, exchanges)
    else:
        counts = sorted({*(2**n for n in range(most.bit_length()) if 2**n < most), most})
        cluster, rows = _steps(measuring, learner, (measured, models), counts, exchanges, before)
    _write(path, cluster)
    notes = tuple(map(in_python, listener.texts)) if isinstance(listener, Notes) else ()
    return Calibration(cluster, path, choices.output is None, rows, notes)


def _steps(
    measuring: Measuring,
    learner: Learner,
    networks: tuple[Sequence[Model], Sequence[Model]],
    counts: Sequence[int],
    exchanges: Times,
    before: Cluster | None,
) -> tuple[Cluster, tuple[CalibratedStep, ...]]:
    """Steps by every strategy; of the networks that were named also by the best plans."""
    measured, named = networks
    found = [
        each
        for model in measured
        for devices in counts
        for strategy in (STRATEGIES if devices > 1 else ("single",))
        for each in measuring.measured(model, devices, strategy)
    ]
    if not found:
        raise DeviceError(Diagnostic("E076", "nothing could be measured."))
    cluster, rows = learner.learned(found, exchanges, before)
    # Devices that share a GPU take turns: of their steps nothing can be told.
    several = [(model, n) for model in named for n in counts[1:] if not learner.share_gpus]
    best = [each for pair in several for each in measuring.best_plans(*pair, cluster)]
    return learner.learned([*found, *best], exchanges, before) if best else (cluster, rows)


def _plan_choices(choices: CalibrationChoices, target: str) -> PlanChoices:
    return PlanChoices(
        batch=choices.batch or BATCH[target], precision=choices.precision, kernels=choices.kernels,
        backend=choices.backend, share_gpus=choices.share_gpus, runs=True,
    )  # fmt: skip


def _check_output(output: str | None) -> None:
    """Refuse before anything is measured what could not be written after."""
    if output is None:
        return
    if Path(output).suffix != ".toml":
        message = f"'--output {output}' is no cluster file: its name ends in '.toml'."
        hint = "measurements go into a file of the same name that ends in '.json'."
        raise UsageError(Diagnostic("E054", message, help=hint))
    check_writable(Path(output))


def _check_part(choices: CalibrationChoices, path: Path, before: Cluster | None, most: int) -> None:
    """Refuse to measure a part where there is nothing that it is a part of, or nothing of it."""
    if before is None:
        which = "of another machine" if path.exists() else "not there"
        message = f"'--only {choices.only}' adds to what was measured, and '{path}' is {which}."
        hint = "measure everything once: 'netc calibrate' without '--only'."
        raise UsageError(Diagnostic("E051", message, help=hint))
    if choices.only == "exchanges" and (most == 1 or choices.share_gpus):
        message = "'--only exchanges' needs several devices that exchange."
        raise UsageError(Diagnostic("E051", message, help="take '--devices 2', or more."))


def _mend(path: Path, told: Told) -> None:
    """Take a damaged file of this machine away: it is made anew."""
    try:
        if path.exists():
            read_cluster(path)
    except UsageError as problem:
        told(f"'{path}' is made anew: {problem.diagnostics[0].message.rstrip('.')}.")
        path.unlink()


def _exchanges(measuring: Measuring, model: Model, target: str, most: int) -> Times:
    """What exchanges take between these devices."""
    if most == 1 or measuring.choices.share_gpus:
        return ()
    sizes = [most] if target == "cuda" else [n for n in range(2, most + 1) if most % n == 0]
    made = (build(measuring.asked(model, n, "data"), Listener())[0] for n in sizes)
    return tuple(each for bundle in made for each in exchange_times(bundle))


def _write(path: Path, cluster: Cluster) -> None:
    beside = path.with_suffix(".json")
    content = Measured(cluster.launches, cluster.links.measured, cluster.plans)
    try:
        write_whole(beside, measured_json(content).encode())
        write_whole(path, cluster_toml(cluster, beside.name).encode())
    except OSError as error:
        raise unwritable(path, error) from None
