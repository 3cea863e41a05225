"""What computing costs: the seconds and operations of one launch on a device."""

from __future__ import annotations

from netc.cost.cluster import Cluster, Reached
from netc.ir.graph import Graph, Node
from netc.ir.ops import Fused, Op
from netc.ir.types import TensorPart

_EVERYTHING = Reached()


def kernel_kind(op: Op) -> str:
    """The kind of kernel that computes an operation, as clusters rate them."""
    name = op.links[0].op.kernel if isinstance(op, Fused) else op.kernel
    return name.removesuffix("_dx").removesuffix("_dw") if name in _PRODUCTS else "other"


_PRODUCTS = ("conv", "conv_dx", "conv_dw", "fc", "fc_dx", "fc_dw")


def launch_seconds(cluster: Cluster, kind: str, dtype: str, flops: int, nbytes: int) -> float:
    """The larger of computing and moving (a roofline), and never below a launch.

    A kernel of F operations reaches F / (F + half) of what long ones of its kind reach of the peak.
    """
    reached = cluster.reached.get(kind, _EVERYTHING)
    work = (flops + reached.half_flops) if flops else 0
    computing = work / (cluster.flops(dtype) * reached.flops)
    moving = nbytes / (cluster.memory_bytes_per_second * reached.bytes)
    return max(computing, moving, cluster.launch_seconds)


def local_flops(
    graph: Graph, node: Node, operands: tuple[TensorPart, ...], result: TensorPart
) -> int:
    """Floating-point operations of a node on one device's part."""
    if not result.elements or any(b.elements == 0 for b in operands):
        return 0
    return node.op.flops(tuple(b.shape for b in operands), result.shape)
