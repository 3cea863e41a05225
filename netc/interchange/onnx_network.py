"""The layers that a model's nodes become, and where their weights are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from netc.interchange.layer_names import LayerNames
from netc.interchange.onnx_given import Given
from netc.interchange.onnx_lrn import LrnPattern
from netc.interchange.onnx_shapes import Shapes
from netc.interchange.onnx_trace import Constant, Trace
from netc.interchange.onnx_values import (
    NO_PAD,
    Batches,
    Dims,
    Result,
    Shape,
    Unknown,
    Unsupported,
    by,
    options,
)
from netc.ir.onnx import OnnxNode, OnnxWeight
from netc.syntax.network import Layer, Value


class Layers:
    """The layers so far. Handlers check attributes first: a failed operand does not hide those."""

    def __init__(
        self, trace: Trace, names: LayerNames, batch: int | None, opset: int,
        groups: Mapping[str, LrnPattern],
    ) -> None:  # fmt: skip
        """`batch` is None where the model leaves it open."""
        self.trace, self.names, self.groups = trace, names, groups
        self.batch: int | Batches = Batches(1) if batch is None else batch
        self.shapes = Shapes(opset, trace.constants, self._dims, {})
        self.results: dict[str, Result] = {}
        self.failed: set[str] = set()
        self.layers: dict[str, Layer] = {}
        self.weights: dict[str, OnnxWeight] = {}

    def given(self, node: OnnxNode) -> Given:
        """A node to be asked."""
        return Given(node, self.shapes.opset, self.shapes.numbers)

    def dims(self, x: Result) -> Dims:
        """The dimensions of a value, the batch first."""
        if len(x.shape) < 3:
            return (self.batch, *x.shape)
        channels, height, width = x.shape
        top, left, bottom, right = x.pad
        return (self.batch, channels, height + top + bottom, width + left + right)

    def padded(self, node: Given, place: int = 0) -> Result:
        """An operand, maybe with zeros around it."""
        name = node.operand(place)
        if name in self.results:
            return self.results[name]
        if name in self.failed:
            raise Unknown
        raise Unsupported("an operand is a constant where a layer's result is wanted")

    def read(self, node: Given, place: int = 0) -> Result:
        """An operand."""
        result = self.padded(node, place)
        if result.pad != NO_PAD:
            raise Unsupported("zeros padded in front of it; only Conv and AveragePool take them")
        return result

    def read_all(self, node: Given) -> tuple[Result, ...]:
        """All operands."""
        return tuple(self.read(node, place) for place, _ in enumerate(node.operands()))

    def constant(self, node: Given, place: int, what: str) -> Constant:
        """A stored operand."""
        found = self.trace.constants.get(node.operand(place))
        if found is None:
            raise Unsupported(f"its {what} is computed, not stored", "E095")
        if not found.tensor.dtype.startswith(("float", "bfloat")):
            raise Unsupported(f"its {what} holds {found.tensor.dtype}", "E095")
        return found

    def add(
        self, kind: str, node: Given, inputs: tuple[Result, ...], shape: Shape, **given: Value
    ) -> str:
        """Append a layer; its name."""
        filled = options(kind, given)
        name = self.names.layer(kind, node.node)
        self.layers[name] = Layer(name, kind, filled, tuple(each.layer for each in inputs))
        self.pass_on(node, Result(name, shape))
        return name

    def add_alike(self, kind: str, node: Given, **given: Value) -> Result:
        """Append a layer that keeps the shape of its one operand; that operand."""
        options(kind, given)
        x = self.read(node)
        self.add(kind, node, (x,), x.shape, **given)
        return x

    def weight(self, layer: str, role: str, source: Constant, shape: Shape) -> None:
        """Say where a weight comes from."""
        if source.shape != shape:
            message = f"'{role}' is {by(source.shape)} where {by(shape)} is wanted"
            raise Unsupported(message, "E095")
        self.fill(layer, role, source, shape)

    def fill(self, layer: str, role: str, source: Constant, shape: Shape) -> None:
        """The same of a constant that has as many numbers, or one for all."""
        assert math.prod(source.shape) in (1, math.prod(shape))
        name = f"{layer}.{role}"
        self.weights[name] = OnnxWeight(name, shape, (source.tensor.name,), source.transposed)

    def pass_on(self, node: Given, result: Result) -> None:
        """The node makes no layer."""
        self.results[node.node.outputs[0]] = result

    def flatten(self, node: Given, x: Result) -> None:
        """Rows of an image; no layer where the file names none and only `fc` reads it."""
        rows = replace(x, shape=(math.prod(x.shape),))
        if len(x.shape) == 1 or (not self.names.has_own(node.node) and self._only_fc(node)):
            return self.pass_on(node, rows)
        self.add("flatten", node, (x,), rows.shape)

    def is_read_once(self, layer: str) -> bool:
        """Whether one node after the other reads what a layer makes, under whatever names."""
        names = (name for name, result in self.results.items() if result.layer == layer)
        return all(self.trace.readers[name] == 1 for name in names)

    def _only_fc(self, node: Given) -> bool:
        name = node.node.outputs[0]
        readers = [each for each in self.trace.nodes if name in each.inputs]
        return all(each.op_type in ("Gemm", "MatMul") for each in readers)

    def _dims(self, name: str) -> Dims | None:
        found = self.results.get(name)
        return self.dims(found) if found else None
