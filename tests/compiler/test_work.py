"""What launches have to do is what the plan's operations have to do."""

from __future__ import annotations

from math import prod
from typing import Any

import pytest
from harness import compiled, options, tiny
from random_networks import OPTIMIZERS, SGD

from netc.cost import local_flops
from netc.ir.joined import JOINED
from netc.ir.kernels import KernelCall, KernelChoice
from netc.ir.ops import Fused
from netc.ir.optimizers import Chosen
from netc.ir.program import Launch, Program
from netc.ir.types import ITEM_BYTES, TensorPart
from netc.passes.assign_formats import Target
from netc.work import launch_bytes, launch_flops

MOVING = {"slice", "copy", "concat", "concat_rows", "cast"}


def programs(devices: int, choose: Any = None, optimizer: Chosen = SGD) -> tuple[Program, Any]:
    network = tiny()
    target = Target("cpu") if choose is None else Target("cpu", choose=choose)
    asked = options(
        network, devices, 8, strategy="hybrid", fetch=(), target=target, optimizer=optimizer
    )
    bundle, made = compiled(network, asked)
    return bundle.train, made.plan.graph


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
@pytest.mark.parametrize("devices", [1, 3])
def test_flops_are_those_of_the_plan(devices: int, optimizer: Chosen) -> None:
    program, graph = programs(devices, optimizer=optimizer)
    checked = 0
    for launch in program.instructions:
        if not isinstance(launch, Launch):
            continue
        node = graph[launch.node]
        ops = [step.op for step in node.op.links] if isinstance(node.op, Fused) else [node.op]
        if MOVING & {op.kernel for op in ops}:
            assert len(ops) > 1 or launch_flops(launch) == 0
            continue
        blocks = tuple(TensorPart(view.where, view.shape) for view in launch.reads)
        result = TensorPart(launch.writes[0].where, launch.writes[0].shape)
        assert launch_flops(launch) == local_flops(graph, node, blocks, result), launch.node
        checked += 1
    assert checked > 15


def joined(calls: tuple[KernelCall, ...]) -> KernelChoice | None:
    """A kernel for updates alone, with a workspace."""
    declared = JOINED.get(calls[0].kernel)
    return KernelChoice(("vector",), 1000) if declared and declared.overwritten else None


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_joined_updates_do_what_their_launches_did(optimizer: Chosen) -> None:
    (alone, _), (together, _) = programs(1, None, optimizer), programs(1, joined, optimizer)
    sums = [
        sum(launch_flops(i) for i in each.instructions if isinstance(i, Launch))
        for each in (alone, together)
    ]
    assert len(alone.instructions) > len(together.instructions)
    assert sums[0] == sums[1]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_bytes_leave_the_workspace_out(optimizer: Chosen) -> None:
    program, _ = programs(1, joined, optimizer)
    state = len(optimizer.optimizer.moves) - 1
    kernel = optimizer.optimizer.joined
    update = next(i for i in program.instructions if isinstance(i, Launch) and i.joined == kernel)
    (weight,) = {view.shape for view in update.writes[: state + 1]}
    # Gradient, state and weight are read, the latter two written; the rate is one number more, and
    # so is the step of Adam.
    read = {word for move in optimizer.optimizer.moves for word in move.operands}
    moved = (1 + 2 * (state + 1)) * prod(weight) + len(read & {"lr", "step"})
    assert launch_bytes(program, update) == moved * ITEM_BYTES["f64"]
