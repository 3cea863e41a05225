"""The operand of a CUDA kernel: one tensor in device memory."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

ITEM_BYTES = {"f32": 4, "bf16": 2, "f64": 8, "i64": 8, "i32": 4, "u8": 1}
"""Bytes of one element of each data type."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A dense tensor of one device."""

    pointer: int
    """Device address of the first element."""
    shape: tuple[int, ...]
    """Logical: images N C H W, filters K C R S."""
    dtype: str
    """One of `ITEM_BYTES`."""
    nhwc: bool = False
    """Whether four dimensions lie in memory as N H W C (filters K R S C)."""

    @property
    def elements(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.elements * ITEM_BYTES[self.dtype]
