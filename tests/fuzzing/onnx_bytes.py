"""ONNX files whose bytes are damaged, or whose fields hold something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from netc.interchange.from_onnx import from_onnx
from netc.passes.build_graph import build_graph
from netc.syntax import network_text, parse_text
from netc_runtime.io import onnx_file

from ._mutate import damaged
from ._onnx import Maker

NUMBERS = (0, 1, 2, 3, 7, -1, -2, 2**31, -(2**31), 2**62, -(2**63))
REALS = (0.0, -1.0, 1e38, float("inf"), float("nan"))


def case(rng: np.random.Generator, folder: Path) -> str:
    model = Maker(rng).model()
    path = folder / "t.onnx"
    if rng.random() < 0.3:
        path.write_bytes(damaged(rng, model.SerializeToString()))
    else:
        for _ in range(rng.integers(1, 4)):
            _change(rng, model)
        path.write_bytes(model.SerializeToString())
    read, stored = onnx_file.read(path)
    found = from_onnx(read, "t")
    assert parse_text(network_text(found.network)) == found.network
    build_graph(found.network, 1)
    onnx_file.gather(found.weights, stored)
    return "read"


def _change(rng: np.random.Generator, message: Any) -> None:
    """Change one field of a message, or of one within it."""
    while True:
        fields = [field for field, _ in message.ListFields()] or message.DESCRIPTOR.fields
        field = fields[rng.integers(len(fields))]
        value = getattr(message, field.name)
        if hasattr(value, "append") or hasattr(value, "add"):
            if len(value) and rng.random() < 0.3:
                return _reorder(rng, value)
            if not len(value):
                return message.ClearField(field.name)
            place = int(rng.integers(len(value)))
            if field.message_type is None:
                value[place] = _other(rng, value[place])
                return None
            message = value[place]
        elif field.message_type is None:
            return _set(rng, message, field.name, value)
        else:
            message = value
        if rng.random() < 0.05:
            return None


def _reorder(rng: np.random.Generator, values: Any) -> None:
    """One element twice, away, or in another place."""
    parts = list(values)
    place, other = (int(n) for n in rng.integers(0, len(parts), 2))
    action = rng.integers(0, 3)
    if action == 0:
        parts.insert(place, parts[other])
    elif action == 1:
        del parts[place]
    else:
        parts[place], parts[other] = parts[other], parts[place]
    copies = [type(part)() if hasattr(part, "CopyFrom") else part for part in parts]
    for copy, part in zip(copies, parts, strict=True):
        if hasattr(part, "CopyFrom"):
            copy.CopyFrom(part)
    del values[:]
    values.extend(copies)


def _set(rng: np.random.Generator, message: Any, name: str, value: Any) -> None:
    if rng.random() < 0.2:
        message.ClearField(name)
        return
    try:
        setattr(message, name, _other(rng, value))
    except (ValueError, TypeError):  # beyond the field's type
        setattr(message, name, value)


def _other(rng: np.random.Generator, value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, bytes):
        return damaged(rng, value)
    if isinstance(value, str):
        return str(rng.choice(("", "x", "w", "v1", "v2", "v3", "N", "Relu", "axis", "é", "a b")))
    if isinstance(value, float):
        return REALS[rng.integers(len(REALS))]
    return NUMBERS[rng.integers(len(NUMBERS))]
