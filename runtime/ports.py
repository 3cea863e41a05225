"""Blocks of global tensors on the devices of one process."""

from __future__ import annotations

from collections.abc import Container, Iterable

from netc.ir.program import Port, Program, View
from netc.ir.types import numbers


def own_views(program: Program, port: Port, devices: Iterable[int]) -> list[tuple[int, View]]:
    """The blocks of a port that some devices hold, with the device."""
    views = ((device, program.block(port, device)) for device in devices)
    return [(device, view) for device, view in views if view is not None]


def is_everywhere(program: Program, port: Port) -> bool:
    """Whether every device has the whole tensor, so that nobody need be asked."""
    return len(port.views) == len(program.classes) and all(
        view.shape == port.shape for view in port.views
    )


def unfilled(program: Program, filled: Container[str]) -> list[str]:
    """Inputs that nobody has written: a program would compute with memory as it lay."""
    return [port.name for port in program.inputs if port.name not in filled]


def region(view: View) -> tuple[slice, ...]:
    """Where a block lies in its global tensor."""
    where = numbers(view.where)
    return tuple(slice(w, w + n) for w, n in zip(where, view.shape, strict=True))
