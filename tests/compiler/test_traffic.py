"""Bytes that really move are those predicted; and what the null clock says of their overlap."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from harness import compile_case, compiled, data, options, session, tiny, total_traffic
from hypothesis import given
from hypothesis import strategies as st
from random_networks import GRIDS, Case, cases, free_cases, round_cases

from netc.cost import Links
from netc.ir.program import Collective, Launch, Program
from netc_runtime.null import NullBackend, NullExecutable


@cases(40)
@given(st.one_of(free_cases(), free_cases(GRIDS), round_cases()))
def test_predicted_equals_counted(case: Case) -> None:
    bundle, made = compile_case(case)
    devices = session(bundle)
    moves = case.optimizer.accumulate - 1
    devices.step(*data(case.network, case.batch, 0), step=moves, seed=0, learning_rate=0.1)
    moved = devices.last.traffic
    assert moved == NullBackend([bundle.train]).load(bundle.train).run().traffic
    counted = [moved.get(d, (0, 0)) for d in range(case.mesh.size)]
    assert counted == total_traffic(made.plan)


def clocked(scheme: str, devices: int = 3) -> tuple[Program, NullExecutable]:
    chosen = options(tiny(), devices, devices**2 * 4, strategy="hybrid", scheme=scheme)
    program = compiled(tiny(), chosen)[0].train
    executable = NullBackend([program]).load(program)
    executable.run()
    return program, executable


def begins(run: NullExecutable, stream: str, value: str) -> float:
    """When the exchange of a value starts."""
    return next(
        start
        for (number, _), start in run.timeline.starts.items()
        if (each := run.program.instructions[number]).stream == stream
        and each.node.startswith(value)
    )


def computes(run: NullExecutable, wanted: Callable[[Launch], bool]) -> tuple[float, float]:
    """When the first of some launches starts, and the last one ends."""
    found = [
        (start, run.timeline.ends[key])
        for key, start in run.timeline.starts.items()
        if isinstance(each := run.program.instructions[key[0]], Launch) and wanted(each)
    ]
    return min(start for start, _ in found), max(end for _, end in found)


def test_scheme_a_computes_when_everything_has_arrived() -> None:
    program, run = clocked("a")
    gather = next(
        number
        for number, instruction in enumerate(program.instructions)
        if isinstance(instruction, Collective) and instruction.node.startswith("flatten1.")
    )
    first, _ = computes(run, lambda x: x.layer == "fc1")
    starts = [start for (number, _), start in run.timeline.starts.items() if number == gather]
    assert first >= min(starts) + program.instructions[gather].seconds


def test_convolutions_go_back_once_after_the_last_round() -> None:
    program, run = clocked("b")
    nodes = Counter(i.node for i in program.instructions if isinstance(i, Launch))
    assert nodes["conv2.weight.grad"] == program.mesh.size
    start, _ = computes(run, lambda x: x.node == "conv2.weight.grad")
    assert start >= begins(run, "return", "flatten1.grad@2")


def test_a_faster_link_hides_more() -> None:
    chosen = options(tiny(), 3, 36, strategy="hybrid", scheme="c")
    exposed = []
    for speed in (1.0, 100.0):
        (link,) = chosen.cluster.links.levels
        faster = replace(
            link, bytes_per_second=link.bytes_per_second * speed,
            latency_seconds=link.latency_seconds / speed,
        )  # fmt: skip
        cluster = replace(chosen.cluster, links=Links((faster,)))
        program = compiled(tiny(), replace(chosen, cluster=cluster))[0].train
        seconds = NullBackend([program]).load(program).run().exposed_seconds
        assert seconds is not None
        exposed.append(seconds)
    assert exposed[1] < exposed[0] / 2
