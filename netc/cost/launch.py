"""What computing costs: the seconds and operations of one launch on a device."""

from __future__ import annotations

from math import exp, log
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from netc.cost.cluster import Cluster, Reached
from netc.cost.measured import LaunchTable, kernel_and_dtype
from netc.ir.graph import Graph, Node
from netc.ir.ops import Fused, Op
from netc.ir.types import TensorPart

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Amount = TypeVar("Amount", float, NDArray[np.float64])
    """Of one launch, or of many."""

_EVERYTHING = Reached()
_NEAR = 0.1
"""A distance at which a measured launch says nearly all about another."""


def kernel_kind(op: Op) -> str:
    """The kind of kernel that computes an operation, as clusters rate them."""
    return kind_of(op.links[0].op.kernel if isinstance(op, Fused) else op.kernel)


def kind_of(kernel: str) -> str:
    """The kind of a kernel, or of a joined launch by what it begins with."""
    first, _, rest = kernel.partition("_")
    return first if first in ("conv", "fc") and not rest.startswith("db") else "other"


def setting(target: str, precision: str, kernels: str, threads: int, devices: int) -> str:
    """What the times of launches depend on besides the launch, in words.

    Devices of the cpu backend share a memory, so it matters how many there are; GPUs do not.
    """
    if target == "cuda":
        return f"{target} {precision} {kernels}"
    return f"{target} {precision} {kernels}, {devices} devices of {threads} threads"


class LaunchRates(NamedTuple):
    """What a launch of some kind takes: the larger of computing and moving (a roofline), and never
    below a launch.

    A kernel of F operations reaches F / (F + half) of what long ones of its kind reach of the peak.
    What short ones lose is time, the same in any data type: half is counted at the fastest rate.
    """

    flop_seconds: float
    lost_seconds: float
    """More, where anything is computed."""
    byte_seconds: float
    least_seconds: float

    def bounds(self, flops: Amount, nbytes: Amount) -> tuple[Amount, Amount, float]:
        """Seconds of computing, of moving and of a launch, of one or of many launches: they take
        the largest.
        """
        computing = flops * self.flop_seconds + (flops > 0) * self.lost_seconds
        return computing, nbytes * self.byte_seconds, self.least_seconds


def launch_rates(cluster: Cluster, kind: str, dtype: str) -> LaunchRates:
    """Of kernels of a kind and data type."""
    reached = cluster.reached.get(kind, _EVERYTHING)
    return LaunchRates(
        1 / (cluster.flops(dtype) * reached.flops),
        reached.half_flops / (cluster.fastest * reached.flops),
        1 / (cluster.memory_bytes_per_second * reached.bytes),
        cluster.launch_seconds,
    )


def launch_seconds(cluster: Cluster, kind: str, dtype: str, flops: int, nbytes: int) -> float:
    """Of one launch."""
    return max(launch_rates(cluster, kind, dtype).bounds(float(flops), float(nbytes)))


def like_measured(
    cluster: Cluster, table: LaunchTable, text: str, flops: int, nbytes: int
) -> float | None:
    """Seconds of a launch by those that were measured: itself, or those nearest to it. None where
    none of its kernels was.
    """
    nearest = table.nearest(text)
    if not nearest:
        return None
    if not nearest[0][0]:
        return nearest[0][1].seconds
    kernel, dtype = kernel_and_dtype(text)
    kind, off, weights = kind_of(kernel), 0.0, 0.0
    for distance, each in nearest:
        weight = 1 / (_NEAR + distance)
        foreseen = launch_seconds(cluster, kind, dtype, each.flops, each.nbytes)
        off += weight * log(each.seconds / foreseen)
        weights += weight
    return launch_seconds(cluster, kind, dtype, flops, nbytes) * exp(off / weights)


def local_flops(
    graph: Graph, node: Node, operands: tuple[TensorPart, ...], result: TensorPart
) -> int:
    """Floating-point operations of a node on one device's part."""
    if not result.elements or any(b.elements == 0 for b in operands):
        return 0
    return node.op.flops(tuple(b.shape for b in operands), result.shape)
