"""Plans become programs: what is refused, what is advised, and splits as a strategy file."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from netc.api.listener import Listener
from netc.api.predicted import is_priced
from netc.api.request import Request
from netc.api.written import unwritable
from netc.errors import Diagnostic, PlanError
from netc.interchange.names import torch_names
from netc.ir.clock import simulate
from netc.ir.facts import REPLICATED, SHARDED
from netc.ir.program import Bundle
from netc.layers import MemoryUse, memory_use
from netc.numbers import memory_text
from netc.passes.options import Options
from netc.passes.pipeline import Compiled, compile_network
from netc.planner.compare import faster
from netc.strategies.file import write_strategy
from netc.strategies.fixed import FIXED


def build(asked: Request, listener: Listener) -> tuple[Bundle, Compiled]:
    """Compile, and refuse what does not fit the machine."""
    with listener.watch() as watched:
        bundle, compiled = compile_network(asked.network, asked.options, watched)
    names = torch_names(asked.network)
    facts = replace(
        bundle.facts,
        strategy=asked.strategy,
        taken=asked.taken,
        parameters=asked.parameters,
        torch_names=names,
    )
    bundle = replace(bundle, facts=facts)
    check_memory(memory_use(compiled.program), asked.options)
    return bundle, compiled


def advice(asked: Request, compiled: Compiled) -> tuple[str, ...]:
    """A word on a faster plan, where a fixed strategy was taken unasked or by its name, and prices
    are those of a measured machine or one that was named.
    """
    chosen = asked.options
    priced = is_priced(chosen.target.name, asked.cluster)
    if chosen.mesh.size == 1 or asked.strategy not in FIXED or not priced:
        return ()
    plan = faster(asked.network, chosen, compiled)
    if plan is None:
        return ()
    now = simulate(compiled.program).seconds
    asks = f"--strategy {plan.strategy}" + (f" --scheme {plan.scheme}" if plan.scheme else "")
    gain = 100 * (1 - plan.seconds / now)
    return (f"'{asks}' is predicted to take {gain:.1f} % less time; 'netc compare' shows all.",)


def save_strategy(path: Path, asked: Request, compiled: Compiled) -> None:
    """Write the splits of a plan as a strategy file."""
    chosen = asked.options
    try:
        write_strategy(
            path, asked.network.name, chosen.mesh.shape, compiled.splits, compiled.scheme,
            chosen.fc_update, chosen.updates or REPLICATED,
            chosen.recompute,
        )  # fmt: skip
    except OSError as error:
        raise unwritable(path, error) from None


def check_memory(uses: list[MemoryUse], options: Options) -> None:
    """Refuse a plan that needs more memory than a device has, with a table and advice."""
    limit = options.cluster.memory_bytes
    worst = max(range(len(uses)), key=lambda d: uses[d].peak)
    use = uses[worst]
    if use.peak <= limit:
        return
    parts = (("weights and state", use.persistent), ("inputs", use.inputs),
             ("activations", use.temporary))  # fmt: skip
    shown = ", ".join(f"{name} {memory_text(size)}" for name, size in parts)
    sizes = f"{memory_text(use.peak)} of {memory_text(limit)}"
    message = f"the plan does not fit: device {worst} peaks at {sizes}"
    room, moving = limit - use.persistent, use.inputs + use.temporary
    fits = math.floor(options.batch * room / moving) if room > 0 else 0
    if options.updates == SHARDED:
        # Gathered weights are no activations: how much is left for those is not told by this.
        advice = "'--batch auto' finds the largest batch that fits, if any; or use more devices."
    elif fits:
        advice = f"a batch of about {fits} fits; or use more devices."
    elif room > 0:
        advice = (
            "one image alone is too large: share it among more devices, by '--strategy spatial' "
            "and a small '--batch'."
        )
    else:
        share = "take '--updates sharded', " if options.mesh.size > 1 else ""
        advice = (
            f"the weights alone are too large: {share}split the largest layers by k, or use more "
            "devices."
        )
    raise PlanError(Diagnostic("E052", f"{message} ({shown}).", help=advice))
