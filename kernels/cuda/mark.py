"""Words that say how far a stream has come, and when."""

from __future__ import annotations

import numpy as np

from netc_kernels.cuda import source
from netc_kernels.cuda.tensor import Tensor


def mark(out: Tensor, *, value: int, stream: int) -> None:
    """Write a number of 32 bits once all earlier work of the stream has ended.

    `out` is in device memory or in pinned memory of the host, where it is seen at once.
    """
    assert out.dtype == "i32"
    assert out.elements == 1
    kernel = source.function("mark.cu", "mark")
    source.launch(kernel, (1,), (1,), (out.pointer, np.int32(value)), stream)


def stamp(out: Tensor, *, stream: int) -> None:
    """Write the GPU's clock, in nanoseconds, once all earlier work of the stream has ended."""
    assert out.dtype == "i64"
    assert out.elements == 1
    kernel = source.function("mark.cu", "stamp")
    source.launch(kernel, (1,), (1,), (out.pointer,), stream)
