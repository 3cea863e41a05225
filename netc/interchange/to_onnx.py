"""A network as an ONNX model for inference: from images to class scores, before softmax."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from netc import __version__
from netc.ir import ops
from netc.ir.graph import Graph, Node
from netc.ir.onnx import Attribute, OnnxModel, OnnxNode, OnnxTensor, OnnxValue
from netc.passes.build_graph import build_graph
from netc.syntax.layers import LOSS
from netc.syntax.network import Layer, Network

OPSET = 17
"""Version of the operators, unless a layer needs a later one."""
BATCH = "N"
"""The name of a batch size that is left open."""
SCORES = "logits"
"""The output's name, unless a layer has it; then it is that of the loss."""
PRODUCER = "netc"

_WINDOWED = ops.Conv | ops.MaxPool | ops.AvgPool


def to_onnx(network: Network, batch: int | None = None) -> OnnxModel:
    """The model of `network`; its weights are tensors without values, under their source names.

    Nodes are called as their layers. Where a layer takes several, the others are `layer/part`.
    Raises SyntaxProblem where shapes do not fit.
    """
    graph = build_graph(network, batch or 1, mode="eval")
    writer = _Writer(network, graph)
    for layer in network.layers:
        WRITERS[layer.kind](writer, layer)
    size: int | str = BATCH if batch is None else batch
    inputs = (OnnxValue(spec.name, (size, *spec.shape)) for spec in network.inputs)
    classes = graph[graph.outputs[2]].type.shape[1]
    return OnnxModel(
        network.name,
        tuple(inputs),
        (OnnxValue(writer.scores, (size, classes)),),
        tuple(writer.nodes),
        (*map(_tensor, weights(graph)), *writer.tensors),
        writer.opset,
        PRODUCER,
        __version__,
    )


def weights(graph: Graph) -> tuple[Node, ...]:
    """The nodes of an inference graph that hold its weights and running statistics."""
    return tuple(n for n in graph.nodes if isinstance(n.op, ops.Parameter | ops.State))


def _tensor(node: Node) -> OnnxTensor:
    return OnnxTensor(node.name, node.type.shape)


class _Writer:
    """Adds the nodes of one layer after the other; a layer's result has the layer's name."""

    def __init__(self, network: Network, graph: Graph) -> None:
        self.nodes: list[OnnxNode] = []
        self.tensors: list[OnnxTensor] = []
        self.opset = OPSET
        self.shapes = {spec.name: graph[spec.name].type.shape for spec in network.inputs}
        self.graph = graph
        self.windowed = {n.layer: n.op for n in graph.nodes if isinstance(n.op, _WINDOWED)}
        self.last = network.layers[-1].inputs[0]
        named = {layer.name for layer in network.layers} | set(self.shapes)
        free = SCORES not in named or SCORES == self.last == graph.outputs[2]
        self.scores = SCORES if free else network.layers[-1].name

    def _conv(self, layer: Layer) -> None:
        op = self.windowed[layer.name]
        assert isinstance(op, ops.Conv)
        attributes = self._window(layer.options["size"], op) | {"group": op.groups}
        self._result("Conv", layer, *self._weights(layer), **attributes)

    def _fc(self, layer: Layer) -> None:
        x = self._flat(layer)
        self._emit("Gemm", layer, (x, *self._weights(layer)), transB=1)

    def _maxpool(self, layer: Layer) -> None:
        op = self.windowed[layer.name]
        assert isinstance(op, ops.MaxPool)
        over = self._overhang(layer, op)
        attributes = self._window(op.size, op, over) | {"ceil_mode": _ceil_mode(op, over)}
        self._result("MaxPool", layer, **attributes)

    def _avgpool(self, layer: Layer) -> None:
        """Windows past the padding shrink: padding of ONNX's that does not count cuts them."""
        if layer.options["size"] == "global":
            return self._result("GlobalAveragePool", layer)
        op = self.windowed[layer.name]
        assert isinstance(op, ops.AvgPool)
        over = self._overhang(layer, op)
        x = self._read(layer.inputs[0])
        if not layer.options["count_pad"]:
            attributes = self._window(op.size, op, over) | {"ceil_mode": 0}
            return self._emit("AveragePool", layer, (x,), **attributes, count_include_pad=0)
        if max(over) <= 0:
            attributes = self._window(op.size, op) | {"ceil_mode": _ceil_mode(op, over)}
            return self._emit("AveragePool", layer, (x,), **attributes, count_include_pad=1)
        if any(op.pad):
            top, bottom, left, right = op.pad
            sides = self._constant(layer, "pads", (0, 0, top, left, 0, 0, bottom, right))
            x = self._part("Pad", layer, "pad", (x, sides), mode="constant")
        inside = ops.AvgPool(op.stride, (0, 0, 0, 0), op.size, op.ceil)
        attributes = self._window(op.size, inside, over)
        self._emit("AveragePool", layer, (x,), **attributes, ceil_mode=0, count_include_pad=0)

    def _activation(self, layer: Layer) -> None:
        form = ops.ACTIVATIONS[layer.kind].onnx
        self.opset = max(self.opset, form.since)
        self._result(form.op_type, layer, **dict(form.attributes))

    def _dropout(self, layer: Layer) -> None:
        """The node stays, and passes everything on as long as no one trains."""
        rate = self._constant(layer, "ratio", layer.options["rate"])
        self._result("Dropout", layer, rate)

    def _lrn(self, layer: Layer) -> None:
        """ONNX divides alpha by the size, and its windows of even size lie the other way."""
        o = layer.options
        size, alpha, beta, k = o["size"], o["alpha"] * o["size"], o["beta"], o["k"]
        # ONNX Runtime refuses an alpha or beta of 0 too.
        if size % 2 and alpha and beta:
            return self._result("LRN", layer, size=size, alpha=alpha, beta=beta, bias=k)
        x = self._read(layer.inputs[0])
        _, channels, height, width = self._shape(layer.inputs[0])
        square = self._part("Mul", layer, "square", (x, x))
        rows = self._constant(layer, "rows", (0, 1, channels, height * width))
        square = self._part("Reshape", layer, "rows", (square, rows))
        mean = self._part(
            "AveragePool", layer, "mean", (square,), kernel_shape=(size, 1), strides=(1, 1),
            pads=(size // 2, 0, (size - 1) // 2, 0), count_include_pad=1,
        )  # fmt: skip
        images = self._constant(layer, "images", (0, channels, height, width))
        value = self._part("Reshape", layer, "images", (mean, images))
        for op_type, part, number in (
            ("Mul", "alpha", alpha),
            ("Add", "k", k),
            ("Pow", "beta", beta),
        ):
            value = self._part(op_type, layer, part, (value, self._constant(layer, part, number)))
        self._emit("Div", layer, (x, value))

    def _bn(self, layer: Layer) -> None:
        roles = ("weight", "bias", "running_mean", "running_var")
        eps, momentum = layer.options["eps"], 1.0 - layer.options["momentum"]
        names = (f"{layer.name}.{role}" for role in roles)
        self._result("BatchNormalization", layer, *names, epsilon=eps, momentum=momentum)

    def _flatten(self, layer: Layer) -> None:
        self._result("Flatten", layer, axis=1)

    def _add(self, layer: Layer) -> None:
        inputs = tuple(map(self._read, layer.inputs))
        self._emit("Add" if len(inputs) == 2 else "Sum", layer, inputs)

    def _concat(self, layer: Layer) -> None:
        self._emit("Concat", layer, tuple(map(self._read, layer.inputs)), axis=1)

    def _softmax_loss(self, layer: Layer) -> None:
        """Its operand is the result; images become rows first."""
        operand = layer.inputs[0]
        if len(self._shape(operand)) == 4:
            name = f"{layer.name}/flatten"
            node = OnnxNode("Flatten", name, (operand,), (self.scores,), (("axis", 1),))
            self.nodes.append(node)

    def _shape(self, name: str) -> tuple[int, ...]:
        return self.shapes[name]

    def _read(self, name: str) -> str:
        """The value that holds the result of a layer or an input."""
        is_scores = name == self.last and len(self._shape(name)) == 2
        return self.scores if is_scores else name

    def _flat(self, layer: Layer) -> str:
        x = self._read(layer.inputs[0])
        if len(self._shape(layer.inputs[0])) == 2:
            return x
        return self._part("Flatten", layer, "flatten", (x,), axis=1)

    def _weights(self, layer: Layer) -> tuple[str, ...]:
        roles = ("weight", "bias") if layer.options["bias"] else ("weight",)
        return tuple(f"{layer.name}.{role}" for role in roles)

    def _window(
        self, size: tuple[int, int], op: _WINDOWED, over: tuple[int, int] = (0, 0)
    ) -> dict[str, Attribute]:
        top, bottom, left, right = op.pad
        ends = (bottom + max(over[0], 0), right + max(over[1], 0))
        return {"kernel_shape": size, "strides": op.stride, "pads": (top, left, *ends)}

    def _overhang(self, layer: Layer, op: ops.MaxPool | ops.AvgPool) -> tuple[int, int]:
        """By how much the last windows run past the padding; below 0 where they end before it."""
        result, extents = self.graph[layer.name].type.shape, self._shape(layer.inputs[0])
        over = [
            (result[2 + i] - 1) * op.stride[i] + op.size[i]
            - (extents[2 + i] + sum(op.pad[2 * i : 2 * i + 2]))
            for i in (0, 1)
        ]  # fmt: skip
        return (over[0], over[1])

    def _constant(self, layer: Layer, role: str, value: float | Sequence[int]) -> str:
        name = f"{layer.name}.{role}"
        if isinstance(value, Sequence):
            self.tensors.append(OnnxTensor(name, (len(value),), "int64", tuple(value)))
        else:
            self.tensors.append(OnnxTensor(name, (), values=(value,)))
        return name

    def _result(self, op_type: str, layer: Layer, *more: str, **attributes: Attribute) -> None:
        """The one node of a layer with one operand."""
        self._emit(op_type, layer, (self._read(layer.inputs[0]), *more), **attributes)

    def _emit(
        self, op_type: str, layer: Layer, inputs: tuple[str, ...], **attributes: Attribute
    ) -> None:
        node = self.graph.index.get(layer.name)
        # Dropout has no node in a graph for inference.
        self.shapes[layer.name] = node.type.shape if node else self._shape(layer.inputs[0])
        result = (self._read(layer.name),)
        self.nodes.append(OnnxNode(op_type, layer.name, inputs, result, tuple(attributes.items())))

    def _part(
        self,
        op_type: str,
        layer: Layer,
        part: str,
        inputs: tuple[str, ...],
        **attributes: Attribute,
    ) -> str:
        """A node in front of the layer's own; its result."""
        name = f"{layer.name}/{part}"
        self.nodes.append(OnnxNode(op_type, name, inputs, (name,), tuple(attributes.items())))
        return name


WRITERS: Mapping[str, Callable[[_Writer, Layer], None]] = {
    "conv": _Writer._conv,
    "fc": _Writer._fc,
    "maxpool": _Writer._maxpool,
    "avgpool": _Writer._avgpool,
    **dict.fromkeys(ops.ACTIVATIONS, _Writer._activation),
    "dropout": _Writer._dropout,
    "lrn": _Writer._lrn,
    "bn": _Writer._bn,
    "flatten": _Writer._flatten,
    "add": _Writer._add,
    "concat": _Writer._concat,
    LOSS: _Writer._softmax_loss,
}
"""By kind of layer what writes it."""


def _ceil_mode(op: ops.MaxPool | ops.AvgPool, over: tuple[int, int]) -> int:
    """1 where rounding up is what was asked for and means the same by every definition.

    Not all leave out a window that would begin in the padding at the end.
    """
    return int(op.ceil and min(over) >= 0)
