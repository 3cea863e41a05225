"""The clock keeps to the order of programs and to what links can carry."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from itertools import pairwise

import pytest
from harness import compile_case, compiled, options, tiny
from hypothesis import given
from hypothesis import strategies as st
from random_networks import GRIDS, Case, cases, free_cases, round_cases

from netc.ir.clock import Timeline, simulate
from netc.ir.critical import critical_path
from netc.ir.program import Collective, Launch, Program

CLOSE = 1e-9
"""Seconds that rounding may cost, beside steps of microseconds and more."""


def check_order(program: Program, line: Timeline, overlap: bool) -> None:
    """Every instruction runs once on each of its classes, after what it waits for and follows."""
    last: dict[tuple[int, str], float] = defaultdict(float)
    for number, each in enumerate(program.instructions):
        for class_ in each.classes:
            start, end = line.starts[number, class_], line.ends[number, class_]
            stream = each.stream if overlap else ""
            assert start >= last[class_, stream] - CLOSE
            last[class_, stream] = end
            for wait in each.waits:
                assert start >= line.ends.get((wait, class_), 0.0) - CLOSE
            assert end - start >= each.seconds - CLOSE
    assert len(line.ends) == sum(len(each.classes) for each in program.instructions)


def check_links(program: Program, line: Timeline) -> None:
    """No port and no shared link carries more than it can while exchanges go on."""
    spans: dict[tuple[object, ...], list[tuple[float, float, float]]] = defaultdict(list)
    for number, each in enumerate(program.instructions):
        if not isinstance(each, Collective):
            continue
        for class_, pair in zip(each.classes, each.ports, strict=True):
            start, end = line.starts[number, class_], line.ends[number, class_]
            for way, share in enumerate(pair):
                spans[class_, way].append((start, end, share * each.seconds))
    for uses in spans.values():
        for start, _, _ in uses:
            for _, end, _ in uses:
                inside = sum(busy for a, b, busy in uses if start <= a and b <= end)
                assert inside <= max(end - start, 0.0) * (1 + CLOSE) + CLOSE


def check_path(program: Program, line: Timeline) -> None:
    """From the start to the end without a gap; each needs the one before, itself or another that
    does the same exchange.
    """
    path = critical_path(program, line)
    assert line.starts[path[0]] == 0.0 and line.ends[path[-1]] == line.seconds
    for before, after in pairwise(path):
        assert line.ends[before] == line.starts[after]
        (number, class_), each = before, program.instructions[after[0]]
        assert class_ == after[1] or isinstance(each, Collective)
        assert class_ in each.classes
        assert number in each.waits or program.instructions[number].stream == each.stream
        assert number < after[0]


@cases(60)
@given(st.one_of(free_cases(), free_cases(GRIDS), round_cases()))
def test_order_and_links_are_kept(case: Case) -> None:
    program = compile_case(case)[0].train
    check_path(program, simulate(program))
    for overlap in (True, False):
        line = simulate(program, overlap)
        check_order(program, line, overlap)
        check_links(program, line)


def test_without_overlap_one_device_after_the_other() -> None:
    """On one device a step is the sum of its instructions, either way."""
    program = compiled(tiny(), options(tiny(), 1, 4))[0].train
    whole = sum(each.seconds for each in program.instructions)
    assert simulate(program).seconds == pytest.approx(whole)
    assert simulate(program, overlap=False).seconds == pytest.approx(whole)


def test_exchanges_that_meet_share_a_port() -> None:
    """Two that fill the same ports take as long together as one after the other."""
    program = compiled(tiny(), options(tiny(), 2, 8, strategy="data"))[0].train
    found = next(i for i in program.instructions if isinstance(i, Collective))
    full = replace(found, seconds=1.0, ports=((1.0, 1.0),), shared=(), waits=())
    ways = {
        2.0: replace(full, stream="exchange"),
        1.5: replace(full, stream="exchange", seconds=0.5),
        1.0: replace(full, stream="exchange", ports=((0.0, 0.0),)),
    }
    for seconds, other in ways.items():
        both = replace(program, instructions=(full, other))
        assert simulate(both).seconds == pytest.approx(seconds)
    out = replace(full, ports=((1.0, 0.0),))
    into = replace(full, ports=((0.0, 1.0),), stream="exchange")
    assert simulate(replace(program, instructions=(out, into))).seconds == pytest.approx(1.0)
    link = replace(full, ports=((0.5, 0.5),), shared=(("halves", 0.8),))
    crossing = replace(program, instructions=(link, replace(link, stream="exchange")))
    assert simulate(crossing).seconds == pytest.approx(1.6)


def test_computing_slows_down_while_its_device_exchanges() -> None:
    program = compiled(tiny(), options(tiny(), 2, 8, strategy="data"))[0].train
    exchange = next(i for i in program.instructions if isinstance(i, Collective))
    launch = next(i for i in program.instructions if isinstance(i, Launch))
    slow = replace(exchange, seconds=1.0, ports=((1.0, 1.0),), waits=(), keeps=0.5)
    work = replace(launch, seconds=2.0, waits=())
    line = simulate(replace(program, instructions=(slow, work)))
    # Half of the first second counts; the rest goes at full speed.
    assert line.seconds == pytest.approx(2.5)
    assert line.exposed_seconds == pytest.approx(0.0)
