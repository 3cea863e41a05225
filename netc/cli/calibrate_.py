"""`netc calibrate`: measure the machine at hand, and keep it as the machine to plan for."""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from netc.api.figures import scaled, seconds_text
from netc.api.machine import shipped_kind
from netc.api.targets import CUDA_ALIGNMENT_BYTES
from netc.api.written import unwritable
from netc.cli.common import build
from netc.cli.configurations import Configuration, asked_for, best_plans, measured
from netc.cli.output import json_line, note, say, table
from netc.cli.session import choose, on_ranks
from netc.cost import (
    Cluster,
    LaunchTable,
    LinkLevel,
    Measured,
    MeasuredExchange,
    MeasuredLaunch,
    MeasuredPlan,
    at_devices,
    at_precision,
    cluster_toml,
    measured_json,
    read_cluster,
)
from netc.errors import DeviceError, Diagnostic, UsageError
from netc.ir.clock import simulate
from netc.ir.program import Bundle
from netc.passes.options import Options
from netc.passes.pipeline import lower_network
from netc.planner.calibration import MeasuredStep, fit_keeps, fit_link, fit_reached, keeping
from netc.planner.compare import STRATEGIES
from netc.planner.exchanges import KINDS, exchange_program
from netc_kernels import cuda
from netc_kernels.files import write_whole
from netc_runtime.backend import Backend
from netc_runtime.choose import BackendChoice, choose_backend, is_first, open_devices
from netc_runtime.cores import cores
from netc_runtime.launch.ranks import Ranks
from netc_runtime.measure.machine import machine_name, memory_bytes, own_cluster
from netc_runtime.measure.profile import device_ceilings

NETWORKS = ("alexnet", "resnet18")
"""Measured where none is named."""
BATCH = {"cpu": 8, "cuda": 128}
"""Images of a step where nothing is said."""
SIZES = tuple(2**n for n in (12, 15, 18, 21, 24, 26))
"""Bytes that a device exchanges, about."""
TIMES = (1, 5)
"""How often a program exchanges: the difference is what exchanges alone take."""
REPEATS = 7
LEAST_ERROR, MOST_ERROR = 0.02, 0.9
_BY = "measured by netc calibrate: "
ROUGH = 0.2
"""An error of prices that is worth a word."""
SLOW_LINK = 0.5
"""A link that has less than this part of what its kind has is worth a word."""


Row = tuple[Configuration, float, float]
"""What was measured, seconds of its step predicted, and how far that is off, as a part."""


def run(options: argparse.Namespace) -> int:
    """Measure exchanges, then steps and their launches; fit, write, and show what that predicts."""
    named = list(dict.fromkeys(options.networks))
    options.networks = named or list(NETWORKS)
    _check_output(options.output)
    most = options.devices or _devices_here()
    target = choose_backend(options.backend, most, options.precision or "fp32", options.share_gpus)
    options.batch = options.batch or BATCH[target.name]
    if is_first():
        _mend(own_cluster(target.name))
    for name in options.networks:
        # What is no network is told before anything is measured.
        asked_for(options, name, 1, "single")
    path = Path(options.output) if options.output else own_cluster(target.name)
    if options.only:
        _check_before(options, path, target.name, most)
    exchanges = () if options.only == "steps" else _exchanges(options, target.name, most)
    if not is_first():
        return 0
    if options.only == "exchanges":
        cluster = _exchanging_anew(options, path, target.name, exchanges)
        _write(path, cluster)
        _show(options, path, cluster, [])
        return 0
    counts = sorted({*(2**n for n in range(most.bit_length()) if 2**n < most), most})
    found = [
        each
        for name in options.networks
        for devices in counts
        for strategy in (STRATEGIES if devices > 1 else ("single",))
        for each in measured(options, name, devices, strategy)
    ]
    if not found:
        raise DeviceError(Diagnostic("E076", "nothing could be measured."))
    before = _before(path, target.name)
    cluster, rows = _learned(options, target.name, found, exchanges, before)
    # Devices that share a GPU take turns: of their steps nothing can be told.
    several = [(name, n) for name in named for n in counts[1:] if not options.share_gpus]
    best = [each for pair in several for each in best_plans(options, *pair, cluster)]
    if best:
        cluster, rows = _learned(options, target.name, [*found, *best], exchanges, before)
    _write(path, cluster)
    _show(options, path, cluster, rows)
    return 0


def _check_output(output: str | None) -> None:
    """Refuse before anything is measured what could not be written after."""
    if output is None:
        return
    if Path(output).suffix != ".toml":
        message = f"'--output {output}' is no cluster file: its name ends in '.toml'."
        hint = "measurements go into a file of the same name that ends in '.json'."
        raise UsageError(Diagnostic("E054", message, help=hint))


def _check_before(options: argparse.Namespace, path: Path, target: str, most: int) -> None:
    """Refuse to measure a part where there is nothing that it is a part of, or nothing of it."""
    if _before(path, target) is None:
        which = "of another machine" if path.exists() else "not there"
        message = f"'--only {options.only}' adds to what was measured, and '{path}' is {which}."
        hint = "measure everything once: 'netc calibrate' without '--only'."
        raise UsageError(Diagnostic("E051", message, help=hint))
    if options.only == "exchanges" and (most == 1 or options.share_gpus):
        message = "'--only exchanges' needs several devices that exchange."
        raise UsageError(Diagnostic("E051", message, help="take '--devices 2', or more."))


def _exchanging_anew(
    options: argparse.Namespace, path: Path, target: str, exchanges: tuple[MeasuredExchange, ...]
) -> Cluster:
    """The machine as it was measured, with other exchanges."""
    before = _before(path, target)
    assert before is not None, "checked before anything is measured"
    merged = _merged(before, exchanges)
    kind = shipped_kind(before.name) if target == "cuda" else shipped_kind("")
    level = _fitted_link(options, target, kind, merged)
    levels = (level, *before.links.levels[1:])
    return replace(before, links=replace(before.links, levels=levels, measured=merged))


def _fitted_link(
    options: argparse.Namespace, target: str, kind: Cluster,
    exchanges: tuple[MeasuredExchange, ...],
) -> LinkLevel:  # fmt: skip
    """The innermost link, by what was measured."""
    level = fit_link(kind.links.levels[0], exchanges)
    if target == "cuda" and exchanges:
        _warn_of_slow(options, level.bytes_per_second, kind.links.levels[0].bytes_per_second)
    return level


def _mend(path: Path) -> None:
    """Take a damaged file of this machine away: it is made anew."""
    try:
        if path.exists():
            read_cluster(path)
    except UsageError as problem:
        note(f"'{path}' is made anew: {problem.diagnostics[0].message.rstrip('.')}.")
        path.unlink()


def _devices_here() -> int:
    return cuda.found()[0] or cores()


def _exchanges(
    options: argparse.Namespace, target: str, most: int
) -> tuple[MeasuredExchange, ...]:  # fmt: skip
    """What exchanges take between these devices; GPUs in a process each."""
    if most == 1 or options.share_gpus:
        return ()
    found: list[MeasuredExchange] = []

    def work(choice: BackendChoice, ranks: Ranks | None, bundle: Bundle) -> int:
        found.extend(_each_kind(choice, bundle, ranks))
        return 0

    sizes = [most] if target == "cuda" else [n for n in range(2, most + 1) if most % n == 0]
    for devices in sizes:
        bundle = build(asked_for(options, options.networks[0], devices, "data"), options).bundle
        choice = choose(options, bundle)
        on_ranks(bundle, choice, partial(work, choice))
    return tuple(found)


def _each_kind(
    choice: BackendChoice, bundle: Bundle, ranks: Ranks | None
) -> Iterator[MeasuredExchange]:
    mesh, room, cluster = bundle.train.mesh, CUDA_ALIGNMENT_BYTES, shipped_kind("")
    made = {
        (kind, size): [exchange_program(kind, size, t, mesh, cluster, room) for t in TIMES]
        for kind in KINDS
        for size in SIZES
    }
    every = [each.program for pair in made.values() for each in pair]
    with closing(open_devices(choice, every, bundle.facts, ranks)) as backend:
        for kind in KINDS:
            points = []
            for size in SIZES:
                once, often = made[kind, size]
                seconds = [_usual(backend, each.program) for each in (once, often)]
                each = (seconds[1] - seconds[0]) / (often.times - once.times)
                # Where noise is larger than that, all of it counts.
                points.append((once.nbytes, each if each > 0 else seconds[1] / often.times))
            yield MeasuredExchange(kind, mesh.size, tuple(points))


def _usual(backend: Backend, program: Any) -> float:
    executable = backend.load(program)
    for port in program.inputs:
        executable.write(port, np.ones(port.shape, np.float32))
    executable.measure(2)
    return median(executable.measure(REPEATS).steps)


def _learned(
    options: argparse.Namespace,
    target: str,
    found: Sequence[Configuration],
    exchanges: tuple[MeasuredExchange, ...],
    before: Cluster | None,
) -> tuple[Cluster, list[Row]]:
    """The machine by all that was measured, and what it predicts of the steps that were."""
    cluster, true = _fitted(options, target, found, exchanges, before), _true(options, found)
    steps = [MeasuredStep(_program(each, cluster), each.seconds) for each in true]
    exchanging = any(each.devices > 1 for each in true)
    keeps = before.while_exchanging if before and not exchanging else fit_keeps(steps)
    predicted = [simulate(keeping(each.program, keeps)).seconds for each in steps]
    off = [p / c.seconds - 1 for p, c in zip(predicted, true, strict=True)]
    error = min(max(max(map(abs, off)), LEAST_ERROR), MOST_ERROR)
    if before and set(before.launches) - {each.setting for each in true}:
        # Of what was measured before, and is not anew, nothing better is known.
        error = max(error, before.error)
    learned = replace(cluster, while_exchanging=keeps, error=error)
    return learned, list(zip(true, predicted, off, strict=True))


def _true(
    options: argparse.Namespace, found: Sequence[Configuration]
) -> list[Configuration]:  # fmt: skip
    """Those whose steps hold: devices that share a GPU take turns."""
    return [each for each in found if not (options.share_gpus and each.devices > 1)]


def _before(path: Path, target: str) -> Cluster | None:
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


def _fitted(
    options: argparse.Namespace,
    target: str,
    found: Sequence[Configuration],
    exchanges: tuple[MeasuredExchange, ...],
    before: Cluster | None,
) -> Cluster:
    """The machine: its rates, its links, and what was measured."""
    name, exchanges = machine_name(target), _merged(before, exchanges)
    said = before.source if before else ""
    earlier = said.removeprefix(_BY).split(", ") if said.startswith(_BY) else []
    kind = shipped_kind(name) if target == "cuda" else shipped_kind("")
    own = None if target == "cuda" else cores()
    rates, bandwidth, launch = _rates(target, own or 1, found[0])
    level = _fitted_link(options, target, kind, exchanges)
    tables = dict(before.launches) if before else {}
    for where, launches in _tables(found).items():
        old = tables[where].launches if where in tables else {}
        tables[where] = LaunchTable({**old, **launches})
    cluster = Cluster(
        name, rates, bandwidth, float(memory_bytes(target)), launch,
        replace(kind.links, levels=(level, *kind.links.levels[1:]), measured=exchanges),
        f"{_BY}{', '.join(dict.fromkeys((*earlier, *(each.name for each in found))))}",
        cores=own, machine=name, launches=tables,
        plans=_plans(before, _true(options, found)),
    )  # fmt: skip
    seen = {each.setting: at_devices(cluster, each.devices) for each in found}
    rows = [(seen[where], tables[where].launches) for where in seen]
    return replace(cluster, reached=fit_reached(rows))


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


def _warn_of_slow(options: argparse.Namespace, measured: float, usual: float) -> None:
    if measured < SLOW_LINK * usual and not options.json:
        note(
            f"GPUs exchange {scaled(measured, 'B/s')}, where this kind reaches "
            f"{scaled(usual, 'B/s')}: see 'nvidia-smi topo -m' for how they are joined."
        )


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


def _write(path: Path, cluster: Cluster) -> None:
    beside = path.with_suffix(".json")
    content = Measured(cluster.launches, cluster.links.measured, cluster.plans)
    try:
        write_whole(beside, measured_json(content).encode())
        write_whole(path, cluster_toml(cluster, beside.name).encode())
    except OSError as error:
        raise unwritable(path, error) from None


def _show(
    options: argparse.Namespace,
    path: Path,
    cluster: Cluster,
    rows: Sequence[Row],
) -> None:
    if options.json:
        for each, predicted, off in rows:
            json_line(
                event="configuration",
                network=each.asked.network.name,
                batch=each.asked.options.batch,
                devices=each.devices,
                strategy=each.strategy,
                measured_seconds=each.seconds,
                predicted_seconds=predicted,
                off=off,
            )
        json_line(
            event="result",
            machine=cluster.machine,
            written=str(path),
            error=cluster.error,
            while_exchanging=cluster.while_exchanging,
        )
        return
    shown = (
        (each.name, str(each.devices), each.strategy, seconds_text(each.seconds),
         seconds_text(predicted), f"{100 * off:+.1f} %")
        for each, predicted, off in rows
    )  # fmt: skip
    if rows:
        print()
        print(table(("network", "devices", "strategy", "measured", "predicted", "off"), shown))
    link = cluster.links.levels[0]
    say(f"\nmachine   {cluster.machine}: {scaled(cluster.flops('f32'), 'FLOP/s')} in fp32"
          f"{' a core' if cluster.cores else ''}, "
          f"memory {scaled(cluster.memory_bytes_per_second, 'B/s')}, "
          f"links {scaled(link.bytes_per_second, 'B/s')}, "
          f"{100 * cluster.while_exchanging:.0f} % of its speed while exchanging, "
          f"prices off by up to {100 * cluster.error:.0f} %")  # fmt: skip
    if cluster.error > ROUGH:
        note("prices are that rough where little is timed, or others use the machine: more "
             "'--steps', when it is idle, make them truer.")  # fmt: skip
    say(f"kept in   {path}: the machine that every command plans for from now on"
          if not options.output else f"wrote     {path}, for '--cluster'")  # fmt: skip
