"""Which kernel computes a launch: what a runtime is asked, and what it answers.

The compiler knows operations; which of several kernels computes one fastest on a machine is
measured there. The answers are an input of compilation: the program names every kernel and reserves
its workspace.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

JOINED = "joined"
"""The variant of a step that the kernel before it does as well."""


@dataclass(frozen=True, slots=True)
class Call:
    """One operation on a device's blocks."""

    kernel: str
    """The operation's kernel, such as "conv"."""
    dtype: str
    """Data type of the result."""
    attributes: tuple[tuple[str, Any], ...]
    """What the kernel is told besides where its block lies, by name, sorted."""
    args: tuple[int, ...]
    """The operands, by their positions among the launch's; -1 is the previous step's result."""
    operands: tuple[tuple[int, ...], ...]
    """Their local shapes, logical N C H W."""
    result: tuple[int, ...]
    """Local shape."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The kernels of one launch: of its operation, or of each step of a fused one."""

    variants: tuple[str, ...]
    """The name of each step's kernel among those of its operation; empty is the reference."""
    workspace_bytes: int = 0
    """Scratch memory that the launch needs."""
    seconds: float = 0.0
    """Measured duration; 0 where nothing was measured."""


Choose = Callable[[tuple[Call, ...]], Choice | None]
"""Answers for the steps of one launch; None leaves it to the reference kernels."""


def reference_only(calls: tuple[Call, ...]) -> Choice | None:
    """Choose nothing: every operation runs on its reference kernel."""
    return None
