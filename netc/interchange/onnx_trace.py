"""What of an ONNX model matters: from the output back, over what depends on the input's numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from netc.errors import DataError, Diagnostic, clip
from netc.ir.onnx import OnnxModel, OnnxNode, OnnxTensor

ONNX_DOMAINS = ("", "ai.onnx")
"""ONNX's own operators."""
_HIDDEN = ("If", "Loop", "Scan")
"""Operators whose bodies read values that are none of their operands."""
_AGAIN = "the file is damaged; make it again where it came from."
_SHAPES = ("Shape", "Size")
"""Operators whose result does not depend on the numbers of their operand."""


@dataclass(frozen=True, slots=True)
class Trace:
    """The part of a model that makes the output from the input."""

    nodes: tuple[OnnxNode, ...]
    """In order, each one needed."""
    sizes: tuple[OnnxNode, ...]
    """In order, those whose results do not depend on the input's numbers."""
    constants: dict[str, OnnxTensor]
    """Values that are stored, by name."""
    data: frozenset[str]
    """Values that depend on the input's numbers: neither constants nor what shapes alone decide."""
    readers: Counter[str]
    """How often each value is read, the result once more."""
    result: str
    """The class scores."""
    softmax: OnnxNode | None
    """A softmax at the end, left out of `nodes`: the loss has its own."""


def label(node: OnnxNode) -> str:
    """How messages call a node."""
    name = f"'{clip(node.name or '/'.join(node.outputs), 80)}'"
    return f"{name} of module '{clip(node.module, 80)}'" if node.module else name


def trace(model: OnnxModel) -> Trace:
    """Find what is needed; raises DataError (E091, E094) where the graph makes no sense."""
    constants, data = _classify(model)
    writers = {output: node for node in model.nodes for output in node.outputs if output}
    result = _output(model, data)
    softmax = None
    while (node := writers.get(result)) is not None:
        is_softmax = node.op_type in ("Softmax", "LogSoftmax") and softmax is None
        passes = node.domain in ONNX_DOMAINS and (is_softmax or node.op_type == "Identity")
        if not passes or len(node.inputs) != 1 or len(node.outputs) != 1:
            break
        softmax, result = (node if is_softmax else softmax), node.inputs[0]
    if result not in data:
        raise DataError(Diagnostic("E094", "the output does not depend on any input."))
    nodes = _needed(model, result, data, writers)
    readers = Counter(name for node in nodes for name in node.inputs if name)
    readers[result] += 1
    sizes = tuple(node for node in model.nodes if not data.intersection(node.outputs))
    return Trace(nodes, sizes, constants, frozenset(data), readers, result, softmax)


def _output(model: OnnxModel, data: set[str]) -> str:
    if len(model.outputs) != 1:
        names = ", ".join(f"'{clip(value.name)}'" for value in model.outputs) or "none"
        help = "keep one with onnx.utils.extract_model."
        message = f"a network has one output, the class scores; this model has {names}."
        raise DataError(Diagnostic("E094", message, help=help))
    return model.outputs[0].name


def _classify(model: OnnxModel) -> tuple[dict[str, OnnxTensor], set[str]]:
    """Constants, and values that depend on the input's numbers; E091 for all broken edges."""
    constants = {tensor.name: tensor for tensor in model.tensors}
    data = {value.name for value in model.inputs}
    written = data | set(constants)
    named = Counter((*(v.name for v in model.inputs), *(t.name for t in model.tensors)))
    problems = [
        Diagnostic("E091", f"two inputs or tensors are called '{clip(name)}'.", help=_AGAIN)
        for name, count in named.items() if count > 1
    ]  # fmt: skip
    for node in model.nodes:
        problems += _broken(node, written)
        written.update(node.outputs)
        if _depends(node, data):
            data.update(filter(None, node.outputs))
    for value in model.outputs:
        if value.name not in written:
            message = f"nothing writes the output '{clip(value.name)}'."
            problems.append(Diagnostic("E091", message))
    if problems:
        raise DataError(*problems[:20])
    return constants, data


def _depends(node: OnnxNode, data: set[str]) -> bool:
    """Whether the input's numbers may decide a node's results."""
    is_shape = node.op_type in _SHAPES and node.domain in ONNX_DOMAINS
    return node.op_type in _HIDDEN or (not is_shape and any(name in data for name in node.inputs))


def _broken(node: OnnxNode, written: set[str]) -> Iterator[Diagnostic]:
    """Cycles show here too: some node reads what is written behind it."""
    for name in node.inputs:
        if name and name not in written:
            message = f"{node.op_type} {label(node)} reads '{clip(name)}', which nothing before it"
            yield Diagnostic("E091", f"{message} writes.", help=_AGAIN)
    for name in node.outputs:
        if name and name in written:
            message = f"{node.op_type} {label(node)} writes '{clip(name)}', which exists already."
            yield Diagnostic("E091", message, help=_AGAIN)


def _needed(
    model: OnnxModel, result: str, data: set[str], writers: dict[str, OnnxNode]
) -> tuple[OnnxNode, ...]:
    """Everything behind the result, in order, but no arithmetic on shapes."""
    wanted, waiting = set[str](), [result]
    while waiting:
        node = writers.get(waiting.pop())
        if node is not None and node.outputs[0] not in wanted:
            wanted.add(node.outputs[0])
            waiting += (name for name in node.inputs if name in data)
    return tuple(node for node in model.nodes if node.outputs and node.outputs[0] in wanted)
