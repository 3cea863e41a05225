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
from netc.cost.exchange import (
    ExchangePrice,
    exchange_price,
    moved_bytes,
    node_traffic,
    plan_traffic,
    traffic,
)
from netc.cost.launch import (
    kernel_kind,
    kind_of,
    launch_seconds,
    like_measured,
    local_flops,
    setting,
)
from netc.cost.measured import (
    LaunchTable,
    Measured,
    MeasuredExchange,
    MeasuredLaunch,
    MeasuredPlan,
    kernel_and_dtype,
    launch_text,
    measured_json,
)

__all__ = [
    "Cluster",
    "ExchangePrice",
    "LaunchTable",
    "LinkLevel",
    "Links",
    "Measured",
    "MeasuredExchange",
    "MeasuredLaunch",
    "MeasuredPlan",
    "Reached",
    "at_devices",
    "at_precision",
    "cluster_toml",
    "exchange_price",
    "kernel_and_dtype",
    "kernel_kind",
    "kind_of",
    "launch_seconds",
    "launch_text",
    "like_measured",
    "local_flops",
    "measured_json",
    "moved_bytes",
    "node_traffic",
    "plan_traffic",
    "read_cluster",
    "setting",
    "traffic",
]
