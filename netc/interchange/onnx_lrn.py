"""Response normalization that a file spells out: x / (k + alpha mean x^2)^beta over channels.

PyTorch's exporters write it so, and `to_onnx` does where ONNX's LRN means something else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from netc.interchange.onnx_trace import ONNX_DOMAINS
from netc.ir.onnx import OnnxModel, OnnxNode, OnnxTensor

JOINED_LRN = "LocalResponse"
"""What such a group of nodes becomes: size, alpha (not divided by it), beta, k as in netc."""
_MOVING = ("Reshape", "Unsqueeze", "Squeeze", "Pad", "AveragePool")
"""What may stand between the squares and their mean over a window."""

_Numbers = tuple[int | float, ...]


def join_lrn(model: OnnxModel) -> OnnxModel:
    """`model` with one node for each group; the others of a group are read by nothing then."""
    finder = _Finder(model)
    nodes = []
    for node in model.nodes:
        found = finder.match(node) if node.op_type == "Div" else None
        nodes.append(found or node)
    return replace(model, nodes=tuple(nodes))


class _Finder:
    """Walks back from a division."""

    def __init__(self, model: OnnxModel) -> None:
        self.writers = {out: node for node in model.nodes for out in node.outputs if out}
        self.tensors: Mapping[str, OnnxTensor] = {t.name: t for t in model.tensors}

    def match(self, division: OnnxNode) -> OnnxNode | None:
        """The node that stands for the group which ends here, if one does."""
        if len(division.inputs) != 2 or division.domain not in ONNX_DOMAINS:
            return None
        x, value = division.inputs
        numbers = []
        for op_type in ("Pow", "Add", "Mul"):
            number, value = self._with_number(value, op_type)
            numbers.append(number)
        size = self._window(value, x)
        beta, k, alpha = numbers
        if size is None or alpha is None or beta is None or k is None:
            return None
        given = (("size", size), ("alpha", alpha / size), ("beta", beta), ("k", k))
        return OnnxNode(JOINED_LRN, division.name, (x,), division.outputs, given)

    def _with_number(self, name: str, op_type: str) -> tuple[float | None, str]:
        """The number that an operator has for one operand, and the other operand."""
        node = self.writers.get(name)
        if node is None or node.op_type != op_type or len(node.inputs) != 2:
            return None, ""
        for place in (1, 0) if op_type != "Pow" else (1,):
            values = self._values(node.inputs[place])
            if values is not None and len(values) == 1:
                return float(values[0]), node.inputs[1 - place]
        return None, ""

    def _window(self, name: str, x: str) -> int | None:
        """How many channels the mean of the squares of `x` runs over, where it does."""
        chain = list(self._chain(name))
        pools = [node for node in chain if node.op_type == "AveragePool"]
        if not chain or not self._is_square(chain[-1].inputs[0], x) or len(pools) != 1:
            return None
        kernel = pools[0].get("kernel_shape")
        if not isinstance(kernel, tuple) or len(kernel) < 2 or any(n != 1 for n in kernel[1:]):
            return None
        size, strides = kernel[0], pools[0].get("strides", (1,))
        pads = pools[0].get("pads", (0,) * (2 * len(kernel)))
        if not isinstance(size, int) or not isinstance(pads, tuple) or size < 1:
            return None
        around = [sum(side) for side in zip(*self._paddings(chain, pads), strict=True)]
        counts = pools[0].get("count_include_pad", 0) or not any(pads)
        moves = isinstance(strides, tuple) and all(n == 1 for n in strides)
        return size if around == [size // 2, (size - 1) // 2] and counts and moves else None

    def _paddings(
        self, chain: list[OnnxNode], own: tuple[object, ...]
    ) -> Iterator[tuple[int, int]]:
        """Before and behind the channels, which are the first dimension that the pool moves over.

        Padding of any other dimension fits no window.
        """
        yield _ends(own, 0)
        for node in chain:
            if node.op_type == "Pad":
                pads = self._values(node.inputs[1]) if len(node.inputs) > 1 else node.get("pads")
                yield _ends(pads if isinstance(pads, tuple) else (), 2)

    def _chain(self, name: str) -> Iterator[OnnxNode]:
        """From the mean back to the squares."""
        node = self.writers.get(name)
        while node is not None and node.op_type in _MOVING and node.inputs:
            yield node
            node = self.writers.get(node.inputs[0])

    def _is_square(self, name: str, x: str) -> bool:
        node = self.writers.get(name)
        if node is None or len(node.inputs) != 2 or node.inputs[0] != x:
            return False
        if node.op_type == "Pow":
            return self._values(node.inputs[1]) == (2,)
        return node.op_type == "Mul" and node.inputs[1] == x

    def _values(self, name: str) -> _Numbers | None:
        tensor = self.tensors.get(name)
        return tensor.values if tensor else None


def _ends(pads: tuple[object, ...], axis: int) -> tuple[int, int]:
    """Padding at both ends of one axis; -1, which fits nothing, where another is padded too."""
    half = len(pads) // 2
    if half <= axis or not all(isinstance(n, int) for n in pads):
        return (-1, -1)
    before, behind = pads[axis], pads[half + axis]
    others = [n for place, n in enumerate(pads) if place % half != axis]
    assert isinstance(before, int) and isinstance(behind, int)
    return (-1, -1) if any(others) else (before, behind)
