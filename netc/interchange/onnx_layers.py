"""ONNX's operators as layers, one function each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from netc.interchange.onnx_affine import arithmetic, constant_place, factor_of
from netc.interchange.onnx_given import Given
from netc.interchange.onnx_lrn import window_size
from netc.interchange.onnx_network import Layers
from netc.interchange.onnx_shapes import placed, reshaped
from netc.interchange.onnx_values import (
    Pair,
    Result,
    Unsupported,
    by,
    fill,
    image,
    infer,
    shown,
)
from netc.interchange.onnx_windows import (
    WindowAttributes,
    around,
    asked,
    conv_pad,
    max_options,
    mean_options,
    windows,
)
from netc.ir import ops
from netc.ir.onnx import OnnxFactor, OnnxForm, OnnxNode, OnnxTensor, OnnxTerm
from netc.syntax.network import Value

_SINCE_TRAINING_MODE = 14
"""Of BatchNormalization; before it, further results say that it trains."""
_FOR_INFERENCE = "export the model for inference."
_FLOATS = (1, 10, 11, 16)
"""Element types that Cast may turn images into: a network computes in 32 bits whatever they are."""
_LAST = (0, 2, 3, 1)
"""How a Transpose brings channels behind height and width."""
_FIRST = (0, 3, 1, 2)
"""And in front of them."""


def _conv(layers: Layers, node: Given) -> None:
    groups = node.whole("group", 1)
    filters = layers.constant(node, 1, "weight")
    bias = layers.constant(node, 2, "bias") if node.has(2) else None
    # PyTorch's newer exporter computes zeros for a bias that there is none of.
    bias = None if bias is not None and bias.filler == 0 else bias
    if len(filters.shape) != 4 or 0 in filters.shape:
        raise Unsupported(f"its weight is {by(filters.shape)}", "E095")
    count, _, *extents = filters.shape
    size: Pair = (extents[0], extents[1])
    if node.pair("kernel_shape", size) != size:
        raise Unsupported("'kernel_shape' is not that of its weight", "E095")
    if groups < 1 or count % groups:
        raise Unsupported(f"'group' is {groups}, which does not divide {count} filters")
    form = asked(node, size)
    x = layers.padded(node)
    over = windows(form, x)
    top, left, bottom, right = over.pad
    op = ops.Conv(form.stride, (top, bottom, left, right), groups)
    result = infer(op, (1, *image(x)), filters.shape)
    name = layers.add(
        "conv", node, (x,), result, size=size, filters=count, stride=form.stride,
        pad=conv_pad(over), groups=groups, bias=bias is not None,
    )  # fmt: skip
    layers.weight(name, "weight", filters, filters.shape)
    if bias is not None:
        layers.weight(name, "bias", bias, (count,))


def _gemm(layers: Layers, node: Given) -> None:
    node.require("alpha", 1.0)
    node.require("transA", 0)
    if node.has(2):
        node.require("beta", 1.0)
    node.ignore("beta")
    bias = layers.constant(node, 2, "bias") if node.has(2) else None
    _fc(layers, node, node.flag("transB", 0), bias)


def _matmul(layers: Layers, node: Given) -> None:
    _fc(layers, node, False, None)


def _fc(layers: Layers, node: Given, by_rows: bool, bias: OnnxTensor | None) -> None:
    """`by_rows`: a row of the weight is a filter, as netc stores it."""
    stored = layers.constant(node, 1, "weight")
    if len(stored.shape) != 2:
        raise Unsupported(f"its weight is {by(stored.shape)}", "E095")
    x = layers.turned(node)
    if len(x.shape) != 1 or x.view is not None:
        raise Unsupported("it reads images; a Flatten must come before it")
    filters, features = stored.shape if by_rows else stored.shape[::-1]
    if features != x.shape[0]:
        message = f"its weight is for {features} features of {x.shape[0]}"
        raise Unsupported(message, "E095")
    name = layers.add("fc", node, (x,), (filters,), filters=filters, bias=bias is not None)
    factor = _rows_of(stored, x, filters, by_rows)
    layers.fill(name, "weight", (filters, features), OnnxTerm((factor,)))
    if bias is not None:
        shape = layers.results[node.node.outputs[0]]
        layers.fill(name, "bias", (filters,), OnnxTerm((factor_of(bias, shape),)))


def _rows_of(stored: OnnxTensor, x: Result, filters: int, by_rows: bool) -> OnnxFactor:
    """Rows that are filters, of the features in the network's order."""
    shape = (filters, *x.shape)
    if not x.turned:
        return OnnxFactor(stored.name, shape, order=() if by_rows else (1, 0))
    channels, *image = x.turned
    if by_rows:
        return OnnxFactor(stored.name, shape, (filters, *image, channels), (0, 3, 1, 2))
    return OnnxFactor(stored.name, shape, (*image, channels, filters), (3, 2, 0, 1))


def _maxpool(layers: Layers, node: Given) -> None:
    """The order of storage is that of places, which are a further result."""
    node.ignore("storage_order")
    form = asked(node, node.pair("kernel_shape", None))
    x = layers.read(node)
    _pool(layers, "maxpool", node, x, form, max_options(windows(form, x)))


def _avgpool(layers: Layers, node: Given) -> None:
    form, counts = asked(node, node.pair("kernel_shape", None)), node.flag("count_include_pad", 0)
    x = layers.padded(node)
    _pool(layers, "avgpool", node, x, form, mean_options(windows(form, x), counts))


def _pool(
    layers: Layers, kind: str, node: Given, x: Result, form: WindowAttributes,
    rest: Mapping[str, Value],
) -> None:  # fmt: skip
    rows, columns = (axis.count for axis in windows(form, x).axes())
    shape, size, stride = (x.shape[0], rows, columns), form.size, form.stride
    layers.add(kind, node, (x,), shape, size=size, stride=stride, **rest)


def _global_average(layers: Layers, node: Given) -> None:
    _average(layers, node, layers.read(node))


def _average(layers: Layers, node: Given, x: Result) -> None:
    shape = (image(x)[0], 1, 1)
    name = layers.add("avgpool", node, (x,), shape, size="global", stride=(1, 1))
    layers.pass_on(node, Result(name, shape, turned=shape if x.turned else ()))


def _reduce_mean(layers: Layers, node: Given) -> None:
    """What it does without axes does not matter."""
    node.ignore("noop_with_empty_axes")
    axes, keeps = node.listed("axes", 1), node.flag("keepdims", 1)
    x = layers.turned(node)
    wanted = (1, 2) if x.turned else (2, 3)
    if axes is None or placed(axes, 4) != wanted or x.view is not None:
        message = f"only the mean over height and width (axes {wanted[0]}, {wanted[1]})"
        raise Unsupported(message)
    _average(layers, node, x)
    if not keeps:
        layers.flatten(node, layers.results[node.node.outputs[0]])


def _activation(kind: str, form: OnnxForm) -> Callable[[Layers, Given], None]:
    def add_one(layers: Layers, node: Given) -> None:
        for name, value in form.attributes:
            found = node.attribute(name, "left out")
            if found != value:
                raise Unsupported(f"'{name}' is {shown(found)}; {shown(value)} is known")
        layers.add_each(kind, node)

    return add_one


def _dropout(layers: Layers, node: Given) -> None:
    node.ignore("seed")
    rate = node.real("ratio", 0.5)
    if node.has(1) and node.says("ratio"):
        raise Unsupported("'ratio' is given twice")
    rate = node.number(1, "ratio", rate)
    if node.number(2, "training_mode", 0):
        raise Unsupported("'training_mode' is 1", help=_FOR_INFERENCE)
    layers.add_each("dropout", node, rate=rate)


def _lrn(layers: Layers, node: Given) -> None:
    """ONNX divides alpha by the size."""
    size = node.whole("size", None)
    if size < 1 or size % 2 == 0:
        raise Unsupported(f"'size' is {size}; odd sizes are known")
    alpha, beta = node.real("alpha", 1e-4) / size, node.real("beta", 0.75)
    x = layers.add_alike("lrn", node, size=size, alpha=alpha, beta=beta, k=node.real("bias", 1.0))
    image(x)


def _division(layers: Layers, node: Given) -> None:
    """It ends a group of nodes that is response normalization."""
    x, group = layers.read(node), layers.groups[node.node.outputs[0]]
    image(x)
    size = window_size(group, layers.dims(x), layers.shapes)
    alpha = group.alpha / size
    layers.add_alike("lrn", node, size=size, alpha=alpha, beta=group.beta, k=group.k)


def _bn(layers: Layers, node: Given) -> None:
    trains = node.opset < _SINCE_TRAINING_MODE and any(node.node.outputs[1:])
    if trains or node.flag("training_mode", 0):
        said = "it has further results" if trains else "'training_mode' is 1"
        raise Unsupported(said, help=_FOR_INFERENCE)
    node.require("spatial", 1)
    eps, momentum = node.real("epsilon", 1e-5), fill(1 - node.real("momentum", 0.9))
    roles = ("weight", "bias", "running_mean", "running_var")
    stored = [layers.constant(node, 1 + i, role) for i, role in enumerate(roles)]
    x = layers.add_alike("bn", node, eps=eps, momentum=momentum)
    name = layers.results[node.node.outputs[0]].layer
    for role, source in zip(roles, stored, strict=True):
        layers.weight(name, role, source, x.shape[:1])


def _add(layers: Layers, node: Given) -> None:
    if constant_place(layers, node) is not None:
        return arithmetic(layers, node)
    xs = layers.alike(node)
    if len(xs) == 1:
        return layers.pass_on(node, xs[0])
    shape = infer(ops.Add(), *((1, *x.shape) for x in xs))
    name = layers.add("add", node, xs, shape)
    layers.pass_on(node, replace(xs[0], layer=name))


def _concat(layers: Layers, node: Given) -> None:
    axis = node.whole("axis", None)
    if axis not in (1, 3, -1, -3):
        raise Unsupported(f"'axis' is {axis}; that of channels is known")
    xs = layers.alike(node)
    if len({len(x.shape) for x in xs}) > 1:
        raise Unsupported("it joins images with rows")
    rank = len(layers.dims(xs[0]))
    if xs[0].channels is None or xs[0].view is not None:
        raise Unsupported("it joins what a Reshape has brought in another order")
    _check_axis(axis, xs[0].channels, rank)
    if len(xs) == 1:
        return layers.pass_on(node, xs[0])
    shape = infer(ops.Concat(), *((1, *x.shape) for x in xs))
    name = layers.add("concat", node, xs, shape)
    layers.pass_on(node, Result(name, shape, turned=shape if xs[0].turned else ()))


def _flatten(layers: Layers, node: Given) -> None:
    axis = node.whole("axis", 1)
    if axis == 0 or axis > 1:
        raise Unsupported(f"'axis' is {axis}; 1 is known")
    x = layers.value(node)
    _check_axis(axis, 1, len(layers.dims(x)))
    layers.flatten(node, x)


def _check_axis(axis: int, wanted: int, rank: int) -> None:
    """It is this one of so many, counted from either end."""
    if axis not in (wanted, wanted - rank):
        raise Unsupported(f"'axis' is {axis}; {wanted} is known")


def _reshape(layers: Layers, node: Given) -> None:
    """To whatever keeps the batch in front: rows at the end, mostly."""
    copies = not node.flag("allowzero", 0)
    node.operand(1)
    wanted, x = node.numbers(1, "shape") or (), layers.value(node)
    before = layers.dims(x)
    after = reshaped(before, wanted, copies)
    sizes = tuple(size for size in (after or ())[1:] if isinstance(size, int))
    if after is None or after[:1] != before[:1] or len(sizes) + 1 < max(len(after), 2):
        raise Unsupported(f"to {shown(wanted)}; the batch must stay in front")
    layers.reshape(node, x, sizes)


def _squeeze(layers: Layers, node: Given) -> None:
    x, axes = layers.value(node), node.listed("axes", 1)
    dims = layers.dims(x)
    dropped = placed(axes, len(dims))
    if any(place == 0 or dims[place] != 1 for place in dropped):
        raise Unsupported("only dimensions of size 1, and not the batch's")
    kept = tuple(size for place, size in enumerate(dims) if place and place not in dropped)
    layers.reshape(node, x, tuple(size for size in kept if isinstance(size, int)) or (1,))


def _unsqueeze(layers: Layers, node: Given) -> None:
    x, axes = layers.value(node), node.listed("axes", 1)
    sizes = [size for size in layers.dims(x)[1:] if isinstance(size, int)]
    for place in placed(axes, len(sizes) + 1 + len(axes or ())):
        if place == 0:
            raise Unsupported("the batch must stay in front")
        sizes.insert(place - 1, 1)
    layers.reshape(node, x, tuple(sizes))


def _transpose(layers: Layers, node: Given) -> None:
    """Channels behind height and width, or back; or sizes of 1, which moves nothing."""
    x = layers.value(node)
    dims = layers.dims(x)
    perm = node.ints("perm", len(dims), tuple(range(len(dims)))[::-1])
    if sorted(perm) == list(range(len(dims))) and perm[0] == 0:
        if x.view is None and len(dims) == 4 and perm == (_FIRST if x.turned else _LAST):
            return layers.pass_on(node, replace(x, turned=() if x.turned else x.shape))
        moved = [place for place in perm if dims[place] != 1]
        if moved == sorted(moved):
            after = (dims[place] for place in perm[1:])
            return layers.reshape(node, x, tuple(n for n in after if isinstance(n, int)))
    known, to = (_FIRST, "first") if x.turned else (_LAST, "last")
    raise Unsupported(f"'perm' is {perm}; {known}, which brings channels {to}, is known")


def _cast(layers: Layers, node: Given) -> None:
    """A network computes in 32 bits, whatever the model rounds to on the way."""
    node.ignore("saturate", "round_mode")
    to = node.whole("to", None)
    if to not in _FLOATS:
        raise Unsupported("to what is no float")
    layers.pass_on(node, layers.value(node))


def _pad(layers: Layers, node: Given) -> None:
    """Zeros around images wait for the layer that reads them."""
    pads, value = node.listed("pads", 1) or (), node.real("value", 0.0)
    value = node.number(2, "value", value)
    if node.word("mode", "constant") != "constant" or value or node.has(3):
        raise Unsupported("anything but zeros around all four dimensions")
    x = layers.value(node)
    first = 1 if x.turned else 2
    others = [n for place, n in enumerate(pads) if place % 4 not in (first, first + 1)]
    if len(pads) != 8 or min(pads) < 0 or any(others) or x.view is not None:
        raise Unsupported("anything but height and width made larger")
    image(x)
    top, left, bottom, right = (*pads[first : first + 2], *pads[4 + first : 6 + first])
    layers.pass_on(node, replace(x, pad=around(x.pad, (top, left, bottom, right))))


def _identity(layers: Layers, node: Given) -> None:
    layers.pass_on(node, layers.value(node))


HANDLERS: dict[str, Callable[[Layers, Given], None]] = {
    "Add": _add,
    "AveragePool": _avgpool,
    "BatchNormalization": _bn,
    "Cast": _cast,
    "Concat": _concat,
    "Conv": _conv,
    "Div": arithmetic,
    "Dropout": _dropout,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average,
    "Identity": _identity,
    "LRN": _lrn,
    "MatMul": _matmul,
    "MaxPool": _maxpool,
    "Mul": arithmetic,
    "Pad": _pad,
    "ReduceMean": _reduce_mean,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Sub": arithmetic,
    "Sum": _add,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    **{each.onnx.op_type: _activation(kind, each.onnx) for kind, each in ops.ACTIVATIONS.items()},
}
"""What converts a node of an operator; each raises Unsupported or Unknown."""

KNOWN = tuple(sorted(HANDLERS))
"""The operators as messages list them."""


def is_known(layers: Layers, node: OnnxNode) -> bool:
    """Whether there may be a layer for what a node does."""
    return node.op_type in HANDLERS or node.outputs[0] in layers.groups


def convert(layers: Layers, node: Given) -> None:
    """Add what a node stands for; raises Unsupported or Unknown."""
    is_group = node.node.outputs[0] in layers.groups
    (_division if is_group else HANDLERS[node.node.op_type])(layers, node)
    node.settle()
