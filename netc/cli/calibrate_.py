"""`netc calibrate`: measure the machine at hand, and keep it as the machine to plan for."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from netc.cli.common import CUDA_ALIGNMENT_BYTES, Request, build, request, unwritable
from netc.cli.machine import shipped_kind
from netc.cli.output import json_line, note, scaled, seconds_text, table
from netc.cli.session import choose, on_ranks
from netc.cost import (
    Cluster,
    LaunchTable,
    Links,
    Measured,
    MeasuredExchange,
    MeasuredLaunch,
    at_devices,
    at_precision,
    cluster_toml,
    measured_json,
    read_cluster,
    setting,
)
from netc.errors import DeviceError, Diagnostic, NetError, UsageError
from netc.ir.clock import simulate
from netc.ir.program import Bundle
from netc.passes.pipeline import Options, lower_training
from netc.planner.calibration import MeasuredStep, fit_keeps, fit_link, fit_reached, keeping
from netc.planner.exchanges import KINDS, exchange_program
from netc.strategies.fixed import FIXED
from netc_kernels import cuda
from netc_kernels.files import write_whole
from netc_runtime.backend import Backend
from netc_runtime.choose import BackendChoice, choose_backend, is_first, open_devices
from netc_runtime.launch.ranks import Ranks
from netc_runtime.measure.machine import machine_name, memory_bytes, own_cluster
from netc_runtime.measure.profile import device_ceilings

NETWORKS = ("alexnet", "resnet18")
"""Measured where none is named."""
STRATEGIES = tuple(name for name in FIXED if name != "single")
"""Measured on several devices."""
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


@dataclass(frozen=True, slots=True)
class Configuration:
    """A network on some devices by a strategy, measured."""

    asked: Request
    strategy: str
    setting: str
    seconds: float
    """Of a usual step."""
    launches: dict[str, list[MeasuredLaunch]]
    """By their texts, as often as they are in a step."""

    @property
    def devices(self) -> int:
        """How many."""
        return self.asked.options.mesh.size


def run(options: argparse.Namespace) -> int:
    """Measure exchanges, then steps and their launches; fit, write, and show what that predicts."""
    options.networks = list(dict.fromkeys(options.networks or NETWORKS))
    _check_output(options.output)
    most = options.devices or _devices_here()
    target = choose_backend(options.backend, most, options.precision or "fp32", options.share_gpus)
    options.batch = options.batch or BATCH[target.name]
    if is_first():
        _mend(own_cluster(target.name))
    for name in options.networks:
        # What is no network is told before anything is measured.
        _asked(options, name, 1, "single")
    exchanges = _exchanges(options, target.name, most)
    if not is_first():
        return 0
    counts = sorted({*(2**n for n in range(most.bit_length()) if 2**n < most), most})
    found = [
        each
        for name in options.networks
        for devices in counts
        for strategy in (STRATEGIES if devices > 1 else ("single",))
        for each in _measured(options, name, devices, strategy)
    ]
    if not found:
        raise DeviceError(Diagnostic("E076", "nothing could be measured."))
    return _keep(options, target.name, found, exchanges)


def _check_output(output: str | None) -> None:
    """Refuse before anything is measured what could not be written after."""
    if output is None:
        return
    if Path(output).suffix != ".toml":
        message = f"'--output {output}' is no cluster file: its name ends in '.toml'."
        hint = "measurements go into a file of the same name that ends in '.json'."
        raise UsageError(Diagnostic("E054", message, help=hint))
    if not Path(output).absolute().parent.is_dir():
        raise UsageError(Diagnostic("E054", f"cannot write '{output}': there is no such folder."))


def _mend(path: Path) -> None:
    """Take a damaged file of this machine away: it is made anew."""
    try:
        if path.exists():
            read_cluster(path)
    except UsageError as problem:
        note(f"'{path}' is made anew: {problem.diagnostics[0].message.rstrip('.')}.")
        path.unlink()


def _devices_here() -> int:
    return cuda.found()[0] or os.cpu_count() or 1


def _asked(options: argparse.Namespace, network: str, devices: int, strategy: str) -> Request:
    given = {"network": network, "devices": devices, "strategy": strategy}
    return request(argparse.Namespace(**{**vars(options), **given}))


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
        bundle, _ = build(_asked(options, options.networks[0], devices, "data"), options)
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


def _measured(
    options: argparse.Namespace, network: str, devices: int, strategy: str
) -> Iterator[Configuration]:
    """One configuration; none where it cannot be carried out."""
    try:
        asked = _asked(options, network, devices, strategy)
        bundle, _ = build(asked, options)
    except NetError as problem:
        _skipped(options, network, devices, strategy, problem.diagnostics[0].message)
        return
    facts = bundle.facts
    where = setting(
        facts.target, facts.precision, facts.kernels, facts.threads or facts.blas_threads, devices
    )
    lines, code = _profiled(options, network, devices, strategy)
    result = next((line for line in lines if line["event"] == "result"), None)
    if code or result is None:
        said = next((d["message"] for e in lines for d in e.get("diagnostics", ())), f"exit {code}")
        _skipped(options, network, devices, strategy, said)
        return
    launches: dict[str, list[MeasuredLaunch]] = defaultdict(list)
    for line in lines:
        if line["event"] == "launch":
            one = MeasuredLaunch(line["seconds"], line["flops"], line["moved_bytes"])
            launches[line["call"]].append(one)
    found = Configuration(asked, strategy, where, result["step_seconds"], launches)
    if options.json:
        json_line(
            event="measured",
            network=network,
            devices=devices,
            strategy=strategy,
            step_seconds=found.seconds,
            launches=sum(map(len, launches.values())),
        )
    else:
        what = f"{_name(found)}, {devices} device{'s' * (devices > 1)}, {strategy}"
        print(f"measured  {what}: {seconds_text(found.seconds)} a step", flush=True)
    yield found


def _skipped(
    options: argparse.Namespace, network: str, devices: int, strategy: str, why: str
) -> None:
    if options.json:
        json_line(event="skipped", network=network, devices=devices, strategy=strategy, reason=why)
    else:
        note(f"{network} on {devices} by '{strategy}' is not measured: {why.rstrip('.')}.")


def _profiled(
    options: argparse.Namespace, network: str, devices: int, strategy: str
) -> tuple[list[dict[str, Any]], int]:  # fmt: skip
    """What `netc profile` says, in a process of its own, which gives everything back."""
    words = ["profile", network, "--devices", str(devices), "--strategy", strategy]
    words += ["--batch", str(options.batch), "--steps", str(options.steps), "--json", "--launches"]
    for name in ("precision", "kernels", "backend"):
        if (value := getattr(options, name)) is not None:
            words += [f"--{name}", value]
    words += ["--share-gpus"] if options.share_gpus and devices > 1 else []
    for each in options.define:
        words += ["-D", each]
    command = [sys.executable, "-m", "netc.cli.main", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    lines = done.stdout.decode(errors="replace").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")], done.returncode


def _keep(
    options: argparse.Namespace,
    target: str,
    found: Sequence[Configuration],
    exchanges: tuple[MeasuredExchange, ...],
) -> int:
    """Fit, write both files, and show."""
    path = Path(options.output) if options.output else own_cluster(target)
    before = _before(path, target)
    cluster = _fitted(options, target, found, _merged(before, exchanges), before)
    # Devices that share a GPU take turns: their launches are true, their steps are not.
    true = [each for each in found if not (options.share_gpus and each.devices > 1)]
    steps = [MeasuredStep(_program(each, cluster), each.seconds) for each in true]
    exchanging = any(each.devices > 1 for each in true)
    keeps = before.while_exchanging if before and not exchanging else fit_keeps(steps)
    predicted = [simulate(keeping(each.program, keeps)).seconds for each in steps]
    off = [p / c.seconds - 1 for p, c in zip(predicted, true, strict=True)]
    error = min(max(max(map(abs, off)), LEAST_ERROR), MOST_ERROR)
    if before and set(before.launches) - {each.setting for each in true}:
        # Of what was measured before, and is not anew, nothing better is known.
        error = max(error, before.error)
    cluster = replace(cluster, while_exchanging=keeps, error=error)
    _write(path, cluster)
    _show(options, path, cluster, list(zip(true, predicted, off, strict=True)))
    return 0


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
    name = machine_name(target)
    said = before.source if before else ""
    earlier = said.removeprefix(_BY).split(", ") if said.startswith(_BY) else []
    kind = shipped_kind(name) if target == "cuda" else shipped_kind("")
    cores = None if target == "cuda" else os.cpu_count() or 1
    rates, bandwidth, launch = _rates(target, cores or 1, found[0])
    level = fit_link(kind.links.levels[0], exchanges)
    if target == "cuda" and exchanges:
        _warn_of_slow(options, level.bytes_per_second, kind.links.levels[0].bytes_per_second)
    tables = dict(before.launches) if before else {}
    for where, launches in _tables(found).items():
        old = tables[where].launches if where in tables else {}
        tables[where] = LaunchTable({**old, **launches})
    cluster = Cluster(
        name, rates, bandwidth, float(memory_bytes(target)), launch,
        Links((level, *kind.links.levels[1:]), kind.links.algorithms, exchanges),
        f"{_BY}{', '.join(dict.fromkeys((*earlier, *map(_name, found))))}",
        cores=cores, machine=name, launches=tables,
    )  # fmt: skip
    seen = {each.setting: at_devices(cluster, each.devices) for each in found}
    own = [(seen[where], tables[where].launches) for where in seen]
    return replace(cluster, reached=fit_reached(own))


def _rates(
    target: str, cores: int, first: Configuration
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
    one = device_ceilings(target, "fp32", cores, threads)
    double = device_ceilings(target, "fp64", cores, 0)
    found = {"f32": one.flops_per_second / cores, "f64": double.flops_per_second / cores}
    return found, one.bytes_per_second, one.launch_seconds


def _warn_of_slow(options: argparse.Namespace, measured: float, usual: float) -> None:
    if measured < SLOW_LINK * usual and not options.json:
        note(
            f"GPUs exchange {scaled(measured, 'B/s')}, where this kind reaches "
            f"{scaled(usual, 'B/s')}: see 'nvidia-smi topo -m' for how they are joined."
        )


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
    return lower_training(each.asked.network, replace(asked, cluster=seen)).program


def _name(each: Configuration) -> str:
    return f"{each.asked.network.name} {each.asked.options.batch}"


def _write(path: Path, cluster: Cluster) -> None:
    measured = path.with_suffix(".json")
    content = Measured(cluster.launches, cluster.links.measured)
    try:
        write_whole(measured, measured_json(content).encode())
        write_whole(path, cluster_toml(cluster, measured.name).encode())
    except OSError as error:
        raise unwritable(path, error) from None


def _show(
    options: argparse.Namespace,
    path: Path,
    cluster: Cluster,
    rows: Sequence[tuple[Configuration, float, float]],
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
        (_name(each), str(each.devices), each.strategy, seconds_text(each.seconds),
         seconds_text(predicted), f"{100 * off:+.1f} %")
        for each, predicted, off in rows
    )  # fmt: skip
    print()
    print(table(("network", "devices", "strategy", "measured", "predicted", "off"), shown))
    link = cluster.links.levels[0]
    print(f"\nmachine   {cluster.machine}: {scaled(cluster.flops('f32'), 'FLOP/s')} in fp32"
          f"{' a core' if cluster.cores else ''}, "
          f"memory {scaled(cluster.memory_bytes_per_second, 'B/s')}, "
          f"links {scaled(link.bytes_per_second, 'B/s')}, "
          f"{100 * cluster.while_exchanging:.0f} % of its speed while exchanging, "
          f"prices off by up to {100 * cluster.error:.0f} %")  # fmt: skip
    if cluster.error > ROUGH:
        note("prices are that rough where little is timed, or others use the machine: more "
             "'--steps', when it is idle, make them truer.")  # fmt: skip
    print(f"kept in   {path}: the machine that every command plans for from now on"
          if not options.output else f"wrote     {path}, for '--cluster'")  # fmt: skip
