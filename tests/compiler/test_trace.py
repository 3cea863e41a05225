"""Traces of random networks under random splits: every instruction once, in an order that streams
and waits allow, beside what the clock predicts; what is said of them adds up.
"""

from __future__ import annotations

import random
from collections import defaultdict
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness import compile_case, compiled, data, options, session, tiny
from hypothesis import given
from hypothesis import strategies as st
from random_networks import GRIDS, Case, cases, free_cases, round_cases

from netc.errors import UsageError
from netc.ir.clock import simulate
from netc.ir.program import Bundle, Collective, Program, accesses
from netc.trace import write
from netc.trace.account import Accounts, by_layer, by_stream, waits_by_pair
from netc.trace.intervals import length, minus, union
from netc.trace.read import read_trace
from netc.trace.spans import StepSpans, StepTrace, nanoseconds
from netc.trace.write import trace_text
from netc_runtime.backend import StepTimes
from netc_runtime.cpu.backend import CpuExecutable

CASES = st.one_of(free_cases(), free_cases(GRIDS), round_cases())


def run(case: Case, bundle: Bundle, traced: bool, interleave: int | None) -> tuple[Any, Any]:
    """A step's results and state, and its times."""
    made = session(bundle)
    images, labels = data(case.network, case.batch, case.seed)
    step = bundle.facts.accumulate - 1
    made.stage(images, labels, step=step)
    if interleave is not None:
        executable = made.train
        assert isinstance(executable, CpuExecutable)
        executable.run = partial(executable.run_interleaved, interleave)  # type: ignore[method-assign]
    made.begin(step=step, seed=1, learning_rate=0.1, traced=traced)
    found = made.results()
    return {**found, **made.state()}, made.last.times


def read(text: str, folder: Path) -> StepTrace:
    path = folder / "t.json"
    path.write_text(text)
    return read_trace(path)


def measured(times: StepTimes, step: int = 4) -> StepSpans:
    spans = {place: (times.starts[place], end) for place, end in times.ends.items()}
    return StepSpans(step, times.begun, spans)


def check(program: Program, trace: StepTrace) -> None:
    """The law of traces."""
    for step in trace.steps:
        for is_measured in {True, False} if step.measured is not None else {False}:
            own = [s for s in trace.spans if (s.step, s.measured) == (step.step, is_measured)]
            check_step(program, {(s.number, s.device): s for s in own}, len(own), step.begun)


def check_memory(program: Program, trace: StepTrace) -> None:
    """What is in use has bytes of its own in the arena; between steps state is there alone."""
    for device, class_ in enumerate(program.class_of):
        state = {b.storage: b.nbytes for b in program.buffers_of[class_] if b.kind == "persistent"}
        for measured in {True, False} if trace.is_measured else {False}:
            own = [m for m in trace.memory if (m.device, m.measured) == (device, measured)]
            if program.numbers[class_]:
                assert own and own[-1].nbytes == sum(state.values())
            most = max((m.nbytes for m in own), default=0)
            assert sum(state.values()) <= most <= program.arena_bytes[class_]
            assert all(a.start < b.start and a.nbytes != b.nbytes for a, b in pairwise(own))


def check_step(program: Program, spans: dict[Any, Any], count: int, begun: int) -> None:
    wanted = {(n, d) for d, c in enumerate(program.class_of) for n in program.numbers[c]}
    assert set(spans) == wanted and count == len(wanted)
    last: dict[tuple[int, str], int] = defaultdict(lambda: begun)
    for (number, device), span in sorted(spans.items()):
        instruction = program.of(device).instructions[number]
        assert (span.stream, span.layer, span.phase) == (
            instruction.stream, instruction.layer, instruction.phase)  # fmt: skip
        assert span.waits == instruction.waits
        assert span.end >= span.start >= last[device, span.stream]
        last[device, span.stream] = span.end
        assert all(spans[wait, device].end <= span.start for wait in span.waits)
        if span.devices:
            came = max(spans[number, each].start for each in span.devices)
            assert all(spans[number, each].end >= came for each in span.devices)


def check_accounts(trace: StepTrace, accounts: Accounts) -> None:
    waited: dict[int, float] = defaultdict(float)
    for device, _, seconds in waits_by_pair(accounts.waits(), len(trace.steps)):
        waited[device] += seconds
    for each in accounts.devices():
        parts = each.computing + each.exchanging + each.waiting + each.idle
        assert parts == pytest.approx(each.seconds, abs=1e-9)
        assert 0 <= each.hidden <= each.computing + 1e-9
        # Waits of several streams may go on at once.
        assert each.waiting <= waited[each.device] + 1e-9
        assert waited[each.device] == 0 or each.waiting > 0


@cases(40)
@given(CASES, st.integers(0, 99), st.booleans())
def test_a_traced_step_keeps_the_order_and_the_results(
    tmp_path_factory: pytest.TempPathFactory, case: Case, seed: int, interleave: bool
) -> None:
    bundle, _ = compile_case(case)
    plain, none = run(case, bundle, False, None)
    found, times = run(case, bundle, True, seed if interleave else None)
    assert none is None and times is not None
    for name, value in plain.items():
        assert np.array_equal(found[name], value), name
    text = trace_text(bundle.train, bundle.facts, "cpu", "p100", [measured(times)])
    trace = read(text, tmp_path_factory.mktemp("trace"))
    check(bundle.train, trace)
    check_memory(bundle.train, trace)
    assert trace.is_measured and [step.step for step in trace.steps] == [4]
    accounts = [Accounts(trace, each) for each in (False, True)]
    for each in accounts:
        check_accounts(trace, each)
    streams, layers = by_stream(*accounts), by_layer(*accounts)
    for side in ("predicted", "measured"):
        total = sum(getattr(each, side) for each in streams)
        assert total == pytest.approx(sum(getattr(each, side) for each in layers))


@cases(40)
@given(CASES)
def test_predicted_lanes_are_the_clocks(
    tmp_path_factory: pytest.TempPathFactory, case: Case
) -> None:
    program, facts = (bundle := compile_case(case)[0]).train, bundle.facts
    trace = read(trace_text(program, facts, "null", "p100"), tmp_path_factory.mktemp("trace"))
    check(program, trace)
    check_memory(program, trace)
    line = simulate(program)
    for span in trace.spans:
        place = span.number, program.class_of[span.device]
        assert (span.start, span.end) == tuple(
            nanoseconds(times[place]) for times in (line.starts, line.ends)
        )
    (step,) = trace.steps
    assert step.measured is None and step.predicted == nanoseconds(line.seconds)
    accounts = Accounts(trace, measured=False)
    check_accounts(trace, accounts)
    for each in accounts.devices():
        busy = line.busy_seconds[program.class_of[each.device]]
        assert each.computing == pytest.approx(busy, abs=1e-9 * len(trace.spans))
    # An exchange goes on at once when the last device has come to it.
    for span in trace.spans:
        if span.devices:
            assert abs(accounts.working(span)[0] - span.start) <= 1


def test_the_peak_is_where_memory_is_fullest(tmp_path: Path) -> None:
    """By hand, of one device: state, input, and each value from its first write to its last use."""
    network = tiny()
    program = (bundle := compiled(network, options(network, 1, 8))[0]).train
    order = program.numbers[0]
    spans = {(number, 0): (10 * at, 10 * at + 10) for at, number in enumerate(order)}
    trace = read(
        trace_text(program, bundle.facts, "cpu", "p100", [StepSpans(4, 0, spans)]), tmp_path
    )
    kept = {view.buffer for port in program.outputs for view in port.views}
    used: dict[str, list[int]] = {}
    for at, number in enumerate(order):
        for views in accesses(program.instructions[number], 0):
            for view in views:
                used.setdefault(view.buffer, []).append(at)
    held = [0] * len(order)
    places: list[dict[int, int]] = [{} for _ in order]
    for b in program.buffers_of[0]:
        moments = used.get(b.name, [])
        last = len(order) - 1 if b.name in kept else max(moments, default=-1)
        first = min(moments, default=0)
        if b.kind != "temporary":
            first, last = 0, len(order) - 1
        for at in range(first, last + 1):
            places[at][b.offset] = max(places[at].get(b.offset, 0), b.nbytes)
    held = [sum(each.values()) for each in places]
    (peak,) = Accounts(trace, measured=True).peaks()
    assert (peak.device, peak.peak_bytes, peak.step) == (0, max(held), 4)
    at = round(peak.seconds * 1e8)
    assert held[at] == max(held) and at == held.index(max(held))
    assert (peak.layer, peak.phase) == (
        program.instructions[order[at]].layer, program.instructions[order[at]].phase
    )  # fmt: skip


def test_several_steps_stand_one_after_the_other(tmp_path: Path) -> None:
    network = tiny()
    bundle, _ = compiled(network, options(network, 2, 8, strategy="hybrid"))
    made, steps = session(bundle), []
    for number in range(2):
        images, labels = data(network, 8, number)
        made.stage(images, labels, step=number)
        made.begin(step=number, seed=1, learning_rate=0.1, traced=True)
        made.results()
        assert made.last.times is not None
        steps.append(measured(made.last.times, number + 1))
    trace = read(trace_text(bundle.train, bundle.facts, "cpu", "p100", steps, exact=1500), tmp_path)
    check(bundle.train, trace)
    first, second = trace.steps
    assert first.begun == 0 and first.measured is not None
    assert second.begun >= first.measured
    assert trace.exact == 1500
    moments = [m.start for m in trace.memory if m.device == 0 and not m.measured]
    assert moments == sorted(moments) and moments[-1] > second.begun


def test_a_device_waits_for_the_one_that_comes_last(tmp_path: Path) -> None:
    """Of a step that is made by hand: device 1 computes 5 us longer before each exchange."""
    network = tiny()
    program = (bundle := compiled(network, options(network, 2, 8, strategy="data"))[0]).train
    spans: dict[tuple[int, int], tuple[int, int]] = {}
    now = {0: 1000, 1: 1000}
    exchanges = 0
    for number, each in enumerate(program.instructions):
        if isinstance(each, Collective):
            exchanges += 1
            now[1] += 5000
            meet = max(now.values())
            spans |= {(number, d): (now[d], meet + 300) for d in now}
            now = dict.fromkeys(now, meet + 300)
        else:
            for d in now:
                spans[number, d] = now[d], now[d] + 100
                now[d] += 100
    text = trace_text(program, bundle.facts, "cpu", "p100", [StepSpans(4, 1000, spans)])
    accounts = Accounts(read(text, tmp_path), measured=True)
    waits = accounts.waits()
    assert len(waits) == exchanges > 0
    assert all((w.device, w.other) == (0, 1) for w in waits)
    assert [w.seconds for w in waits] == pytest.approx([5e-6] * exchanges)
    zero, one = accounts.devices()
    assert zero.waiting == pytest.approx(5e-6 * exchanges) and one.waiting == 0
    assert zero.exchanging == one.exchanging == pytest.approx(3e-7 * exchanges)
    assert one.idle == pytest.approx(5e-6 * exchanges) and zero.idle == pytest.approx(0, abs=1e-12)


def test_intervals() -> None:
    random_ = random.Random(3)
    for _ in range(200):
        sets = [
            [(a, a + random_.randrange(0, 9)) for a in (random_.randrange(40) for _ in range(5))]
            for _ in range(2)
        ]
        first, second = ({m for a, b in own for m in range(a, b)} for own in sets)
        one, other = map(union, sets)
        assert {m for a, b in one for m in range(a, b)} == first and length(one) == len(first)
        left = minus(one, other)
        assert {m for a, b in left for m in range(a, b)} == first - second
        assert left == union(left)


def test_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    network = tiny()
    bundle, _ = compiled(network, options(network, 2, 8, strategy="data"))
    monkeypatch.setattr(write, "MOST_SPANS", 10)
    with pytest.raises(UsageError, match="a trace of 2 devices would have"):
        trace_text(bundle.train, bundle.facts, "null", "p100")
