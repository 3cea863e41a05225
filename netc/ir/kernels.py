"""Which kernel computes a launch: what a runtime is asked, and what it answers.

The compiler knows operations; which of several kernels computes one fastest on a machine is
measured there. The answers are an input of compilation: the program names every kernel and reserves
its workspace.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class KernelCall:
    """One operation on a device's blocks."""

    kernel: str
    """An operation, such as "conv", or a joined launch."""
    dtype: str
    """Data type of the result; of the first operand where results are float64 anyway."""
    attributes: tuple[tuple[str, Any], ...]
    """What the kernel is told besides where its block lies, by name, sorted."""
    args: tuple[int, ...]
    """The operands, as those of a step."""
    operands: tuple[tuple[int, ...], ...]
    """Their local shapes, logical N C H W."""
    result: tuple[int, ...]
    """Local shape."""


@dataclass(frozen=True, slots=True)
class KernelChoice:
    """The kernels that answer the calls of one launch."""

    variants: tuple[str | None, ...]
    """The name of each call's kernel among those of its operation; empty is the reference, None
    where the kernel of the call before does it as well."""
    workspace_bytes: int = 0
    """Scratch memory that the launch needs."""
    seconds: float = 0.0
    """Measured duration; 0 where nothing was measured."""


Choose = Callable[[tuple[KernelCall, ...]], KernelChoice | None]
"""Answers for the steps of one launch; None leaves it to the reference kernels."""


def reference_only(calls: tuple[KernelCall, ...]) -> KernelChoice | None:
    """Choose nothing: every operation runs on its reference kernel."""
    return None
