"""The layers that a model's nodes become, and where their weights are."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from netc.interchange.layer_names import LayerNames
from netc.interchange.onnx_given import Given
from netc.interchange.onnx_lrn import LrnPattern
from netc.interchange.onnx_shapes import Shapes
from netc.interchange.onnx_trace import Trace, label
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
    shown,
)
from netc.ir.onnx import OnnxFactor, OnnxNode, OnnxTensor, OnnxTerm, OnnxWeight
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
        self.affine: dict[str, list[str]] = defaultdict(list)
        """By name of a `bn` that stands for arithmetic with constants: the nodes of that."""

    def given(self, node: OnnxNode) -> Given:
        """A node to be asked."""
        return Given(node, self.shapes.opset, self.shapes.numbers)

    def dims(self, x: Result) -> Dims:
        """The dimensions of a value, the batch first."""
        return (self.batch, *(x.own if x.view is None else x.view))

    def value(self, node: Given, place: int = 0) -> Result:
        """An operand, in whatever form and order the model has it."""
        name = node.operand(place)
        if name in self.results:
            return self.results[name]
        if name in self.failed:
            raise Unknown
        raise Unsupported("an operand is a constant where a layer's result is wanted")

    def padded(self, node: Given, place: int = 0) -> Result:
        """An operand in the network's order, maybe with zeros around it."""
        return _plain(self.value(node, place))

    def turned(self, node: Given, place: int = 0) -> Result:
        """An operand without zeros around it, in whatever order."""
        result = self.value(node, place)
        if result.pad != NO_PAD:
            raise Unsupported("zeros padded in front of it; only Conv and AveragePool take them")
        return result

    def read(self, node: Given, place: int = 0) -> Result:
        """An operand."""
        return _plain(self.turned(node, place))

    def alike(self, node: Given) -> tuple[Result, ...]:
        """All operands, which are of one order."""
        first, *others = (self.turned(node, place) for place, _ in enumerate(node.operands()))
        if any((x.turned, x.view) != (first.turned, first.view) for x in others):
            raise Unsupported("it joins values that a Transpose or Reshape has brought apart")
        return (first, *others)

    def constant(self, node: Given, place: int, what: str) -> OnnxTensor:
        """A stored operand."""
        found = self.trace.constants.get(node.operand(place))
        if found is None:
            raise Unsupported(f"its {what} is computed, not stored", "E095")
        if not found.dtype.startswith(("float", "bfloat")):
            raise Unsupported(f"its {what} holds {found.dtype}", "E095")
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

    def add_each(self, kind: str, node: Given, **given: Value) -> None:
        """The same of one that does with each number what it does with any other."""
        options(kind, given)
        x = self.turned(node)
        name = self.add(kind, node, (x,), x.shape, **given)
        self.pass_on(node, replace(x, layer=name))

    def weight(self, layer: str, role: str, source: OnnxTensor, shape: Shape) -> None:
        """Say where a weight comes from."""
        if source.shape != shape:
            message = f"'{role}' is {by(source.shape)} where {by(shape)} is wanted"
            raise Unsupported(message, "E095")
        self.fill(layer, role, shape, OnnxTerm((OnnxFactor(source.name, shape),)))

    def fill(self, layer: str, role: str, shape: Shape, *terms: OnnxTerm) -> None:
        """The same of a sum, which is broadcast to the shape."""
        name = f"{layer}.{role}"
        self.weights[name] = OnnxWeight(name, shape, terms)

    def pass_on(self, node: Given, result: Result) -> None:
        """The node makes no layer."""
        self.results[node.node.outputs[0]] = result

    def reshape(self, node: Given, x: Result, shape: Shape) -> None:
        """One image's part in other dimensions; what stays in it stays in order."""
        if x.pad != NO_PAD:
            raise Unsupported("zeros padded in front of it; only Conv and AveragePool take them")
        if len(shape) == 1:
            return self.flatten(node, x)
        self.pass_on(node, replace(x, view=None if shape == x.own else shape))

    def flatten(self, node: Given, x: Result) -> None:
        """Rows of an image; no layer where the file names none and only `fc` reads it."""
        if x.pad != NO_PAD:
            raise Unsupported("zeros padded in front of it; only Conv and AveragePool take them")
        channels, *image = x.turned or (1,)
        turned = x.turned if channels > 1 and math.prod(image) > 1 else ()
        rows = replace(x, shape=(math.prod(x.shape),), turned=turned, view=None)
        if len(x.shape) == 1 or (not self.names.has_own(node.node) and self._only_fc(node)):
            return self.pass_on(node, rows)
        name = self.add("flatten", node, (x,), rows.shape)
        self.pass_on(node, replace(rows, layer=name))

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

    def note_affine(self, layer: str, node: Given) -> None:
        """A `bn` does what a node says with constants."""
        self.affine[layer].append(label(node.node))


def _plain(result: Result) -> Result:
    """An operand that the model has as the network does."""
    if result.view is not None:
        message = f"it reads what is reshaped to Nx{shown(result.view)}"
        raise Unsupported(message, help="only Flatten, fc and what does one number's part read it.")
    if result.turned:
        what = "images" if len(result.shape) == 3 else "rows of images"
        help = "a Transpose to (N, channels, height, width) must come before it."
        raise Unsupported(f"it reads {what} with channels last", help=help)
    return result
