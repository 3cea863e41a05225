"""A step on the clock, for a page. Times are whole nanoseconds from the start of the step.

nanoseconds   of the step
exposed       of it, those in which the least busy device does not compute
classes       of equal devices: devices (their numbers), busy (nanoseconds it computes)
words         names that instructions refer to by number
instructions  [word, phase, stream, layers, round, alone, exchanges, times]
              word       what it does: "conv + relu", "bn_moments", "all_reduce"
              phase, stream   numbers, as in the page's legend
              layers     numbers of the layers that it computes, or moves values of
              round      or -1
              alone      nanoseconds that it takes where nothing else goes on
              exchanges  numbers of the exchanges of the plan that it carries out
              times      class, start, end; and so on for every class that takes part
critical      instruction, class; and so on: each begins when the one before ends
measured      null, or a step that was run:
              step         how many the training had done after it
              nanoseconds  of the step
              times        instruction, device, start, end; and so on
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from netc.export.describe import Description, layers_of, round_numbers
from netc.ir.clock import Timeline
from netc.ir.critical import critical_path
from netc.ir.plan import Plan
from netc.ir.program import STREAMS, Collective, Instruction, Launch, Program, word_of
from netc.trace.spans import StepTrace, nanoseconds

PHASES = ("forward", "backward", "update")


def clock_rows(
    plan: Plan,
    program: Program,
    line: Timeline,
    description: Description,
    trace: StepTrace | None = None,
) -> dict[str, Any]:
    """The clock of a program of `plan`, and the first step of a trace; keys and rows are told
    above.
    """
    rows = _Rows(plan, line, description)
    instructions = [rows.row(n, each) for n, each in enumerate(program.instructions)]
    return {
        "nanoseconds": nanoseconds(line.seconds),
        "exposed": nanoseconds(line.exposed_seconds),
        "classes": [
            {"devices": own.devices(program.mesh), "busy": nanoseconds(busy)}
            for own, busy in zip(program.classes, line.busy_seconds, strict=True)
        ],
        "words": list(rows.words),
        "instructions": instructions,
        "critical": [number for place in critical_path(program, line) for number in place],
        "measured": None if trace is None else _measured(trace),
    }


def _measured(trace: StepTrace) -> dict[str, Any]:
    step = trace.steps[0]
    own = (span for span in trace.spans if span.measured and span.step == step.step)
    times = ((s.number, s.device, s.start - step.begun, s.end - step.begun) for s in own)
    return {
        "step": step.step,
        "nanoseconds": step.measured,
        "times": [figure for time in times for figure in time],
    }


class _Rows:
    def __init__(self, plan: Plan, line: Timeline, description: Description) -> None:
        self.graph, self.line, self.rounds = plan.graph, line, round_numbers(plan)
        self.layers = {each.name: n for n, each in enumerate(description.layers)}
        self.exchanges = {each.name: n for n, each in enumerate(description.exchanges)}
        self.words: dict[str, int] = {}

    def row(self, number: int, each: Instruction) -> list[Any]:
        """One instruction."""
        nodes = self._nodes(each)
        layers = dict.fromkeys(layer for node in nodes for layer in layers_of(self.graph[node]))
        times = (
            (class_, nanoseconds(self.line.starts[place]), nanoseconds(self.line.ends[place]))
            for class_ in each.classes
            for place in [(number, class_)]
        )
        return [
            self.words.setdefault(word_of(each), len(self.words)),
            PHASES.index(each.phase),
            STREAMS.index(each.stream),
            [self.layers[layer] for layer in layers if layer in self.layers],
            min((self.rounds.get(self.graph[node].rows, -1) for node in nodes), default=-1),
            nanoseconds(each.seconds),
            [self.exchanges[node] for node in nodes if node in self.exchanges],
            [figure for time in times for figure in time],
        ]

    def _nodes(self, each: Instruction) -> list[str]:
        if isinstance(each, Collective):
            return [part.node for part in each.parts]
        return [each.node]


def phase_seconds(program: Program) -> dict[str, dict[str, float]]:
    """By layer the seconds of its launches in each phase, on the device where they take longest."""
    sums: dict[tuple[str, str, int], float] = defaultdict(float)
    for each in program.instructions:
        if isinstance(each, Launch):
            sums[each.layer, each.phase, each.class_] += each.seconds
    found: dict[str, dict[str, float]] = defaultdict(lambda: dict.fromkeys(PHASES, 0.0))
    for (layer, phase, _), seconds in sums.items():
        own = found[layer]
        own[phase] = max(own[phase], float(f"{seconds:.6g}"))
    return dict(found)
