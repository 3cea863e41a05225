"""Dropout with the reference's random bits, to the bit: Philox4x32-10 (Salmon et al. 2011).

Element i of the row-major *global* tensor takes word i % 4 of the counter (i // 4 low, i // 4 high,
step, key of the layer), whatever the memory order and the number of devices or threads.
"""

from typing import Any

import numpy as np

from netc_kernels.cpu.shape import Array
from netc_kernels.cpu.threads import Pool
from netc_kernels.cpu.vector import inline, kernel

MASK = 0xFFFFFFFF
WORD = np.uint64(MASK)
HALF = np.uint64(32)
MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
KEY_STEPS = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
ROUNDS = 10
GRAIN = 1 << 14


def dropout(
    out: Array,
    x: Array,
    first: Array,
    pool: Pool,
    *,
    run: int,
    step: int,
    seed: int,
    counter: int,
    key: int,
    rate: float,
) -> None:
    """Drop elements with probability `rate` and scale the others by 1 / (1 - rate).

    x and out are dense; they hold runs of `run` elements, `step` apart, and `first` (int64) tells
    for each run, in order of memory, the global index of its first element. Run r begins at
    element r // step * step * run + r % step: step 1 for rows of a matrix; for images (N, H, W, C)
    whose runs are the pixels of a channel, step is C and run is H * W. `counter` is the number
    of the training step. `out` may be x.
    """
    threshold = np.uint64(min(round(rate * 2**32), 1 << 32))
    scale = x.dtype.type(1 / (1 - rate) if rate < 1 else 0)
    words = np.array([counter & MASK, key & MASK, seed & MASK, seed >> 32 & MASK], np.uint64)
    flat = out.reshape(-1), x.reshape(-1)
    pieces = -(-run // GRAIN)
    facts = (first, run, step, pieces, words, threshold, scale)
    pool.run(len(first) * pieces, max(1, GRAIN // max(1, run)), drop, *flat, *facts)


@inline
def _round(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> Any:
    p0, p1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
    return (p1 >> HALF) ^ c1 ^ k0, p1 & WORD, (p0 >> HALF) ^ c3 ^ k1, p0 & WORD


@inline
def _philox(index: Any, words: Any) -> Any:
    """The four random words of a counter's index."""
    c0, c1, c2, c3 = index & WORD, index >> HALF, words[0], words[1]
    k0, k1 = words[2], words[3]
    for _ in range(ROUNDS):
        c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0, k1)
        k0, k1 = (k0 + KEY_STEPS[0]) & WORD, (k1 + KEY_STEPS[1]) & WORD
    return c0, c1, c2, c3


@kernel
def drop(
    out: Any,
    x: Any,
    first: Any,
    run: int,
    step: int,
    pieces: int,
    words: Any,
    threshold: Any,
    scale: Any,
    thread: int,
    start: int,
    stop: int,
) -> None:
    """Drop in pieces `start` ... `stop` of the runs."""
    for piece in range(start, stop):
        r, part = divmod(piece, pieces)
        begin, end = part * GRAIN, min((part + 1) * GRAIN, run)
        at = r // step * step * run + r % step
        while begin < end:
            index = first[r] + begin
            drawn = _philox(np.uint64(index // 4), words)
            skip = index % 4
            for lane in range(skip, min(4, skip + end - begin)):
                word = drawn[lane]
                to = at + begin * step
                out[to] = x[to] * scale if word >= threshold else x[to] * (scale - scale)
                begin += 1
