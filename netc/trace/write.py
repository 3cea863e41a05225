"""A trace as text, in the JSON object format of Chrome's traces, which Perfetto reads too.

Every device is a process, every stream a thread of it, and the predicted stream the thread below.
An instruction is a complete event; its `args` have all that `netc.trace.read` asks for. A wait on
another stream of a device is an arrow (a flow event) from what is waited for. The bytes that a
device has in use are a counter. Times are microseconds with three decimals.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from netc.errors import Diagnostic, UsageError
from netc.ir.clock import simulate
from netc.ir.facts import Facts
from netc.ir.program import STREAMS, DeviceInstruction, Launch, Program, View, word_of
from netc.ir.traffic import group_traffic
from netc.text import json_text
from netc.trace.memory import levels, storage_lives
from netc.trace.spans import Place, StepSpans, last_end, nanoseconds, predicted_spans

FORMAT = "netc trace 1"
MOST_SPANS = 1_000_000
"""More make a file that no viewer opens."""


def trace_text(
    program: Program,
    facts: Facts,
    backend: str,
    prices: str,
    steps: Sequence[StepSpans] = (),
    exact: int = 0,
) -> str:
    """A program's step as it is predicted by the `prices` of a machine, beside each of the `steps`
    that were measured if there are any, whose times are `exact` to so many nanoseconds from device
    to device.

    Raises UsageError (E051) where it would have more events than anybody can look at.
    """
    _check_size(program, len(steps))
    writer = _Writer(program, steps)
    whole = {
        "displayTimeUnit": "ms",
        "otherData": {
            "format": FORMAT, "network": facts.network, "strategy": facts.strategy,
            "scheme": facts.scheme, "batch": facts.batch, "precision": facts.precision,
            "backend": backend, "prices": prices, "devices": program.mesh.size,
            "exact": _micro(exact), "steps": [*writer.steps()],
        },
    }  # fmt: skip
    head = json_text(whole, compact=True).removesuffix("}")
    events = ",\n".join(json_text(each, compact=True) for each in writer.events())
    return f'{head},"traceEvents":[\n{events}\n]}}\n'


def _check_size(program: Program, steps: int) -> None:
    spans = (steps + max(steps, 1)) * sum(len(program.numbers[c]) for c in program.class_of)
    if spans > MOST_SPANS:
        message = f"a trace of {program.mesh.size} devices would have {spans:,} events, which are "
        message += f"more than {MOST_SPANS:,}."
        raise UsageError(Diagnostic("E051", message, help="trace fewer steps or devices."))


class _Writer:
    """The events of a trace, in the order of devices."""

    def __init__(self, program: Program, steps: Sequence[StepSpans]) -> None:
        self.program = program
        self.predicted = predicted_spans(program, line := simulate(program))
        self.predicted_ns = nanoseconds(line.seconds)
        self.measured = steps
        self.zero = steps[0].begun if steps else 0
        self.flows = 0

    def steps(self) -> Iterator[dict[str, Any]]:
        """What is said of every step."""
        predicted = _micro(self.predicted_ns)
        if not self.measured:
            yield {"step": 0, "begun": 0, "measured": None, "predicted": predicted}
        for each in self.measured:
            took = _micro(last_end(each.spans) - each.begun)
            begun = _micro(each.begun - self.zero)
            yield {"step": each.step, "begun": begun, "measured": took, "predicted": predicted}

    def events(self) -> Iterator[dict[str, Any]]:
        """Names of all lanes, then what runs on them."""
        for device in range(self.program.mesh.size):
            instructions = self.program.of(device).instructions
            yield from self._names(device, instructions)
            told = {number: self._args(device, each) for number, each in instructions.items()}
            begins = [*self._begins()]
            for measured in (True, False) if self.measured else (False,):
                nexts = [begun for _, begun in begins[1:]]
                for place, (number, begun) in enumerate(begins):
                    spans = self._spans(place, begun, measured)
                    yield from self._run(device, instructions, told, number, spans, measured)
                    until = nexts[place] if place < len(nexts) else None
                    yield from self._memory(device, spans, begun, until, measured)

    def _spans(self, place: int, begun: int, measured: bool) -> Mapping[Place, tuple[int, int]]:
        """A step's spans, from the start of the first step."""
        own = self.measured[place].spans if measured else self.predicted
        by = -self.zero if measured else begun
        return {place: (a + by, b + by) for place, (a, b) in own.items()}

    def _begins(self) -> Iterator[tuple[int, int]]:
        """The steps, and when they begin; one that is predicted where none was measured."""
        if not self.measured:
            yield 0, 0
        yield from ((each.step, each.begun - self.zero) for each in self.measured)

    def _names(
        self, device: int, instructions: Mapping[int, DeviceInstruction]
    ) -> Iterator[dict[str, Any]]:
        pid = process_of(device)
        yield _meta("process_name", pid, None, name=f"device {device}")
        yield _meta("process_sort_index", pid, None, sort_index=device)
        streams = {each.stream for each in instructions.values()}
        for stream in (each for each in STREAMS if each in streams):
            for measured in (True, False) if self.measured else (False,):
                tid = thread_of(stream, measured)
                name = stream if measured else f"{stream}, predicted"
                yield _meta("thread_name", pid, tid, name=name)
                yield _meta("thread_sort_index", pid, tid, sort_index=tid)

    def _args(self, device: int, each: DeviceInstruction) -> dict[str, Any]:
        """What an event says of its instruction, besides its number and step."""
        common = {"layer": each.layer, "phase": each.phase, "kind": word_of(each)}
        waits = {"waits": list(each.waits)}
        if isinstance(each, Launch):
            reads, writes = _shapes(each.reads), _shapes(each.writes)
            return {**common, "reads": reads, "writes": writes, **waits}
        sent, received = group_traffic(self.program, each).get(device, (0, 0))
        tensors = [part.node for part in each.parts]
        return {**common, "devices": list(each.devices), "tensors": tensors, "sent_bytes": sent,
                "received_bytes": received, **waits}  # fmt: skip

    def _run(
        self,
        device: int,
        instructions: Mapping[int, DeviceInstruction],
        told: Mapping[int, Mapping[str, Any]],
        step: int,
        spans: Mapping[Place, tuple[int, int]],
        measured: bool,
    ) -> Iterator[dict[str, Any]]:
        """One device's step: its instructions, and an arrow for each wait."""
        for number, each in instructions.items():
            start, end = spans[number, device]
            args = {"step": step, "instruction": number, "predicted": not measured, **told[number]}
            yield {
                "ph": "X", "name": f"{each.layer} {args['kind']}", "cat": each.phase,
                "pid": process_of(device), "tid": thread_of(each.stream, measured),
                "ts": _micro(start), "dur": _micro(end - start), "args": args,
            }  # fmt: skip
            for wait in each.waits:
                before = instructions[wait].stream
                yield from self._arrow(device, before, spans[wait, device], each.stream, start,
                                       measured)  # fmt: skip

    def _memory(
        self,
        device: int,
        spans: Mapping[Place, tuple[int, int]],
        begun: int,
        until: int | None,
        measured: bool,
    ) -> Iterator[dict[str, Any]]:
        """The bytes that a device has in use, each time that they change `until` the next step
        begins: a predicted step may end later.
        """
        class_ = self.program.class_of[device]
        times = {number: spans[number, device] for number in self.program.numbers[class_]}
        ended = max((end for _, end in times.values()), default=begun)
        for start, nbytes in levels(storage_lives(self.program, class_, times, begun, ended)):
            if until is not None and start >= until:
                break
            yield {
                "ph": "C", "name": counter_of(measured), "cat": "memory",
                "pid": process_of(device), "ts": _micro(start), "args": {"bytes": nbytes},
            }  # fmt: skip

    def _arrow(
        self, device: int, stream: str, span: tuple[int, int], to: str, at: int, measured: bool
    ) -> Iterator[dict[str, Any]]:
        """From the end of what is waited for to what waits."""
        self.flows += 1
        common = {"name": "wait", "cat": "wait", "id": self.flows, "pid": process_of(device)}
        # A moment at which the event's bar has ended is no longer on it.
        left = max(span[0], span[1] - 1)
        yield {"ph": "s", **common, "tid": thread_of(stream, measured), "ts": _micro(left)}
        yield {"ph": "f", "bp": "e", **common, "tid": thread_of(to, measured), "ts": _micro(at)}


def process_of(device: int) -> int:
    """The number of a device's process; 0 means the idle one to some viewers."""
    return device + 1


def thread_of(stream: str, measured: bool) -> int:
    """The number of a stream's thread: predicted ones below the measured ones."""
    return 2 * STREAMS.index(stream) + (1 if measured else 2)


def counter_of(measured: bool) -> str:
    """What the counter of a device's memory is called."""
    return "memory" if measured else "memory, predicted"


def _shapes(views: Iterable[View]) -> list[str]:
    return ["x".join(map(str, view.shape)) or "1" for view in views]


def _micro(nanoseconds: int) -> float:
    """Microseconds; whole numbers of them and three decimals are exact enough for days."""
    return nanoseconds / 1000


def _meta(kind: str, pid: int, tid: int | None, **args: object) -> dict[str, Any]:
    thread = {} if tid is None else {"tid": tid}
    return {"ph": "M", "name": kind, "pid": pid, **thread, "args": args}
