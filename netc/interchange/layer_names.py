"""Names of layers from the names of weights and nodes in other tools' files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from netc.ir.onnx import OnnxNode
from netc.passes.build_graph import RESERVED
from netc.syntax.grammar import reserved_words
from netc.syntax.lexer import NAME_LIMIT

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*")
_WEIGHT = re.compile(r"(.+)[._](weight|kernel|gamma|scale|w)(_0)?")
_UNNAMED = re.compile(r"node_.*|n\d+")
"""What exporters make up: node_relu_1, n3; and Relu_12, by its operator."""


class LayerNames:
    """Gives out names: every one new, none in the way of another."""

    def __init__(self, nodes: Iterable[OnnxNode], tensors: Iterable[str]) -> None:
        """`tensors` are the names of stored ones; those that nodes read may name layers."""
        stored = set(tensors)
        self._wished = {node.outputs[0]: tuple(_wishes(node, stored)) for node in nodes}
        wished = (name for names in self._wished.values() for name in names)
        self._parents = {parent for name in wished for parent in _around(name)}
        self._taken: set[str] = set()
        self._around: set[str] = set()
        self._counts: Counter[str] = Counter()

    def has_own(self, node: OnnxNode) -> bool:
        """Whether the file names the layer that this node is."""
        return any(map(self._usable, self._wished[node.outputs[0]]))

    def layer(self, kind: str, node: OnnxNode) -> str:
        """The file's name for a layer, or its kind and a number, within its module."""
        for name in self._wished[node.outputs[0]]:
            if self._usable(name):
                return self._take(name)
        module = node.module or _module(node.name)
        while module in self._taken:
            module = module.rpartition(".")[0]
        return self.numbered(f"{module}.{kind}" if is_name(module) else kind)

    def input(self, name: str) -> str:
        """An input's own name, or `image`."""
        own = next((each for each in (name, "image") if self._usable(each)), None)
        return self._take(own) if own else self.numbered("image")

    def numbered(self, stem: str) -> str:
        """`stem` and the next number that gives a new name."""
        while True:
            self._counts[stem] += 1
            name = f"{stem}{self._counts[stem]}"
            if self._usable(name):
                return self._take(name)

    def _take(self, name: str) -> str:
        self._taken.add(name)
        self._around.update(_around(name))
        return name

    def _usable(self, name: str) -> bool:
        """Whether the language can say it, and neither a layer nor a block is called so."""
        return (
            is_name(name)
            and name not in RESERVED
            and not any(name in names for names in (self._taken, self._parents, self._around))
            and not self._taken.intersection(_around(name))
        )


def is_name(name: str) -> bool:
    """Whether the language can say it."""
    parts = name.split(".")
    fits = max(map(len, parts)) <= NAME_LIMIT
    return bool(_NAME.fullmatch(name)) and name not in reserved_words() and fits


def network_name(text: str) -> str:
    """`text` as the name of a network."""
    name = re.sub(r"[^A-Za-z0-9_]+", "_", text).strip("_")[:NAME_LIMIT] or "imported"
    return name if is_name(name) else f"net_{name}"[:NAME_LIMIT]


def _around(name: str) -> list[str]:
    """The blocks that a dotted name is in."""
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


def _wishes(node: OnnxNode, stored: set[str]) -> Iterable[str]:
    for name in node.inputs[1:2]:
        match = _WEIGHT.fullmatch(name)
        if match and name in stored:
            yield match[1]
    if node.name.startswith("/"):
        yield _module(node.name)
    elif node.module:
        yield node.module
    elif not (_UNNAMED.fullmatch(node.name) or node.name.split("_")[0] == node.op_type):
        yield node.name


def _module(path: str) -> str:
    """PyTorch's `/layer1/layer1.0/conv1/Conv` is in module layer1.0.conv1; else nothing."""
    if not path.startswith("/"):
        return ""
    parts: list[str] = []
    for part in path.split("/")[1:-1]:
        if parts and part.startswith(f"{parts[-1]}."):
            parts[-1] = part
        else:
            parts.append(part)
    return ".".join(parts)
