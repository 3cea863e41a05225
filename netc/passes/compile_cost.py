"""What the rest of compilation will take, before it begins: told or refused, not suffered."""

from __future__ import annotations

from dataclasses import dataclass

from netc.ir.comm import Comm
from netc.ir.graph import Node
from netc.ir.ops import SourceOp
from netc.ir.plan import Plan
from netc.ir.types import On

_BASE_BYTES = 50e6
_BYTES = 3500.0
"""Of an instruction. This and what follows is fitted to compilations of VGG-16, AlexNet, ResNet-50
and -152 for 8 to 256 devices and of chains of 1000 convolutions, which took 0.6 to 1.1 times it."""
_PAIR_BYTES = 1.1
"""Of every two instructions of one class, on the class that has most."""
_SECONDS, _CLASS_SECONDS, _PAIR_SECONDS = 2e-4, 8.4e-6, 1.1e-7
"""Of an instruction, for each class besides, and of every two instructions of one class."""


@dataclass(frozen=True, slots=True)
class CompileCost:
    """What a program takes to compile."""

    classes: int
    """Of equal devices."""
    instructions: int
    memory_bytes: float
    seconds: float
    """On a core of a server of 2023."""


def compile_cost(plan: Plan, classes: int) -> CompileCost:
    """Estimate the cost of making a program of `plan` for so many classes of equal devices, from
    how many instructions it will have.
    """
    placed = [n for n in plan.graph.nodes if not (isinstance(n.op, SourceOp) or n.op.view)]
    exchanges = [n for n in placed if isinstance(n.op, Comm)]
    launches = sum(_classes(plan, n, classes) for n in placed if not isinstance(n.op, Comm))
    instructions = launches + len(exchanges)
    own = launches / classes + len(exchanges)
    memory = _BASE_BYTES + _BYTES * instructions + (_PAIR_BYTES + classes / 16) * own**2
    seconds = (_SECONDS + _CLASS_SECONDS * classes) * instructions
    return CompileCost(classes, instructions, memory, seconds + _PAIR_SECONDS * classes * own**2)


def _classes(plan: Plan, node: Node, classes: int) -> int:
    """How many classes have the result of `node`, about: one where it is on one device alone."""
    return 1 if any(isinstance(place, On) for place in plan.placement[node.name]) else classes
