"""A round of scaling.py: losses are compared with one device's, then steps are timed in turn."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from peers import HERE, Contestant, Peer, ended, start, take_turns
from scaling_rows import JAX, NETC, TOLERANCE, TORCH, Round, Row, apart, asked, measured_rows, plans
from strategies import start_netc, warm_places

from netc.api.model import load
from netc.syntax.printer import network_text

CHECKED_STEPS = 2
"""Whose losses are compared, the second one behind an update: rounding grows from step to step, and
batch norms of few pixels make much of it.
"""
NO_MODES = ["none"]


@dataclass(frozen=True)
class Asked:
    """What every round has."""

    strategies: Sequence[str]
    schemes: Sequence[str]
    precision: str
    machine: str
    modes: Sequence[str]
    """Of PyTorch."""
    torch: str
    """A Python that has it."""
    jax: str | None
    """A Python that has JAX; None for without."""
    side: int | None
    """Of images, in pixels; None for the network's own."""
    backend: str
    timed: bool
    """Whether steps are timed, or losses alone compared."""
    repeats: int
    steps: int
    """Of a burst."""

    @property
    def about(self) -> Row:
        """What all rows say."""
        return {"machine": self.machine, "precision": self.precision}


def one_round(of: Round, how: Asked) -> tuple[list[Row], list[Row]]:
    """Rows of losses, and of steps."""
    with tempfile.TemporaryDirectory() as folder:
        network = small(of.network, how.side, Path(folder)) if how.side else of.network
        group = Group(of, how, network)
        with ended(group.peers):
            group.start()
            checks = group.checks() if of.devices > 1 else []
            wrong = {row["plan"] for row in checks if not row.get("agrees", True)}
            return checks, group.rows(wrong) if how.timed else []


def small(network: str, side: int, folder: Path) -> str:
    """The file of a network for images of another size."""
    whole = load(network).network
    inputs = tuple(replace(each, shape=(each.shape[0], side, side)) for each in whole.inputs)
    path = folder / f"{network}.net"
    path.write_text(network_text(replace(whole, inputs=inputs)))
    return str(path)


@dataclass
class Group:
    """The processes of a round."""

    of: Round
    how: Asked
    network: str
    peers: list[Peer] = field(default_factory=list)

    def start(self) -> None:
        """One after the other, as each may choose kernels by their times: netc's plans; one device
        with the same batch; where steps are timed, one device with its own batch, and PyTorch.
        """
        of, many = self.of, self.of.devices > 1
        self.plans = plans(self.how.strategies, self.how.schemes, of.devices)
        self.several = self.netc(of.devices, of.batch, self.plans)
        self.same_batch = self.netc(1, of.batch, ["single"]) if many else self.several
        self.alone, self.torch = self.same_batch, dict[int, Peer]()
        self.jax: Peer | None = None
        if self.how.timed:
            if of.batch != of.images:
                self.alone = self.netc(1, of.images, ["single"])
            counts = () if self.how.modes == NO_MODES else sorted({1, of.devices})
            self.torch = {devices: self.pytorch(devices) for devices in counts}
            if self.how.jax:
                self.jax = self.warm(self.started(JAX, self.how.jax, "gpu_jax.py", of.images))

    def netc(self, devices: int, batch: int, names: Sequence[str]) -> Peer:
        """A process with plans of netc."""
        peer = start_netc(
            network=self.network, batch=batch, devices=devices, precision=self.how.precision,
            strategies=[asked(name) for name in names], cluster=self.how.machine,
            backend=self.how.backend,
        )  # fmt: skip
        return self.warm(peer)

    def pytorch(self, devices: int) -> Peer:
        """A process with PyTorch's ways."""
        batch = self.of.images if devices == 1 else self.of.batch
        about = {"devices": devices, "modes": self.how.modes}
        return self.warm(
            self.started(f"{TORCH} on {devices}", self.how.torch, "gpu_torch.py", batch, about)
        )

    def started(
        self, name: str, python: str, script: str, batch: int, about: Row | None = None
    ) -> Peer:
        """A peer's process."""
        case = {"network": self.of.network, "batch": batch, "precision": self.how.precision}
        command = [python, str(HERE / script), json.dumps({**case, **(about or {})})]
        # JAX takes most of the memory at once otherwise.
        return start(name, command, {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"})

    def warm(self, peer: Peer) -> Peer:
        """Wait for a process that was started."""
        self.peers.append(peer)
        peer.warm()
        return peer

    def checks(self) -> list[Row]:
        """How far every plan's losses are from one device's with the same batch."""
        of, tolerance = self.of, TOLERANCE[self.how.precision]
        about = {**self.how.about, "network": of.network, "images": of.images,
                 "scaling": of.scaling, "devices": of.devices, "batch": of.batch,
                 "program": NETC, "side": self.how.side, "backend": self.how.backend}  # fmt: skip
        line = f"losses 0 {CHECKED_STEPS}"
        known = self.same_batch.ask(line) if warm_places(self.same_batch) else None
        if self.same_batch is not self.alone:
            self.same_batch.end()
        found = []
        for place, (plan, fault) in enumerate(
            zip(self.plans, faults(self.several, len(self.plans)), strict=True)
        ):
            row = {**about, "plan": plan, "tolerance": tolerance}
            own = None if fault else self.several.ask(f"losses {place} {CHECKED_STEPS}")
            if own is None or known is None:
                why = fault or (self.several if own is None else self.same_batch).why
                row["failed"] = f"losses were not compared: {why}"
            else:
                far = apart(own, known)
                row |= {"losses": known, "apart": far, "agrees": far <= tolerance}
            found.append(row)
        return found

    def rows(self, wrong: set[str]) -> list[Row]:
        """Steps of all, in turn; plans in `wrong` are left out."""
        one = list(self.contestants(self.alone, ["single"], NETC, set()))
        several: list[tuple[Row, Contestant | None]] = []
        if self.of.devices > 1:
            several += self.contestants(self.several, self.plans, NETC, wrong)
        for devices, peer in self.torch.items():
            into = one if devices == 1 else several
            into.extend(self.contestants(peer, self.how.modes, TORCH, set()))
        if self.jax is not None:
            one += self.contestants(self.jax, ["jit"], JAX, set())
        running = [each for _, each in (*one, *several) if each is not None]
        take_turns(running, self.how.repeats, self.how.steps)
        return measured_rows(
            self.of, *([judged(*each) for each in part] for part in (one, several))
        )

    def contestants(
        self, peer: Peer, names: Sequence[str], program: str, wrong: set[str]
    ) -> Iterator[tuple[Row, Contestant | None]]:
        """The programs of a process that can run, and why others cannot."""
        told = peer.about.get("programs", [{}] * len(names))
        for place, (name, fault) in enumerate(zip(names, faults(peer, len(names)), strict=True)):
            row = {**self.how.about, "program": program, "plan": name}
            row |= {key: told[place][key] for key in ("scheme", "predicted") if key in told[place]}
            fault = fault or ("its losses are not those of one device" if name in wrong else "")
            if fault:
                row["failed"] = fault
            yield row, None if fault else Contestant(peer, place)


def faults(peer: Peer, count: int) -> list[str]:
    """By program why it cannot run; empty where it can."""
    if not peer.runs:
        return [peer.why] * count
    return [each.get("failed", "") for each in peer.about["programs"]]


def judged(row: Row, contestant: Contestant | None) -> Row:
    """A row with what was measured."""
    if contestant is None:
        return row
    if not contestant.seconds:
        return {**row, "failed": contestant.peer.why}
    return {**row, **contestant.judged(), "seconds": contestant.seconds}
