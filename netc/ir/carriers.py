"""Who carries which exchange between GPUs: the rule that runtime and prices share.

GPUs of one machine take from each other's memory what they need, in one launch. Large sums over all
and everything that goes between machines is NCCL's (docs/adr/0011-cuda.md).
"""

from __future__ import annotations

LARGE_ELEMENTS = 2**18
"""Sums over all GPUs of more elements are NCCL's."""
NCCL_COLLECTIVES = frozenset({"all_reduce", "reduce", "broadcast"})
"""Kinds for which NCCL's own collectives are called; blocks of others are sent as messages."""


def is_large(kind: str, elements: int) -> bool:
    """Whether NCCL carries an exchange of a kind, of so many elements on a device, even between
    GPUs that reach each other's memory.
    """
    return kind == "all_reduce" and elements > LARGE_ELEMENTS
