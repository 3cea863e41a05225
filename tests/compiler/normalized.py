"""A network of three norms, two of images and one of rows, with and without groups."""

from __future__ import annotations

from typing import Any

from harness import compiled, options

from netc.ir.plan import Plan
from netc.ir.types import Mesh
from netc.passes.assign_formats import Target
from netc.passes.choose_splits import Pin
from netc.syntax import Network, parse_text
from netc_runtime.cpu.kernels import CpuKernels

TEXT = """net n
input image 2x6x5
conv 3x3 4 pad=1 bias=false | bn{0} | relu | conv 3x3 5 pad=1
add {{ bn{0} ; identity }} | relu
fc 6 | bn{0} | relu | fc 3
softmax_loss
"""
FAST = Target("cpu", "nhwc", choose=CpuKernels(1).choose)


def net(group: int | None = None) -> Network:
    """The network, of groups of so many images."""
    return parse_text(TEXT.format("" if group is None else f" group={group}"))


def plan_of(network: Network, mesh: Mesh | int, batch: int, **changes: Any) -> Plan:
    _, made = compiled(network, options(network, mesh, batch, fetch=(), **changes))
    return made.plan


def pins_of(split: str) -> tuple[Pin, ...]:
    """Norms split so, one label a mesh axis, the layers around them as far as they can be."""
    labels = split.split(",")
    images = ("image", "conv*", "bn1", "bn2", "relu1", "add*", "relu2")
    rows = ",".join("r" if each in "hw" else each for each in labels)
    first = ",".join("r" if each == "k" else each for each in labels)
    return (
        Pin("*", ",".join("n" if each == "n" else "r" for each in labels)),
        *(Pin(layer, split) for layer in images), Pin("image", first), Pin("bn3", rows),
    )  # fmt: skip
