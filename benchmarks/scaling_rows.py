"""What scaling.py compares: plans, batches over devices, rows that are predicted or measured.

A row is a mapping, as it stands in the JSON file; `KEY` says which rows are the same one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netc.api.choices import AUTO, PlanChoices
from netc.api.compare import Compared, compare
from netc.api.model import load
from netc.planner.compare import SCHEMES, ComparedPlan

Row = dict[str, Any]
NETWORKS = ("vgg16", "alexnet_owt", "resnet50", "inception_v3")
IMAGES = (128, 32)
STRATEGIES = ("data", "model", "hybrid", AUTO)
WEAK, STRONG = "weak", "strong"
"""The batch grows with the devices; it is that of one device on all."""
KEY = ("machine", "precision", "network", "images", "scaling", "devices", "program", "plan")
NETC, TORCH, JAX = "netc", "PyTorch", "JAX"
TOLERANCE = {"fp64": 1e-9, "fp32": 1e-4, "tf32": 5e-2, "bf16": 2e-1}
"""How far losses may be from one device's, over them: tests/cuda has the same for first steps."""


@dataclass(frozen=True)
class Round:
    """One network on one number of devices, beside one device alone."""

    network: str
    images: int
    """Of a device; of one device alone, where the batch stays as it is."""
    scaling: str
    devices: int

    @property
    def batch(self) -> int:
        """Images of a step, over all devices."""
        return self.images * (self.devices if self.scaling == WEAK else 1)

    @property
    def text(self) -> str:
        return f"{self.network}, {self.images} images, {self.scaling}, {self.devices} devices"


def rounds(
    networks: Iterable[str], images: Sequence[int], scalings: Sequence[str], counts: Sequence[int]
) -> list[Round]:
    """All that is asked for; one device alone is the same however the batch scales."""
    found = []
    for network in networks:
        for own in images:
            if 1 in counts:
                found.append(Round(network, own, WEAK, 1))
            for scaling in scalings:
                found += [Round(network, own, scaling, n) for n in counts if n > 1]
    return found


def plans(strategies: Iterable[str], schemes: Iterable[str], devices: int) -> list[str]:
    """Names of plans: a strategy, or "hybrid a" with its scheme; "single" on one device."""
    if devices == 1:
        return ["single"]
    found = []
    for strategy in strategies:
        found += [f"hybrid {s}" for s in schemes] if strategy == "hybrid" else [strategy]
    return found


def asked(plan: str) -> str:
    """A plan's name as `netc_programs.Case` takes it."""
    return plan.replace(" ", " --scheme ")


def named(plan: ComparedPlan) -> str:
    """A compared plan's name, as `plans` has it."""
    return f"hybrid {plan.scheme or SCHEMES[0]}" if plan.strategy == "hybrid" else plan.strategy


def predicted(
    network: str, images: int, scaling: str, counts: Sequence[int], machine: str,
    precision: str, strategies: Sequence[str], schemes: Sequence[str],
) -> list[Row]:  # fmt: skip
    """Rows of the simulator, of one device too."""
    choices = PlanChoices(batch=images, cluster=machine, precision=precision, backend="cuda")
    model = load(network)
    question = Compared(model.network, model.parameters, choices, scaling == WEAK)
    found = compare(question, sorted({1, *counts}), strategies)
    return [
        {"machine": machine, "precision": precision, "network": network, "images": images,
         "scaling": scaling, "devices": plan.devices, "program": NETC, "plan": named(plan),
         "batch": plan.batch, "scheme": plan.scheme, "seconds": plan.seconds,
         "images_per_second": plan.images_per_second, "speedup": speedup,
         "not_computing": plan.exposed_seconds, "sent_bytes": plan.sent_bytes,
         "fits": plan.fits}
        for plan, speedup in found.rows
        if named(plan) in plans(strategies, schemes, plan.devices)
    ]  # fmt: skip


def measured_rows(of: Round, one: Sequence[Row], several: Sequence[Row]) -> list[Row]:
    """Measured rows with images a second, and how much faster they are than the best of one device
    in the same round. Rows have `program`, `plan` and, where they ran, `measured` seconds.
    """
    fastest = max((of_one(of) / r["measured"] for r in one if "measured" in r), default=None)
    found = []
    for row, own in ((row, row in one) for row in (*one, *several)):
        each: Row = {"network": of.network, "images": of.images, "scaling": of.scaling,
                     "devices": 1 if own else of.devices, **row,
                     "batch": of_one(of) if own else of.batch}  # fmt: skip
        if "measured" in row:
            speed = each["batch"] / row["measured"]
            each |= {"images_per_second": speed, "step_ms": 1e3 * row["measured"]}
            each["speedup"] = None if fastest is None else speed / fastest
            if "predicted" in row:
                each["off"] = row["predicted"] / row["measured"] - 1
        found.append(each)
    return found


def of_one(of: Round) -> int:
    """Images of a step of one device alone."""
    return of.images


def apart(found: Sequence[float], alone: Sequence[float]) -> float:
    """The largest difference of losses, over that of one device; infinite without numbers."""
    if not all(map(math.isfinite, (*found, *alone))):
        return math.inf
    return max(abs(a - b) / abs(b) for a, b in zip(found, alone, strict=True))


def merged(old: Iterable[Row], new: Iterable[Row], key: Sequence[str] = KEY) -> list[Row]:
    """Rows, of which later ones take the place of those with the same key."""
    found = {tuple(row.get(name) for name in key): row for row in (*old, *new)}
    return list(found.values())


@dataclass
class Book:
    """The JSON file of all rows; what was known before stays."""

    path: Path
    predicted: list[Row]
    measured: list[Row]
    checks: list[Row]

    @classmethod
    def read(cls, path: Path) -> Book:
        """What is there, or nothing."""
        known = json.loads(path.read_text()) if path.exists() else {}
        return cls(path, *(known.get(name, []) for name in ("predicted", "measured", "checks")))

    @property
    def parts(self) -> tuple[list[Row], list[Row], list[Row]]:
        """What `add` takes."""
        return self.predicted, self.measured, self.checks

    def add(
        self, predicted: Iterable[Row] = (), measured: Iterable[Row] = (),
        checks: Iterable[Row] = (),
    ) -> None:  # fmt: skip
        """Take rows, and write the file."""
        self.predicted = merged(self.predicted, predicted)
        self.measured = merged(self.measured, measured)
        of_check = (*KEY, "batch", "side", "backend")
        self.checks = merged(self.checks, checks, of_check)
        parts = {"predicted": self.predicted, "measured": self.measured, "checks": self.checks}
        lines = (
            f'"{name}": [\n' + ",\n".join(json.dumps(row) for row in rows) + "\n]"
            for name, rows in parts.items()
        )
        self.path.write_text("{" + ",\n".join(lines) + "}\n")
