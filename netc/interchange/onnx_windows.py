"""Padding and rounding of windows, as ONNX says it and as a layer can.

Both are compared by what windows do: where the first begins, how many there are, and which zeros an
average counts. So padding that no window reads does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from netc.interchange.onnx_given import Given
from netc.interchange.onnx_values import (
    NO_PAD,
    Pair,
    Result,
    Sides,
    Unsupported,
    image,
    infer,
    shown,
)
from netc.ir import ops
from netc.passes.build_graph import same_padding
from netc.syntax.network import Value


@dataclass(frozen=True, slots=True)
class _Axis:
    """What windows along one dimension of an image do."""

    first: int
    """Where the first begins; 0 is the first pixel."""
    count: int
    counted: Pair = (0, 0)
    """The part within which an average counts what is there, as far as windows reach."""


@dataclass(frozen=True, slots=True)
class WindowAttributes:
    """What a node says of its windows."""

    size: Pair
    stride: Pair
    pads: Sides
    ceil: bool
    automatic: str
    """Where padding follows from the image: SAME_UPPER, SAME_LOWER; else NOTSET, VALID."""


@dataclass(frozen=True, slots=True)
class Windows:
    """The windows of one node over its operand, in both dimensions."""

    form: WindowAttributes
    extents: Pair
    """The image's, without any padding."""
    zeros: Sides
    """Zeros that a Pad put around it: they count in every average."""
    own: Sides
    """The node's own padding."""

    @property
    def pad(self) -> Sides:
        """All that is around the image."""
        return around(self.zeros, self.own)

    def axes(self, counts: bool = True) -> tuple[_Axis, _Axis]:
        """What they do; `counts`: whether averages count the node's own padding.

        Raises Unsupported (E095) where a window is larger than what it moves over.
        """
        top, left, bottom, right = self.zeros
        within = (1, 1, self.extents[0] + top + bottom, self.extents[1] + left + right)
        before, ahead, behind, after = self.own
        op = ops.MaxPool(
            self.form.stride, (before, behind, ahead, after), self.form.size, self.form.ceil
        )
        _, rows, columns = infer(op, within)
        return self._axis(0, rows, counts), self._axis(1, columns, counts)

    def _axis(self, i: int, count: int, counts: bool) -> _Axis:
        zeros, own = (self.zeros[i], self.zeros[2 + i]), (self.own[i], self.own[2 + i])
        first = -zeros[0] - own[0]
        part = (-zeros[0], self.extents[i] + zeros[1])
        if counts:
            part = (part[0] - own[0], part[1] + own[1])
        end = first + (count - 1) * self.form.stride[i] + self.form.size[i]
        return _Axis(first, count, (max(part[0], first), min(part[1], end)))


def asked(node: Given, size: Pair) -> WindowAttributes:
    """All that a convolution or pooling says of its windows."""
    stride, ceil = node.pair("strides", (1, 1)), node.flag("ceil_mode", 0)
    node.require("dilations", (1, 1))
    automatic = node.word("auto_pad", "NOTSET")
    top, left, bottom, right = pads = node.ints("pads", 4, NO_PAD)
    if automatic not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise Unsupported(f"'auto_pad' is {shown(automatic)}")
    if min(pads) < 0:
        raise Unsupported(f"'pads' is {shown(pads)}; padding below 0 cuts off")
    if automatic != "NOTSET" and (ceil or any(pads)):
        other = "ceil_mode" if ceil else "pads"
        raise Unsupported(f"'{other}' together with 'auto_pad'")
    return WindowAttributes(size, stride, (top, left, bottom, right), ceil, automatic)


def windows(form: WindowAttributes, x: Result) -> Windows:
    """Those over an operand."""
    _, height, width = image(x)
    top, left, bottom, right = x.pad
    own = form.pads
    if form.automatic.startswith("SAME"):
        each = zip(
            (height + top + bottom, width + left + right), form.size, form.stride, strict=True
        )
        rows, columns = (same_padding(*axis) for axis in each)
        first, last = (0, 1) if form.automatic == "SAME_UPPER" else (1, 0)
        own = (rows[first], columns[first], rows[last], columns[last])
    return Windows(form, (height, width), x.pad, own)


def conv_pad(over: Windows) -> tuple[int, ...] | str:
    """The option `pad` of a convolution that does the same."""
    wanted, (top, left, _, _) = _moves(over.axes()), over.pad
    each = tuple(zip(over.extents, over.form.size, over.form.stride, strict=True))
    same = tuple(
        (-same_padding(*axis)[0], math.ceil(extent / step))
        for axis, (extent, _, step) in zip(each, each, strict=True)
    )
    if wanted == same and over.form.automatic == "SAME_UPPER":
        return "same"
    if wanted == _moves(_layer(over, _Options((top, left), False))):
        return top, left
    return "same" if wanted == same else _ends(over)


def max_options(over: Windows) -> dict[str, Value]:
    """The options `pad` and `ceil` of a maximum that does the same."""
    wanted = over.axes()
    for each in _candidates(over):
        if _moves(wanted) == _moves(_layer(over, each)):
            return {"pad": each.pad, "ceil": each.ceil}
    raise _unlike()


def mean_options(over: Windows, counts: bool) -> dict[str, Value]:
    """Those of an average, where what rounding up adds does not count."""
    wanted = over.axes(counts)
    for counted in (True, False):
        for each in _candidates(over):
            if wanted == _layer(over, each, counted):
                return {"pad": each.pad, "ceil": each.ceil, "count_pad": counted}
    if any(over.zeros) and not counts:
        raise Unsupported("'count_include_pad' is 0, behind a Pad whose zeros count")
    raise _unlike()


def around(one: Sides, other: Sides) -> Sides:
    """Padding around padding."""
    top, left, bottom, right = (a + b for a, b in zip(one, other, strict=True))
    return (top, left, bottom, right)


@dataclass(frozen=True, slots=True)
class _Options:
    """What a layer says of its windows, besides their size and stride."""

    pad: tuple[int, ...]
    ceil: bool

    @property
    def own(self) -> Sides:
        """Top, left, bottom, right."""
        if len(self.pad) == 2:
            return (self.pad[0], self.pad[1], self.pad[0], self.pad[1])
        top, bottom, left, right = self.pad
        return (top, left, bottom, right)


def _candidates(over: Windows) -> Iterator[_Options]:
    """The file's own way to round first; then the zeros of a Pad, past which windows do not count;
    what windows reach at each end last.
    """
    (top, left, _, _), ends = over.pad, _ends(over)
    if any(end >= over.form.size[i // 2] for i, end in enumerate(ends)):
        sides = ", ".join(map(str, over.pad))
        message = f"padding of {sides} (top, left, bottom, right) makes windows of padding only"
        raise Unsupported(message)
    yield _Options((top, left), over.form.ceil)
    yield _Options((top, left), not over.form.ceil)
    if any(over.zeros):
        first, before, last, behind = over.zeros
        yield _Options((first, last, before, behind), True)
    yield _Options(ends, False)


def _ends(over: Windows) -> tuple[int, ...]:
    """Top, bottom, left, right: padding as far as windows reach."""
    each = zip(over.axes(), over.extents, over.form.size, over.form.stride, strict=True)
    ends = []
    for axis, extent, size, stride in each:
        ends += [-axis.first, max(axis.first + (axis.count - 1) * stride + size - extent, 0)]
    return tuple(ends)


def _layer(over: Windows, options: _Options, counts: bool = True) -> tuple[_Axis, _Axis] | None:
    """What the windows of a layer with these options do; None where it takes none."""
    form = WindowAttributes(over.form.size, over.form.stride, options.own, options.ceil, "NOTSET")
    try:
        return Windows(form, over.extents, NO_PAD, options.own).axes(counts)
    except Unsupported:
        return None


def _moves(axes: tuple[_Axis, _Axis] | None) -> tuple[tuple[int, int], ...] | None:
    return axes and tuple((axis.first, axis.count) for axis in axes)


def _unlike() -> Unsupported:
    return Unsupported("'ceil_mode' adds windows that netc leaves out")
