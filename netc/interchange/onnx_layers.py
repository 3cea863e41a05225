"""ONNX's operators as layers, one function each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from netc.interchange.onnx_given import Given
from netc.interchange.onnx_lrn import window_size
from netc.interchange.onnx_network import Layers
from netc.interchange.onnx_shapes import placed, product, reshaped
from netc.interchange.onnx_trace import Constant
from netc.interchange.onnx_values import (
    Pair,
    Result,
    Shape,
    Unsupported,
    by,
    fill,
    image,
    infer,
    shown,
)
from netc.interchange.onnx_windows import (
    around,
    asked,
    conv_pad,
    max_options,
    mean_options,
    windows,
)
from netc.ir import ops
from netc.ir.onnx import OnnxForm, OnnxNode
from netc.syntax.network import NamedValues

_SINCE_TRAINING_MODE = 14
"""Of BatchNormalization; before it, further results say that it trains."""
_FOR_INFERENCE = "export the model for inference."


def _conv(layers: Layers, node: Given) -> None:
    groups = node.whole("group", 1)
    filters = layers.constant(node, 1, "weight")
    bias = layers.constant(node, 2, "bias") if node.has(2) else None
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


def _fc(layers: Layers, node: Given, by_rows: bool, bias: Constant | None) -> None:
    """`by_rows`: a row of the weight is a filter, as netc stores it."""
    stored = layers.constant(node, 1, "weight")
    weight = stored if by_rows else replace(stored, transposed=not stored.transposed)
    if len(weight.shape) != 2:
        raise Unsupported(f"its weight is {by(stored.shape)}", "E095")
    x = layers.read(node)
    if len(x.shape) != 1:
        raise Unsupported("it reads images; a Flatten must come before it")
    filters, features = weight.shape
    if features != x.shape[0]:
        message = f"its weight is for {features} features of {x.shape[0]}"
        raise Unsupported(message, "E095")
    name = layers.add("fc", node, (x,), (filters,), filters=filters, bias=bias is not None)
    layers.weight(name, "weight", weight, weight.shape)
    if bias is not None:
        _check_bias(bias, (filters,))
        layers.fill(name, "bias", bias, (filters,))


def _check_bias(bias: Constant, shape: Shape) -> None:
    """A constant that is added to every row or image: one number a channel, or one for all."""
    rank = len(shape) + 1
    aligned = (1,) * (rank - len(bias.shape)) + bias.shape
    if aligned not in ((1, shape[0], *(1,) * (rank - 2)), (1,) * rank):
        message = f"a constant of {by(bias.shape)} is no bias of {shape[0]}"
        raise Unsupported(f"{message} channels")


def _maxpool(layers: Layers, node: Given) -> None:
    """The order of storage is that of places, which are a further result."""
    node.ignore("storage_order")
    form = asked(node, node.pair("kernel_shape", None))
    x = layers.read(node)
    pad, ceil = max_options(windows(form, x))
    _pool(layers, "maxpool", node, x, (form.size, form.stride, pad, ceil))


def _avgpool(layers: Layers, node: Given) -> None:
    form, counts = asked(node, node.pair("kernel_shape", None)), node.flag("count_include_pad", 0)
    x = layers.padded(node)
    pad, ceil = mean_options(windows(form, x), counts)
    _pool(layers, "avgpool", node, x, (form.size, form.stride, pad, ceil))


def _pool(
    layers: Layers, kind: str, node: Given, x: Result, form: tuple[Pair, Pair, Pair, bool]
) -> None:
    size, stride, pad, ceil = form
    op = ops.MaxPool(stride, (pad[0], pad[0], pad[1], pad[1]), size, ceil)
    result = infer(op, (1, *image(x)))
    layers.add(kind, node, (x,), result, size=size, stride=stride, pad=pad, ceil=ceil)


def _global_average(layers: Layers, node: Given) -> None:
    x = layers.read(node)
    shape = (image(x)[0], 1, 1)
    layers.add("avgpool", node, (x,), shape, size="global", stride=(1, 1))


def _reduce_mean(layers: Layers, node: Given) -> None:
    """What it does without axes does not matter."""
    node.ignore("noop_with_empty_axes")
    axes, keeps = node.listed("axes", 1), node.flag("keepdims", 1)
    if not _are_spatial(axes):
        raise Unsupported("only the mean over height and width (axes 2, 3)")
    _global_average(layers, node)
    if not keeps:
        layers.flatten(node, layers.results[node.node.outputs[0]])


def _activation(kind: str, form: OnnxForm) -> Callable[[Layers, Given], None]:
    def add_one(layers: Layers, node: Given) -> None:
        for name, value in form.attributes:
            found = node.attribute(name, "left out")
            if found != value:
                raise Unsupported(f"'{name}' is {shown(found)}; {shown(value)} is known")
        layers.add_alike(kind, node)

    return add_one


def _dropout(layers: Layers, node: Given) -> None:
    node.ignore("seed")
    rate = node.real("ratio", 0.5)
    if node.has(1) and node.says("ratio"):
        raise Unsupported("'ratio' is given twice")
    rate = node.number(1, "ratio", rate)
    if node.number(2, "training_mode", 0):
        raise Unsupported("'training_mode' is 1", help=_FOR_INFERENCE)
    layers.add_alike("dropout", node, rate=rate)


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
    constant = [i for i, name in enumerate(node.operands()) if name not in layers.trace.data]
    if len(constant) == 1 and len(node.operands()) == 2:
        return _add_bias(layers, node, *constant)
    xs = layers.read_all(node)
    if len(xs) == 1:
        return layers.pass_on(node, xs[0])
    shape = infer(ops.Add(), *((1, *x.shape) for x in xs))
    layers.add("add", node, xs, shape)


def _add_bias(layers: Layers, node: Given, place: int) -> None:
    """A constant a channel right behind a convolution or product is its bias."""
    bias, x = layers.constant(node, place, "constant"), layers.read(node, 1 - place)
    layer = layers.layers.get(x.layer)
    if layer is None or layer.kind not in ("conv", "fc") or not layers.is_read_once(layer.name):
        message = "a constant added to anything but a Conv, Gemm or MatMul"
        raise Unsupported(f"{message} that nothing else reads")
    _check_bias(bias, x.shape)
    filled = dict(layer.options) | {"bias": True}
    layers.layers[layer.name] = replace(layer, options=NamedValues.of(**filled))
    known = layers.weights.get(f"{layer.name}.bias")
    layers.fill(layer.name, "bias", bias, (x.shape[0],))
    if known is not None:
        both = (*known.parts, bias.tensor.name)
        layers.weights[known.name] = replace(known, parts=both)
    layers.pass_on(node, x)


def _concat(layers: Layers, node: Given) -> None:
    axis = node.whole("axis", None)
    _check_axis(axis, 1, 3)
    xs = layers.read_all(node)
    if len({len(x.shape) for x in xs}) > 1:
        raise Unsupported("it joins images with rows")
    _check_axis(axis, len(xs[0].shape))
    if len(xs) == 1:
        return layers.pass_on(node, xs[0])
    shape = infer(ops.Concat(), *((1, *x.shape) for x in xs))
    layers.add("concat", node, xs, shape)


def _flatten(layers: Layers, node: Given) -> None:
    axis = node.whole("axis", 1)
    _check_axis(axis, 1, 3)
    x = layers.read(node)
    _check_axis(axis, len(x.shape))
    layers.flatten(node, x)


def _check_axis(axis: int, *dims: int) -> None:
    """Channels or features, counted from either end, of operands of one of these dimensions."""
    if axis not in (1, *(-each for each in dims)):
        raise Unsupported(f"'axis' is {axis}; 1 is known")


def _reshape(layers: Layers, node: Given) -> None:
    """To rows, in whatever way its shape says so."""
    copies = not node.flag("allowzero", 0)
    node.operand(1)
    wanted, x = node.numbers(1, "shape") or (), layers.read(node)
    before = layers.dims(x)
    if reshaped(before, wanted, copies) != (before[0], product(before[1:])):
        raise Unsupported(f"to {shown(wanted)}; only images to rows is known")
    layers.flatten(node, x)


def _squeeze(layers: Layers, node: Given) -> None:
    axes, x = node.listed("axes", 1), layers.read(node)
    if not _are_spatial(axes) or x.shape[1:] != (1, 1):
        raise Unsupported("only height and width of 1x1 images")
    layers.flatten(node, x)


def _pad(layers: Layers, node: Given) -> None:
    """Zeros around images wait for the layer that reads them."""
    pads, value = node.listed("pads", 1) or (), node.real("value", 0.0)
    value = node.number(2, "value", value)
    if node.word("mode", "constant") != "constant" or value or node.has(3):
        raise Unsupported("anything but zeros around all four dimensions")
    if len(pads) != 8 or min(pads) < 0 or any(pads[:2] + pads[4:6]):
        raise Unsupported("anything but height and width made larger")
    x = layers.padded(node)
    image(x)
    top, left, bottom, right = (*pads[2:4], *pads[6:8])
    layers.pass_on(node, replace(x, pad=around(x.pad, (top, left, bottom, right))))


def _identity(layers: Layers, node: Given) -> None:
    layers.pass_on(node, layers.padded(node))


def _are_spatial(axes: tuple[int, ...] | None) -> bool:
    """Whether axes of a batch of images are height and width."""
    return axes is not None and placed(axes, 4) == (2, 3)


HANDLERS: dict[str, Callable[[Layers, Given], None]] = {
    "Add": _add,
    "AveragePool": _avgpool,
    "BatchNormalization": _bn,
    "Concat": _concat,
    "Conv": _conv,
    "Dropout": _dropout,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average,
    "Identity": _identity,
    "LRN": _lrn,
    "MatMul": _matmul,
    "MaxPool": _maxpool,
    "Pad": _pad,
    "ReduceMean": _reduce_mean,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Sum": _add,
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
