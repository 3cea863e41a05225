"""One word, one meaning: no two public classes of the project share a name."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import netc
import netc_kernels
import netc_runtime

TREE = "netc/syntax/ast.py"
"""Nodes of the syntax tree have the words of its grammar, and are written `ast.Block`."""


def sources() -> Iterator[tuple[str, ast.Module]]:
    for package in (netc, netc_runtime, netc_kernels):
        folder = Path(package.__path__[0])
        for path in sorted(folder.rglob("*.py")):
            name = f"{package.__name__}/{path.relative_to(folder).as_posix()}"
            yield name, ast.parse(path.read_text(encoding="utf-8"))


def test_public_classes_have_names_of_their_own() -> None:
    places: defaultdict[str, list[str]] = defaultdict(list)
    for name, module in sources():
        for node in module.body if name != TREE else ():
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(name)
    assert len(places) > 200
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_frozen_values_are_not_changed_by_the_back_door() -> None:
    for name, module in sources():
        for node in ast.walk(module):
            assert getattr(node, "attr", "") != "__setattr__", f"{name}:{node.lineno}"  # type: ignore[attr-defined]
