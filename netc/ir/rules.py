"""What every operation takes and gives on one device: the rules that a launch's steps are held to.

The operation's own labels say which dimensions of its blocks are the same part of the tensors, its
shape rule what the result must be, and its local attributes follow from where the blocks lie.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from netc.ir import codec
from netc.ir.comm import Comm
from netc.ir.ops import (
    AvgPool,
    ByGroups,
    Fused,
    GroupedStatistic,
    InsideMean,
    Lrn,
    LrnDx,
    MaxPool,
    MaxPoolPlacesDx,
    SourceOp,
)
from netc.ir.ops.base import Op, ShapeError, parse_labels
from netc.ir.ops.conv import Convolution
from netc.ir.ops.sums import WIDE
from netc.ir.ops.windows import RESULT, Line, Windowed
from netc.ir.optimizers import OPTIMIZERS
from netc.ir.plain import LARGEST
from netc.ir.step import Attributes
from netc.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class Value:
    """One device's block of a tensor."""

    type: TensorType
    """Its local shape."""
    where: tuple[int, ...]
    """Global index of the first element."""


@dataclass(frozen=True, slots=True)
class Applied:
    """One operation, and the blocks that it is applied to."""

    kernel: str
    attributes: Attributes
    operands: tuple[Value, ...]
    result: Value


def check_step(step: Applied) -> None:
    """Raise ShapeError where a step is not what its operation is."""
    if step.kernel in _SPECIAL:
        _SPECIAL[step.kernel](step)
        return
    kind = class_of(step.kernel)
    _check_dtypes(kind, step)
    operands = (step.result, *step.operands) if kind.unread else step.operands
    op = _operation(kind, step)
    _check_labels(op, operands, step.result)
    _check_shape(op, operands, step.result)
    _check_attributes(op, step, operands)


def class_of(kernel: str) -> type[Op]:
    """The operation that a kernel computes; ShapeError where there is none."""
    found = codec.kernels().get(kernel)
    if found is None or found.view or issubclass(found, Comm | SourceOp | Fused):
        raise ShapeError(f"there is no kernel '{kernel}'")
    return found


def _names_of(op: type[Op]) -> tuple[str, ...]:
    """The attributes that its kernel has on every device."""
    if op not in _NAMES:
        _NAMES[op] = tuple(f.name for f in fields(op) if f.name not in op.hidden)
    return _NAMES[op]


_NAMES: dict[type[Op], tuple[str, ...]] = {}


def check_count(kernel: str, values: Sequence[Value], wanted: int) -> None:
    """Raise ShapeError where a kernel has another number of operands."""
    if len(values) != wanted:
        raise ShapeError(f"{kernel} of {len(values)} operands")


def _check_dtypes(kind: type[Op], step: Applied) -> None:
    whole = _INTEGERS.get(step.kernel, ())
    shift = len(kind.unread)
    for position, value in enumerate(step.operands, shift):
        dtype = value.type.dtype
        bytes_ = kind is MaxPoolPlacesDx and position == 0
        if (dtype == "u8") != bytes_ or (dtype == "i64") != (position in whole):
            raise ShapeError(f"operand {position - shift} of {step.kernel} is of {dtype}")
    found = {value.type.dtype for value in (*step.operands, step.result)}
    if WIDE in found and found & {"f32", "bf16"} and step.kernel not in _NARROWED:
        raise ShapeError(f"{step.kernel} of {', '.join(sorted(found))}")


_NARROWED = ("bn_sums", "grouped_sums", "sums_mean", "sums_var")
"""What makes sums in float64 of other numbers, or other numbers of them."""
_INTEGERS: Mapping[str, tuple[int, ...]] = {
    "row_pick": (1,),
    "row_pick_smoothed": (1,),
    "row_pick_mixed": (1, 2),
    "softmax_dx": (1,),
    "softmax_dx_smoothed": (1,),
    "softmax_dx_mixed": (1, 2),
    "correct": (0, 1, 2),
    "ce_loss_masked": (3,),
    "dropout": (1, 2),
    "init_normal": (1,),
    "average": (2,),
    **{
        move.op.kernel: tuple(i for i, word in enumerate(move.operands) if word == "step")
        for each in OPTIMIZERS.values()
        for move in each.moves
    },
}
"""Operands that are whole numbers; all others are floating."""


def _operation(kind: type[Op], step: Applied) -> Op:
    """The operation with these attributes."""
    names = _names_of(kind)
    if set(step.attributes) != {*names, *_LOCAL.get(step.kernel, ())}:
        raise ShapeError(f"{step.kernel} with attributes {', '.join(step.attributes) or 'none'}")
    values = {}
    for field in fields(kind):
        if field.name in kind.hidden:
            values[field.name] = _HIDDEN[field.name](step)
            continue
        value = values[field.name] = step.attributes[field.name]
        if not _BY_NAME.get(field.name, _BY_TYPE[field.type])(value):
            raise ShapeError(f"{step.kernel} with {field.name} {value!r}")
    return kind(**values)


def _whole(least: int, most: int = LARGEST) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and least <= value <= most


def _several(number: int, least: int) -> Callable[[Any], bool]:
    each = _whole(least)
    return lambda value: type(value) is tuple and len(value) == number and all(map(each, value))


def _real(least: float, most: float) -> Callable[[Any], bool]:
    return lambda value: type(value) in (int, float) and least <= value <= most


_BY_TYPE: Mapping[Any, Callable[[Any], bool]] = {
    "int": _whole(1),
    "bool": lambda value: type(value) is bool,
    "float": _real(-1e30, 1e30),
    "tuple[int, int]": _several(2, 1),
    "Pad": _several(4, 0),
}
"""Which values an attribute may have, by its type."""
_BELOW_ONE = math.nextafter(1, 0)
_BY_NAME: Mapping[str, Callable[[Any], bool]] = {
    "key": _whole(0, 2**32 - 1),
    "start": _whole(0),
    "turn": _whole(0),
    "rate": _real(0, 1),
    "scale": _real(1e-30, 1),
    "limit": _real(0, LARGEST),
    "beta1": _real(0, _BELOW_ONE),
    "beta2": _real(0, _BELOW_ONE),
}
"""Those that have other bounds than most of their type."""
_HIDDEN: Mapping[str, Callable[[Applied], Any]] = {
    # Rows of sums are those of what is made of them.
    "apart": lambda step: step.kernel in ("sums_mean", "sums_var"),
    "batch": lambda step: 1,
    "by_groups": lambda step: _by_groups(step),
    "ceil": lambda step: False,
    "dims": lambda step: "nkhw"[: max(v.type.rank for v in (*step.operands[:1], step.result))],
    "dtype": lambda step: step.result.type.dtype,
    "extent": lambda step: step.result.type.shape[2:],
    "type": lambda step: step.result.type,
}
"""What is no attribute, because the blocks say it."""


def _check_labels(op: Op, operands: tuple[Value, ...], result: Value) -> None:
    """Dimensions of one letter are the same part of the tensors."""
    if not operands or operands[0].type.rank < _RANKS.get(op.kernel, 0):
        raise ShapeError(f"{op.kernel} of {len(operands)} operands")
    if isinstance(op, Windowed) and any(value.type.rank != 4 for value in operands):
        raise ShapeError(f"{op.kernel} of what is no image")
    left, right = parse_labels(op.labels(tuple(value.type for value in operands)))
    check_count(op.kernel, operands, len(left))
    parts: dict[str, tuple[int, int]] = {}
    for own, value in zip((*left, right), (*operands, result), strict=True):
        if len(own) != len(value.where):
            raise ShapeError(f"{op.kernel} of {value.type}")
        for letter, part in zip(own, zip(value.where, value.type.shape, strict=True), strict=True):
            if letter.islower() and parts.setdefault(letter, part) != part:
                raise ShapeError(f"the blocks of {op.kernel} are not of one part of the tensors")


_RANKS = {"bias": 2, "bias_db": 2, "bn_mean": 2, "bn_var": 2, "bn_sums": 2, "bn_norm": 2,
          "bn_dgamma": 2, "bn_dx": 2, "concat": 2, "grouped_mean": 2, "grouped_var": 2,
          "grouped_sums": 2, "grouped_norm": 2, "grouped_dgamma": 2, "grouped_dbeta": 2,
          "grouped_dx": 2, "sums_mean": 2, "sums_var": 2}  # fmt: skip
"""The least rank of what has channels."""


def _check_shape(op: Op, operands: tuple[Value, ...], result: Value) -> None:
    """The result is what the operation makes of the operands."""
    types = tuple(value.type for value in operands)
    if isinstance(op, Lrn | LrnDx):
        # Of an operand there may be more channels than are its own.
        types = tuple(_with_channels(type_, result.type.shape[1]) for type_ in types)
    if isinstance(op, MaxPool | AvgPool):
        # Windows of a part may all be partial ones.
        op.check_pooled(types[0], result.type)
        made = TensorType(types[0].dtype, (*types[0].shape[:2], *result.type.shape[2:]))
    else:
        made = op.infer(*types)
    if isinstance(op, GroupedStatistic):
        # A device has more groups than its images are of, where others have images of them.
        made = TensorType(made.dtype, (*result.type.shape[:1], *made.shape[1:]))
    found = TensorType(made.dtype, made.shape)
    if found != result.type:
        raise ShapeError(f"{op.kernel} gives {found}, not {result.type}")


def _by_groups(step: Applied) -> bool:
    """Whether channels are those of its filters' groups: both are not the first ones, and filters
    have all of theirs.
    """
    kind, blocks = class_of(step.kernel), (*step.operands, step.result)
    if len(blocks) != 3 or any(len(value.where) != 4 for value in blocks):
        return False
    assert issubclass(kind, Convolution)
    image, filters = blocks[kind.image], blocks[kind.filters]
    return image.where[1] != 0 and filters.where[1] == 0


def _with_channels(type_: TensorType, channels: int) -> TensorType:
    first, _, *rest = type_.shape
    return TensorType(type_.dtype, (first, channels, *rest))


def _check_attributes(op: Op, step: Applied, operands: tuple[Value, ...]) -> None:
    """Attributes that say where blocks lie follow from them."""
    known, where, shape = step.attributes, step.result.where, step.result.type.shape
    if isinstance(op, Windowed):
        _check_windows(op, known["whole"], (*operands, step.result))
    if "inside" in known:
        _check_inside(op, known, operands, step.result)
    if isinstance(op, Convolution):
        blocks = (*operands, step.result)
        image, filters = blocks[op.image], blocks[op.filters]
        first, count, whole = filters.where[0], filters.type.shape[0], known["filters"]
        if op.by_groups:
            channels, held = image.where[1], image.type.shape[1]
            own = 0 < count == whole and first * held == channels * count
            if not own or first * known["groups"] % count:
                raise ShapeError(f"filters from {first} up do not read channels from {channels} up")
            first = 0
        _check_part(known["first_filter"], first, count, whole)
        if known["filters"] % known["groups"]:
            raise ShapeError(f"{known['filters']} filters in {known['groups']} groups")
    if isinstance(op, ByGroups):
        _check_before(op, known["before"], (*operands, step.result))
    if "first_class" in known:
        x = operands[0]
        most = known.get("classes", LARGEST)
        _check_part(known["first_class"], x.where[1], x.type.shape[1], most)
    if "shape" in known:
        rows = known.get("rows", ())
        _check_block(known["shape"], known["offset"], where, shape, bool(rows))
        _check_rows(rows, shape, known["shape"][:1])
        if isinstance(op, InsideMean):
            op.check_means(known["shape"])
    elif "rows" in known:
        if known["offset"] != operands[0].where:
            raise ShapeError("its offset is not that of its rows")
        _check_rows(known["rows"], operands[0].type.shape, (LARGEST,))


def _check_windows(op: Windowed, whole: Any, blocks: tuple[Value, ...]) -> None:
    """The windows of a part are those of the whole: all that they read of the image is there, or
    all of them that read the part, and padding begins where it does in the whole.
    """
    if type(whole) is not tuple or len(whole) != 2 or not all(map(_several(4, 0), whole)):
        raise ShapeError("the whole is none")
    image, windows = blocks[op.image], blocks[op.windows]
    sizes = op.window([value.type for value in blocks[:-1]])
    for i, (height, outputs, before, after) in enumerate(whole):
        line = Line(sizes[i], op.stride[i], before, after)
        rows, reads = ((v.where[2 + i], v.type.shape[2 + i]) for v in (image, windows))
        if rows[0] + rows[1] > height or reads[0] + reads[1] > outputs:
            raise ShapeError(f"{rows} and {reads} are not inside of the whole")
        if op.pad[2 * i : 2 * i + 2] != line.local_pad((*rows, height), (*reads, outputs)):
            raise ShapeError(f"padding {op.pad} is not that of the rows from {rows[0]} up")
        own, read, extent, reach = (
            (rows, reads, outputs, line.readers) if op.image == RESULT
            else (reads, rows, height, line.reach)
        )  # fmt: skip
        if 0 in (own[1], *(n for value in blocks for n in value.type.shape)):
            continue
        if (own[1], read[1]) == ((height, outputs) if op.image == RESULT else (outputs, height)):
            continue
        first, end = reach.span(own[0], own[0] + own[1], extent)
        if first < read[0] or end > read[0] + read[1]:
            raise ShapeError(f"windows of {own} read more than {read}")


def _check_inside(
    op: Op, known: Mapping[str, Any], operands: tuple[Value, ...], result: Value
) -> None:
    """The own channels begin in each operand where it is said, and all that sums read is there."""
    inside, whole = known["inside"], known["whole"]
    if not _several(len(operands), 0)(inside) or not _whole(0)(whole):
        raise ShapeError("inside of nothing")
    own = (result.where[1], result.where[1] + result.type.shape[1])
    types = tuple(value.type for value in operands)
    for number, (value, start) in enumerate(zip(operands, inside, strict=True)):
        first, count = value.where[1], value.type.shape[1]
        if first + start != own[0] or start + result.type.shape[1] > count:
            raise ShapeError(f"channels {own} are not at {start} of those from {first} up")
        read = op.reach("k", number, types).span(*own, whole)
        if own[1] > whole or read[0] < first or read[1] > first + count:
            raise ShapeError(f"sums of channels {own} read more than {count} from {first} up")


def _check_before(op: ByGroups, before: Any, blocks: tuple[Value, ...]) -> None:
    """The images are of the groups whose statistics are there, and lie among them where it is
    said.
    """
    images, statistics = blocks[0], blocks[op.rows]
    held, own = statistics.type.shape[0], images.type.shape[0]
    alike = all(
        (value.where[:1], value.type.shape[:1]) == (statistics.where[:1], (held,))
        for value, label in zip(blocks, _labels_of(op, blocks), strict=True) if label == op.each
    )  # fmt: skip
    first = images.where[0] - op.group * statistics.where[0]
    if not (alike and _whole(0)(before) and before == first and first + own <= op.group * held):
        raise ShapeError(f"images from {before} up are not of {held} groups of {op.group}")


def _labels_of(op: Op, blocks: tuple[Value, ...]) -> tuple[str, ...]:
    left, right = parse_labels(op.labels(tuple(value.type for value in blocks[:-1])))
    return (*left, right)


def _check_part(first: Any, where: int, count: int, whole: Any) -> None:
    if not (_whole(0)(first) and _whole(0)(whole) and first == where and first + count <= whole):
        raise ShapeError(f"{first} up of {whole} are not the {count} from {where} up")


def _check_block(
    whole: Any, offset: Any, where: tuple[int, ...], shape: tuple[int, ...], rows: bool
) -> None:
    """A block lies inside of the tensor of shape `whole`; `rows` say it of its first dimension."""
    right = _several(len(shape), 0)(whole) and offset == where
    blocks = list(zip(where, shape, whole, strict=True)) if right else []
    if not right or any(w + n > size for w, n, size in blocks[int(rows) :]):
        raise ShapeError(f"the block at {offset!r} is not inside of {whole!r}")


def _check_rows(rows: Any, shape: tuple[int, ...], whole: tuple[int, ...]) -> None:
    """Segments of global rows are as many as the block has, and there."""
    each = _several(2, 0)
    if type(rows) is not tuple or not all(map(each, rows)):
        raise ShapeError("its rows are none")
    if rows and (sum(n for _, n in rows) != shape[0] or any(a + n > whole[0] for a, n in rows)):
        raise ShapeError("its rows are not as many as there are")


def _check_slice(step: Applied) -> None:
    """A part of a block along one dimension."""
    check_count(step.kernel, step.operands, 1)
    (x,), result, dim, start = (
        step.operands,
        step.result,
        step.attributes.get("dim"),
        step.attributes.get("start"),
    )
    right = set(step.attributes) == {"dim", "start"} and _whole(0, x.type.rank - 1)(dim)
    if not right or not _whole(0)(start) or x.type.rank != result.type.rank:
        raise ShapeError("slice of no part")
    assert isinstance(dim, int) and isinstance(start, int)
    blocks = zip(x.where, x.type.shape, result.where, result.type.shape, strict=True)
    for i, (from_, size, to, part) in enumerate(blocks):
        if i != dim and (from_, size) != (to, part):
            raise ShapeError("slice of more than one dimension")
        if i == dim and (start + part > size or to - from_ not in (0, start)):
            raise ShapeError(f"slice of {start}+{part} of {size}")
    _same_dtypes(step)


def _check_concat_rows(step: Applied) -> None:
    """Blocks one after the other."""
    result = step.result.type.shape
    tails = {value.type.shape[1:] for value in step.operands} | {result[1:]}
    ranks = {value.type.rank for value in step.operands} | {len(result)}
    if step.attributes or len(tails) != 1 or len(ranks) != 1 or not result:
        raise ShapeError("concat_rows of rows that are not alike")
    if sum(value.type.shape[0] for value in step.operands) != result[0]:
        raise ShapeError(f"concat_rows does not give {result[0]} rows")
    _same_dtypes(step)


def _same_dtypes(step: Applied) -> None:
    if len({value.type.dtype for value in (*step.operands, step.result)}) != 1:
        raise ShapeError(f"{step.kernel} of several types")


_SPECIAL: Mapping[str, Callable[[Applied], None]] = {
    "slice": _check_slice,
    "concat_rows": _check_concat_rows,
}
"""Kernels of which the operations do not say all."""
_GROUPED_WORDS = ("mean", "var", "sums", "norm", "dgamma", "dbeta", "dx")
_LOCAL: Mapping[str, tuple[str, ...]] = {
    "conv": ("first_filter", "filters", "whole"),
    "conv_dx": ("first_filter", "filters", "whole"),
    "conv_dw": ("first_filter", "filters", "whole"),
    "maxpool": ("whole",),
    "maxpool_dx": ("whole",),
    "maxpool_places": ("whole",),
    "maxpool_places_dx": ("whole",),
    "avgpool": ("whole",),
    "avgpool_dx": ("whole",),
    **{f"grouped_{word}": ("before",) for word in _GROUPED_WORDS},
    "lrn": ("inside", "whole"),
    "lrn_dx": ("inside", "whole"),
    "inside_mean": ("shape", "offset"),
    "dropout": ("shape", "offset", "rows"),
    "row_pick": ("first_class",),
    "row_pick_smoothed": ("first_class",),
    "row_pick_mixed": ("first_class",),
    "row_argmax": ("first_class",),
    "softmax_dx": ("first_class",),
    "softmax_dx_smoothed": ("first_class",),
    "softmax_dx_mixed": ("first_class",),
    "ce_loss_masked": ("offset", "rows"),
    "correct": ("offset", "rows"),
    "init_normal": ("shape", "offset"),
}
"""Attributes that say where blocks lie."""
