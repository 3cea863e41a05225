"""What the rest of compilation will take, before it begins: told or refused, not suffered."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from netc.ir.comm import Comm
from netc.ir.graph import Node
from netc.ir.ops import Source
from netc.ir.plan import Plan
from netc.ir.types import On

_BASE_BYTES = 50e6
_BYTES = 3500.0
"""Of an instruction. This and what follows is fitted to compilations of VGG-16, AlexNet, ResNet-50
and -152 for 8 to 256 devices and of chains of 1000 convolutions, which took 0.6 to 1.1 times it."""
_PAIR_BYTES = 1.1
"""Of every two instructions of one device, on the device that has most."""
_SECONDS, _DEVICE_SECONDS, _PAIR_SECONDS = 2e-4, 8.4e-6, 1.1e-7
"""Of an instruction, for each device besides, and of every two instructions of one device."""


@dataclass(frozen=True, slots=True)
class CompileCost:
    """What a program takes to compile."""

    devices: int
    instructions: int
    memory_bytes: float
    seconds: float
    """On a core of a server of 2023."""


def compile_cost(plan: Plan) -> CompileCost:
    """Estimate the cost of making a program of `plan`, from how many instructions it will have."""
    devices = plan.mesh.size
    placed = [n for n in plan.graph.nodes if not (isinstance(n.op, Source) or n.op.view)]
    exchanges = [n for n in placed if isinstance(n.op, Comm)]
    launches = sum(_devices(plan, n) for n in placed if not isinstance(n.op, Comm))
    instructions = launches + len(exchanges)
    own = launches / devices + len(exchanges)
    memory = _BASE_BYTES + _BYTES * instructions + (_PAIR_BYTES + devices / 16) * own**2
    seconds = (_SECONDS + _DEVICE_SECONDS * devices) * instructions
    return CompileCost(devices, instructions, memory, seconds + _PAIR_SECONDS * devices * own**2)


def _devices(plan: Plan, node: Node) -> int:
    """How many devices have the result of `node`."""
    placements = zip(plan.placement[node.name], plan.mesh.shape, strict=True)
    return prod(1 if isinstance(place, On) else extent for place, extent in placements)
