"""A word that says how far a stream has come, in memory that the host reads meanwhile."""

from __future__ import annotations

import numpy as np

from netc_kernels.cuda import source
from netc_kernels.cuda.block import Block


def mark(out: Block, *, value: int, stream: int) -> None:
    """Write a number of 32 bits once all earlier work of the stream has ended.

    `out` is in device memory or in pinned memory of the host, where it is seen at once.
    """
    assert out.dtype == "i32"
    assert out.elements == 1
    kernel = source.function("mark.cu", "mark")
    source.launch(kernel, (1,), (1,), (out.pointer, np.int32(value)), stream)
