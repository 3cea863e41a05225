"""The largest batch whose plan fits the memory of a device."""

from __future__ import annotations

from dataclasses import replace

from netc.passes.pipeline import Options, lower_training
from netc.passes.plan_memory import peak_bytes
from netc.planner.compare import LARGEST_BATCH
from netc.syntax import Network


def largest_batch(network: Network, options: Options) -> int:
    """The largest multiple of the number of devices that fits, up to `LARGEST_BATCH`; 0 where not
    even one image a device does. Memory grows with the batch, so it is found by halving.
    """
    each = options.mesh.size

    def fits(images: int) -> bool:
        chosen = replace(options, batch=images * each, afford=lambda cost: None)
        program = lower_training(network, chosen, verified=False).program
        return peak_bytes(program, options.target.alignment_bytes) <= options.cluster.memory_bytes

    if not fits(1):
        return 0
    low, high = 1, 2
    while high * each <= LARGEST_BATCH and fits(high):
        low, high = high, 2 * high
    high = min(high, LARGEST_BATCH // each + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low * each
