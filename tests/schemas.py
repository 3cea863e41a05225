"""What is written for other programs, held to the schemas that netc ships."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

from jsonschema import Draft202012Validator

SCHEMAS = ("netc.export/plan.schema.json", "netc.trace/trace.schema.json")
"""As package/file."""
PLAN, TRACE = SCHEMAS


@cache
def schema(name: str) -> dict[str, Any]:
    """One of `SCHEMAS`, as it is installed."""
    package, _, file = name.partition("/")
    found: dict[str, Any] = json.loads(files(package).joinpath(file).read_text(encoding="utf-8"))
    return found


def against(name: str, value: Any) -> list[str]:
    """What a schema has against a value, with the place of each."""
    found = Draft202012Validator(schema(name)).iter_errors(value)
    return [f"{each.json_path}: {each.message}" for each in found]
