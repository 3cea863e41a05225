"""Initial weights: threads make the rows of a block apart, and each number is what it is alone."""

from __future__ import annotations

import numpy as np
import pytest

from netc.ir.step import Attributes, Step
from netc_kernels.cpu.threads import Pool
from netc_kernels.reference import KERNELS
from netc_runtime.cpu.bind import bind


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(
    ("whole", "block", "offset"),
    [
        ((7, 5), (7, 5), (0, 0)),
        ((1, 9), (1, 9), (0, 0)),
        ((64, 33, 3, 3), (13, 33, 3, 3), (40, 0, 0, 0)),
        ((12, 30, 5, 1), (12, 7, 5, 1), (0, 14, 0, 0)),
        ((4, 6), (0, 6), (4, 0)),
    ],
)
@pytest.mark.parametrize("channels_last", [False, True])
def test_threads_make_the_reference_s_bits(
    threads: int, whole: tuple[int, ...], block: tuple[int, ...], offset: tuple[int, ...],
    channels_last: bool,
) -> None:  # fmt: skip
    if channels_last and len(block) != 4:
        pytest.skip("matrices have one order")
    told = {"std": 0.3, "key": 77, "shape": whole, "offset": offset}
    wanted, seed = np.empty(block, np.float32), np.array(2**33 + 5)
    KERNELS["init_normal"](wanted, seed, **told)
    if channels_last:
        n, c, h, w = block
        out = np.full((n, h, w, c), np.nan, np.float32).transpose(0, 3, 1, 2)
    else:
        out = np.full(block, np.nan, np.float32)
    step = Step("init_normal", (0,), Attributes.of(told), block)
    with Pool(threads) as pool:
        bind([step], "", [out], [seed], pool)()
    np.testing.assert_array_equal(out, wanted)
