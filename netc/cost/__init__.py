"""What instructions cost on a machine: seconds and bytes. Machines come from cluster files."""

from netc.cost.cluster import (
    Cluster,
    LinkLevel,
    Links,
    Reached,
    at_devices,
    at_precision,
    cluster_toml,
    read_cluster,
)
from netc.cost.exchange import exchange_price, exchange_ways, most_ways
from netc.cost.launch import (
    kernel_kind,
    kind_of,
    launch_rates,
    launch_seconds,
    like_measured,
    local_flops,
    setting,
)
from netc.cost.measured import (
    STRIDED,
    LaunchTable,
    Measured,
    MeasuredExchange,
    MeasuredLaunch,
    MeasuredPlan,
    kernel_and_dtype,
    launch_text,
    measured_json,
)
from netc.cost.moved import (
    copied_bytes,
    even_moved,
    moved_bytes,
    node_traffic,
    plan_traffic,
    traffic,
)
from netc.cost.nccl import Nccl
from netc.cost.price import ExchangePrice, after

__all__ = [
    "STRIDED",
    "Cluster",
    "ExchangePrice",
    "LaunchTable",
    "LinkLevel",
    "Links",
    "Measured",
    "MeasuredExchange",
    "MeasuredLaunch",
    "MeasuredPlan",
    "Nccl",
    "Reached",
    "after",
    "at_devices",
    "at_precision",
    "cluster_toml",
    "copied_bytes",
    "even_moved",
    "exchange_price",
    "exchange_ways",
    "kernel_and_dtype",
    "kernel_kind",
    "kind_of",
    "launch_rates",
    "launch_seconds",
    "launch_text",
    "like_measured",
    "local_flops",
    "measured_json",
    "most_ways",
    "moved_bytes",
    "node_traffic",
    "plan_traffic",
    "read_cluster",
    "setting",
    "traffic",
]
