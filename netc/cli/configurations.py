"""What `netc calibrate` measures: networks on some devices by a strategy, or by a plan found."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from netc.api.build import save_strategy
from netc.api.figures import seconds_text
from netc.api.request import Request
from netc.api.search import meshes_of, title
from netc.cli.common import build, request
from netc.cli.output import json_line, note, say
from netc.cost import Cluster, MeasuredLaunch, MeasuredPlan, at_devices, at_precision
from netc.errors import NetError, PlanError
from netc.ir.facts import REPLICATED, SHARDED
from netc.ir.types import named_mesh
from netc.passes.options import task
from netc.passes.pipeline import Compiled, lower_network
from netc.planner.auto import chosen_options, find_plan
from netc.planner.choice import Candidate

BEST_PLANS = 3
"""So many of the plans that a search ranks first are measured."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """A network on some devices by a strategy, measured."""

    asked: Request
    launches: dict[str, list[MeasuredLaunch]]
    """By their texts, as often as they are in a step."""
    plan: MeasuredPlan
    """What all of it took, by which plan."""

    @property
    def seconds(self) -> float:
        """Of a usual step."""
        return self.plan.seconds

    @property
    def strategy(self) -> str:
        """The plan in words."""
        plan = self.plan
        how = plan.updates if plan.updates == SHARDED else None
        return title(
            Candidate(plan.name, named_mesh(plan.mesh), dict(plan.splits), plan.scheme, how)
        )

    @property
    def task(self) -> str:
        """What its step computes."""
        return task(self.asked.network, self.asked.options)

    @property
    def devices(self) -> int:
        """How many."""
        return self.asked.options.mesh.size

    @property
    def setting(self) -> str:
        """Where its launches hold."""
        return self.asked.options.setting

    @property
    def name(self) -> str:
        """Network and batch."""
        return f"{self.asked.network.name} {self.asked.options.batch}"


def asked_for(options: argparse.Namespace, network: str, devices: int, strategy: str) -> Request:
    """A fixed strategy, as `netc profile` would be asked for it."""
    given = {"network": network, "devices": devices, "strategy": strategy, "mesh": None}
    return request(argparse.Namespace(**{**vars(options), **given}))


def measured(
    options: argparse.Namespace, network: str, devices: int, strategy: str
) -> Iterator[Configuration]:
    """One configuration; none where it cannot be carried out."""
    try:
        asked = asked_for(options, network, devices, strategy)
        compiled = build(asked, options).compiled
    except NetError as problem:
        _skipped(options, network, devices, strategy, problem.diagnostics[0].message)
        return
    words = ["--devices", str(devices), "--strategy", strategy]
    yield from _profiled(options, network, asked, compiled, strategy, words)


def best_plans(
    options: argparse.Namespace, network: str, devices: int, cluster: Cluster
) -> Iterator[Configuration]:
    """The plans that a search ranks first on the machine as it was measured so far, measured; not
    those that were.
    """
    asked = asked_for(options, network, devices, "data")
    seen = at_precision(at_devices(cluster, devices), asked.options.precision)
    chosen = replace(asked.options, cluster=seen)
    try:
        found = find_plan(asked.network, chosen, meshes_of(devices, chosen))
    except PlanError as problem:
        _skipped(options, network, devices, "auto", problem.diagnostics[0].message)
        return
    for candidate in found.candidates[:BEST_PLANS]:
        if not candidate.measured and candidate.fits is not False:
            taken = replace(asked, options=chosen_options(chosen, candidate))
            yield from _measured_plan(options, network, taken, candidate)


def _measured_plan(
    options: argparse.Namespace, network: str, asked: Request, candidate: Candidate
) -> Iterator[Configuration]:
    """A plan, by a strategy file of it."""
    compiled = lower_network(asked.network, asked.options)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "plan.toml"
        save_strategy(path, asked, compiled)
        shape = "x".join(map(str, candidate.mesh.shape))
        words = ["--mesh", shape, "--strategy", str(path)]
        yield from _profiled(options, network, asked, compiled, candidate.name, words)


def _profiled(
    options: argparse.Namespace,
    network: str,
    asked: Request,
    compiled: Compiled,
    name: str,
    words: list[str],
) -> Iterator[Configuration]:
    """What `netc profile` says of it."""
    devices = asked.options.mesh.size
    lines, code = _said(options, network, devices, words)
    result = next((line for line in lines if line["event"] == "result"), None)
    if code or result is None:
        told = next((d["message"] for e in lines for d in e.get("diagnostics", ())), f"exit {code}")
        _skipped(options, network, devices, name, told)
        return
    launches: dict[str, list[MeasuredLaunch]] = defaultdict(list)
    for line in lines:
        if line["event"] == "launch":
            one = MeasuredLaunch(line["seconds"], line["flops"], line["moved_bytes"])
            launches[line["call"]].append(one)
    splits, shape = tuple(compiled.splits.items()), asked.options.mesh.shape
    updates = asked.options.updates or REPLICATED
    plan = MeasuredPlan(name, result["step_seconds"], shape, compiled.scheme, updates, splits)
    found = Configuration(asked, launches, plan)
    _tell(options, network, found)
    yield found


def _tell(options: argparse.Namespace, network: str, found: Configuration) -> None:
    devices, strategy = found.devices, found.strategy
    if options.json:
        many = sum(map(len, found.launches.values()))
        json_line(event="measured", network=network, devices=devices, strategy=strategy,
                  step_seconds=found.seconds, launches=many)  # fmt: skip
    else:
        what = f"{found.name}, {devices} device{'s' * (devices > 1)}, {strategy}"
        say(f"measured  {what}: {seconds_text(found.seconds)} a step")


def _skipped(
    options: argparse.Namespace, network: str, devices: int, strategy: str, why: str
) -> None:
    if options.json:
        json_line(event="skipped", network=network, devices=devices, strategy=strategy, reason=why)
    else:
        note(f"{network} on {devices} by '{strategy}' is not measured: {why.rstrip('.')}.")


def _said(
    options: argparse.Namespace, network: str, devices: int, words: list[str]
) -> tuple[list[dict[str, Any]], int]:  # fmt: skip
    """What `netc profile` prints, in a process of its own, which gives everything back."""
    words = ["profile", network, *words, "--batch", str(options.batch)]
    words += ["--steps", str(options.steps), "--json", "--launches"]
    for name in ("precision", "kernels", "backend"):
        if (value := getattr(options, name)) is not None:
            words += [f"--{name}", value]
    words += ["--share-gpus"] if options.share_gpus and devices > 1 else []
    for each in options.define:
        words += ["-D", each]
    for each in options.set:
        words += ["--set", each]
    command = [sys.executable, "-m", "netc.cli.main", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    lines = done.stdout.decode(errors="replace").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")], done.returncode
