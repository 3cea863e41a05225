"""Response normalization that a file spells out: x / (k + alpha mean x^2)^beta over channels.

PyTorch's exporters write it so, and `to_onnx` does where ONNX's LRN means something else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from netc.interchange.onnx_given import Given
from netc.interchange.onnx_shapes import Shapes, placed, product, reshaped
from netc.interchange.onnx_trace import ONNX_DOMAINS
from netc.interchange.onnx_values import Dims, Unsupported
from netc.ir.onnx import OnnxModel, OnnxNode, OnnxTensor

_MOVING = ("Reshape", "Unsqueeze", "Squeeze", "Pad", "AveragePool")
"""What may stand between the squares and their mean over a window."""
_RANK = 4
"""Of a batch of images: numbers of more dimensions would give it more."""


@dataclass(frozen=True, slots=True)
class LrnPattern:
    """What a group of nodes would be, if its window is one over channels."""

    alpha: float
    """Not yet divided by the size of the window."""
    beta: float
    k: float
    steps: tuple[OnnxNode, ...]
    """From the squares to their mean."""


def join_lrn(model: OnnxModel) -> tuple[OnnxModel, dict[str, LrnPattern]]:
    """`model` with one node for each group, which reads the images; the groups by its result.

    The others of a group are read by nothing then.
    """
    finder, nodes, groups = _Finder(model), [], {}
    for node in model.nodes:
        found = finder.match(node) if _is(node, "Div") else None
        if found is not None:
            groups[node.outputs[0]] = found
            node = replace(node, inputs=node.inputs[:1])
        nodes.append(node)
    return replace(model, nodes=tuple(nodes)), groups


def window_size(group: LrnPattern, dims: Dims, shapes: Shapes) -> int:
    """How many channels the mean runs over; refused where it is no mean over channels around."""
    walk = _Walk(dims, dims, shapes)
    for node in group.steps:
        walk.step(node)
    size, around = walk.size, (walk.before, walk.behind)
    if walk.dims != dims or not size or around != (size // 2, (size - 1) // 2):
        raise Unsupported("by anything but response normalization over channels")
    return size


class _Finder:
    """Walks back from a division."""

    def __init__(self, model: OnnxModel) -> None:
        self.writers = {out: node for node in model.nodes for out in node.outputs if out}
        self.tensors: Mapping[str, OnnxTensor] = {t.name: t for t in model.tensors}

    def match(self, division: OnnxNode) -> LrnPattern | None:
        """The group which ends here, if one does."""
        if len(division.inputs) != 2 or len(division.outputs) != 1 or division.attributes:
            return None
        x, value = division.inputs
        beta, value = self._with_number(value, "Pow")
        k, value = self._with_number(value, "Add")
        alpha, value = self._with_number(value, "Mul")
        steps = tuple(self._steps(value))[::-1]
        if alpha is None or beta is None or k is None or not steps:
            return None
        return LrnPattern(alpha, beta, k, steps) if self._is_square(steps[0].inputs[0], x) else None

    def _with_number(self, name: str, op_type: str) -> tuple[float | None, str]:
        """The number that an operator has for one operand, and the other operand."""
        node = self.writers.get(name)
        if node is None or not _is(node, op_type) or node.attributes or len(node.inputs) != 2:
            return None, ""
        for place in (1, 0) if op_type != "Pow" else (1,):
            number = self._number(node.inputs[place])
            if number is not None:
                return number, node.inputs[1 - place]
        return None, ""

    def _steps(self, name: str) -> Iterator[OnnxNode]:
        """From the mean back to the squares."""
        node = self.writers.get(name)
        while node is not None and _is(node, *_MOVING) and node.inputs and node.outputs[0] == name:
            yield node
            name = node.inputs[0]
            node = self.writers.get(name)

    def _is_square(self, name: str, x: str) -> bool:
        node = self.writers.get(name)
        if node is None or len(node.inputs) != 2 or node.inputs[0] != x or node.attributes:
            return False
        if _is(node, "Pow"):
            return self._number(node.inputs[1]) == 2
        return _is(node, "Mul") and node.inputs[1] == x

    def _number(self, name: str) -> float | None:
        tensor = self.tensors.get(name)
        if tensor is None or tensor.values is None or len(tensor.shape) > _RANK:
            return None
        return float(tensor.values[0]) if len(tensor.values) == 1 else None


@dataclass(slots=True)
class _Walk:
    """Follows the squares to their mean."""

    images: Dims
    """The dimensions of what is divided."""
    dims: Dims
    """The value's so far, without what was padded."""
    shapes: Shapes
    before: int = 0
    """Zeros in front of the channels, and behind them."""
    behind: int = 0
    size: int = 0
    """Of the window, once there was one."""

    def step(self, node: OnnxNode) -> None:
        """Follow one node."""
        given = Given(node, self.shapes.opset, self.shapes.numbers)
        given.operand(0)
        match node.op_type:
            case "Reshape":
                self.reshape(given)
            case "Unsqueeze" | "Squeeze":
                self.turn(given)
            case "Pad":
                self.pad(given)
            case _:
                self.mean(given)
        given.settle()

    def reshape(self, given: Given) -> None:
        """Padding before the window is over must not be moved about."""
        wanted, copies = given.numbers(1, "shape"), not given.flag("allowzero", 0)
        dims = reshaped(self.dims, wanted or (), copies)
        if dims is None or (not self.size and (self.before or self.behind)):
            raise Unsupported("by what is reshaped in another way")
        self.dims = dims

    def turn(self, given: Given) -> None:
        """One dimension of size 1 more or less."""
        adds = given.node.op_type == "Unsqueeze"
        axes = placed(given.listed("axes", 1), len(self.dims) + adds)
        if len(axes) != 1 or (not adds and self.dims[axes[0]] != 1):
            raise Unsupported("by what is squeezed in another way")
        rest = self.dims[axes[0] + (not adds) :]
        self.dims = (*self.dims[: axes[0]], *(1,) * adds, *rest)

    def pad(self, given: Given) -> None:
        """Zeros before and behind the channels."""
        pads = given.listed("pads", 1) or ()
        value = given.number(2, "value", given.real("value", 0.0))
        self._widen(pads)
        if given.word("mode", "constant") != "constant" or value or self.size:
            raise Unsupported("by what is padded in another way")

    def mean(self, given: Given) -> None:
        """The window moves over channels, which are the third dimension."""
        rank = len(self.dims) - 2
        given.ignore("ceil_mode")
        kernel = given.ints("kernel_shape", rank, None)
        given.require("auto_pad", "NOTSET")
        for name in ("strides", "dilations"):
            given.require(name, (1,) * rank)
        pads = given.ints("pads", 2 * rank, (0,) * 2 * rank)
        counts = given.flag("count_include_pad", 0) or not any(pads)
        self._widen((0, 0, *pads[:rank], 0, 0, *pads[rank:]))
        if self.size or kernel[1:] != (1,) * (rank - 1) or not counts:
            raise Unsupported("by another mean")
        self.size = kernel[0]

    def _widen(self, pads: tuple[int, ...]) -> None:
        """More zeros before and behind the channels, and nowhere else."""
        rank = len(self.dims)
        batch, channels, *image = self.images
        others = [n for place, n in enumerate(pads) if place % rank != 2]
        is_laid_out = self.dims[:3] == (batch, 1, channels)
        if len(pads) != 2 * rank or any(others) or min(pads) < 0 or not is_laid_out:
            raise Unsupported("by what is padded in another way")
        if product(self.dims[3:]) != product(tuple(image)):
            raise Unsupported("by what is reshaped in another way")
        self.before, self.behind = self.before + pads[2], self.behind + pads[rank + 2]


def _is(node: OnnxNode, *op_types: str) -> bool:
    return node.op_type in op_types and node.domain in ONNX_DOMAINS and bool(node.outputs)
