"""Channels of dense arrays joined and taken apart: images (N, H, W, C), or rows (N, C). Float32.

Threads take pixels.
"""

from typing import Any

from netc_kernels.cpu.elementwise import GRAIN
from netc_kernels.cpu.shape import NOTHING, Array
from netc_kernels.cpu.threads import Pool
from netc_kernels.cpu.vector import LANES, kernel, load_first, store_first, where_positive


def concat(out: Array, *xs: Array, pool: Pool) -> None:
    """Write arrays beside each other, along the last dim."""
    first, width = 0, out.shape[-1]
    for x in xs:
        if x.size:
            _copy(out, first, width, x, 0, x.shape[-1], x.shape[-1], NOTHING, pool)
        first += x.shape[-1]


def slice_channels(out: Array, x: Array, pool: Pool, start: int, positive: Array = NOTHING) -> None:
    """Take channels of x from `start` on, as many as `out` has.

    Where `positive` (as out: the output of a relu) is given and not above 0, out is 0.
    """
    channels = out.shape[-1]
    _copy(out, 0, channels, x, start, x.shape[-1], channels, positive, pool)


def _copy(
    out: Array, to: int, out_width: int, x: Array, at: int, width: int, channels: int,
    positive: Array, pool: Pool,
) -> None:  # fmt: skip
    flat, grain = (out.reshape(-1), x.reshape(-1), positive.reshape(-1)), max(1, GRAIN // channels)
    facts = to, out_width, at, width, channels
    pool.spread(x.size // width, grain, copy_channels, *flat, *facts)


@kernel
def copy_channels(
    out: Any, x: Any, positive: Any, to: int, out_width: int, at: int, width: int, channels: int,
    thread: int, start: int, stop: int,
) -> None:  # fmt: skip
    """Copy some channels of pixels `start` ... `stop`; `positive` has no others."""
    for pixel in range(start, stop):
        into, of = to + pixel * out_width, at + pixel * width
        for c in range(0, channels, LANES):
            value = load_first(x, of + c, channels - c)
            if positive.size:
                value = where_positive(
                    load_first(positive, pixel * channels + c, channels - c), value
                )
            store_first(out, into + c, value, channels - c)
