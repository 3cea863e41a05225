"""What a compilation takes of the machine that compiles."""

from __future__ import annotations

from netc.api.figures import count
from netc.api.listener import Told
from netc.errors import Diagnostic, PlanError
from netc.numbers import memory_text
from netc.passes.compile_cost import CompileCost
from netc_runtime.memory import available_bytes

TOLD_SECONDS = 90.0
"""Compiling that takes as long is announced."""


def afford(told: Told, cost: CompileCost) -> None:
    """Refuse what this machine has not the memory to compile; say before what takes minutes."""
    room = available_bytes()
    classes = f"{cost.classes} classes of devices" if cost.classes > 1 else "equal devices"
    many = f"{count(cost.instructions)} instructions for {classes}"
    if cost.memory_bytes > room:
        need, have = memory_text(cost.memory_bytes), memory_text(room)
        message = f"compiling {many} takes about {need}, of {have} free."
        hint = "take fewer devices, '--scheme a' (which has no rounds), or a shorter network."
        raise PlanError(Diagnostic("E053", message, help=hint))
    if cost.seconds >= TOLD_SECONDS:
        minutes = f"{count(cost.seconds / 60)} minutes and {memory_text(cost.memory_bytes)}"
        told(f"compiling about {many} takes some {minutes}.")
