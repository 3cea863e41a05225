"""Convolutions and matrix products on the GPU against the reference in float64."""

from __future__ import annotations

import shutil
import subprocess
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from netc_kernels.cuda import available
from netc_kernels.cuda.conv import products, vendor
from netc_kernels.cuda.conv.plan import plan_of
from netc_kernels.cuda.conv.planned import Planned
from netc_kernels.cuda.conv.ready import Vendor
from netc_kernels.cuda.source import FOLDER
from netc_kernels.cuda.tensor import Tensor
from netc_kernels.reference import KERNELS as REFERENCE

Array = NDArray[Any]
TOLERANCE = {"fp32": 3e-6, "tf32": 1e-3, "bf16": 4e-3}
"""The relative error of a whole tensor in the 2-norm, against float64."""
WGMMA_TOLERANCE = {**TOLERANCE, "tf32": 2e-3}
"""It cuts off what tf32 lacks, which changes each of two factors by up to 2**-10."""
VENDOR_TOLERANCE = {**TOLERANCE, "fp32": 1e-5}
"""cuDNN may transform tensors in float32: by Winograd's algorithm, or Fourier's."""
TOLERANCES = {"vendor": VENDOR_TOLERANCE, "mma": TOLERANCE}
VARIANTS = tuple((p, v) for p in ("tf32", "bf16") for v in ("mma", "auto", "shared"))
VENDOR_CASES = (
    *("odd", "first of VGG", "first of AlexNet", "first of ResNet", "64 channels", "stride"),
    *("1x1, stride", "few channels", "strips", "groups"),
)
on_gpu = pytest.mark.skipif(bool(available()), reason=available() or "-")


class Case(NamedTuple):
    """One convolution, and the shard of its filters that is computed."""

    images: int
    channels: int
    filters: int
    image: tuple[int, int]
    size: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    pad: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1
    shard: tuple[int, int] | None = None
    """First filter, and how many."""

    @property
    def attributes(self) -> dict[str, Any]:
        first = self.shard[0] if self.shard else 0
        keys = {"stride": self.stride, "pad": self.pad, "groups": self.groups}
        return {**keys, "filters": self.filters, "first_filter": first}

    @property
    def shapes(self) -> dict[str, tuple[tuple[int, ...], ...]]:
        top, bottom, left, right = self.pad
        count = self.shard[1] if self.shard else self.filters
        rows = (self.image[0] + top + bottom - self.size[0]) // self.stride[0] + 1
        columns = (self.image[1] + left + right - self.size[1]) // self.stride[1] + 1
        x = (self.images, self.channels, *self.image)
        w = (count, self.channels // self.groups, *self.size)
        y = (self.images, count, rows, columns)
        return {"conv": (y, x, w), "conv_dx": (x, y, w), "conv_dw": (w, x, y)}


SAME = (1, 1, 1, 1)
CASES = {
    "one pixel": Case(1, 1, 1, (1, 1), (1, 1)),
    "odd": Case(2, 17, 33, (9, 6), (3, 3), (1, 1), (0, 2, 1, 0)),
    "first of VGG": Case(2, 3, 64, (12, 14), (3, 3), (1, 1), SAME),
    "first of AlexNet": Case(2, 3, 40, (23, 21), (11, 11), (4, 4), (2, 2, 1, 1)),
    "first of ResNet": Case(2, 3, 16, (15, 17), (7, 7), (2, 2), (3, 3, 3, 3)),
    "few channels": Case(3, 5, 16, (13, 11), (5, 4), (3, 2), (1, 2, 0, 3)),
    "rows shared, 64": Case(2, 128, 64, (9, 15), (3, 3), (1, 1), SAME),
    "rows shared, 128": Case(3, 64, 128, (7, 17), (3, 3), (1, 1), SAME),
    "64 channels": Case(3, 64, 64, (11, 13), (3, 3), (1, 1), SAME),
    "128 channels": Case(2, 64, 128, (17, 9), (3, 3), (1, 1), SAME),
    "256 channels": Case(2, 128, 256, (7, 9), (3, 3), (1, 1), SAME),
    "320 filters": Case(1, 136, 320, (5, 9), (1, 1)),
    "8 channels": Case(2, 8, 24, (10, 11), (3, 2), (1, 1), (1, 0, 1, 1)),
    "stride": Case(2, 40, 72, (13, 12), (3, 3), (2, 2), SAME),
    "1x1, stride": Case(2, 72, 48, (9, 11), (1, 1), (2, 2)),
    "uneven everything": Case(2, 36, 40, (9, 11), (3, 2), (2, 3), (1, 0, 2, 1), 2),
    "stride past window": Case(1, 16, 8, (5, 7), (2, 2), (3, 4)),
    "strips": Case(1, 2, 2, (8, 8), (1, 3), (2, 2), (0, 0, 0, 1)),
    "groups": Case(2, 48, 96, (9, 8), (3, 3), (1, 1), SAME, 2),
    "groups, shard": Case(2, 48, 96, (6, 7), (3, 3), (1, 1), SAME, 6, (8, 56)),
    "groups, piece of one": Case(2, 48, 96, (6, 7), (3, 3), (2, 1), SAME, 3, (37, 11)),
    "one group of few channels": Case(2, 6, 8, (5, 7), (3, 2), (2, 2), SAME, 2, (4, 4)),
    "depthwise": Case(2, 24, 24, (7, 6), (3, 3), (1, 1), SAME, 24),
    "more padding than window": Case(1, 8, 8, (4, 4), (3, 3), (1, 1), (4, 4, 4, 4)),
    "long sum": Case(40, 16, 16, (14, 14), (3, 3), (1, 1), SAME),
    "no images": Case(0, 8, 8, (5, 5), (3, 3), (1, 1), SAME),
    "no channels": Case(2, 0, 8, (5, 5), (3, 3), (1, 1), SAME),
    "no filters": Case(2, 8, 16, (5, 5), (3, 3), (1, 1), SAME, 1, (4, 0)),
}
MATRICES = (
    (1, 1, 1),
    (5, 33, 7),
    (128, 512, 264),
    (37, 2048, 64),
    (300, 72, 520),
    (0, 8, 8),
    (3, 0, 8),
)


def to_device(array: Array) -> Any:
    import cupy

    return cupy.asarray(array)


def to_host(array: Any) -> Array:
    import cupy

    host: Array = cupy.asnumpy(array)
    return host


def pointer(array: Any) -> int:
    return int(array.data.ptr)


def to_bf16(array: Array) -> Array:
    bits = array.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def from_bf16(array: Array) -> Array:
    values: Array = (array.astype(np.uint32) << 16).view(np.float32)
    return values


class Guarded:
    """An array in device memory, with a guard before and after it."""

    GUARD = 256

    def __init__(self, values: Array, dtype: str) -> None:
        self.dtype, self.shape = dtype, values.shape
        order = np.moveaxis(values, 1, -1) if values.ndim == 4 else values
        self.stored = order.shape
        raw = np.ascontiguousarray(order, np.float32).ravel()
        guard = np.full(self.GUARD, 7.0, np.float32)
        raw = np.concatenate([guard, raw, guard])
        self.memory = to_device(to_bf16(raw) if dtype == "bf16" else raw)
        self.item_bytes = 2 if dtype == "bf16" else 4

    @property
    def tensor(self) -> Tensor:
        start = pointer(self.memory) + self.GUARD * self.item_bytes
        return Tensor(start, self.shape, self.dtype, nhwc=len(self.shape) == 4)

    def read(self) -> Array:
        raw = to_host(self.memory)
        values = from_bf16(raw) if self.dtype == "bf16" else raw
        guards = np.concatenate([values[: self.GUARD], values[len(values) - self.GUARD :]])
        assert (guards == 7).all(), "wrote outside of the tensor"
        inner = values[self.GUARD : len(values) - self.GUARD].reshape(self.stored)
        return np.moveaxis(inner, -1, 1) if len(self.shape) == 4 else inner


def rounded(values: Array, dtype: str) -> Array:
    return from_bf16(to_bf16(values)) if dtype == "bf16" else values.astype(np.float32)


def check(
    op: str,
    shapes: tuple[tuple[int, ...], ...],
    attributes: dict[str, Any],
    precision: str,
    variant: str,
    fused: bool,
) -> None:
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    print("seed", seed)
    rng = np.random.default_rng(seed)
    dtype = "bf16" if precision == "bf16" else "f32"
    inputs = [rounded(rng.standard_normal(shape), dtype) for shape in shapes[1:]]
    expected = np.empty(shapes[0])
    REFERENCE[op](expected, *(each.astype(np.float64) for each in inputs), **attributes)
    extra: dict[str, Any] = {}
    kept = []
    if fused and op in ("conv", "fc"):
        bias = rng.standard_normal(shapes[0][1]).astype(np.float32)
        kept = [Guarded(bias, "f32")]
        extra = {"bias": kept[0].tensor, "relu": True}
        expected = np.maximum(expected + bias.reshape(1, -1, *[1] * (len(shapes[0]) - 2)), 0)
    elif fused:
        mask = rounded(rng.standard_normal(shapes[0]), dtype)
        kept = [Guarded(mask, dtype)]
        extra = {"positive": kept[0].tensor}
        expected = np.where(mask > 0, expected, 0)
    out = Guarded(np.full(shapes[0], np.nan), dtype)
    tensors = [Guarded(each, dtype) for each in inputs]
    blocks = [out.tensor, *(each.tensor for each in tensors)]
    if variant == "vendor":
        run, size = by_vendor(op, shapes, attributes, precision, blocks, extra)
        settings: dict[str, Any] = {}
    else:
        size = products.workspace_bytes(op, shapes, attributes, precision)
        run = partial(products.KERNELS[op], **extra, **attributes)
        settings = {"precision": precision, "variant": variant}
    work = Guarded(np.full(size // 4, np.nan), "f32")
    run(*blocks, stream=0, work=work.tensor, **settings)
    result = out.read()
    work.read()
    assert not np.isnan(result).any(), "left elements unwritten"
    error = np.linalg.norm(result - expected) / max(float(np.linalg.norm(expected)), 1e-30)
    assert error < TOLERANCES.get(variant, WGMMA_TOLERANCE)[precision]
    again = Guarded(np.full(shapes[0], np.nan), dtype)
    run(again.tensor, *blocks[1:], stream=0, work=work.tensor, **settings)
    assert np.array_equal(again.read(), result), "another run gives other bits"


def by_vendor(
    op: str,
    shapes: tuple[tuple[int, ...], ...],
    attributes: dict[str, Any],
    precision: str,
    blocks: list[Tensor],
    extra: dict[str, Any],
) -> tuple[Any, int]:
    """cuDNN's kernel as a function like this package's, and the bytes of its workspace."""
    geometry = {key: attributes[key] for key in ("stride", "pad", "groups") if key in attributes}
    product = vendor.Product(
        op, shapes[0], shapes[1:], blocks[0].dtype, precision, **geometry,
        bias="bias" in extra, relu="relu" in extra, relu_dx="positive" in extra,
    )  # fmt: skip
    if reason := vendor.missing():
        pytest.skip(reason)
    if not product.supported():
        pytest.skip("tensor cores do not take these channels")
    other = extra.get("bias") or extra.get("positive")
    library, known = Vendor(), [""]

    def run(*blocks: Tensor, stream: int, work: Tensor) -> None:
        settings = other, work, known[-1]
        try:
            planned = Planned(product, blocks[0], blocks[1:], *settings)
            known.append(planned.choose(library))
        except vendor.UnsupportedError as error:
            pytest.skip(str(error))
        planned.run(stream)

    return run, vendor.workspace_bytes(product)


def fusible(op: str) -> tuple[bool, ...]:
    return (False,) if op.endswith("_dw") else (False, True)


def shares(case: Case) -> bool:
    """Whether some pass of the case can share pixels."""
    same = case.size == (3, 3) and case.stride == (1, 1) and case.pad == SAME
    return same and case.groups == 1 and case.image[1] >= 14


def params() -> list[Any]:
    cases = []
    vendors = [(precision, "vendor") for precision in TOLERANCE]
    for precision, variant in (("fp32", "auto"), *VARIANTS, *vendors):
        for name, case in CASES.items():
            for op, shapes in case.shapes.items():
                if variant == "shared" and not (shares(case) and op != "conv_dw"):
                    continue
                if variant == "vendor" and name not in VENDOR_CASES:
                    continue
                for fused in fusible(op):
                    label = f"{precision}-{variant}-{op}-{name}{'-fused' if fused else ''}"
                    values = op, shapes, case.attributes, precision, variant, fused
                    cases.append(pytest.param(*values, id=label))
        for n, c, k in MATRICES if variant != "shared" else ():
            shapes_of = {
                "fc": ((n, k), (n, c), (k, c)),
                "fc_dx": ((n, c), (n, k), (k, c)),
                "fc_dw": ((k, c), (n, c), (n, k)),
            }
            for op, shapes in shapes_of.items():
                if variant == "vendor" and not n * c:
                    continue
                for fused in fusible(op):
                    label = f"{precision}-{variant}-{op}-{n}-{c}-{k}{'-fused' if fused else ''}"
                    values = op, shapes, {}, precision, variant, fused
                    cases.append(pytest.param(*values, id=label))
    return cases


@pytest.mark.parametrize(("op", "shapes", "attributes", "precision", "variant", "fused"), params())
@pytest.mark.gpu
@on_gpu
def test_agrees_with_reference(
    op: str,
    shapes: tuple[tuple[int, ...], ...],
    attributes: dict[str, Any],
    precision: str,
    variant: str,
    fused: bool,
) -> None:
    check(op, shapes, attributes, precision, variant, fused)


SOURCES = {
    "conv/mma.cu": (
        {"PASS": 0, "PRECISION": 0, "WIDE_A": 1, "WIDE_B": 1, "TURNED": 0, "FEW_TAPS": 1},
        {"PASS": 1, "PRECISION": 1, "WIDE_A": 0, "WIDE_B": 0, "TURNED": 1, "FEW_TAPS": 0},
        {"PASS": 1, "PRECISION": 2, "WIDE_A": 1, "WIDE_B": 0, "TURNED": 0, "FEW_TAPS": 1},
        {"PASS": 2, "PRECISION": 2, "WIDE_A": 0, "WIDE_B": 1, "TURNED": 0, "FEW_TAPS": 1},
    ),
    "conv/wgmma.cu": (
        {"PASS": 0, "PRECISION": 2, "TURNED": 0, "TILE_M": 256, "TILE_N": 64, "BLOCKS": 1},
        {"PASS": 0, "PRECISION": 1, "TURNED": 0, "TILE_N": 256, "BLOCKS": 1},
        {"PASS": 1, "PRECISION": 2, "TURNED": 1, "TILE_N": 64, "BLOCKS": 1, "SHARE": 3},
        {"PASS": 1, "PRECISION": 1, "TURNED": 1, "TILE_N": 64, "BLOCKS": 1, "SHARE": 3},
        {"PASS": 2, "PRECISION": 2, "TURNED": 0, "TILE_N": 64, "BLOCKS": 2},
    ),
    "conv/prepare.cu": ({"BF16": 0}, {"BF16": 1}),
    "conv/sum.cu": ({"BF16": 0}, {"BF16": 1}),
}


@pytest.mark.skipif(not shutil.which("nvcc"), reason="there is no nvcc")
@pytest.mark.parametrize(
    ("file", "macros"),
    [
        pytest.param(file, macros, id=f"{file}-{index}")
        for file, versions in SOURCES.items()
        for index, macros in enumerate(versions)
    ],
)
def test_compiles_without_warnings(file: str, macros: dict[str, int], tmp_path: Path) -> None:
    defaults = {"TILE_M": 128, "TILE_N": 128, "STAGES": 3, "FEW_TAPS": 1}
    values = {**defaults, **macros} if file in ("conv/mma.cu", "conv/wgmma.cu") else macros
    chip = "90a" if file == "conv/wgmma.cu" else "80"
    target = f"-gencode=arch=compute_{chip},code=sm_{chip}"
    flags = ["-std=c++17", target, "-cubin", "-Werror", "all-warnings", "-o", str(tmp_path / "out")]
    defines = [f"-D{key}={value}" for key, value in values.items()]
    done = subprocess.run(
        ["nvcc", *flags, f"-I{FOLDER}", *defines, FOLDER / file], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def shard_attributes(case: Case) -> tuple[Any, ...]:
    return tuple(case.attributes.values())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", CASES)
def test_products_cover_the_result_once(name: str, precision: str) -> None:
    case = CASES[name]
    for op, shapes in case.shapes.items():
        if not np.prod(shapes[0]):
            continue
        plan = plan_of(op, shapes, shard_attributes(case), precision)
        channel = 0 if op == "conv_dw" else 1
        written = np.zeros(shapes[0][channel], int)
        for each in plan.products:
            written[each.first : each.first + each.groups * each.columns] += 1
        assert (written == 1).all()


def test_workspace_is_what_the_call_needs() -> None:
    case = Case(128, 512, 512, (14, 14), (3, 3), (1, 1), SAME)
    shapes = case.shapes["conv_dw"]
    size = products.workspace_bytes("conv_dw", shapes, case.attributes, "bf16")
    splits = plan_of("conv_dw", shapes, shard_attributes(case), "bf16").splits
    assert splits > 1 and size == splits * 512 * 512 * 9 * 4
    assert products.workspace_bytes("conv", case.shapes["conv"], case.attributes, "bf16") == 0


def test_every_op_has_a_kernel() -> None:
    assert set(products.KERNELS) == {"conv", "conv_dx", "conv_dw", "fc", "fc_dx", "fc_dw"}
