"""Convolutions and products of matrices, as tiled products of gathered operands (implicit GEMM).

Images are `nhwc` blocks, filters K R S C. `precision` tells how products are made: "fp32" in
float32, "tf32" from operands rounded or cut off to tf32, both on float32 blocks; "bf16" on bf16
blocks. Sums are float32 always, in an order that depends on nothing but the shapes, so results
repeat to the bit. Where tensors are aligned to 16 bytes on Hopper's chips, `conv/wgmma.cu` makes
bf16 products if channels come in eights, and tf32 ones, if in fours, of the forward pass and of
images' gradients; `pointwise` those of 1 by 1 pixel in bf16; `conv/mma.cu` makes all others.

`workspace_bytes` tells what `work` must hold: the sums of the parts of a split sum, which a second
pass adds; images and filters of few channels, folded (`space_to_depth`); filters turned for the
gradient of the input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from math import prod
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from netc_kernels.cuda import source
from netc_kernels.cuda.conv import pointwise
from netc_kernels.cuda.conv.plan import (
    BACKWARD_WEIGHTS,
    FEW_TAPS,
    PRECISIONS,
    Pair,
    ProductLaunch,
    ProductPlan,
    Shape,
    plan_of,
)
from netc_kernels.cuda.conv.space_to_depth import places, space_to_depth
from netc_kernels.cuda.tensor import Tensor

__all__ = ["KERNELS", "conv", "conv_dw", "conv_dx", "fc", "fc_dw", "fc_dx", "workspace_bytes"]

Pad: TypeAlias = tuple[int, int, int, int]

_GRID = 16 * 132
"""Blocks of a launch that goes through its elements at this distance."""

_PROBLEM = np.dtype(
    [(name, "u8") for name in ("a", "b", "out", "bias", "positive", "partial", "sums")]
    + [
        (name, "i4")
        for name in (
            *("images", "grid_h", "grid_w", "source_h", "source_w"),
            *("source_c", "source_first", "group_c"),
            *("size_h", "size_w", "stride_h", "stride_w", "pad_h", "pad_w"),
            *("columns", "first", "width", "groups", "splits", "relu"),
        )
    ],
)
"""`Problem` of conv/tile.cuh."""


class ProductCall(NamedTuple):
    """What the launches of a call share."""

    plan: ProductPlan
    precision: str
    variant: str
    stream: int
    relu: bool
    a: int
    b: int
    out: int
    bias: int
    positive: int
    partial: int
    """Addresses; 0 for what is not there."""


def conv(
    out: Tensor,
    x: Tensor,
    w: Tensor,
    *,
    stream: int,
    stride: Pair,
    pad: Pad,
    groups: int,
    filters: int,
    first_filter: int,
    precision: str,
    work: Tensor | None = None,
    bias: Tensor | None = None,
    relu: bool = False,
    variant: str = "auto",
) -> None:
    """Convolve x (N, C, H, W) with w (K, C / groups, R, S), add `bias` (K,) and apply relu.

    `variant` "mma" keeps to the kernel for every chip and shape. "shared" lets the taps of a row of
    3 by 3 filters share a tile of pixels where that can be, which reads less of the L2 cache.
    """
    geometry = {"stride": stride, "pad": pad, "groups": groups}
    plain = variant == "auto" and bias is None and not relu and hopper()
    if plain and pointwise.suits("conv", out.shape, (x.shape, w.shape), geometry, precision):
        pointwise.conv(out, x, w, stream)
        return
    attributes = (stride, pad, groups, filters, first_filter)
    plan = plan_of("conv", (out.shape, x.shape, w.shape), attributes, precision)
    _run(plan, out, x, w, stream, precision, work, variant, bias=bias, relu=relu)


def conv_dx(
    out: Tensor,
    dy: Tensor,
    w: Tensor,
    *,
    stream: int,
    stride: Pair,
    pad: Pad,
    groups: int,
    filters: int,
    first_filter: int,
    precision: str,
    work: Tensor | None = None,
    positive: Tensor | None = None,
    variant: str = "auto",
) -> None:
    """Compute the gradient of the input (N, C, H, W) from dy (N, K, P, Q) and w.

    It is zeroed where `positive`, the output of the relu that made the input, is not positive.
    """
    geometry = {"stride": stride, "pad": pad, "groups": groups}
    shapes = out.shape, (dy.shape, w.shape)
    if variant == "auto" and hopper() and pointwise.suits("conv_dx", *shapes, geometry, precision):
        pointwise.conv_dx(out, dy, w, stream, positive)
        return
    attributes = (stride, pad, groups, filters, first_filter)
    plan = plan_of("conv_dx", (out.shape, dy.shape, w.shape), attributes, precision)
    _run(plan, out, dy, w, stream, precision, work, variant, positive=positive)


def conv_dw(
    out: Tensor,
    x: Tensor,
    dy: Tensor,
    *,
    stream: int,
    stride: Pair,
    pad: Pad,
    groups: int,
    filters: int,
    first_filter: int,
    precision: str,
    work: Tensor | None = None,
    variant: str = "auto",
) -> None:
    """Compute the gradient of the filters (K, C / groups, R, S) from x and dy."""
    attributes = (stride, pad, groups, filters, first_filter)
    plan = plan_of("conv_dw", (out.shape, x.shape, dy.shape), attributes, precision)
    _run(plan, out, x, dy, stream, precision, work, variant)


def fc(
    out: Tensor,
    x: Tensor,
    w: Tensor,
    *,
    stream: int,
    precision: str,
    work: Tensor | None = None,
    bias: Tensor | None = None,
    relu: bool = False,
    variant: str = "auto",
) -> None:
    """Multiply: out (N, K) = x (N, C) @ w (K, C).T, plus `bias` (K,), then relu."""
    plan = plan_of("fc", (out.shape, x.shape, w.shape), (), precision)
    _run(plan, out, x, w, stream, precision, work, variant, bias=bias, relu=relu)


def fc_dx(
    out: Tensor,
    dy: Tensor,
    w: Tensor,
    *,
    stream: int,
    precision: str,
    work: Tensor | None = None,
    positive: Tensor | None = None,
    variant: str = "auto",
) -> None:
    """Compute the gradient of the input: out (N, C) = dy (N, K) @ w (K, C), as `conv_dx` does."""
    plan = plan_of("fc_dx", (out.shape, dy.shape, w.shape), (), precision)
    _run(plan, out, dy, w, stream, precision, work, variant, positive=positive)


def fc_dw(
    out: Tensor,
    x: Tensor,
    dy: Tensor,
    *,
    stream: int,
    precision: str,
    work: Tensor | None = None,
    variant: str = "auto",
) -> None:
    """Compute the gradient of the weights: out (K, C) = dy (N, K).T @ x (N, C)."""
    plan = plan_of("fc_dw", (out.shape, x.shape, dy.shape), (), precision)
    _run(plan, out, x, dy, stream, precision, work, variant)


KERNELS: Mapping[str, Callable[..., None]] = MappingProxyType(
    {each.__name__: each for each in (conv, conv_dx, conv_dw, fc, fc_dx, fc_dw)}
)
"""Every kernel of this module by the name of its op."""


def workspace_bytes(
    op: str, shapes: Sequence[Shape], attributes: Mapping[str, Any], precision: str
) -> int:
    """Tell the bytes that `work` must have; `shapes` are those of `out` and the inputs."""
    names = ("stride", "pad", "groups", "filters", "first_filter") if op.startswith("conv") else ()
    values = tuple(
        tuple(value) if isinstance(value, Sequence) else value
        for value in (attributes[name] for name in names)
    )
    shapes = tuple(tuple(map(int, shape)) for shape in shapes)
    if not prod(shapes[0]):
        return 0
    return sum(plan_of(op, shapes, values, precision).section_bytes)


def _run(
    plan: ProductPlan,
    out: Tensor,
    a: Tensor,
    b: Tensor,
    stream: int,
    precision: str,
    work: Tensor | None,
    variant: str,
    *,
    bias: Tensor | None = None,
    positive: Tensor | None = None,
    relu: bool = False,
) -> None:
    _check(out, a, b, precision)
    if not out.elements:
        return
    partial, images, filters = _sections(plan, work)
    call = ProductCall(
        plan,
        precision,
        variant,
        stream,
        relu,
        a=a.pointer,
        b=b.pointer,
        out=out.pointer,
        bias=bias.pointer if bias else 0,
        positive=positive.pointer if positive else 0,
        partial=partial,
    )
    if plan.folded is not None:
        block, margin = plan.folded.block, plan.folded.margin
        deep = Tensor(images, plan.folded.image, a.dtype, True)
        space_to_depth(deep, a, block, margin=margin, stream=stream)
        call = call._replace(a=images)
        if filters:
            deep = Tensor(filters, plan.folded.filters, b.dtype, True)
            space_to_depth(deep, b, block, stream=stream)
            call = call._replace(b=filters)
    for product in plan.products:
        if product.turned < 0:
            _multiply(call, product)
            continue
        turned = filters + product.turned * plan.item_bytes
        _turn(call, product, turned)
        _multiply(call._replace(b=turned), product)
    if partial:
        _add_parts(call, out)


def _check(out: Tensor, a: Tensor, b: Tensor, precision: str) -> None:
    assert precision in PRECISIONS
    dtype = "bf16" if precision == "bf16" else "f32"
    assert {out.dtype, a.dtype, b.dtype} == {dtype}, "all blocks have the precision's type"
    assert all(each.nhwc or len(each.shape) == 2 for each in (out, a, b)), "images are nhwc"


def _sections(plan: ProductPlan, work: Tensor | None) -> tuple[int, int, int]:
    """Addresses of the workspace's sections; 0 for those it lacks."""
    sizes = plan.section_bytes
    if not any(sizes):
        return 0, 0, 0
    assert work is not None and work.nbytes >= sum(sizes), "too little workspace"
    assert work.pointer % 16 == 0, "the workspace is not aligned"
    starts = work.pointer, work.pointer + sizes[0], work.pointer + sizes[0] + sizes[1]
    partial, images, filters = (
        start if size else 0 for start, size in zip(starts, sizes, strict=True)
    )
    return partial, images, filters


def _turn(call: ProductCall, product: ProductLaunch, to: int) -> None:
    """Turn a product's filters, those from `source_first` on, K R S C, to C R S K."""
    taps, filters, channels = prod(product.size), product.group_c, product.columns
    skipped = product.source_first * taps * channels * call.plan.item_bytes
    grid = (-(-channels // 32), -(-filters // 32), product.groups * taps)
    kernel = source.function("conv/prepare.cu", "conv_turn", BF16=_bf16(call))
    args = to, call.b + skipped, filters, taps, channels
    source.launch(kernel, grid, (32, 8), args, call.stream)


def _multiply(call: ProductCall, product: ProductLaunch) -> None:
    addresses = call.a, call.b
    suits = product.suits_wgmma(call.precision, addresses)
    wgmma = call.variant != "mma" and suits and hopper()
    tiling = product.tiling(call.precision, wgmma, call.variant == "shared")
    tiles = product.tiles(tiling) * call.plan.splits
    if not tiles:
        return
    problem = _problem(call, product)
    defines = {
        "PASS": product.kind,
        "PRECISION": PRECISIONS.index(call.precision),
        "TURNED": int(product.turned >= 0),
        "FEW_TAPS": int(max(product.size) <= FEW_TAPS),
        "TILE_M": tiling.rows,
        "TILE_N": tiling.columns,
        "STAGES": tiling.stages,
    }
    if wgmma:
        defines |= {"BLOCKS": tiling.blocks, "SHARE": tiling.share}
        kernel = source.function("conv/wgmma.cu", "conv_wgmma", "sm_90a", **defines)
        grid = min(tiles, _multiprocessors() * tiling.blocks)
        source.launch(kernel, (grid,), (384,), (problem,), call.stream, tiling.shared_bytes + 1024)
        return
    wide = product.aligned(call.precision, addresses)
    kernel = source.function("conv/mma.cu", "conv_mma", WIDE_A=wide[0], WIDE_B=wide[1], **defines)
    source.launch(kernel, (tiles,), (256,), (problem,), call.stream, tiling.shared_bytes)


def _problem(call: ProductCall, product: ProductLaunch) -> Any:
    """Fill in `Problem`. One array of one structure is passed by value."""
    values = (
        *(call.a, call.b, call.out, call.bias, call.positive, call.partial, call.plan.sums),
        *(product.images, *product.grid, *product.source),
        *(product.source_c, product.source_first, product.group_c),
        *(*product.size, *product.stride, *product.pad),
        *(product.columns, product.first, product.width, product.groups),
        *(call.plan.splits, call.relu),
    )
    return np.array([values], _PROBLEM)


def _add_parts(call: ProductCall, out: Tensor) -> None:
    kernel = source.function("conv/sum.cu", "conv_sum", BF16=_bf16(call))
    plan = call.plan
    args = (
        *(call.out, call.partial, call.bias, call.positive, out.elements, plan.splits),
        *(plan.sums, plan.products[0].width, int(call.relu), _places(plan, out)),
    )
    grid = min(-(-out.elements // 256), _GRID)
    source.launch(kernel, (grid,), (256,), args, call.stream)


def _places(plan: ProductPlan, out: Tensor) -> Any:
    """Where the sums of out's elements are: those of folded filters', or as they are."""
    folded = plan.folded
    if folded is None or plan.products[0].kind != BACKWARD_WEIGHTS:
        return places((0,) * 4, (0,) * 4, (0, 0))
    return places(out.shape, folded.filters, folded.block)


def _bf16(call: ProductCall) -> int:
    return int(call.precision == "bf16")


@cache
def _capability(device: int) -> tuple[int, int]:
    from cupy.cuda import runtime

    properties = runtime.getDeviceProperties(device)
    return int(properties["major"]), int(properties["multiProcessorCount"])


def hopper() -> bool:
    """Whether the current device has Hopper's own products."""
    from cupy.cuda import runtime

    return _capability(int(runtime.getDevice()))[0] == 9


def _multiprocessors() -> int:
    from cupy.cuda import runtime

    return _capability(int(runtime.getDevice()))[1]
