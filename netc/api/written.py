"""Files that are written, and names in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from netc.errors import Diagnostic, UsageError
from netc.ir.optimizers import AVERAGE
from netc_runtime.io import tensors


def unwritable(path: Path, error: OSError) -> UsageError:
    """The error for a file that cannot be written."""
    return UsageError(Diagnostic("E054", f"cannot write '{path}': {error.strerror}."))


def write_text(path: Path, text: str) -> None:
    """Write a text; UsageError (E054) where the system refuses."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise unwritable(path, error) from None


def renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Weights by other names: the averages, where there are some, as the weights."""
    own = dict.fromkeys(name.removesuffix(AVERAGE) for name in values)
    best = {name: values[name + AVERAGE if name + AVERAGE in values else name] for name in own}
    return {names.get(name, name): value for name, value in best.items()}


def write_weights(path: Path, network: str, values: Mapping[str, Any]) -> None:
    """Write weights of a network as safetensors; DataError where the system refuses."""
    tensors.write(path, dict(values), {"network": network})
