"""Which layers are computed again: plans fit that did not, at little cost."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
from harness import case_options, options
from hypothesis import given
from networks import Maker
from random_networks import Case, cases, free_cases

import netc_clusters
import netc_models
from netc.cost import read_cluster
from netc.ir.clock import simulate
from netc.ir.types import line_mesh
from netc.passes.assign_formats import Target
from netc.passes.options import Options
from netc.passes.pipeline import lower_network
from netc.passes.plan_memory import peak_bytes
from netc.planner.memory_trace import MemoryTrace
from netc.planner.recompute import choose, resolved
from netc.syntax import Network, parse_file

H200 = read_cluster(Path(netc_clusters.__file__).parent / "h200.toml")
NEAR, DEAR = 1.2, 1.5
"""A choice may need so many times the room, and take so many times the best one's seconds."""


@cases(15)
@given(free_cases())
def test_what_is_chosen_never_needs_more_and_fits_if_it_can(case: Case) -> None:
    chosen = replace(case_options(case), recompute=("all",), fetch=())
    kept = lower_network(case.network, replace(chosen, recompute=()))
    align = chosen.target.alignment_bytes
    most = peak_bytes(kept.program, align)
    least = lower_network(case.network, resolved(case.network, chosen))
    assert peak_bytes(least.program, align) <= most
    room = (most + peak_bytes(least.program, align)) / 2
    asked_for = replace(at_memory(chosen, room), recompute=("auto",))
    made = lower_network(case.network, resolved(case.network, asked_for))
    assert peak_bytes(made.program, align) <= room


def at_memory(chosen: Options, room: float) -> Options:
    return replace(chosen, cluster=replace(chosen.cluster, memory_bytes=room))


def shipped(name: str, devices: int) -> tuple[Network, Options]:
    network = parse_file(Path(netc_models.__file__).parent / f"{name}.net", {})
    return network, Options(
        line_mesh(devices), 64, H200, target=Target("cuda", "nhwc", "nhwc", 256)
    )


@pytest.mark.parametrize(("name", "devices", "share"), [
    ("vgg16", 1, 0.8), ("vgg16", 4, 0.9), ("resnet18", 1, 0.5), ("googlenet", 1, 0.6),
])  # fmt: skip
def test_shipped_networks_fit_less_memory_for_less_than_a_forward_pass(
    name: str, devices: int, share: float
) -> None:
    network, chosen = shipped(name, devices)
    kept = lower_network(network, chosen, verified=False)
    room = share * peak_bytes(kept.program, 256)
    made_for = resolved(network, replace(at_memory(chosen, room), recompute=("auto",)))
    made = lower_network(network, made_for)
    assert 0.9 * room <= peak_bytes(made.program, 256) <= room
    forward = sum(i.seconds for i in kept.program.instructions if i.phase == "forward")
    more = simulate(made.program).seconds - simulate(kept.program).seconds
    assert 0 < more < 0.7 * forward
    trace = MemoryTrace(kept).walk(frozenset()).peak
    assert 0.98 < trace / peak_bytes(kept.program, 256) <= 1


@pytest.mark.parametrize("seed", range(4))
def test_a_choice_is_near_the_best_of_all(seed: int) -> None:
    """Beside every choice there is, in the trace."""
    rng = random.Random(seed)
    net = Maker(rng.choice([1, 3]), 16, 16)
    x = "image"
    for _ in range(4):
        x = net.unary("relu", net.conv(x, rng.choice([4, 8, 16]), pad=1))
        x = net.bn(x) if rng.random() < 0.5 else net.pool(x, 2)
    network = net.loss(net.fc(x, 5))
    trace = MemoryTrace(lower_network(network, options(network, 1, 16, fetch=())))
    free = sorted(trace.choices())
    every = [frozenset(c) for n in range(len(free) + 1) for c in combinations(free, n)]
    least, most = min(trace.walk(c).peak for c in every), trace.walk(frozenset()).peak
    for share in (0.0, 0.3, 0.6, 0.9):
        room = least + share * (most - least)
        best = min(trace.seconds(c) for c in every if trace.walk(c).peak <= room)
        found = choose(trace, room)
        print(seed, share, trace.walk(found).peak / room, trace.seconds(found) / (best or 1))
        assert trace.walk(found).peak <= NEAR * room
        assert trace.seconds(found) <= DEAR * best or trace.walk(found).peak > room
