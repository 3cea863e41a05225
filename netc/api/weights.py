"""Weights that callers give as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from netc.api.arrays import array_of
from netc.errors import DataError
from netc_runtime.io.problems import data_error
from netc_runtime.io.weights import Tensors, not_finite


def whose_arrays(value: object) -> str:
    """What to do with something that has weights, in place of them; nothing for what has none."""
    return "give what its 'weights()' returns." if hasattr(value, "weights") else ""


def checked_weights(values: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> Tensors:
    """The arrays of weights by their names, copied. DataError: E081 where there is none of a name,
    E082 where one is of another shape or type, E086 where numbers are not finite, or too large to
    be in float32.
    """
    found = {name: _checked(name, value, shapes) for name, value in values.items()}
    with np.errstate(over="ignore"):
        narrow = {name: value.astype(np.float32) for name, value in found.items()}
    if problems := [*not_finite("'weights'", narrow)]:
        raise DataError(*problems)
    return found


def _checked(name: str, value: Any, shapes: Mapping[str, tuple[int, ...]]) -> Any:
    if name not in shapes:
        help = "names are those that 'weights()' has"
        raise data_error("E081", f"the network has no weight '{name}'.", help)
    array = array_of(name, value).copy()
    if array.dtype.kind not in "fiu":
        message = f"'{name}' is of {array.dtype}; weights are numbers."
        raise data_error("E082", message, "give an array of floats")
    if array.shape != tuple(shapes[name]):
        sides = "x".join(map(str, shapes[name])) or "one number"
        has = "x".join(map(str, array.shape)) or "one"
        message = f"'{name}' is {has} of {array.dtype}; the network has numbers of {sides}."
        raise data_error("E082", message, "give an array of that shape")
    return array
