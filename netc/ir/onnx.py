"""A model as ONNX says it, in plain values: what the compiler reads and writes.

The runtime turns these values into files and back; the numbers of large tensors stay there.
Operators: https://onnx.ai/onnx/operators/.
"""

from __future__ import annotations

from dataclasses import dataclass

Attribute = int | float | str | tuple[int, ...] | tuple[float, ...] | tuple[str, ...] | None
"""A plain attribute; None stands for a tensor, a graph, or what else is no plain value."""

SMALL_ELEMENTS = 64
"""Tensors of at most so many elements are read with their values."""


@dataclass(frozen=True, slots=True)
class OnnxNode:
    """One operator."""

    op_type: str
    """Its word, such as "Conv"."""
    name: str
    """Unique where the writer of the file was careful; may be empty."""
    inputs: tuple[str, ...]
    """Values and tensors by name; empty where an optional one is left out."""
    outputs: tuple[str, ...]
    """Values it writes."""
    attributes: tuple[tuple[str, Attribute], ...] = ()
    """By name; floats are the shortest decimals of their 32 bits."""
    domain: str = ""
    """Whose operator it is; empty for ONNX's own."""
    module: str = ""
    """The module of PyTorch that it is of, such as "features.3", where the file says that."""

    def get(self, name: str, default: Attribute = None) -> Attribute:
        """The attribute `name`, or `default` where the node lacks it."""
        return next((value for key, value in self.attributes if key == name), default)


@dataclass(frozen=True, slots=True)
class OnnxForm:
    """The one operator that does what a kind of layer does."""

    op_type: str
    attributes: tuple[tuple[str, Attribute], ...] = ()
    """What it has to be told, by name."""
    since: int = 1
    """The first version of the operators that has it."""


@dataclass(frozen=True, slots=True)
class OnnxValue:
    """An input or output of the model."""

    name: str
    shape: tuple[int | str, ...]
    """A word stands for a size that may vary."""
    dtype: str = "float32"
    """As NumPy calls it, or what the file says in its place."""


@dataclass(frozen=True, slots=True)
class OnnxTensor:
    """A stored tensor."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    """As NumPy calls it."""
    values: tuple[int | float, ...] | None = None
    """All elements, row by row, where they are few and numbers."""
    filler: float | None = None
    """What all elements are, where the file does not store but compute them."""


@dataclass(frozen=True, slots=True)
class OnnxModel:
    """A graph of operators, and what is stored beside it."""

    name: str
    inputs: tuple[OnnxValue, ...]
    """What has to be fed: stored tensors are no inputs."""
    outputs: tuple[OnnxValue, ...]
    nodes: tuple[OnnxNode, ...]
    """Each stands behind those it reads. Constants are tensors, not nodes."""
    tensors: tuple[OnnxTensor, ...]
    opset: int
    """Version of the operators."""
    producer: str = ""
    """The tool that wrote it."""
    version: str = ""
    """That tool's version."""


@dataclass(frozen=True, slots=True)
class OnnxFactor:
    """A stored tensor as it stands in a product."""

    tensor: str
    """Its name."""
    shape: tuple[int, ...]
    """What it is reshaped to at last; it is broadcast to its weight as NumPy does."""
    split: tuple[int, ...] = ()
    """What it is reshaped to at first; empty: its own shape."""
    order: tuple[int, ...] = ()
    """Which of those dimensions stands where then; empty: as they are."""
    inverse: bool = False
    """Whether it divides."""


@dataclass(frozen=True, slots=True)
class OnnxTerm:
    """A product of a number and stored tensors."""

    factors: tuple[OnnxFactor, ...] = ()
    number: float = 1.0


@dataclass(frozen=True, slots=True)
class OnnxWeight:
    """Which stored tensors a weight of a network is made of."""

    name: str
    """The weight's name, such as "conv1.weight"."""
    shape: tuple[int, ...]
    """Its shape; what is smaller fills it."""
    terms: tuple[OnnxTerm, ...]
    """One or more, whose sum it is."""
