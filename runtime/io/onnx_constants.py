"""Tensors of an ONNX file that follow from stored ones alone: computed once, when it is read.

Converters leave arithmetic on weights in their files: a Transpose of filters, a Cast from 16 bits,
a ConstantOfShape, a scale divided by a deviation. ONNX's own reference evaluator does it, in NumPy.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]

FOLDED = frozenset(
    (
        "Add", "Cast", "CastLike", "Concat", "ConstantOfShape", "Div", "Expand", "Flatten",
        "Identity", "Mul", "Neg", "Reciprocal", "Reshape", "Shape", "Slice", "Sqrt", "Squeeze",
        "Sub", "Transpose", "Unsqueeze",
    )
)  # fmt: skip
"""Operators whose result is fixed by their operands, and not much larger than those or as large as
`_elements` says."""
_BROADCAST = ("Add", "Sub", "Mul", "Div")
LIMIT = 2**29
"""Elements that all results of a file may have together; past it values stay computed."""


class Constants:
    """Computes what follows from stored tensors."""

    def __init__(self, onnx: Any, opset: int) -> None:
        self.onnx, self.opset, self.room = onnx, opset, LIMIT

    def result(self, node: Any, stored: Arrays) -> NDArray[Any] | None:
        """The one result of a node over stored tensors; None where it stays for the model."""
        is_own = node.domain in ("", "ai.onnx") and node.op_type in FOLDED
        names = list(node.input)
        while names and not names[-1]:
            names.pop()
        if node.op_type == "CastLike":
            # Of images, mostly: whatever floats they are, a network computes in 32 bits.
            names = names[:1]
        if not is_own or len(node.output) != 1 or not all(name in stored for name in names):
            return None
        if node.op_type == "CastLike":
            return stored[names[0]] if names and stored[names[0]].dtype.kind == "f" else None
        operands = {name: stored[name] for name in names}
        try:
            size = _elements(node, [operands[name] for name in names])
            if size > self.room:
                return None
            found = self._evaluated(node, operands)
        except Exception:
            # Operands that do not fit, each error of its own kind: who needs the result says so.
            return None
        self.room -= size
        return found

    def _evaluated(self, node: Any, operands: Arrays) -> NDArray[Any] | None:
        from onnx.reference import ReferenceEvaluator

        helper = self.onnx.helper
        ends = [
            [helper.make_empty_tensor_value_info(name) for name in dict.fromkeys(names)]
            for names in (operands, node.output)
        ]
        graph = helper.make_graph([node], "constant", *ends)
        evaluator = ReferenceEvaluator(graph, opsets={"": self.opset})
        with np.errstate(all="ignore"):
            (found,) = evaluator.run(None, dict(operands))
        return found if isinstance(found, np.ndarray) else np.asarray(found)


def _elements(node: Any, operands: list[NDArray[Any]]) -> int:
    """At least as many as the result has, before it is made."""
    if node.op_type == "ConstantOfShape":
        return prod(int(size) for size in operands[0].reshape(-1))
    if node.op_type == "Expand":
        return prod(np.broadcast_shapes(operands[0].shape, tuple(operands[1].reshape(-1))))
    if node.op_type in _BROADCAST:
        return prod(np.broadcast_shapes(*(each.shape for each in operands[:2])))
    return sum(each.size for each in operands)
