"""Blocks of global tensors on the devices of one process."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.ir.program import Port, Program, View
from netc.ir.types import numbers

Array = NDArray[Any]


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


def apart(examples: Array, shapes: Sequence[tuple[int, ...]]) -> list[Array]:
    """The images (n, *shape) of each input in examples: theirs flat, one after the other.

    An example of one input may have its shape. Nothing is copied where examples are contiguous.
    """
    sizes = [math.prod(shape) for shape in shapes]
    parts = np.split(examples.reshape(len(examples), sum(sizes)), np.cumsum(sizes)[:-1], axis=1)
    return [part.reshape(len(examples), *shape) for part, shape in zip(parts, shapes, strict=True)]
