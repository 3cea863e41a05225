"""A plan in words and figures: what was compiled, what a step costs, a row a layer."""

from __future__ import annotations

from netc.api.figures import bytes_text, count, seconds_text, shape_text, table
from netc.api.request import Request
from netc.ir.clock import mean_step_seconds, simulate
from netc.ir.facts import SHARDED
from netc.ir.program import Program
from netc.ir.programs import TRAIN
from netc.layers import LayerCost, layer_costs, memory_use, sent_bytes
from netc.passes.pipeline import Compiled


def costs_of(asked: Request, compiled: Compiled) -> list[LayerCost]:
    """What each layer costs in a step."""
    cluster = asked.options.cluster
    return layer_costs(asked.network, compiled.graph, compiled.plan, compiled.program, cluster)


def layers_text(costs: list[LayerCost], columns: int | None = None) -> str:
    """A row a layer: how it is split, and what that takes."""
    rows = [
        (c.layer, c.kind, ",".join(c.split), shape_text(c.shape), shape_text(c.local_shape),
         bytes_text(c.sent_bytes), bytes_text(c.weight_bytes))
        for c in costs
    ]  # fmt: skip
    header = ("layer", "kind", "split", "output", "on a device", "sent", "weights")
    return table(header, rows, 3, ("kind", "on a device", "output"), columns)


def heading(asked: Request, compiled: Compiled) -> str:
    """One line that says what was compiled."""
    chosen = asked.options
    scheme = f", scheme {compiled.scheme}" if compiled.scheme else ""
    rounds = ", weights updated every round" if chosen.fc_update == "round" else ""
    updates = f", updates {SHARDED}" if chosen.updates == SHARDED else ""
    mesh = f"{shape_text(chosen.mesh.shape)} device{'s' * (chosen.mesh.size > 1)}"
    goal = "" if chosen.goal == TRAIN else ", inference"
    return (
        f"{asked.network.name}: {mesh}, strategy {asked.strategy}{scheme}{rounds}{updates}"
        f", batch {chosen.batch}, {chosen.precision}{goal}\n"
    )


def footing(asked: Request, compiled: Compiled) -> str:
    """What a step costs: bytes, memory and time."""
    sent = [s for s, _ in sent_bytes(compiled.plan)]
    uses = memory_use(compiled.program)
    worst = max(uses, key=lambda u: u.peak)
    line, mean = simulate(compiled.program), step_seconds(asked, compiled)
    images, added = asked.options.batch / mean, asked.options.optimizer.accumulate
    which = "" if compiled.part is None else (
        f"\n          the mean of {added}: {seconds_text(line.seconds)} where weights move, "
        f"{seconds_text(simulate(compiled.part).seconds)} where gradients are added up"
    )  # fmt: skip
    return "\n".join(
        [
            f"sent      {_each(sent)} a step",
            f"memory    {_each([u.peak for u in uses])}: {_kept(asked)} "
            f"{bytes_text(worst.persistent)}, inputs {bytes_text(worst.inputs)}, "
            f"activations {bytes_text(worst.temporary)}",
            f"step      {seconds_text(mean)} predicted on '{asked.options.cluster.name}', "
            f"{count(images)} images/s, {seconds_text(line.exposed_seconds)} not computing{which}",
            f"program   {_size(compiled.program)}",
        ]
    )


def step_seconds(asked: Request, compiled: Compiled) -> float:
    """Of a usual step, by the clock."""
    return mean_step_seconds(compiled.program, compiled.part, asked.options.optimizer.accumulate)


def _kept(asked: Request) -> str:
    return "weights and optimizer" if asked.options.goal == TRAIN else "weights"


def _each(numbers: list[int]) -> str:
    low, high = bytes_text(min(numbers)), bytes_text(max(numbers))
    if not max(numbers):
        return "nothing"
    return f"{high} a device" if low == high else f"{low} to {high} a device"


def _size(program: Program) -> str:
    waits = sum(len(i.waits) for i in program.instructions)
    return f"{count(len(program.instructions))} instructions, {count(waits)} waits"
