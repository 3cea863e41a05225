"""The machine that a command plans for: the one named, else the one at hand as it was measured."""

from __future__ import annotations

from pathlib import Path

import netc_clusters
from netc.cli.files import find
from netc.cli.output import seconds_text
from netc.cost import Cluster, read_cluster
from netc_kernels import cuda
from netc_runtime.measure.machine import machine_name, own_cluster

LOCAL = "local"
"""The name of the machine at hand."""


def load_cluster(named: str | None, target: str) -> Cluster:
    """The machine to plan for, for programs of a backend.

    Without a name, or as "local", it is the one at hand: as `netc calibrate` measured it, else as
    netc ships its kind.
    """
    if named not in (None, LOCAL):
        return read_cluster(find(named, netc_clusters, ".toml"))
    if has_target(target):
        own = own_cluster(target)
        if own.exists():
            return read_cluster(own)
        if target == "cuda":
            return shipped_kind(machine_name(target))
    return read_cluster(find(LOCAL, netc_clusters, ".toml"))


def has_target(target: str) -> bool:
    """Whether devices of a backend are here."""
    return target != "cuda" or not cuda.available()


def is_here(cluster: Cluster, target: str) -> bool:
    """Whether that is the machine at hand: programs for it use the kernels that are here."""
    if not cluster.machine:
        return cluster.name == LOCAL
    return has_target(target) and cluster.machine == machine_name(target)


def uncalibrated(target: str) -> str:
    """What there is to say behind predictions for the machine at hand where nobody measured it."""
    if has_target(target) and own_cluster(target).exists():
        return ""
    return "; by rough defaults: 'netc calibrate' measures this machine"


def against(predicted: float, measured: float) -> str:
    """A prediction beside what came true: "2.1 s predicted (+5.0 %)"."""
    off = 100 * (predicted / measured - 1)
    return f"{seconds_text(predicted)} predicted ({off:+.1f} %)"


def shipped_kind(machine: str) -> Cluster:
    """The shipped machine whose name is a word of a GPU's name, else the local one."""
    folder = Path(netc_clusters.__file__).parent
    words = machine.lower().replace("-", " ").split()
    known = sorted(path.stem for path in folder.glob("*.toml"))
    name = next((name for name in known if name in words), LOCAL)
    return read_cluster(folder / f"{name}.toml")
