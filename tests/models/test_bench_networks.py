"""Networks as benchmarks build them elsewhere are those of netc."""

from __future__ import annotations

from typing import Any

import bench_networks
import pytest

import netc


@pytest.mark.parametrize("name", bench_networks.NETWORKS)
def test_peers_have_the_networks_of_netc(name: str) -> None:
    model = netc.load(name)
    assert sum(map(parameters, bench_networks.layers(name))) == model.summary().parameters
    assert model.network.inputs[0].shape[1] == bench_networks.side(name)


def parameters(layer: Any) -> int:
    """Weights of a layer and of those in it."""
    kind, *numbers = layer
    if kind == "conv":
        channels, filters, size, _, _, groups, bias = numbers
        tall, wide = (size, size) if isinstance(size, int) else size
        return int(channels // groups * filters * tall * wide + bias * filters)
    if kind == "fc":
        return int(numbers[0] * numbers[1] + numbers[1])
    if kind == "bn":
        return int(2 * numbers[0])
    inner = numbers if kind in ("concat", "residual") else ()
    return sum(parameters(each) for branch in inner for each in branch)
