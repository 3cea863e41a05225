"""Ways that are worked out together are those of the one table of redistributions."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest

import netc_clusters
from netc.cost import read_cluster
from netc.ir.comm import redistribute
from netc.ir.types import Halo, Mesh, On, Partial, Placement, Replicate, Shard, WindowReach
from netc.planner.ways import Ways

P100 = read_cluster(Path(netc_clusters.__file__).parent / "p100.toml")
SOURCES: tuple[Placement, ...] = (Replicate(), Partial("sum"), Shard(0), Shard(2), On(0), On(1))
WINDOWS = Halo(2, 0, 1, WindowReach(1, 1, 0, 0))
OTHERS = Halo(3, 0, 1, WindowReach(1, 1, 0, 0))
TARGETS: tuple[Placement, ...] = (Replicate(), OTHERS, Shard(0), Shard(2), On(0), On(1), WINDOWS)


def of_table(ways: Ways, source: int, target: int) -> tuple[int, ...]:
    """The numbers of the steps of one pair of placements, each of which is what the table has."""
    steps, before = [], source
    ends = ways.plain[source], ways.plain[target]
    for op, places in redistribute(*ends):
        assert ways._operation(ways.plain[before], places) == op
        after = ways.plain.number(places)
        if not op.view:
            steps.append(ways._step(before, after, op))
        before = after
    return tuple(steps)


@pytest.mark.parametrize("shape", [(4,), (2, 2), (3, 2), (2, 2, 2)])
def test_ways_worked_out_together_are_those_of_the_table(shape: tuple[int, ...]) -> None:
    ways = Ways(Mesh(shape, tuple("xyz"[: len(shape)])), P100)
    few = 3 if len(shape) > 2 else len(SOURCES)
    sources = [ways.plain.number(each) for each in product(SOURCES[-few:], repeat=len(shape))]
    targets = [ways.plain.number(each) for each in product(TARGETS[-few:], repeat=len(shape))]
    pairs = [*product(sources, targets)]
    ends = (np.array(each) for each in zip(*pairs, strict=True))
    together = list(ways._worked_out(*ends))
    assert together == [of_table(ways, *pair) for pair in pairs]
    assert len({len(way) for way in together}) > 2 or len(shape) == 1
