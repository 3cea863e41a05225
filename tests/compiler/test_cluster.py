"""Cluster files: what is shipped is read, and what is wrong in one is told with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

import netc_clusters
from netc.cost import Cluster, Nccl, read_cluster
from netc.errors import UsageError

SHIPPED = sorted(Path(netc_clusters.__file__).parent.glob("*.toml"))
NCCL = """[nccl]
architecture = "ampere"
nvlinks = 12
cpu = "amd"
"""
GOOD = f"""netc_cluster = 2
source = "made up"
memory_bytes = 1e9
memory_bytes_per_second = 1e9
launch_seconds = 1e-6
while_exchanging = 0.9
algorithms = ["direct", "ring", "nccl"]

{NCCL}
[flops_per_second]
f32 = 1e12
f64 = 1e11

[reached.conv]
flops = 0.5
half_flops = 1e6

[links.inner]
devices = 4
bytes_per_second = 1e9
latency_seconds = 1e-6

[links.outer]
devices = 8
bytes_per_second = 1e9
latency_seconds = 1e-6
shared_bytes_per_second = 2e9
"""


def read(tmp_path: Path, text: str) -> Cluster:
    (tmp_path / "x.toml").write_text(text)
    return read_cluster(tmp_path / "x.toml")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_machine_is_read_and_says_where_it_is_from(path: Path) -> None:
    cluster = read_cluster(path)
    assert cluster.name == path.stem and len(cluster.source) > 20
    assert path.read_text().startswith("# ")


def test_everything_in_a_file_is_read(tmp_path: Path) -> None:
    cluster = read(tmp_path, GOOD)
    inner, outer = cluster.links.levels
    assert (inner.name, inner.devices, inner.shared_bytes_per_second) == ("inner", 4, None)
    assert (outer.devices, outer.shared_bytes_per_second) == (8, 2e9)
    assert cluster.links.algorithms == ("direct", "ring", "nccl")
    assert cluster.links.nccl == Nccl("ampere", 12, "amd")
    assert cluster.reached["conv"].half_flops == 1e6
    assert cluster.while_exchanging == 0.9
    assert [cluster.links.level(0, other) for other in (1, 3, 4, 7)] == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("old", "new", "told", "line"),
    [
        ("netc_cluster = 2\n", "", "has no 'netc_cluster'", 1),
        ("netc_cluster = 2", "netc_cluster = 1", "is not of version 2", 1),
        ("netc_cluster = 2", "netc_cluster = true", "is not of version 2", 1),
        ("memory_bytes = 1e9\n", "", "has no 'memory_bytes'", None),
        ("source = \"made up\"", "source = 1", "'source' must be text", 2),
        ("f64 = 1e11", "f46 = 1e11", "must name f32 and f64", 14),
        ("while_exchanging = 0.9", "while_exchanging = 1.5", "from 0 to 1", 6),
        ("\"direct\", \"ring\", \"nccl\"", "\"rings\"", "ways that exchanges", 7),
        ("\"ring\", \"nccl\"", "\"ring\"", "no way of exchange uses [nccl]", 9),
        (NCCL, "", "does not say what NCCL goes by", 7),
        ("architecture = \"ampere\"\n", "", "'[nccl]' has no 'architecture'", 9),
        ("\"ampere\"", "\"kepler\"", "one of volta, ampere, hopper, blackwell", 10),
        ("nvlinks = 12", "nvlinks = -1", "'nccl.nvlinks' must be a whole number, 0", 11),
        ("cpu = \"amd\"", "cpu = [1]", "'nccl.cpu' must be one of intel, amd", 12),
        ("cpu = \"amd\"", "cpus = 2", "unknown key 'cpus'", 12),
        ("[reached.conv]", "[reached.convolution]", "unknown key 'convolution'", 18),
        ("flops = 0.5", "flops = 0", "'reached.conv.flops' must be", 19),
        ("devices = 4\n", "", "'links.inner' must say how many 'devices'", 22),
        ("devices = 8", "devices = 6", "several groups of 4 devices", 28),
        ("devices = 8", "devices = 4", "several groups of 4 devices", 28),
        ("devices = 8", "devices = 0", "'links.outer.devices' must be", 28),
        ("latency_seconds = 1e-6\n\n", "\n", "'[links.inner]' has no 'latency_seconds'", 22),
        ("bytes_per_second = 1e9\nlat", "bytes_per_second = nan\nlat", "must be a number", 24),
        ("[links.inner]", "[link.inner]", "unknown key 'link'", 22),
        ("while_exchanging = 0.9", "links = 3", "cannot read", 22),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(
    tmp_path: Path, old: str, new: str, told: str, line: int | None
) -> None:
    assert old in GOOD
    with pytest.raises(UsageError) as problem:
        read(tmp_path, GOOD.replace(old, new, 1))
    found = problem.value.diagnostics[0]
    assert told in found.message
    assert (found.span.line if found.span else None) == line


def test_files_of_the_first_version_are_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as problem:
        read(tmp_path, "memory_bytes = 1e9\nlink_bytes_per_second = 1e9\n")
    (found,) = problem.value.diagnostics
    assert "netc_cluster = 2" in found.help and "[links.nvlink]" in found.help
