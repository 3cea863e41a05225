"""Values as text and back: one canonical JSON for every dataclass of the compiler."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

from netc.ir import comm, ops, program, types
from netc.ir import kernels as choices
from netc.ir.ops.base import Op
from netc.ir.optimizers import OPTIMIZERS


@cache
def classes() -> dict[str, type]:
    """Every dataclass that may appear in a text, by name."""
    modules = (comm, choices, ops, program, types)
    found = [value for module in modules for value in vars(module).values()]
    found += (type(op) for a in ops.ACTIVATIONS.values() for op in (a.forward, a.gradient))
    found += (move.op for each in OPTIMIZERS.values() for move in each.moves)
    return {c.__name__: c for c in found if isinstance(c, type) and is_dataclass(c)}


@cache
def kernels() -> dict[str, type[Op]]:
    """Operations by printed name."""
    plain = (c for c in classes().values() if issubclass(c, Op) and c.kernel)
    return {c.printed or c.kernel: c for c in plain}


def _tagged(value: Any) -> dict[str, Any]:
    """A dataclass as an object whose key "" names the class."""
    inner = {f.name: getattr(value, f.name) for f in fields(value) if f.compare}
    return {"": type(value).__name__, **inner}


def encoder(default: Callable[[Any], Any] = _tagged) -> json.JSONEncoder:
    """Canonical JSON; `default` turns dataclasses into JSON types."""
    return json.JSONEncoder(separators=(",", ":"), sort_keys=True, default=default)


_ENCODER = encoder()


def restored(value: Any) -> Any:
    """The value that JSON types stand for; sequences come back as tuples."""
    if isinstance(value, list):
        return tuple(restored(v) for v in value)
    if isinstance(value, dict):
        inner = {k: restored(v) for k, v in value.items() if k}
        return classes()[value[""]](**inner) if "" in value else inner
    return value


def dumps(value: Any) -> str:
    """Canonical JSON text without blanks, so that fields can be split at blanks."""
    return without_blanks(_ENCODER.encode(value))


def without_blanks(text: str) -> str:
    """JSON text with the blanks of its strings escaped."""
    return text.replace(" ", "\\u0020")


def loads(text: str) -> Any:
    """The inverse of `dumps`."""
    return restored(json.loads(text))


def op_text(op: Op) -> str:
    """An operation as its name and its fields."""
    inner = {f.name: getattr(op, f.name) for f in fields(op)}
    return (op.printed or op.kernel) + (dumps(inner) if inner else "")


def parse_op(text: str) -> Op:
    """The inverse of `op_text`."""
    name, brace, rest = text.partition("{")
    return kernels()[name](**(loads(brace + rest) if brace else {}))
