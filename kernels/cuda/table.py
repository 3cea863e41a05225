"""All hand-written CUDA kernels, by the name of their operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from netc_kernels.cuda import channels, native
from netc_kernels.cuda.conv import pointwise, products

PRODUCTS = frozenset(products.KERNELS)
"""Convolutions and matrix products: they are told a precision, and all have a workspace."""
KERNELS: Mapping[str, Callable[..., None]] = MappingProxyType(
    {**native.KERNELS, **products.KERNELS, **pointwise.KERNELS}
)
"""Called as `op(out, *inputs, stream, **attributes)` with Tensors."""
CONVOLUTIONS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "conv_moments": ("conv", "bn_moments"),
        "conv_sums": ("conv", "bn_sums"),
        "conv_dx_slopes": ("conv_dx", "bn_slopes"),
        "conv_dx_add_slopes": ("conv_dx", "add_relu_slopes"),
    }
)
"""Joined launches that begin with a convolution, as two kernels after each other: the convolution,
with a relu's slope where the other one has none, and what is made of its result.
"""
WITH_WORKSPACE = frozenset({*native.WORKSPACE_BYTES, *PRODUCTS, *CONVOLUTIONS})
"""Operations whose kernels are given `work`."""


def workspace_bytes(
    op: str, shapes: Sequence[tuple[int, ...]], attributes: Mapping[str, Any], precision: str
) -> int:
    """Scratch memory of a kernel, from the shapes of its result and operands."""
    if op in CONVOLUTIONS:
        out, a, w = shapes[:3]
        conv, _ = CONVOLUTIONS[op]
        apart = products.workspace_bytes(conv, (out, a, w), attributes, precision)
        sums = channels.two_sums_workspace((out[1],), out)
        return max(pointwise.workspace_bytes(out, (a, w)), apart, sums)
    if op in PRODUCTS:
        return products.workspace_bytes(op, shapes, attributes, precision)
    sizes = native.WORKSPACE_BYTES
    return sizes[op](*shapes) if op in sizes else 0
