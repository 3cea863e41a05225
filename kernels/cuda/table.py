"""All hand-written CUDA kernels, by the name of their operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from netc_kernels.cuda import native
from netc_kernels.cuda.conv import products

PRODUCTS = frozenset(products.KERNELS)
"""Convolutions and matrix products: they are told a precision, and all have a workspace."""
KERNELS: Mapping[str, Callable[..., None]] = MappingProxyType(
    {**native.KERNELS, **products.KERNELS}
)
"""Called as `op(out, *inputs, stream, **attributes)` with Tensors."""
WITH_WORKSPACE = frozenset({*native.WORKSPACE_BYTES, *PRODUCTS})
"""Operations whose kernels are given `work`."""


def workspace_bytes(
    op: str, shapes: Sequence[tuple[int, ...]], attributes: Mapping[str, Any], precision: str
) -> int:
    """Scratch memory of a kernel, from the shapes of its result and operands."""
    if op in PRODUCTS:
        return products.workspace_bytes(op, shapes, attributes, precision)
    sizes = native.WORKSPACE_BYTES
    return sizes[op](*shapes) if op in sizes else 0
