"""The networks of bench_networks.py as PyTorch modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bench_networks
import torch
from torch import Tensor, nn


class Residual(nn.Module):
    def __init__(self, body: bench_networks.Layers, skip: bench_networks.Layers) -> None:
        super().__init__()
        self.body, self.skip, self.relu = build(body), build(skip), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Any:
        return self.relu(self.body(x) + self.skip(x))


def maxpool(size: int, stride: int, pad: int, beyond: bool = False) -> nn.Module:
    return nn.MaxPool2d(size, stride, pad, ceil_mode=beyond)


class Concat(nn.Module):
    def __init__(self, *branches: bench_networks.Layers) -> None:
        super().__init__()
        self.branches = nn.ModuleList(build(branch) for branch in branches)

    def forward(self, x: Tensor) -> Any:
        return torch.cat([branch(x) for branch in self.branches], 1)


MODULES: dict[str, Callable[..., nn.Module]] = {
    "conv": lambda c, k, size, stride, pad, groups, bias: nn.Conv2d(
        c, k, size, stride, pad, groups=groups, bias=bias
    ),
    "fc": nn.Linear, "maxpool": maxpool, "avgpool": nn.AvgPool2d, "bn": nn.BatchNorm2d,
    "dropout": nn.Dropout, "concat": Concat,
    # PyTorch divides alpha by the size.
    "lrn": lambda size, alpha, *more: nn.LocalResponseNorm(size, size * alpha, *more),
    "relu": lambda: nn.ReLU(inplace=True), "flatten": nn.Flatten, "residual": Residual,
    "global_average": lambda: nn.AdaptiveAvgPool2d(1),
}  # fmt: skip


def build(layers: bench_networks.Layers) -> nn.Sequential:
    return nn.Sequential(*(MODULES[str(kind)](*numbers) for kind, *numbers in layers))
