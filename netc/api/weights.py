"""Weights that callers give as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from netc_runtime.io.problems import data_error


def checked_weight(name: str, value: Any, shapes: Mapping[str, tuple[int, ...]]) -> Any:
    """The array of a weight; DataError: E081 where there is none of that name, E082 where it is of
    another shape.
    """
    if name not in shapes:
        raise data_error("E081", f"the network has no weight '{name}'.", "see 'weights()'")
    array = np.asarray(value)
    if array.shape != tuple(shapes[name]) or array.dtype.kind not in "fiu":
        sides = "x".join(map(str, shapes[name])) or "one number"
        has = "x".join(map(str, array.shape)) or "one"
        message = f"'{name}' is {has} of {array.dtype}; the network has numbers of {sides}."
        raise data_error("E082", message, "give an array of that shape")
    return array
