"""Networks for the cuda backend, and how near results must be."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from harness import Run, tiny
from networks import Maker

from netc.passes.assign_formats import Target
from netc.syntax.network import Network
from netc_runtime.cuda.kernels import CudaKernels
from netc_runtime.launch.ranks import Ranks


def target(precision: str, kernels: str = "auto") -> Target:
    return Target("cuda", "nhwc", "nhwc", 256, CudaKernels(precision, kernels).choose)


def residual() -> Network:
    """Batch norm, an addition, strides, a concatenation, averages."""
    net = Maker(3, 16, 16, name="residual")
    x = net.relu(net.bn(net.conv("image", 16, 7, stride=2, pad=3, bias=False)))
    y = net.bn(net.conv(net.relu(net.bn(net.conv(x, 16, pad=1, bias=False))), 16, pad=1))
    x = net.relu(net.add(x, y))
    left, right = net.conv(x, 8, 1), net.conv(x, 24, 5, pad=2, groups=2)
    x = net.concat(left, right)
    x = net.pool(net.unary("sigmoid", x), "global", "avgpool")
    return net.loss(net.fc(x, 16))


def blocks() -> Network:
    """Residual blocks, the first with batch norm in both branches, and branches side by side."""
    net = Maker(3, 10, 10, name="blocks")
    x = net.relu(net.bn(net.conv("image", 16, bias=False)))
    short = net.bn(net.conv(x, 24, 1, bias=False))
    x = net.relu(net.add(net.bn(net.conv(x, 24, pad=1, bias=False)), short))
    for _ in range(2):
        x = net.relu(net.add(net.bn(net.conv(x, 24, pad=1, bias=False)), x))
    x = net.concat(*(net.relu(net.bn(net.conv(x, width, 1, bias=False))) for width in (8, 16)))
    return net.loss(net.fc(net.pool(x, "global", "avgpool"), 16))


def bottlenecks() -> Network:
    """Residual blocks of three convolutions, two of them of one pixel; the last goes by strides."""
    net = Maker(3, 10, 10, name="bottlenecks")
    x = net.relu(net.bn(net.conv("image", 32, bias=False)))
    for _ in range(2):
        y = net.relu(net.bn(net.conv(x, 16, 1, bias=False)))
        y = net.relu(net.bn(net.conv(y, 16, pad=1, bias=False)))
        x = net.relu(net.add(net.bn(net.conv(y, 32, 1, bias=False)), x))
    y = net.relu(net.bn(net.conv(x, 16, 1, bias=False)))
    y = net.bn(net.conv(y, 24, stride=2, pad=1, bias=False))
    x = net.relu(net.add(y, net.bn(net.conv(x, 24, 1, stride=2, bias=False))))
    return net.loss(net.fc(net.pool(x, "global", "avgpool"), 16))


def grouped() -> Network:
    """Batch norm by groups of 2 and 4 images, also where an addition follows at once."""
    net = Maker(3, 9, 9, name="grouped")
    x = net.relu(net.bn(net.conv("image", 16, stride=2, bias=False), 2))
    x = net.relu(net.add(net.bn(net.conv(x, 16, pad=1), 4), x))
    return net.loss(net.fc(net.relu(net.bn(net.fc(x, 24), 4)), 16))


def normalized() -> Network:
    """Response normalization, overlapping pools, groups."""
    net = Maker(3, 19, 19, name="normalized")
    x = net.pool(net.lrn(net.relu(net.conv("image", 16, 5, stride=2))), 3, stride=2)
    x = net.pool(net.unary("tanh", net.conv(x, 32, pad=1, groups=2)), 2, "avgpool", stride=1)
    x = net.dropout(net.unary("gelu", net.fc(x, 64)), 0.5)
    return net.loss(net.fc(x, 24))


def apart(one: Run, other: Run) -> dict[str, float]:
    """Norms of the differences, relative to those of the results."""
    assert one.results.keys() == other.results.keys()
    return {
        name: float(np.linalg.norm(value - other.results[name]))
        / max(float(np.linalg.norm(other.results[name])), 1e-2)
        for name, value in one.results.items()
    }


def check_near(one: Run, other: Run, tolerance: float, steps: int = 9) -> None:
    """All results of the first steps: rounding grows from step to step, as training does."""
    late = tuple(f" at {step}" for step in range(steps, 9))
    found = {
        name: distance
        for name, distance in apart(one, other).items()
        if steps == 9 or (" at " in name and not name.endswith(late))
    }
    worst = sorted(found, key=lambda name: -found[name])[:5]
    assert found[worst[0]] < tolerance, {name: found[name] for name in worst}


class Threads(Ranks):
    """Processes of a run that are threads."""

    def __init__(self, rank: int, board: list[Any], barrier: threading.Barrier) -> None:
        self.rank, self.size = rank, len(board)
        self.board, self.barrier = board, barrier

    def allgather(self, value: Any) -> list[Any]:
        self.board[self.rank] = value
        self.barrier.wait(25)
        found = list(self.board)
        self.barrier.wait(25)
        return found


NETWORKS = {
    "tiny": tiny, "residual": residual, "blocks": blocks, "bottlenecks": bottlenecks,
    "grouped": grouped, "normalized": normalized,
}  # fmt: skip
