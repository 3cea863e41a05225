"""What instructions cost on a machine: seconds and bytes. Machines come from cluster files."""

from netc.cost.cluster import Cluster, LinkLevel, Links, Reached, at_precision, read_cluster
from netc.cost.exchange import (
    ExchangePrice,
    exchange_price,
    moved_bytes,
    node_traffic,
    plan_traffic,
    traffic,
)
from netc.cost.launch import kernel_kind, launch_seconds, local_flops

__all__ = [
    "Cluster",
    "ExchangePrice",
    "LinkLevel",
    "Links",
    "Reached",
    "at_precision",
    "exchange_price",
    "kernel_kind",
    "launch_seconds",
    "local_flops",
    "moved_bytes",
    "node_traffic",
    "plan_traffic",
    "read_cluster",
    "traffic",
]
