"""ONNX's operators as layers, one function each."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from netc.interchange.layer_names import LayerNames
from netc.interchange.onnx_lrn import JOINED_LRN
from netc.interchange.onnx_trace import Constant, Trace
from netc.interchange.onnx_values import (
    NO_PAD,
    Pair,
    Result,
    Shape,
    Unknown,
    Unsupported,
    around,
    check_window,
    conv_pad,
    fill,
    image,
    infer,
    ints,
    options,
    pair,
    pool_form,
    real,
    require,
    sides,
    whole,
    word,
)
from netc.ir import ops
from netc.ir.onnx import OnnxNode, OnnxWeight
from netc.syntax.network import Layer, Options, Value


class Layers:
    """The layers so far. Handlers check attributes first: a failed operand does not hide those."""

    def __init__(self, trace: Trace, names: LayerNames, batch: int | str) -> None:
        self.trace, self.names, self.batch = trace, names, batch
        self.results: dict[str, Result] = {}
        self.layers: dict[str, Layer] = {}
        self.weights: dict[str, OnnxWeight] = {}

    def padded(self, name: str) -> Result:
        """An operand, maybe with zeros around it."""
        if name in self.trace.constants or (name and name not in self.trace.data):
            raise Unsupported("an operand is a constant where a layer's result is wanted")
        if name not in self.results:
            raise Unknown
        return self.results[name]

    def read(self, name: str) -> Result:
        """An operand."""
        result = self.padded(name)
        if result.pad != NO_PAD:
            raise Unsupported("zeros padded in front of it; only Conv and AveragePool take them")
        return result

    def constant(self, node: OnnxNode, place: int, what: str) -> Constant:
        """A stored operand."""
        name = node.inputs[place] if place < len(node.inputs) else ""
        found = self.trace.constants.get(name)
        if found is None:
            raise Unsupported(f"its {what} is computed, not stored", "E095")
        if not found.tensor.dtype.startswith(("float", "bfloat")):
            raise Unsupported(f"its {what} holds {found.tensor.dtype}", "E095")
        return found

    def numbers(self, node: OnnxNode, place: int) -> tuple[int | float, ...] | None:
        """A small stored operand; None where it is left out, or computed."""
        name = node.inputs[place] if place < len(node.inputs) else ""
        found = self.trace.constants.get(name)
        return found.tensor.values if found else None

    def add(
        self, kind: str, node: OnnxNode, inputs: tuple[Result, ...], shape: Shape, **given: Value
    ) -> str:
        """Append a layer; its name."""
        filled = options(kind, given)
        name = self.names.layer(kind, node)
        self.layers[name] = Layer(name, kind, filled, tuple(each.layer for each in inputs))
        self.results[node.outputs[0]] = Result(name, shape)
        return name

    def add_alike(self, kind: str, node: OnnxNode, **given: Value) -> Result:
        """Append a layer that keeps the shape of its one operand; that operand."""
        options(kind, given)
        x = self.read(node.inputs[0])
        self.add(kind, node, (x,), x.shape, **given)
        return x

    def weight(self, layer: str, role: str, source: Constant, shape: Shape) -> None:
        """Say where a weight comes from."""
        if source.shape != shape and math.prod(source.shape) not in (1, math.prod(shape)):
            message = f"'{role}' is {_by(source.shape)} where {_by(shape)} is wanted"
            raise Unsupported(message, "E095")
        name = f"{layer}.{role}"
        self.weights[name] = OnnxWeight(name, shape, (source.tensor.name,), source.transposed)

    def pass_on(self, node: OnnxNode, result: Result) -> None:
        """The node makes no layer."""
        self.results[node.outputs[0]] = result

    def flatten(self, node: OnnxNode, x: Result) -> None:
        """Rows of an image; no layer where the file names none and only `fc` reads it."""
        rows = replace(x, shape=(math.prod(x.shape),))
        if len(x.shape) == 1 or (not self.names.has_own(node) and self._only_fc(node)):
            return self.pass_on(node, rows)
        self.add("flatten", node, (x,), rows.shape)

    def _only_fc(self, node: OnnxNode) -> bool:
        name = node.outputs[0]
        readers = [each for each in self.trace.nodes if name in each.inputs]
        return all(each.op_type in ("Gemm", "MatMul") for each in readers)


def _conv(layers: Layers, node: OnnxNode) -> None:
    require(node, "dilations", (1, 1))
    filters = layers.constant(node, 1, "weight")
    if len(filters.shape) != 4 or math.prod(filters.shape) == 0:
        raise Unsupported(f"its weight is {_by(filters.shape)}", "E095")
    size: Pair = (filters.shape[2], filters.shape[3])
    stride, groups = pair(node, "strides", (1, 1)), whole(node, "group", 1)
    if pair(node, "kernel_shape", size) != size:
        raise Unsupported("'kernel_shape' is not that of its weight", "E095")
    word(node, "auto_pad", "NOTSET")
    x = layers.padded(node.inputs[0])
    shape = image(x)
    pad = around(x.pad, sides(node, shape, size, stride))
    if groups < 1 or filters.shape[0] % groups:
        raise Unsupported(f"'group' is {groups}, which does not divide {filters.shape[0]} filters")
    top, left, bottom, right = pad
    op = ops.Conv(stride, (top, bottom, left, right), groups)
    result = infer(op, (1, *shape), filters.shape)
    has_bias = _has(node, 2)
    name = layers.add(
        "conv", node, (x,), result, size=size, filters=filters.shape[0], stride=stride,
        pad=conv_pad(node, pad, shape, size, stride), groups=groups, bias=has_bias,
    )  # fmt: skip
    layers.weight(name, "weight", filters, filters.shape)
    if has_bias:
        layers.weight(name, "bias", layers.constant(node, 2, "bias"), (filters.shape[0],))


def _gemm(layers: Layers, node: OnnxNode) -> None:
    require(node, "alpha", 1.0)
    require(node, "transA", 0)
    if _has(node, 2):
        require(node, "beta", 1.0)
    bias = layers.constant(node, 2, "bias") if _has(node, 2) else None
    _fc(layers, node, bool(whole(node, "transB", 0)), bias)


def _matmul(layers: Layers, node: OnnxNode) -> None:
    _fc(layers, node, False, None)


def _fc(layers: Layers, node: OnnxNode, by_rows: bool, bias: Constant | None) -> None:
    """`by_rows`: a row of the weight is a filter, as netc stores it."""
    stored = layers.constant(node, 1, "weight")
    weight = stored if by_rows else replace(stored, transposed=not stored.transposed)
    if len(weight.shape) != 2:
        raise Unsupported(f"its weight is {_by(stored.shape)}", "E095")
    x = layers.read(node.inputs[0])
    if len(x.shape) != 1:
        raise Unsupported("it reads images; a Flatten must come before it")
    filters, features = weight.shape
    if features != x.shape[0]:
        message = f"its weight is for {features} features of {x.shape[0]}"
        raise Unsupported(message, "E095")
    name = layers.add(
        "fc", node, (x,), (filters,), filters=filters, bias=bias is not None
    )  # fmt: skip
    layers.weight(name, "weight", weight, weight.shape)
    if bias is not None:
        _check_bias(node, bias, (filters,))
        layers.weight(name, "bias", bias, (filters,))


def _check_bias(node: OnnxNode, bias: Constant, shape: Shape) -> None:
    """A constant that is added to every row or image: one number a channel, or one for all."""
    rank = len(shape) + 1
    aligned = (1,) * (rank - len(bias.shape)) + bias.shape
    if aligned not in ((1, shape[0], *(1,) * (rank - 2)), (1,) * rank):
        message = f"a constant of {_by(bias.shape)} is no bias of {shape[0]}"
        raise Unsupported(f"{message} channels")


def _maxpool(layers: Layers, node: OnnxNode) -> None:
    require(node, "dilations", (1, 1))
    size, stride = pair(node, "kernel_shape", (0, 0)), pair(node, "strides", (1, 1))
    x = layers.read(node.inputs[0])
    shape = image(x)
    pad, ceil = pool_form(
        node, ops.MaxPool, sides(node, shape, size, stride), shape, size, stride
    )  # fmt: skip
    _pool(layers, node, x, size, stride, pad, ceil)


def _avgpool(layers: Layers, node: OnnxNode) -> None:
    """Padding counts in netc, as far as it was asked for; what rounding up adds does not count."""
    require(node, "dilations", (1, 1))
    size, stride = pair(node, "kernel_shape", (0, 0)), pair(node, "strides", (1, 1))
    counts = bool(whole(node, "count_include_pad", 0))
    x = layers.padded(node.inputs[0])
    shape, own = image(x), sides(node, image(x), size, stride)
    if counts:
        own, outer = NO_PAD, around(x.pad, own)
    else:
        outer = x.pad
    top, left, bottom, right = outer
    if (top, left) != (bottom, right):
        raise Unsupported("zeros around it differ from side to side")
    around_it = (shape[0], shape[1] + 2 * top, shape[2] + 2 * left)
    pad, ceil = pool_form(node, ops.AvgPool, own, around_it, size, stride)
    if any(pad):
        message = "'count_include_pad' is 0; netc's averages count the padding"
        raise Unsupported(message)
    _pool(layers, node, x, size, stride, (top, left), ceil)


def _pool(
    layers: Layers, node: OnnxNode, x: Result, size: Pair, stride: Pair, pad: Pair, ceil: bool
) -> None:
    kind = {"MaxPool": "maxpool", "AveragePool": "avgpool"}[node.op_type]
    check_window(pad, size)
    op = ops.MaxPool(size, stride, (pad[0], pad[0], pad[1], pad[1]), ceil)
    result = infer(op, (1, *image(x)))
    layers.add(kind, node, (x,), result, size=size, stride=stride, pad=pad, ceil=ceil)


def _global_average(layers: Layers, node: OnnxNode) -> None:
    x = layers.read(node.inputs[0])
    shape = (image(x)[0], 1, 1)
    layers.add("avgpool", node, (x,), shape, size="global", stride=(1, 1))


def _reduce_mean(layers: Layers, node: OnnxNode) -> None:
    axes = layers.numbers(node, 1) or node.get("axes")
    keeps = bool(whole(node, "keepdims", 1))
    if not _are_spatial(axes):
        raise Unsupported("only the mean over height and width (axes 2, 3)")
    _global_average(layers, node)
    if not keeps:
        layers.flatten(node, layers.results[node.outputs[0]])


def _elementwise(kind: str) -> Callable[[Layers, OnnxNode], None]:
    def convert(layers: Layers, node: OnnxNode) -> None:
        layers.add_alike(kind, node)

    return convert


def _dropout(layers: Layers, node: OnnxNode) -> None:
    rate = (layers.numbers(node, 1) or (real(node, "ratio", 0.5),))[0]
    layers.add_alike("dropout", node, rate=rate)


def _lrn(layers: Layers, node: OnnxNode) -> None:
    """ONNX divides alpha by the size."""
    size = whole(node, "size", 0)
    if size < 1 or size % 2 == 0:
        raise Unsupported(f"'size' is {size}; odd sizes are known")
    alpha = real(node, "alpha", 1e-4) / size
    _add_lrn(layers, node, size, alpha, real(node, "bias", 1.0))


def _joined_lrn(layers: Layers, node: OnnxNode) -> None:
    _add_lrn(layers, node, whole(node, "size", 0), real(node, "alpha", 0.0), real(node, "k", 1.0))


def _add_lrn(layers: Layers, node: OnnxNode, size: int, alpha: float, k: float) -> None:
    beta = real(node, "beta", 0.75)
    image(layers.add_alike("lrn", node, size=size, alpha=alpha, beta=beta, k=k))


def _bn(layers: Layers, node: OnnxNode) -> None:
    if whole(node, "training_mode", 0):
        raise Unsupported("'training_mode' is 1", help="export the model for inference.")
    require(node, "spatial", 1)
    eps, momentum = real(node, "epsilon", 1e-5), fill(1 - real(node, "momentum", 0.9))
    roles = ("weight", "bias", "running_mean", "running_var")
    stored = [layers.constant(node, 1 + i, role) for i, role in enumerate(roles)]
    x = layers.add_alike("bn", node, eps=eps, momentum=momentum)
    name = layers.results[node.outputs[0]].layer
    for role, source in zip(roles, stored, strict=True):
        layers.weight(name, role, source, x.shape[:1])


def _add(layers: Layers, node: OnnxNode) -> None:
    constant = [name for name in node.inputs if name not in layers.trace.data]
    if len(constant) == 1 and len(node.inputs) == 2:
        return _add_bias(layers, node, *constant)
    xs = tuple(layers.read(name) for name in node.inputs)
    if len(xs) == 1:
        return layers.pass_on(node, xs[0])
    shape = infer(ops.Add(), *((1, *x.shape) for x in xs))
    layers.add("add", node, xs, shape)


def _add_bias(layers: Layers, node: OnnxNode, name: str) -> None:
    """A constant a channel right behind a convolution or product is its bias."""
    place = node.inputs.index(name)
    bias, x = layers.constant(node, place, "constant"), layers.read(node.inputs[1 - place])
    layer = layers.layers.get(x.layer)
    alone = layers.trace.readers[node.inputs[1 - place]] == 1
    if layer is None or layer.kind not in ("conv", "fc") or not alone:
        message = "a constant added to anything but a Conv, Gemm or MatMul"
        raise Unsupported(f"{message} that nothing else reads")
    _check_bias(node, bias, x.shape)
    filled = dict(layer.options) | {"bias": True}
    layers.layers[layer.name] = replace(layer, options=Options.of(**filled))
    known = layers.weights.get(f"{layer.name}.bias")
    layers.weight(layer.name, "bias", bias, (x.shape[0],))
    if known is not None:
        both = (*known.parts, bias.tensor.name)
        layers.weights[known.name] = replace(known, parts=both)
    layers.pass_on(node, x)


def _concat(layers: Layers, node: OnnxNode) -> None:
    axis = whole(node, "axis", 0)
    _check_axis(axis, 1, 3)
    xs = tuple(layers.read(name) for name in node.inputs)
    _check_axis(axis, len(xs[0].shape))
    if len(xs) == 1:
        return layers.pass_on(node, xs[0])
    if len({len(x.shape) for x in xs}) > 1:
        raise Unsupported("it joins images with rows")
    shape = infer(ops.Concat(), *((1, *x.shape) for x in xs))
    layers.add("concat", node, xs, shape)


def _flatten(layers: Layers, node: OnnxNode) -> None:
    axis = whole(node, "axis", 1)
    _check_axis(axis, 1, 3)
    x = layers.read(node.inputs[0])
    _check_axis(axis, len(x.shape))
    layers.flatten(node, x)


def _check_axis(axis: int, *dims: int) -> None:
    """Channels or features, counted from either end, of operands of one of these dimensions."""
    if axis not in (1, *(-each for each in dims)):
        raise Unsupported(f"'axis' is {axis}; 1 is known")


def _reshape(layers: Layers, node: OnnxNode) -> None:
    """To rows: a stored (N, features), or one put together of two parts."""
    wanted = layers.numbers(node, 1) or node.get("shape")
    if isinstance(wanted, tuple) and len(wanted) != 2:
        raise Unsupported(f"to {_by(wanted)}; only images to rows is known")
    x = layers.read(node.inputs[0])
    if wanted is None:
        writer = layers.trace.writers.get(node.inputs[1] if _has(node, 1) else "")
        if writer is None or writer.op_type != "Concat" or len(writer.inputs) != 2:
            raise Unsupported("to a shape that is computed")
    elif not _makes_rows(layers, x, wanted):
        raise Unsupported(f"to {_by(wanted)}; only images to rows is known")
    layers.flatten(node, x)


def _makes_rows(layers: Layers, x: Result, wanted: object) -> bool:
    """Whether a shape is (N, features) in one of the ways to say it."""
    if not isinstance(wanted, tuple) or len(wanted) != 2:
        return False
    features, rows = math.prod(x.shape), wanted[0]
    by_rows = wanted[1] == -1 and (rows == 0 or rows == layers.batch)
    return bool(by_rows or (wanted[1] == features and rows >= -1))


def _squeeze(layers: Layers, node: OnnxNode) -> None:
    axes, x = layers.numbers(node, 1) or node.get("axes"), layers.read(node.inputs[0])
    if not _are_spatial(axes) or x.shape[1:] != (1, 1):
        raise Unsupported("only height and width of 1x1 images")
    layers.flatten(node, x)


def _pad(layers: Layers, node: OnnxNode) -> None:
    """Zeros around images wait for the layer that reads them."""
    pads = layers.numbers(node, 1) or node.get("pads")
    value = (layers.numbers(node, 2) or (real(node, "value", 0.0),))[0]
    if word(node, "mode", "constant") != "constant" or value or _has(node, 3):
        raise Unsupported("anything but zeros around all four dimensions")
    known = OnnxNode(node.op_type, node.name, (), (), (("pads", pads),))
    *first, top, left, n, c, bottom, right = ints(known, "pads", 8, ())
    if any((*first, n, c)) or min(top, left, bottom, right) < 0:
        raise Unsupported("anything but height and width made larger")
    x = layers.padded(node.inputs[0])
    image(x)
    layers.pass_on(node, replace(x, pad=around(x.pad, (top, left, bottom, right))))


def _identity(layers: Layers, node: OnnxNode) -> None:
    layers.pass_on(node, layers.padded(node.inputs[0]))


def _are_spatial(axes: object) -> bool:
    """Whether axes of a batch of images are height and width."""
    return isinstance(axes, tuple) and sorted(a % 4 for a in axes) == [2, 3]


def _has(node: OnnxNode, place: int) -> bool:
    return place < len(node.inputs) and node.inputs[place] != ""


def _by(shape: object) -> str:
    return "x".join(map(str, shape)) if isinstance(shape, tuple) and shape else "a single number"


HANDLERS: dict[str, Callable[[Layers, OnnxNode], None]] = {
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
    "Relu": _elementwise("relu"),
    "Reshape": _reshape,
    "Sigmoid": _elementwise("sigmoid"),
    "Squeeze": _squeeze,
    "Sum": _add,
    "Tanh": _elementwise("tanh"),
    JOINED_LRN: _joined_lrn,
}
"""What converts a node of an operator; each raises Unsupported or Unknown."""

KNOWN = tuple(op_type for op_type in HANDLERS if op_type != JOINED_LRN)
"""The operators as messages list them."""
