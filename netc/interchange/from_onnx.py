"""An ONNX model as a network, and where the weights of that are in the file."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace

from netc.errors import DataError, Diagnostic, clip
from netc.interchange.layer_names import LayerNames, network_name
from netc.interchange.onnx_layers import HANDLERS, KNOWN, Layers
from netc.interchange.onnx_lrn import join_lrn
from netc.interchange.onnx_trace import ONNX_DOMAINS, Trace, label, trace
from netc.interchange.onnx_values import Result, Unknown, Unsupported
from netc.ir.onnx import OnnxModel, OnnxNode, OnnxValue, OnnxWeight
from netc.syntax.layers import LOSS
from netc.syntax.network import InputSpec, Layer, Network, Options

_SHOWN_NODES = 20
_Problems = dict[tuple[str, str, str], list[str]]


@dataclass(frozen=True, slots=True)
class Imported:
    """A network, and what its weights are made of."""

    network: Network
    """Without a recipe; it ends in the loss, whose softmax the model may have had."""
    weights: tuple[OnnxWeight, ...]
    """One for every weight and running statistic, in the layers' order."""


def from_onnx(model: OnnxModel, name: str) -> Imported:
    """The network that computes what `model` does, called `name` as far as the language can say it.

    Raises DataError with everything that stands against it: E091 where the graph is broken, E092
    for operators and E093 for attributes that a network has nothing for, E094 for inputs and
    outputs, E095 for weights that are computed or do not fit.
    """
    model = join_lrn(model)
    seen = trace(model)
    names = LayerNames(seen.nodes, (tensor.name for tensor in model.tensors))
    batch = model.inputs[0].shape[:1] if model.inputs else ()
    layers = Layers(seen, names, *batch or ("N",))
    problems: _Problems = defaultdict(list)
    inputs = _inputs(model, seen, layers, names, problems)
    for node in seen.nodes:
        try:
            _convert(layers, node)
        except Unsupported as problem:
            message = problem.message if problem.code == "E092" else f"{node.op_type}: {problem}"
            problems[problem.code, message, problem.help].append(label(node))
        except Unknown:
            pass
    _check_result(seen, layers, problems)
    if problems:
        raise DataError(*_diagnostics(problems))
    loss = names.numbered(LOSS)
    ends = Layer(loss, LOSS, Options(), (layers.results[seen.result].layer,))
    network = Network(network_name(name), inputs, (*layers.layers.values(), ends))
    return Imported(network, tuple(layers.weights.values()))


def _convert(layers: Layers, node: OnnxNode) -> None:
    """Add what a node stands for."""
    handler = HANDLERS.get(node.op_type) if node.domain in ONNX_DOMAINS else None
    if handler is None:
        domain = "" if node.domain in ONNX_DOMAINS else f"{clip(node.domain)}."
        message = f"there is no layer for the operator {domain}{clip(node.op_type)}"
        raise Unsupported(message, "E092")
    if any(name in layers.trace.readers for name in node.outputs[1:]):
        raise Unsupported("more than its first result is read")
    if not node.inputs or not node.outputs[0]:
        raise Unsupported("it reads or writes nothing")
    handler(layers, node)


def _inputs(
    model: OnnxModel, seen: Trace, layers: Layers, names: LayerNames, problems: _Problems
) -> tuple[InputSpec, ...]:
    """The inputs that the result depends on."""
    specs = []
    for value in model.inputs:
        if not seen.readers[value.name]:
            continue
        if len(value.shape) != 4 or not all(isinstance(n, int) and n > 0 for n in value.shape[1:]):
            problems["E094", *_input_problem(value)].append("")
            continue
        channels, height, width = (int(n) for n in value.shape[1:])
        spec = InputSpec(names.input(value.name), (channels, height, width))
        layers.results[value.name] = Result(spec.name, spec.shape)
        specs.append(spec)
    return tuple(specs)


def _input_problem(value: OnnxValue) -> tuple[str, str]:
    shown = clip("x".join(map(str, value.shape)) or "of no known shape")
    message = f"the input '{clip(value.name)}' is {shown}, not a batch of images of one size"
    return message, "export the model with fixed channels, height and width."


def _check_result(seen: Trace, layers: Layers, problems: _Problems) -> None:
    """One number for each class, over which the softmax runs if there is one."""
    result = layers.results.get(seen.result)
    shape = result.shape if result else ()
    if result and (any(result.pad) or (len(shape) == 3 and shape[1:] != (1, 1))):
        message = f"the output is an image, {'x'.join(map(str, shape))}, not one score for a class"
        problems["E094", message, ""].append("")
    dims = {len(shape)} if shape else {1, 3}
    if seen.softmax is not None:
        axis = seen.softmax.get("axis")
        if axis not in (None, 1, *(-each for each in dims)):
            message = f"{seen.softmax.op_type}: 'axis' is {axis}; it must run over the classes"
            problems["E093", message, ""].append(label(seen.softmax))


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
