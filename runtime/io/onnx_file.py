"""ONNX files: bytes to a model in plain values with its tensors, and back.

Format: https://onnx.ai/onnx/repo-docs/IR.html. The `onnx` package knows the encoding and reads
tensors beside the file; it is imported here alone.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.errors import DataError, clip
from netc.ir.onnx import (
    SMALL_ELEMENTS,
    Attribute,
    OnnxFactor,
    OnnxModel,
    OnnxNode,
    OnnxTensor,
    OnnxTerm,
    OnnxValue,
    OnnxWeight,
)

from .onnx_constants import Constants
from .problems import data_error, reason, unreadable, unwritable
from .weights import not_finite

Tensors = dict[str, NDArray[Any]]

_SCOPES = "pkg.torch.onnx.name_scopes"
_SCOPES_LENGTH = 2000

LIMIT_BYTES = 2**31 - 2**22
"""What one protobuf message may hold, less some room for the graph."""


def read(path: Path) -> tuple[OnnxModel, Tensors]:
    """The model in `path`, and all stored tensors by name, constants among them.

    Raises DataError: E061 where the system refuses, E090 where the package is missing, E091 where
    the file, or one that holds its tensors, is malformed, cut short or missing.
    """
    onnx = _library()
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as problem:
        raise unreadable(path, problem) from problem
    try:
        model = onnx.load_model_from_string(data)
    except Exception as problem:
        # The decoder's own error, or what its C++ and Python sides raise on hostile bytes.
        raise _malformed(path, "it is cut short, or of another format") from problem
    if not model.HasField("graph") or not model.ir_version:
        raise _malformed(path, "it holds no graph")
    return _Reader(onnx, path, model).read()


def read_model(model: Any, what: str) -> tuple[OnnxModel, Tensors]:
    """The same of a message of the `onnx` package, which messages call `what`."""
    return _Reader(_library(), Path(what), model).read()


def write(path: Path, model: OnnxModel, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Writes `model` whole or not at all; `tensors` has those that carry no values themselves.

    Raises DataError: E069 where the system refuses, E090 where the package is missing, E096 where
    one file cannot hold the tensors.
    """
    onnx = _library()
    arrays = {t.name: _stored(t, tensors) for t in model.tensors}
    total = sum(array.nbytes for array in arrays.values())
    if total > LIMIT_BYTES:
        message = f"the weights have {total / 2**30:.1f} GiB; an ONNX file holds less than 2 GiB."
        raise data_error("E096", message, "'--format safetensors' has no limit.")
    data = _proto(onnx, model, arrays).SerializeToString(deterministic=True)
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError as problem:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise unwritable(path, problem) from problem


def gather(weights: Iterable[OnnxWeight], tensors: Mapping[str, NDArray[Any]]) -> Tensors:
    """The weights of a network, in float32, made of a model's tensors. Raises DataError (E086)
    where they have numbers that are not finite.
    """
    found = {weight.name: _weight(weight, tensors) for weight in weights}
    if problems := [*not_finite("the model", found)]:
        raise DataError(*problems)
    return found


def _weight(weight: OnnxWeight, tensors: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    # Weights of a damaged file may be no numbers; adding them is no mistake of the addition.
    with np.errstate(all="ignore"):
        first, *others = (_product(term, tensors) for term in weight.terms)
        total = sum(others, start=first)
    return np.array(np.broadcast_to(total, weight.shape), np.float32)


def _product(term: OnnxTerm, tensors: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """A single factor is passed on as it is, to the bit."""
    product: NDArray[Any] | None = None if term.number == 1.0 else np.asarray(term.number, "f4")
    for factor in term.factors:
        array = _factor(factor, tensors[factor.tensor])
        if product is not None:
            product = product / array if factor.inverse else product * array
        else:
            product = np.float32(1) / array if factor.inverse else array
    return np.ones((), np.float32) if product is None else np.asarray(product, np.float32)


def _factor(factor: OnnxFactor, stored: NDArray[Any]) -> NDArray[Any]:
    array = stored.astype(np.float32).reshape(factor.split or stored.shape)
    return array.transpose(factor.order or range(array.ndim)).reshape(factor.shape)


def _library() -> Any:
    try:
        import onnx
    except ImportError:
        message = "the package 'onnx', which reads and writes ONNX files, is not installed."
        raise data_error("E090", message, "pip install 'netc[onnx]'") from None
    return onnx


def _malformed(path: Path, why: str) -> DataError:
    help = "make it again where it came from, with the files of its tensors beside it"
    return data_error("E091", f"'{path}' is not a whole ONNX file: {why}.", help)


class _Reader:
    """Turns one protobuf message into values."""

    def __init__(self, onnx: Any, path: Path, model: Any) -> None:
        self.onnx, self.path, self.model = onnx, path, model
        self.tensors: Tensors = {}
        self.opset = 1
        self.computed: set[str] = set()

    def read(self) -> tuple[OnnxModel, Tensors]:
        graph = self.model.graph
        for tensor in graph.sparse_initializer:
            message = f"the tensor '{clip(_text(tensor.values.name))}' is sparse; store it whole."
            raise data_error("E095", message)
        for tensor in graph.initializer:
            name = _text(tensor.name)
            self._keep(name, self._array(tensor, name))
        self.opset = self._opset()
        constants = Constants(self.onnx, self.opset)
        nodes = tuple(self._node(n) for n in graph.node if not self._is_constant(n, constants))
        fed = (v for v in map(self._value, graph.input) if v.name not in self.tensors)
        model = OnnxModel(
            _text(graph.name),
            tuple(fed),
            tuple(map(self._value, graph.output)),
            nodes,
            tuple(
                _described(name, array, name in self.computed)
                for name, array in self.tensors.items()
            ),
            self.opset,
            _text(self.model.producer_name),
            _text(self.model.producer_version),
        )
        return model, self.tensors

    def _is_constant(self, node: Any, constants: Constants) -> bool:
        """Whether a node only holds a tensor, or computes one of others: it is kept under its
        result's name.
        """
        is_own = node.op_type == "Constant" and node.domain in ("", "ai.onnx")
        if is_own and len(node.output) == len(node.attribute) == 1 and not len(node.input):
            value = self._constant(node.attribute[0])
        else:
            value = constants.result(node, self.tensors)
            self.computed.update(map(_text, node.output) if value is not None else ())
        if value is not None:
            self._keep(_text(node.output[0]), value)
        return value is not None

    def _constant(self, attribute: Any) -> NDArray[Any] | None:
        kind = self.onnx.AttributeProto
        match attribute.name, attribute.type:
            case "value", kind.TENSOR:
                return self._array(attribute.t, "of a Constant")
            case ("value_float", kind.FLOAT) | ("value_floats", kind.FLOATS):
                return np.asarray(_attribute(self.onnx, attribute), np.float32)
            case ("value_int", kind.INT) | ("value_ints", kind.INTS):
                return np.asarray(_attribute(self.onnx, attribute), np.int64)
        return None

    def _keep(self, name: str, array: NDArray[Any]) -> None:
        if name in self.tensors:
            raise _malformed(self.path, f"two tensors are called '{clip(name)}'")
        self.tensors[name] = array

    def _array(self, tensor: Any, name: str) -> NDArray[Any]:
        """The elements, wherever they are; as many of them as the shape says."""
        shape = tuple(tensor.dims)
        try:
            array: NDArray[Any] = self.onnx.numpy_helper.to_array(tensor, str(self.path.parent))
        except Exception as problem:
            # Missing files, paths that leave the folder, sizes that disagree: each its own error.
            why = clip(" ".join(reason(problem).split()).rstrip("."), 200)
            raise _malformed(self.path, f"tensor '{clip(name)}': {why}") from problem
        if array.shape != shape:
            raise _malformed(self.path, f"tensor '{clip(name)}' is not of its shape {shape}")
        return array

    def _opset(self) -> int:
        """The version of ONNX's own operators, which the file must not have of its own."""
        own = ("", "ai.onnx")
        opsets = {o.version for o in self.model.opset_import if o.domain in own}
        if len(opsets) > 1:
            raise _malformed(self.path, "it names two versions of ONNX's operators")
        for function in self.model.functions:
            if function.domain in own:
                name = clip(_text(function.name))
                message = f"'{self.path}' gives the operator {name} another meaning than ONNX."
                raise data_error("E092", message)
        return max(opsets, default=1)

    def _value(self, info: Any) -> OnnxValue:
        kind, dims = info.type.tensor_type.elem_type, info.type.tensor_type.shape.dim
        sizes = (
            d.dim_value if d.HasField("dim_value") else _text(d.dim_param) or "?" for d in dims
        )
        return OnnxValue(_text(info.name), tuple(sizes), self._type_name(kind))

    def _type_name(self, kind: int) -> str:
        try:
            return str(self.onnx.helper.tensor_dtype_to_np_dtype(kind))
        except (KeyError, TypeError, ValueError):
            return f"elements of type {kind}"

    def _node(self, node: Any) -> OnnxNode:
        return OnnxNode(
            _text(node.op_type),
            _text(node.name),
            tuple(map(_text, node.input)),
            tuple(map(_text, node.output)),
            tuple((_text(a.name), _attribute(self.onnx, a)) for a in node.attribute),
            _text(node.domain),
            _module(node),
        )


def _module(node: Any) -> str:
    """Where PyTorch's exporter says that a node comes from: ['', 'layer1', 'layer1.0', 'add']."""
    for prop in getattr(node, "metadata_props", ()):
        if _text(prop.key) == _SCOPES:
            names = re.findall(r"'([\w.]*)'", _text(prop.value)[:_SCOPES_LENGTH])
            return names[-2] if len(names) > 1 else ""
    return ""


def _text(value: str | bytes) -> str:
    """The decoder leaves as bytes what is no UTF-8."""
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def _described(name: str, array: NDArray[Any], computed: bool) -> OnnxTensor:
    filler = None
    if computed and array.size and array.dtype.kind == "f":
        first = array.reshape(-1)[0]
        filler = float(first) if bool((array == first).all()) else None
    return OnnxTensor(name, array.shape, str(array.dtype), _values(array), filler)


def _values(array: NDArray[Any]) -> tuple[int | float, ...] | None:
    if array.size > SMALL_ELEMENTS or array.dtype.kind not in "iufb":
        return None
    if array.dtype.kind == "f":
        return tuple(_shortest(each) for each in array.reshape(-1))
    return tuple(int(each) for each in array.reshape(-1))


def _shortest(number: Any) -> float:
    """0.1 rather than 0.10000000149011612, which is what 32 bits make of it."""
    return float(str(np.float32(number)))


def _attribute(onnx: Any, attribute: Any) -> Attribute:
    kind = onnx.AttributeProto
    if attribute.ref_attr_name:
        return None
    match attribute.type:
        case kind.INT:
            return int(attribute.i)
        case kind.FLOAT:
            return _shortest(attribute.f)
        case kind.STRING:
            return _text(attribute.s)
        case kind.INTS:
            return tuple(int(each) for each in attribute.ints)
        case kind.FLOATS:
            return tuple(_shortest(each) for each in attribute.floats)
        case kind.STRINGS:
            return tuple(map(_text, attribute.strings))
    return None


def _stored(tensor: OnnxTensor, tensors: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    if tensor.values is not None:
        return np.asarray(tensor.values, tensor.dtype).reshape(tensor.shape)
    array = np.asarray(tensors[tensor.name], tensor.dtype)
    assert array.shape == tensor.shape, f"{tensor.name}: {array.shape}, not {tensor.shape}"
    return array


def _proto(onnx: Any, model: OnnxModel, arrays: Tensors) -> Any:
    helper, real = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        list(_nodes(onnx, model)),
        model.name,
        [helper.make_tensor_value_info(v.name, real, v.shape) for v in model.inputs],
        [helper.make_tensor_value_info(v.name, real, v.shape) for v in model.outputs],
        [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    opset = helper.make_opsetid("", model.opset)
    return helper.make_model(
        graph,
        opset_imports=[opset],
        # The container's version: the first that the opset belongs to, which most readers know.
        ir_version=helper.find_min_ir_version_for([opset]),
        producer_name=model.producer,
        producer_version=model.version,
    )


def _nodes(onnx: Any, model: OnnxModel) -> Iterator[Any]:
    for node in model.nodes:
        made = onnx.helper.make_node(node.op_type, node.inputs, node.outputs, name=node.name)
        made.attribute.extend(onnx.helper.make_attribute(k, v) for k, v in node.attributes)
        yield made
