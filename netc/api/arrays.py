"""What callers give as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.api.values import usage
from netc.errors import clip

_SAID = 200
"""Characters of another tool's error."""
_OF_TENSORS = "'tensor.detach().cpu().numpy()' makes one of a tensor; of bfloat16 after '.float()'."


def array_of(name: str, value: Any) -> NDArray[Any]:
    """A value as an array, not copied where it is one; UsageError (E051) where it is none, as
    PyTorch's tensors that require gradients, or are on a GPU, say themselves.
    """
    try:
        return np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:
        hint = _OF_TENSORS if hasattr(value, "detach") else ""
        why = clip(str(error).splitlines()[0], _SAID).rstrip(".")
        raise usage(f"'{name}' is no array: {why}.", hint) from None
