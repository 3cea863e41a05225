"""build-graph: a network becomes the graph of its forward pass, with all shapes inferred."""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from netc.errors import ERROR_LIMIT, Diagnostic, SyntaxProblem
from netc.ir import ops
from netc.ir.augmentations import mixes
from netc.ir.graph import Graph, GraphBuilder, Node
from netc.ir.ops.base import Op, ShapeError
from netc.ir.optimizers import SQUARES, UPDATE
from netc.ir.plain import LARGEST
from netc.ir.programs import LABEL_INPUTS, LABELS, SECOND_LABELS, SHARE
from netc.ir.types import TensorType, summed, units_of
from netc.syntax.layers import LOSS
from netc.syntax.network import InputSpec, Layer, Network

P = TypeVar("P", ops.MaxPool, ops.AvgPool)

SCALARS = "scalars"
"""The layer that step, seed, learning rate and count belong to; it is never split."""
DTYPES = {"fp32": "f32", "tf32": "f32", "bf16": "bf16", "fp64": "f64"}
"""Data types of activations, and of the weights in products, by precision."""
RESERVED = (
    "seed", "step", UPDATE, "lr", "count", *LABEL_INPUTS, "loss", "loss_sum", "correct", SQUARES,
    SCALARS,
)  # fmt: skip
"""Names that no layer or input may have."""


def build_graph(
    network: Network, batch: int, precision: str = "fp32", mode: str = "train"
) -> Graph:
    """The forward graph of `network` for `batch` images.

    `mode` "train" ends in the mean loss, against two labels an image where the recipe mixes images;
    "eval" leaves dropout out, normalizes with the running statistics, and ends in the loss summed
    over the first `count` rows, the right answers among them, and the class scores (batch,
    classes) behind both. Raises SyntaxProblem, with all of them, where shapes do not fit.
    """
    problems = _clashes(network)
    if not problems:
        builder = _Builder(network, batch, DTYPES[precision], mode == "train")
        found = (builder.layer(layer) for layer in network.layers)
        problems = list(itertools.islice((p for p in found if p is not None), ERROR_LIMIT))
    if problems:
        raise SyntaxProblem(*problems)
    outputs = ("loss",) if mode == "train" else ("loss_sum", "correct", builder.scores)
    return builder.graph.build((*outputs, *builder.statistics))


def check_groups(graph: Graph) -> None:
    """Raise SyntaxProblem (E040) where groups of images do not divide the batch of a graph that
    trains.
    """
    problems = []
    for node in graph.nodes:
        if isinstance(node.op, ops.GroupedMean):
            group, batch = node.op.group, graph.operand_types(node)[0].shape[0]
            if batch % group:
                near = [n for n in (batch // group * group, -(-batch // group) * group) if n]
                message = f"bn '{node.layer}': groups of {group} images do not divide the batch, "
                hint = f"take a batch of {' or '.join(map(str, near))}, or another group."
                found = Diagnostic("E040", f"{message}which is {batch}.", node.span, help=hint)
                problems.append(found)
    if problems:
        raise SyntaxProblem(*problems[:ERROR_LIMIT])


def _bounded(node: Node) -> Node:
    if node.type.elements > LARGEST:
        shape = "x".join(map(str, node.type.shape))
        raise ShapeError(f"'{node.name}' would be {shape}", "no memory holds that.")
    return node


def key_of(name: str) -> int:
    """The stream of random numbers of a layer or weight: 32 bits of its name."""
    return zlib.crc32(name.encode())


def _clashes(network: Network) -> list[Diagnostic]:
    """Layers and inputs whose names would also be those of weights, gradients or scalars."""
    layers = {layer.name for layer in network.layers}
    problems = []
    named: tuple[InputSpec | Layer, ...] = (*network.inputs, *network.layers)
    for each in named:
        parts = each.name.split(".")
        around = {".".join(parts[:end]) for end in range(1, len(parts))} & layers
        own_loss = isinstance(each, Layer) and (each.kind, each.name) == (LOSS, "loss")
        if around:
            message = f"'{min(around)}' names both a layer and the call of a block."
            problems.append(Diagnostic("E021", message, each.span, help="give one another name."))
        elif each.name in RESERVED and not own_loss:
            message = f"the name '{each.name}' has a meaning already in every compiled network."
            problems.append(Diagnostic("E021", message, each.span, help="take another name."))
    return problems[:ERROR_LIMIT]


@dataclass(frozen=True, slots=True)
class _Failed:
    """Stands for the result of a layer whose shapes did not fit."""


class _Builder:
    """Adds one layer after the other; results of layers are nodes of the layer's name."""

    def __init__(self, network: Network, batch: int, dtype: str, training: bool) -> None:
        self.graph = GraphBuilder(network.name)
        self.batch, self.dtype, self.training = batch, dtype, training
        self.layers = {layer.name for layer in network.layers}
        self.values: dict[str, Node | _Failed] = {}
        self.statistics: list[str] = []
        self.scores = ""
        self.flattened = itertools.count(1)
        self.like = Node("", ops.Scalar(), (), TensorType("i64", ()), SCALARS)
        for name in ("seed", "step") if training else ("count",):
            self._source(name, ops.Scalar(), TensorType("i64", ()))
        for spec in network.inputs:
            shape = TensorType(dtype, (batch, *spec.shape))
            node = Node(spec.name, ops.Input("n.hw"), (), shape, spec.name, span=spec.span)
            self.values[spec.name] = self.graph.add(node)
        kinds = {LABELS: "i64"}
        if training and mixes(call.name for call in network.recipe.augment):
            kinds |= {SECOND_LABELS: "i64", SHARE: summed(dtype)}
        self.targets = tuple(
            self.graph.add(Node(name, ops.Input("n"), (), TensorType(kind, (batch,)), LABELS))
            for name, kind in kinds.items()
        )
        """What the loss compares scores with."""

    def layer(self, layer: Layer) -> Diagnostic | None:
        """Add one layer; the diagnostic where its shapes do not fit."""
        operands = [self.values[name] for name in layer.inputs]
        self.like = Node("", ops.Scalar(), (), TensorType("i64", ()), layer.name, span=layer.span)
        try:
            if any(isinstance(x, _Failed) for x in operands):
                self.values[layer.name] = _Failed()
            else:
                self.values[layer.name] = BUILDERS[layer.kind](self, layer, *operands)
        except ShapeError as error:
            self.values[layer.name] = _Failed()
            message = f"{layer.kind} '{layer.name}': {error}."
            return Diagnostic("E040", message, layer.span, help=error.help)
        return None

    def _emit(self, name: str, op: Op, *inputs: Node) -> Node:
        return _bounded(self.graph.emit(name, op, tuple(n.name for n in inputs), self.like))

    def _source(self, name: str, op: Op, type_: TensorType) -> Node:
        like = self.like
        return self.graph.add(_bounded(Node(name, op, (), type_, like.layer, span=like.span)))

    def _parameter(
        self, layer: Layer, role: str, dims: str, shape: tuple[int, ...], **init: Any
    ) -> Node:
        units = init.pop("units", ())
        type_ = TensorType(summed(self.dtype), shape, units)
        return self._source(f"{layer.name}.{role}", ops.Parameter(dims, **init), type_)

    def _factor(self, weight: Node) -> Node:
        """A weight as products read it."""
        if weight.type.dtype == self.dtype:
            return weight
        assert isinstance(weight.op, ops.Parameter)
        return self._emit(
            f"{weight.name}.{self.dtype}", ops.Cast(weight.op.dims, self.dtype), weight
        )

    def _biased(self, layer: Layer, product: Node) -> Node:
        if not _options(layer)["bias"]:
            return product
        channels = (product.type.shape[1],)
        bias = self._parameter(layer, "bias", "k", channels, value=_options(layer)["bias_value"])
        return self._emit(layer.name, ops.Bias(), product, bias)

    def _product_name(self, layer: Layer) -> str:
        return f"{layer.name}.{layer.kind}" if _options(layer)["bias"] else layer.name

    def _conv(self, layer: Layer, x: Node) -> Node:
        _need_image(x)
        options = _options(layer)
        groups, filters, size = options["groups"], options["filters"], options["size"]
        channels = x.type.shape[1]
        if channels % groups or filters % groups:
            message = f"{groups} groups must divide both {channels} channels and {filters} filters"
            raise ShapeError(message, "choose filters, and groups, that fit.")
        fan_in = channels // groups * math.prod(size)
        std = math.sqrt(2.0 / fan_in) if options["std"] is None else options["std"]
        shape = (filters, channels // groups, *size)
        dims = "kc.." if groups == 1 else "k..."
        weight = self._parameter(layer, "weight", dims, shape, std=std)
        op = ops.Conv(options["stride"], _padding(layer, x), groups)
        product = self._emit(self._product_name(layer), op, x, self._factor(weight))
        return self._biased(layer, product)

    def _fc(self, layer: Layer, x: Node) -> Node:
        x = self._flat(x)
        options, features = _options(layer), x.type.shape[1]
        std = math.sqrt(2.0 / features) if options["std"] is None else options["std"]
        shape, units = (options["filters"], features), units_of(1, x.type.unit(1))
        weight = self._parameter(layer, "weight", "kc", shape, std=std, units=units)
        product = self._emit(self._product_name(layer), ops.Fc(), x, self._factor(weight))
        return self._biased(layer, product)

    def _flat(self, x: Node) -> Node:
        """Images become rows in a layer of their own, which stays with its producer."""
        if x.type.rank == 2:
            return x
        numbered = (f"flatten{number}" for number in self.flattened)
        name = next(n for n in numbered if n not in self.layers and n not in self.graph.nodes)
        return self.graph.emit(name, ops.Flatten(), (x.name,), self.like, layer=name)

    def _flatten(self, layer: Layer, x: Node) -> Node:
        _need_image(x)
        return self._emit(layer.name, ops.Flatten(), x)

    def _maxpool(self, layer: Layer, x: Node) -> Node:
        return self._emit(layer.name, self._pooling(layer, x, ops.MaxPool), x)

    def _avgpool(self, layer: Layer, x: Node) -> Node:
        op = self._pooling(layer, x, ops.AvgPool)
        if _options(layer)["count_pad"] or not any(op.pad):
            return self._emit(layer.name, op, x)
        means = self._emit(f"{layer.name}.counted", op, x)
        height, width = x.type.shape[2:]
        inside = ops.InsideMean(op.stride, op.pad, op.size, (height, width))
        return self._emit(layer.name, inside, means)

    def _pooling(self, layer: Layer, x: Node, kind: type[P]) -> P:
        _need_image(x)
        size, stride = _options(layer)["size"], _options(layer)["stride"]
        if size == "global":
            size = stride = x.type.shape[2:]
        pad = _padding(layer, x)
        if any(p >= size[i // 2] for i, p in enumerate(pad)):
            message = f"padding {padding_text(pad)} makes windows that hold padding only"
            raise ShapeError(message, "pad by less than the window's size.")
        return kind(stride, pad, size, _options(layer)["ceil"])

    def _activation(self, layer: Layer, x: Node) -> Node:
        return self._emit(layer.name, ops.ACTIVATIONS[layer.kind].forward, x)

    def _dropout(self, layer: Layer, x: Node) -> Node:
        if not self.training:
            return x
        op = ops.Dropout(_options(layer)["rate"], key_of(layer.name), self.batch)
        seed, step = self.graph.nodes["seed"], self.graph.nodes["step"]
        return self._emit(layer.name, op, x, seed, step)

    def _lrn(self, layer: Layer, x: Node) -> Node:
        _need_image(x)
        o = _options(layer)
        return self._emit(layer.name, ops.Lrn(o["size"], o["alpha"], o["beta"], o["k"]), x)

    def _bn(self, layer: Layer, x: Node) -> Node:
        eps, channels = _options(layer)["eps"], (x.type.shape[1],)
        units = units_of(x.type.unit(1))
        gamma = self._parameter(layer, "weight", "k", channels, value=1.0, units=units)
        beta = self._parameter(layer, "bias", "k", channels, value=0.0, units=units)
        type_ = TensorType(summed(self.dtype), channels, units)
        running = [
            self._source(f"{layer.name}.{role}", ops.State("k", value), type_)
            for role, value in (("running_mean", 0.0), ("running_var", 1.0))
        ]
        if not self.training:
            return self._emit(layer.name, ops.BnNorm(eps), x, *running, gamma, beta)
        if (group := _options(layer)["group"]) is not None:
            return self._grouped_norm(layer, group, x, running, (gamma, beta))
        count = x.type.elements // channels[0]
        mean = self._emit(f"{layer.name}.mean", ops.BnMean(count), x)
        var = self._emit(f"{layer.name}.var", ops.BnVar(count), x, mean)
        self._move_running(layer, count, running, (mean, var))
        return self._emit(layer.name, ops.BnNorm(eps), x, mean, var, gamma, beta)

    def _grouped_norm(
        self, layer: Layer, group: int, x: Node, running: Sequence[Node], weights: Sequence[Node]
    ) -> Node:
        """Each group of images by its own mean and variance; running ones follow their means."""
        count, eps = group * math.prod(x.type.shape[2:]), _options(layer)["eps"]
        mean = self._emit(f"{layer.name}.mean", ops.GroupedMean(group, count), x)
        var = self._emit(f"{layer.name}.var", ops.GroupedVar(group, count), x, mean)
        y = self._emit(layer.name, ops.GroupedNorm(group, eps), x, mean, var, *weights)
        over = ops.GroupsMean(mean.type.shape[0])
        of_all = [
            self.graph.emit(f"{each.name}.groups", over, (each.name,), self.like, phase="update")
            for each in (mean, var)
        ]
        self._move_running(layer, count, running, of_all)
        return y

    def _move_running(
        self, layer: Layer, count: int, running: Sequence[Node], statistics: Sequence[Node]
    ) -> None:
        """Move running statistics towards mean and variance of `count` elements a channel."""
        momentum, unbiased = _options(layer)["momentum"], count / max(count - 1, 1)
        for old, new, correction in zip(running, statistics, (1.0, unbiased), strict=True):
            op = ops.BnRunning(momentum, correction)
            name, inputs = f"{old.name}.next", (old.name, new.name)
            self.graph.emit(name, op, inputs, self.like, phase="update")
            self.statistics.append(name)

    def _add(self, layer: Layer, *xs: Node) -> Node:
        return self._emit(layer.name, ops.Add(), *xs)

    def _concat(self, layer: Layer, *xs: Node) -> Node:
        return self._emit(layer.name, ops.Concat(), *xs)

    def _softmax_loss(self, layer: Layer, x: Node) -> Node:
        x = self._flat(x)
        self.scores = x.name
        row_max = self._emit(f"{layer.name}.max", ops.RowMax(), x)
        total = self._emit(f"{layer.name}.sum_exp", ops.RowSumExp(), x, row_max)
        smoothing, classes, op = _options(layer)["smoothing"], x.type.shape[1], ops.RowPick()
        # What is held out is judged by its labels as they are.
        if len(self.targets) > 1:
            op = ops.RowPickMixed(smoothing, classes)
        elif smoothing and self.training:
            op = ops.RowPickSmoothed(smoothing, classes)
        pick = self._emit(f"{layer.name}.pick", op, x, *self.targets)
        if self.training:
            return self._emit("loss", ops.CeLoss(self.batch), row_max, total, pick)
        count = self.graph.nodes["count"]
        self._emit("loss_sum", ops.CeLossMasked(self.batch), row_max, total, pick, count)
        best = self._emit(f"{layer.name}.argmax", ops.RowArgmax(classes), x, row_max)
        return self._emit("correct", ops.Correct(summed(self.dtype)), best, *self.targets, count)


BUILDERS: Mapping[str, Callable[..., Node]] = {
    "conv": _Builder._conv,
    "fc": _Builder._fc,
    "maxpool": _Builder._maxpool,
    "avgpool": _Builder._avgpool,
    **dict.fromkeys(ops.ACTIVATIONS, _Builder._activation),
    "dropout": _Builder._dropout,
    "lrn": _Builder._lrn,
    "bn": _Builder._bn,
    "flatten": _Builder._flatten,
    "add": _Builder._add,
    "concat": _Builder._concat,
    LOSS: _Builder._softmax_loss,
}
"""By kind of layer what adds it to a graph, from a builder, the layer and its operands."""


def _options(layer: Layer) -> Mapping[str, Any]:
    """A layer's options; the language has checked that each is of its kind."""
    return layer.options


def _need_image(x: Node) -> None:
    if x.type.rank != 4:
        raise ShapeError(
            f"it needs images, but '{x.name}' gives {x.type.shape[1]} values, no height and width",
            "it must come before the first fully connected layer.",
        )


def _padding(layer: Layer, x: Node) -> tuple[int, int, int, int]:
    """Top, bottom, left, right; "same" keeps ceil(size / stride), the odd pixel at the end."""
    pad = _options(layer)["pad"]
    if pad != "same":
        return (pad[0], pad[0], pad[1], pad[1]) if len(pad) == 2 else pad
    size, stride = _options(layer)["size"], _options(layer)["stride"]
    rows, columns = (same_padding(x.type.shape[2 + i], size[i], stride[i]) for i in (0, 1))
    return (*rows, *columns)


def padding_text(pad: tuple[int, int, int, int]) -> str:
    """Padding as the language says it."""
    alike = pad[0] == pad[1] and pad[2] == pad[3]
    return "x".join(map(str, pad[::2] if alike else pad))


def same_padding(extent: int, window: int, stride: int) -> tuple[int, int]:
    """What `pad=same` puts before and behind one dimension of that extent."""
    total = max((math.ceil(extent / stride) - 1) * stride + window - extent, 0)
    return (total // 2, total - total // 2)
