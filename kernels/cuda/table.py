"""All hand-written CUDA kernels, by the name of their operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from netc_kernels.cuda import conv, native

PRODUCTS = frozenset(conv.KERNELS)
"""Convolutions and matrix products: they are told a precision, and all have a workspace."""
KERNELS: Mapping[str, Callable[..., None]] = MappingProxyType({**native.KERNELS, **conv.KERNELS})
"""Called as `op(out, *inputs, stream, **attributes)` with Blocks."""
WITH_WORKSPACE = frozenset({*native.WORKSPACE_BYTES, *PRODUCTS})
"""Operations whose kernels are given `work`."""


def workspace_bytes(
    op: str, shapes: Sequence[tuple[int, ...]], attributes: Mapping[str, Any], precision: str
) -> int:
    """Scratch memory of a kernel, from the shapes of its result and operands."""
    if op in PRODUCTS:
        return conv.workspace_bytes(op, shapes, attributes, precision)
    sizes = native.WORKSPACE_BYTES
    return sizes[op](*shapes[1:]) if op in sizes else 0
