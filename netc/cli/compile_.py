"""`netc compile`: the plan as a table, the values as text, the compiled program as a file."""

from __future__ import annotations

import argparse
from pathlib import Path

from netc.api.build import unwritable
from netc.api.choices import INFERENCE
from netc.api.figures import bytes_text, count, seconds_text, shape_text
from netc.api.request import Request
from netc.cli.arguments import spare
from netc.cli.common import build, request
from netc.cli.files import load_network
from netc.cli.output import json_line, note, say, table
from netc.cli.passes import Printer
from netc.errors import Diagnostic, UsageError, did_you_mean
from netc.ir.clock import mean_step_seconds, simulate
from netc.ir.facts import SHARDED
from netc.ir.program import Bundle, Program
from netc.ir.programs import EVAL, TRAIN
from netc.ir.text import bundle_text, graph_text, plan_text, program_text
from netc.passes.pipeline import PASSES, Compiled
from netc.report import LayerCost, layer_costs, memory_use, sent_bytes
from netc.syntax import network_text


def run(options: argparse.Namespace) -> int:
    """Compile and show."""
    planned = EVAL if options.goal == INFERENCE else TRAIN
    options.program = options.program or planned
    _check_passes(options.print_after, options.program)
    _check_shown(options, planned)
    spare(options.output, options.network, options.strategy, options.cluster)
    if options.emit == "network":
        print(network_text(load_network(options)), end="")
        return 0
    asked = request(options)

    printer = Printer(options.print_after, options.program)
    bundle, compiled = build(asked, options, printer)
    if options.output:
        _write(Path(options.output), bundle)
    emitted = {
        "graph": lambda: graph_text(compiled.graph),
        "plan": lambda: plan_text(compiled.plan),
        "program": lambda: program_text(_program(bundle, options.program)),
    }
    if options.emit:
        print(emitted[options.emit](), end="")
    elif options.json:
        _show_json(asked, compiled)
    elif options.time_passes:
        print(printer.times())
    elif not options.print_after:
        _show(asked, compiled)
    return 0


def _check_shown(options: argparse.Namespace, planned: str) -> None:
    """Refuse what would be silently left out."""
    problems = []
    if options.emit == "network" and (options.output or options.save_strategy):
        problems.append("'--emit network' compiles nothing that a file could be written of.")
    if options.emit in ("graph", "plan") and options.program != planned:
        problems.append(
            f"'--emit {options.emit}' prints {options.goal}'s: '--print-after PASS --program "
            f"{options.program}' prints values of others."
        )
    if options.time_passes and (options.emit or options.json):
        problems.append("'--time-passes' prints a table of its own, in place of other values.")
    if options.json and (options.emit or options.print_after):
        problems.append("'--json' prints no values of passes, which are text.")
    if options.output and options.output == options.save_strategy:
        problems.append(f"'{options.output}' cannot be both program and strategy.")
    if problems:
        raise UsageError(*(Diagnostic("E051", problem) for problem in problems))


def _program(bundle: Bundle, name: str) -> Program:
    """A program of a bundle; UsageError (E051) where it has none of that name."""
    found: Program | None = getattr(bundle, name)
    if found is None:
        message = f"there is no program '{name}': every step moves weights."
        hint = "'accumulate 2' in the recipe adds gradients up first."
        raise UsageError(Diagnostic("E051", message, help=hint))
    return found


def _check_passes(names: list[str], program: str) -> None:
    """Refuse what is no pass, or none of that program."""
    known = {each.name: each for each in PASSES}
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known) + f"passes are: {', '.join(known)}."
            raise UsageError(Diagnostic("E051", f"there is no pass '{name}'.", help=hint))
        if program not in (programs := known[name].programs):
            hint = f"'--program {programs[0]}' prints its result."
            message = f"'{name}' is no pass of the {program} program."
            raise UsageError(Diagnostic("E051", message, help=hint))


def _write(path: Path, bundle: Bundle) -> None:
    try:
        path.write_text(bundle_text(bundle), encoding="utf-8")
    except OSError as error:
        raise unwritable(path, error) from None


def _costs(asked: Request, compiled: Compiled) -> list[LayerCost]:
    cluster = asked.options.cluster
    return layer_costs(asked.network, compiled.graph, compiled.plan, compiled.program, cluster)


def _show_json(asked: Request, compiled: Compiled) -> None:
    for cost in _costs(asked, compiled):
        json_line(event="layer", layer=cost.layer, kind=cost.kind, split=list(cost.split),
                  shape=list(cost.shape), local_shape=list(cost.local_shape),
                  sent_bytes=cost.sent_bytes, weight_bytes=cost.weight_bytes)  # fmt: skip
    uses = memory_use(compiled.program)
    json_line(
        event="result", network=asked.network.name, devices=asked.options.mesh.size,
        batch=asked.options.batch, strategy=asked.strategy, scheme=compiled.scheme,
        notes=list(compiled.notes), instructions=len(compiled.program.instructions),
        sent_bytes=[s for s, _ in sent_bytes(compiled.plan)],
        memory_bytes=[u.peak for u in uses], step_seconds=_mean(asked, compiled),
    )  # fmt: skip


def _show(asked: Request, compiled: Compiled) -> None:
    rows = [
        (c.layer, c.kind, ",".join(c.split), shape_text(c.shape), shape_text(c.local_shape),
         bytes_text(c.sent_bytes), bytes_text(c.weight_bytes))
        for c in _costs(asked, compiled)
    ]  # fmt: skip
    say(heading(asked, compiled))
    header = ("layer", "kind", "split", "output", "on a device", "sent", "weights")
    print(table(header, rows, left=3, spare=("kind", "on a device", "output")))
    print()
    say(footing(asked, compiled))
    for text in compiled.notes:
        note(text)


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
    line, mean = simulate(compiled.program), _mean(asked, compiled)
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


def _mean(asked: Request, compiled: Compiled) -> float:
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
