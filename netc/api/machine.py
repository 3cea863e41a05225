"""The machine that a command plans for: the one named, else the one at hand as it was measured."""

from __future__ import annotations

from pathlib import Path

import netc_clusters
from netc.api.predicted import LOCAL
from netc.api.shipped import find
from netc.cost import Cluster, read_cluster
from netc.errors import Diagnostic, UsageError
from netc_runtime.measure.machine import has_target, machine_name, own_cluster


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
            return _read_own(own)
        if target == "cuda":
            return shipped_kind(machine_name(target))
    return read_cluster(find(LOCAL, netc_clusters, ".toml"))


def _read_own(path: Path) -> Cluster:
    """The machine at hand as it was measured; an error of a damaged file says what to do."""
    try:
        return read_cluster(path)
    except UsageError as problem:
        message = f"what was measured of this machine cannot be read, '{path}'."
        hint = "'netc calibrate' measures it anew, or delete the file to plan by defaults."
        raise UsageError(*problem.diagnostics, Diagnostic("E055", message, help=hint)) from None


def is_here(cluster: Cluster, target: str) -> bool:
    """Whether that is the machine at hand: programs for it use the kernels that are here."""
    if not cluster.machine:
        return cluster.name == LOCAL
    return has_target(target) and cluster.machine == machine_name(target)


def shipped_kind(machine: str) -> Cluster:
    """The shipped machine whose name is a word of a GPU's name, else the local one."""
    folder = Path(netc_clusters.__file__).parent
    words = machine.lower().replace("-", " ").split()
    known = sorted(path.stem for path in folder.glob("*.toml"))
    name = next((name for name in known if name in words), LOCAL)
    return read_cluster(folder / f"{name}.toml")
