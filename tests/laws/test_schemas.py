"""Schemas of what is written: they say all of it, and nothing else may be written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from schemas import PLAN, SCHEMAS, TRACE, schema

from netc.export.describe import ROLES
from netc.export.words import MEANINGS
from netc.ir.comm import Comm
from netc.ir.facts import DTYPES, UPDATES

UNIT = re.compile(r"\b([Nn]umber of|[Bb]ytes|[Ss]econds|[Mm]icroseconds)\b")


def parts(node: Any, path: str = "$") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema inside a schema, with its place."""
    yield path, node
    named = {**node.get("properties", {}), **node.get("$defs", {})}
    for name, each in named.items():
        yield from parts(each, f"{path}.{name}")
    for word in ("items", "additionalProperties"):
        if isinstance(node.get(word), dict):
            yield from parts(node[word], f"{path}.{word}")


def numeric(node: dict[str, Any], whole: dict[str, Any]) -> bool:
    """Whether a value may be a number, or a list of them."""
    if "$ref" in node:
        node = whole["$defs"][node["$ref"].rpartition("/")[2]]
    kinds = {node.get("type")} if isinstance(node.get("type"), str) else {*node.get("type", ())}
    inner = [node["items"]] if "array" in kinds and "items" in node else node.get("anyOf", [])
    return bool(kinds & {"integer", "number"}) or any(numeric(each, whole) for each in inner)


@pytest.mark.parametrize("name", SCHEMAS)
def test_it_is_a_schema(name: str) -> None:
    Draft202012Validator.check_schema(schema(name))


def test_all_that_are_shipped_are_known() -> None:
    netc = Path(__file__).parents[2] / "netc"
    found = {path.relative_to(netc.parent) for path in netc.rglob("*.schema.json")}
    assert {"/".join((".".join(path.parts[:-1]), path.name)) for path in found} == set(SCHEMAS)


@pytest.mark.parametrize("name", SCHEMAS)
def test_objects_are_closed_and_whole(name: str) -> None:
    """With a value that it allows, every key that is written is described, and the reverse."""
    closed = [(path, part) for path, part in parts(schema(name)) if "properties" in part]
    assert closed
    for path, part in closed:
        assert part["type"] == "object", path
        assert part["additionalProperties"] is False, path
        assert part["required"] == list(part["properties"]), path


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_key_is_described_with_its_unit(name: str) -> None:
    whole = schema(name)
    for path, part in parts(whole):
        for key, each in part.get("properties", {}).items():
            said = each.get("description", "")
            assert said.endswith("."), f"{path}.{key}"
            if numeric(each, whole):
                assert UNIT.search(said), f"{path}.{key}: {said}"


def test_words_are_the_compilers() -> None:
    plan = schema(PLAN)
    exchange, layer = (plan["$defs"][each]["properties"] for each in ("exchange", "layer"))
    kinds = {each.kernel for each in Comm.__subclasses__() if not each.on_device}
    assert set(exchange["kind"]["enum"]) == kinds
    assert tuple(exchange["role"]["enum"]) == ROLES
    assert tuple(plan["properties"]["updates"]["enum"]) == UPDATES
    assert set(layer["dtype"]["enum"]) == set().union(*DTYPES.values()) | {"f64"}
    labels = re.compile(plan["$defs"]["split"]["items"]["pattern"])
    assert all(labels.search(label) for label in ["@12", *(MEANINGS.keys() - {"@"})])
    assert not any(labels.search(label) for label in ["", "@", "x", "nk", "@1 "])
    precision = schema(TRACE)["properties"]["otherData"]["properties"]["precision"]
    assert set(precision["enum"]) == set(DTYPES)
