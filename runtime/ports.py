"""Blocks of global tensors on the devices of one process."""

from __future__ import annotations

from collections.abc import Container

from netc.ir.program import Port, Program, View


def own_views(program: Program, port: Port, devices: Container[int]) -> list[View]:
    """The blocks of a port that some devices hold."""
    return [v for v in port.views if program.buffer[v.buffer].device in devices]


def is_everywhere(program: Program, port: Port) -> bool:
    """Whether every device has the whole tensor, so that nobody need be asked."""
    return len(port.views) == program.mesh.size and all(
        view.shape == port.shape for view in port.views
    )


def unfilled(program: Program, filled: Container[str]) -> list[str]:
    """Inputs that nobody has written: a program would compute with memory as it lay."""
    return [port.name for port in program.inputs if port.name not in filled]


def region(view: View) -> tuple[slice, ...]:
    """Where a block lies in its global tensor."""
    return tuple(slice(w, w + n) for w, n in zip(view.where, view.shape, strict=True))
