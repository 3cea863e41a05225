"""How a convolution is computed: as which products, in what layouts, cut into which tiles."""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any, NamedTuple, TypeAlias

from netc_kernels.cuda.conv.space_to_depth import Folded, fold

__all__ = [
    "BACKWARD_WEIGHTS",
    "FEW_TAPS",
    "PRECISIONS",
    "Pair",
    "ProductLaunch",
    "ProductPlan",
    "Shape",
    "Tiling",
    "plan_of",
]

Pair: TypeAlias = tuple[int, int]
Shape: TypeAlias = tuple[int, ...]
FilterRange: TypeAlias = tuple[int, int, int, int]
"""First filter in the shard, filters per group, first group, number of groups."""

PRECISIONS = "fp32", "tf32", "bf16"
FORWARD, BACKWARD_DATA, BACKWARD_WEIGHTS = range(3)
_LONGEST_SIDE = 16383
"""Pixels of an image's side that the kernels can count."""
_MULTIPROCESSORS = 132
"""What splits are chosen for; on other chips they are as right, and not quite as fast."""
_MEMORY_BYTES_PER_SECOND = 2.5e12
_SECOND_PASS_SECONDS = 4e-6
_FILL_STEPS = 4
"""Steps' worth of time that a tile takes besides its sum."""
_ALIGNMENT = 256
FEW_TAPS = 15
"""Height and width of filters whose taps fit a word of bits."""


class Tiling(NamedTuple):
    """How a kernel cuts a product."""

    kernel: str
    """The source, and the function in it."""
    rows: int
    columns: int
    stages: int
    blocks: int
    """How many run at once on a multiprocessor."""
    flops_per_second: float
    """A guess, for the choice of splits."""
    share: int = 1
    """Taps of a filter's row that share a tile of pixels."""

    @property
    def shared_bytes(self) -> int:
        """Shared memory of all stages."""
        rows = self.rows + (8 if self.share > 1 else 0)
        return self.stages * (rows + self.share * self.columns) * 128


_NARROW = Tiling("conv_wgmma", 256, 64, 5, 1, 330e12)
_NARROW_WEIGHTS = Tiling("conv_wgmma", 128, 64, 4, 2, 310e12)
_MEDIUM = Tiling("conv_wgmma", 256, 128, 4, 1, 500e12)
_WIDE = Tiling("conv_wgmma", 128, 256, 4, 1, 640e12)
_NARROW_SHARED = Tiling("conv_wgmma", 256, 64, 3, 1, 450e12, 3)
_MEDIUM_SHARED = Tiling("conv_wgmma", 256, 128, 2, 1, 550e12, 3)
_ANY_RATE = {"fp32": 40e12, "tf32": 120e12, "bf16": 250e12}


class ProductLaunch(NamedTuple):
    """One launch: the fields of the kernels' `Problem` that are no addresses."""

    kind: int
    images: int
    grid: Pair
    source: Pair
    source_c: int
    source_first: int
    group_c: int
    size: Pair
    stride: Pair
    pad: Pair
    columns: int
    first: int
    width: int
    groups: int
    turned: int = -1
    """Where its filters lie, turned, among all turned ones, in elements; -1: taken as they are."""

    @property
    def phases(self) -> int:
        """Independent products among which the pixels of a strided gradient fall."""
        return prod(self.stride) if self.kind == BACKWARD_DATA else 1

    @property
    def rows(self) -> int:
        """Rows of the largest phase."""
        return self._taps if self.kind == BACKWARD_WEIGHTS else self._pixels

    @property
    def terms(self) -> int:
        """Length of the longest phase's sums."""
        return self._pixels if self.kind == BACKWARD_WEIGHTS else self._taps

    @property
    def filter_elements(self) -> int:
        """Elements of all its filters."""
        return self.groups * self.columns * self.group_c * prod(self.size)

    @property
    def _steps(self) -> Pair:
        return self.stride if self.kind == BACKWARD_DATA else (1, 1)

    @property
    def _pixels(self) -> int:
        return self.images * prod(map(_up, self.grid, self._steps))

    @property
    def _taps(self) -> int:
        return self.group_c * prod(map(_up, self.size, self._steps))

    def tiles(self, tiling: Tiling) -> int:
        """Count tiles of the result, without splits."""
        rows = self.rows
        if tiling.share > 1:
            rows += self.images * self.grid[0]
        tiles = _up(rows, tiling.rows) * _up(self.columns, tiling.columns)
        return tiles * self.groups * self.phases

    @property
    def shares(self) -> bool:
        """Whether the taps of a filter's row can share a tile of pixels."""
        same = self.grid[1] == self.source[1] and self.pad[1] == 1 and self.stride == (1, 1)
        window = self.size[1] == 3 and self.size[0] <= FEW_TAPS
        turned = self.kind == FORWARD or (self.kind == BACKWARD_DATA and self.turned >= 0)
        return same and window and turned and self.group_c % 64 == 0 and self.grid[1] >= 14

    def aligned(self, precision: str, addresses: Pair = (0, 0)) -> Pair:
        """Whether (1 or 0) all chunks of 16 bytes are aligned and in one pixel: of A, and of B."""
        a = self.source_c | self.source_first | self.group_c
        b = {
            FORWARD: self.group_c * prod(self.size),
            BACKWARD_DATA: self.columns if self.turned < 0 else self.group_c,
            BACKWARD_WEIGHTS: self.columns | self.first | self.width,
        }[self.kind]
        chunk = _chunk(precision)
        return int(a % chunk == addresses[0] % 16 == 0), int(b % chunk == addresses[1] % 16 == 0)

    def suits_wgmma(self, precision: str, addresses: Pair = (0, 0)) -> bool:
        """Whether Hopper's own products can do it: of bf16, or of tf32 with lines not turned."""
        lines = self.kind == FORWARD or self.turned >= 0
        known = precision == "bf16" or (precision == "tf32" and lines)
        return known and all(self.aligned(precision, addresses))

    def tiling(self, precision: str, wgmma: bool, shared: bool = False) -> Tiling:
        """Choose tiles for one of the two kernels; `shared`: with shared pixels, if `shares`."""
        if not wgmma:
            columns = 64 if self.columns <= 64 else 128
            return Tiling("conv_mma", 128, columns, 3, 2, _ANY_RATE[precision])
        narrow = _NARROW_WEIGHTS if self.kind == BACKWARD_WEIGHTS else _NARROW
        options = (narrow, _MEDIUM, _WIDE)
        if shared and self.shares:
            options = (_NARROW_SHARED, _MEDIUM_SHARED, _WIDE)
        best = min(options, key=lambda each: self._columns(each) / each.flops_per_second)
        rate = best.flops_per_second / (1 if precision == "bf16" else 2)
        return best._replace(flops_per_second=rate)

    def _columns(self, tiling: Tiling) -> int:
        return _up(self.columns, tiling.columns) * tiling.columns


class ProductPlan(NamedTuple):
    """All launches of one call."""

    products: tuple[ProductLaunch, ...]
    splits: int
    """Parts of each sum; their sums are added in a second pass."""
    sums: int
    """Elements of one part's sums in the workspace, 0 where the products write to the output."""
    folded: Folded | None
    """Images and filters are folded so; None: they are taken as they are."""
    image_elements: int
    """Of folded images."""
    filter_elements: int
    """Of folded or turned filters."""
    item_bytes: int

    @property
    def section_bytes(self) -> tuple[int, int, int]:
        """Bytes of the workspace's sections: sums, images, filters."""
        sums = self.splits * self.sums * 4
        copies = self.image_elements * self.item_bytes, self.filter_elements * self.item_bytes
        return _round(sums), _round(copies[0]), _round(copies[1])


@lru_cache(maxsize=4096)
def plan_of(
    op: str, shapes: tuple[Shape, ...], attributes: tuple[Any, ...], precision: str
) -> ProductPlan:
    """Plan an op: `shapes` are those of `out` and the inputs, `attributes` as in `conv`'s order.

    It depends on nothing else, so results do not either.
    """
    products = _products(op, shapes, attributes)
    folded, out, images, filters = None, prod(shapes[0]), 0, 0
    if op == "conv_dx":
        products, filters = _turned(products)
    elif op in ("conv", "conv_dw") and len(products) == 1 and attributes[2] == 1:
        folded = _folded(op, shapes, attributes, precision)
    if folded is not None:
        products = (_of_folded(products[0], folded),)
        images, elements = prod(folded.image), prod(folded.filters)
        out, filters = (out, elements) if op == "conv" else (elements, 0)
    splits = _splits(products, precision, out)
    sums = out if splits > 1 or (folded is not None and op == "conv_dw") else 0
    item_bytes = 2 if precision == "bf16" else 4
    return ProductPlan(products, splits, sums, folded, images, filters, item_bytes)


def _up(number: int, unit: int) -> int:
    return -(-number // unit)


def _round(size: int) -> int:
    return _up(size, _ALIGNMENT) * _ALIGNMENT


def _chunk(precision: str) -> int:
    """Elements in 16 bytes."""
    return 8 if precision == "bf16" else 4


def _step(precision: str) -> int:
    """Elements of a sum that a tile takes at once."""
    return 8 * _chunk(precision)


# Which products


def _products(
    op: str, shapes: tuple[Shape, ...], attributes: tuple[Any, ...]
) -> tuple[ProductLaunch, ...]:
    """The launches that make up an op, each for groups with equally many filters."""
    if op.startswith("fc"):
        return (_matrices(op, *shapes),)
    x, w, y = _roles(op, shapes)
    stride, pad, groups, filters, first = attributes
    assert max(x[2:] + y[2:]) <= _LONGEST_SIDE, "an image is too large for these kernels"
    kind = ("conv", "conv_dx", "conv_dw").index(op)
    parts = _parts(w[0], groups, filters, first)
    if kind == BACKWARD_DATA or not parts:
        parts = parts + _other_groups(parts, groups)
    return tuple(_product(kind, x, w, y, stride, (pad[0], pad[2]), part) for part in parts)


def _roles(op: str, shapes: tuple[Shape, ...]) -> tuple[Shape, Shape, Shape]:
    """Tell image, filters and result of the convolution apart."""
    out, a, b = shapes
    return {"conv": (a, b, out), "conv_dx": (out, b, a), "conv_dw": (a, out, b)}[op]


def _folded(
    op: str, shapes: tuple[Shape, ...], attributes: tuple[Any, ...], precision: str
) -> Folded | None:
    stride, pad = attributes[:2]
    return fold(*_roles(op, shapes), stride, (pad[0], pad[2]), _chunk(precision))


def _of_folded(product: ProductLaunch, folded: Folded) -> ProductLaunch:
    (_, depth, *source), (*_, height, width) = folded.image, folded.filters
    return product._replace(
        source=(source[0], source[1]), source_c=depth, group_c=depth, size=(height, width),
        stride=folded.stride, pad=folded.pad,
    )  # fmt: skip


def _product(
    kind: int, x: Shape, w: Shape, y: Shape, stride: Pair, pad: Pair, part: FilterRange
) -> ProductLaunch:
    start, count, group, groups = part
    channels, image, outputs = w[1], (x[2], x[3]), (y[2], y[3])
    reads, writes = (x[1], group * channels, channels), (count, start, y[1])
    grid, source = outputs, image
    if kind == BACKWARD_DATA:
        reads, writes = (y[1], start, count), (channels, group * channels, x[1])
        grid, source = image, outputs
    window = (w[2], w[3]), stride, pad
    return ProductLaunch(kind, x[0], grid, source, *reads, *window, *writes, groups)


def _matrices(op: str, out: Shape, a: Shape, b: Shape) -> ProductLaunch:
    """Describe a fully connected layer as a convolution: each row is a pixel."""
    kind = ("fc", "fc_dx", "fc_dw").index(op)
    images, side = (1, a[0]) if a[0] <= _LONGEST_SIDE else (a[0], 1)
    pixels, one, none = (1, side), (1, 1), (0, 0)
    columns = b[1] if kind == BACKWARD_WEIGHTS else out[1]
    reads, writes = (a[1], 0, a[1]), (columns, 0, columns)
    return ProductLaunch(kind, images, pixels, pixels, *reads, one, one, none, *writes, 1)


def _parts(count: int, groups: int, filters: int, first: int) -> list[FilterRange]:
    """Cut a shard of the filters at the groups it is not whole in."""
    per_group = filters // groups
    parts, position, end = [], first, first + count
    while position < end:
        group, inside = divmod(position, per_group)
        whole = 0 if inside else (end - position) // per_group
        each = per_group if whole else min(per_group - inside, end - position)
        parts.append((position - first, each, group, max(1, whole)))
        position += each * max(1, whole)
    return parts


def _other_groups(parts: list[FilterRange], groups: int) -> list[FilterRange]:
    """The groups that the shard has no filters of: their gradient is zero."""
    first = parts[0][2] if parts else 0
    end = parts[-1][2] + parts[-1][3] if parts else 0
    spans = (0, first), (end, groups - end)
    return [(0, 0, start, count) for start, count in spans if count]


def _turned(products: tuple[ProductLaunch, ...]) -> tuple[tuple[ProductLaunch, ...], int]:
    """Give each product a place for its turned filters; tell the elements of all."""
    placed, end = [], 0
    for each in products:
        placed.append(each._replace(turned=end))
        end += _round(each.filter_elements)
    return tuple(placed), end


# Which splits


def _splits(products: tuple[ProductLaunch, ...], precision: str, out_elements: int) -> int:
    """Choose in how many parts to sum, by the expected time of all launches."""
    most = max(_up(each.terms, _step(precision)) for each in products)
    options = range(1, max(1, min(most // 2, 4 * _MULTIPROCESSORS)) + 1)
    return min(options, key=lambda splits: _seconds(products, precision, out_elements, splits))


def _seconds(
    products: tuple[ProductLaunch, ...], precision: str, out_elements: int, splits: int
) -> float:
    total = 0.0
    for each in products:
        tiling = each.tiling(precision, each.suits_wgmma(precision))
        slots = _MULTIPROCESSORS * tiling.blocks
        flops = 2 * tiling.rows * tiling.columns * _step(precision)
        steps = _up(_up(each.terms, _step(precision)), splits) + _FILL_STEPS
        waves = _up(each.tiles(tiling) * splits, slots)
        total += waves * steps * flops * slots / tiling.flops_per_second
    if splits > 1:
        total += 8 * splits * out_elements / _MEMORY_BYTES_PER_SECOND + _SECOND_PASS_SECONDS
    return total
