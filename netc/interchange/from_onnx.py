"""An ONNX model as a network, and where the weights of that are in the file."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace

from netc.errors import DataError, Diagnostic, clip
from netc.interchange.layer_names import LayerNames, network_name
from netc.interchange.onnx_given import Given
from netc.interchange.onnx_layers import KNOWN, convert, is_known
from netc.interchange.onnx_lrn import join_lrn
from netc.interchange.onnx_network import Layers
from netc.interchange.onnx_trace import ONNX_DOMAINS, Trace, label, trace
from netc.interchange.onnx_values import Dims, Result, Unknown, Unsupported
from netc.ir.onnx import OnnxModel, OnnxNode, OnnxValue, OnnxWeight
from netc.syntax.layers import LOSS
from netc.syntax.network import InputSpec, Layer, NamedValues, Network

OPSETS = range(7, 29)
"""Versions of the operators that are read; in older ones Add and Dropout mean something else."""
_AXIS_OF_ROWS = 13
"""Until this version a softmax without an axis runs over all but the batch, then over the last."""
_FLOATS = ("float32", "float16", "float64", "bfloat16")
"""What inputs may hold; a network computes in 32 bits."""
_SHOWN_NODES = 20
_Problems = dict[tuple[str, str, str], list[str]]
_SIGMOID = "sigmoid"
"""The kind of its layer."""


@dataclass(frozen=True, slots=True)
class Imported:
    """A network, and what its weights are made of."""

    network: Network
    """Without a recipe; it ends in the loss, whose softmax the model may have had."""
    weights: tuple[OnnxWeight, ...]
    """One for every weight and running statistic, in the layers' order."""
    notes: tuple[str, ...] = ()
    """Where the network learns otherwise than the model would: whole sentences."""


def from_onnx(model: OnnxModel, name: str) -> Imported:
    """The network that computes what `model` does, called `name` as far as the language can say it.

    Raises DataError with everything that stands against it: E091 where the graph is broken, E092
    for operators and E093 for attributes that a network has nothing for, E094 for inputs and
    outputs, E095 for weights that are computed or do not fit.
    """
    _check_opset(model.opset)
    model, groups = join_lrn(model)
    seen = trace(model)
    names = LayerNames(seen.nodes, (tensor.name for tensor in model.tensors))
    problems: _Problems = defaultdict(list)
    fed = [value for value in model.inputs if seen.readers[value.name]]
    layers = Layers(seen, names, _batch(fed, problems), model.opset, groups)
    inputs = tuple(_inputs(fed, layers, names, problems))
    needed = {id(node) for node in seen.nodes}
    sizes = {id(node) for node in seen.sizes}
    for node in model.nodes:
        if id(node) in sizes:
            layers.shapes.learn(node)
        elif id(node) in needed:
            _convert(layers, node, problems)
    _check_result(seen, layers, problems)
    if problems:
        raise DataError(*_diagnostics(problems))
    loss = names.numbered(LOSS)
    ends = Layer(loss, LOSS, NamedValues.of(smoothing=0.0), (layers.results[seen.result].layer,))
    network = Network(network_name(name), inputs, (*layers.layers.values(), ends))
    return Imported(network, tuple(layers.weights.values()), tuple(_notes(seen, layers)))


def _notes(seen: Trace, layers: Layers) -> Iterator[str]:
    for name, nodes in layers.affine.items():
        many = f" and {len(nodes) - 1} more" if len(nodes) > 1 else ""
        yield (
            f"{name} stands for arithmetic with constants (node {nodes[0]}{many}): "
            "it normalizes batches once it is trained."
        )
    last = layers.layers.get(layers.results[seen.result].layer)
    if last is not None and last.kind == _SIGMOID and seen.softmax is None:
        yield (
            f"the model ends in a sigmoid, '{last.name}', which tells of each class by itself; a "
            "softmax follows it in the network: what that predicts are shares of all classes."
        )


def _check_opset(opset: int) -> None:
    if opset not in OPSETS:
        known = f"{OPSETS[0]} to {OPSETS[-1]}"
        message = f"the model is of opset {opset}; those from {known} are read."
        help = f"onnx.version_converter.convert_version(model, {OPSETS[10]}) may make one of it."
        raise DataError(Diagnostic("E092", message, help=help))


def _convert(layers: Layers, node: OnnxNode, problems: _Problems) -> None:
    """Add what a node stands for, or what stands against it."""
    try:
        if node.domain not in ONNX_DOMAINS or not is_known(layers, node):
            domain = "" if node.domain in ONNX_DOMAINS else f"{clip(node.domain)}."
            message = f"there is no layer for the operator {domain}{clip(node.op_type)}"
            raise Unsupported(message, "E092")
        if any(layers.trace.readers[name] for name in node.outputs[1:]):
            raise Unsupported("more than its first result is read")
        if not node.inputs or not node.outputs[0]:
            raise Unsupported("it reads or writes nothing")
        convert(layers, layers.given(node))
    except Unsupported as problem:
        message = problem.message if problem.code == "E092" else f"{node.op_type}: {problem}"
        problems[problem.code, message, problem.help].append(label(node))
        layers.failed.update(node.outputs)
    except Unknown:
        layers.failed.update(node.outputs)


def _batch(fed: list[OnnxValue], problems: _Problems) -> int | None:
    """How many images the model takes at once; None where that is left open."""
    sizes = {size if isinstance(size, int) and size > 0 else None for value in fed
             for size in value.shape[:1]}  # fmt: skip
    if len(sizes) > 1:
        problems["E094", "inputs of another number of images each", ""].append("")
    return sizes.pop() if len(sizes) == 1 else None


def _inputs(
    fed: list[OnnxValue], layers: Layers, names: LayerNames, problems: _Problems
) -> Iterator[InputSpec]:
    """The inputs that the result depends on."""
    for value in fed:
        sizes = tuple(int(n) for n in value.shape[1:] if isinstance(n, int) and n > 0)
        turned = _comes_turned(value.name, layers.trace)
        sizes = (*sizes[2:], *sizes[:2]) if turned else sizes
        if len(value.shape) != 4 or len(sizes) != 3 or value.dtype not in _FLOATS:
            problems["E094", *_input_problem(value)].append("")
            layers.failed.add(value.name)
            continue
        spec = InputSpec(names.input(value.name), (sizes[0], sizes[1], sizes[2]))
        layers.results[value.name] = Result(
            spec.name, spec.shape, turned=spec.shape if turned else ()
        )
        yield spec


def _comes_turned(name: str, seen: Trace) -> bool:
    """Whether an input's channels are last: a Transpose puts them first, maybe behind what does
    the same with each number or channel, or pads.
    """
    names = {name}
    for node in seen.nodes:
        if not names.intersection(node.inputs) or node.domain not in ONNX_DOMAINS:
            continue
        if node.op_type == "Transpose" and node.get("perm") == (0, 3, 1, 2):
            return True
        if node.op_type in ("Add", "Cast", "Div", "Identity", "Mul", "Pad", "Sub"):
            names.update(node.outputs)
    return False


def _input_problem(value: OnnxValue) -> tuple[str, str]:
    if value.dtype not in _FLOATS:
        return f"the input '{clip(value.name)}' holds {clip(value.dtype)}, not floats", ""
    shown = clip("x".join(map(str, value.shape)) or "of no known shape")
    message = f"the input '{clip(value.name)}' is {shown}, not a batch of images of one size"
    return message, "export the model with fixed channels, height and width."


def _check_result(seen: Trace, layers: Layers, problems: _Problems) -> None:
    """One number for each class, over which the softmax runs if there is one."""
    result = layers.results.get(seen.result)
    dims = layers.dims(result) if result else ()
    if result and not _are_scores(result, dims):
        what = f"an image, {'x'.join(map(str, dims[1:]))}"
        what = "an image's pixels, channels last" if len(dims) == 2 else what
        message = f"the output is {what}, not one score for a class"
        problems["E094", message, ""].append("")
    if seen.softmax is not None:
        try:
            _check_softmax(layers.given(seen.softmax), dims)
        except Unsupported as problem:
            message = f"{seen.softmax.op_type}: {problem}"
            problems["E093", message, ""].append(label(seen.softmax))


def _are_scores(result: Result, dims: Dims) -> bool:
    """Whether all but one dimension is of size 1, and rows are in the network's order."""
    whole = math.prod(result.shape)
    is_turned = bool(result.turned) and len(result.shape) == 1
    return not is_turned and not any(result.pad) and whole in (*dims[1:], 1)


def _check_softmax(node: Given, dims: Dims) -> None:
    """It runs over the classes; without dimensions, those of the scores are not known."""
    node.operand(0)
    default = 1 if node.opset < _AXIS_OF_ROWS else -1
    axis = node.whole("axis", default)
    node.settle()
    if not dims:
        runs = axis in (1, -1, -3)
    else:
        sizes = [size for size in dims[1:] if isinstance(size, int)]
        place = axis + len(dims) if axis < 0 else axis
        over = sizes[place - 1 :] if node.opset < _AXIS_OF_ROWS else sizes[place - 1 : place]
        runs = 0 < place < len(dims) and math.prod(over) == math.prod(sizes)
    if not runs:
        raise Unsupported(f"'axis' is {axis}; it must run over the classes")


def _diagnostics(problems: _Problems) -> list[Diagnostic]:
    """One for each problem, with all nodes that have it; the operators known behind the last."""
    found = [_diagnostic(*key, nodes) for key, nodes in problems.items()]
    unknown = [place for place, each in enumerate(found) if each.code == "E092"]
    for place in unknown[-1:]:
        known = f"operators with a layer are {', '.join(KNOWN)}, and Softmax at the end."
        found[place] = replace(found[place], help=known)
    return found


def _diagnostic(code: str, message: str, help: str, nodes: list[str]) -> Diagnostic:
    """One problem, with all nodes that have it."""
    shown = ", ".join(nodes[:_SHOWN_NODES])
    more = f" and {len(nodes) - _SHOWN_NODES:,} more" if len(nodes) > _SHOWN_NODES else ""
    where = f"at node{'s' * (len(nodes) > 1)} {shown}{more}"
    return Diagnostic(code, f"{message}.", notes=(where,) if any(nodes) else (), help=help)
