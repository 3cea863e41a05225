"""The largest batch whose plan fits the memory of a device."""

from __future__ import annotations

import math
from dataclasses import replace

from netc.ir.programs import TRAIN
from netc.passes.options import Options
from netc.planner.compare import LARGEST_BATCH
from netc.planner.recompute import fits
from netc.syntax import Network


def largest_batch(network: Network, options: Options, most: int = LARGEST_BATCH) -> int:
    """The largest multiple of the number of devices, and of groups that norms are trained by, that
    fits, up to `most`; 0 where not even one image a device, or one group, does. Memory grows with
    the batch, so it is found by halving.
    """
    groups = [layer.options.get("group") or 1 for layer in network.layers]
    each = math.lcm(options.mesh.size, *(groups if options.goal == TRAIN else ()))

    def held(images: int) -> bool:
        return fits(network, replace(options, batch=images * each))

    if not held(1):
        return 0
    low, high = 1, 2
    while high * each <= most and held(high):
        low, high = high, 2 * high
    high = min(high, max(1, most // each) + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if held(middle) else (low, middle)
    return low * each
