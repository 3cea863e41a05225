"""The search finds the least cost that there is."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest

from netc.strategies import pareto
from netc.strategies.eliminate import Costs
from netc.strategies.search import CostTable, minimize, shared, total
from netc.strategies.within import bytes_of, cheapest_within, leanest, priced_within

CASES = 2_000


def random_tables(rng: np.random.Generator) -> tuple[list[int], list[CostTable]]:
    """Up to seven layers with up to five choices, edges anywhere, some values of three layers."""
    count = int(rng.integers(1, 8))
    most = {6: 4, 7: 3}.get(count, 5)
    sizes = [int(size) for size in rng.integers(1, most + 1, count)]
    scopes: list[tuple[int, ...]] = [(i,) for i in range(count)]
    scopes += [pair for pair in combinations(range(count), 2) if rng.random() < 0.5]
    scopes += [each for each in combinations(range(count), 3) if rng.random() < 0.1]
    scopes += [scope for scope in scopes if rng.random() < 0.2]
    rounded = rng.random() < 0.5

    def costs(scope: tuple[int, ...]) -> np.ndarray:
        found = rng.random([sizes[i] for i in scope]) * 10
        return np.floor(found) if rounded else found

    return sizes, [CostTable(scope, costs(scope)) for scope in scopes]


def exhaustive(sizes: list[int], tables: list[CostTable]) -> float:
    return min(total(choices, tables) for choices in product(*map(range, sizes)))


def test_elimination_equals_exhaustive_search() -> None:
    rng = np.random.default_rng(1)
    for case in range(CASES):
        sizes, tables = random_tables(rng)
        found = minimize(sizes, tables)
        assert found.cost == pytest.approx(exhaustive(sizes, tables), rel=1e-12), case
        assert found.cost == found.bound == total(found.choices, tables)


def test_where_tables_are_too_large_what_cannot_be_best_is_left_out() -> None:
    """Tables in parts give bounds; without choices above them, most searches are exact again."""
    rng, exact = np.random.default_rng(4), 0
    for _ in range(300):
        sizes, tables = random_tables(rng)
        found = minimize(sizes, tables, largest=60)
        exact += found.bound == found.cost
        if found.bound == found.cost:
            assert found.cost == pytest.approx(exhaustive(sizes, tables), rel=1e-9)
    assert exact > 270


def random_room(rng: np.random.Generator, sizes: list[int]) -> tuple[list[Costs], float]:
    """Bytes of choices, and room that is short, often for all."""
    nbytes: list[Costs] = [np.floor(rng.random(size) * 20) for size in sizes]
    least, most = (sum(float(f(own)) for own in nbytes) for f in (np.min, np.max))
    return nbytes, least + (most - least) * (0.75 * rng.random() - 0.05)


def exhaustive_within(
    sizes: list[int], tables: list[CostTable], nbytes: list[Costs], room: float
) -> float | None:
    fitting = (
        total(choices, tables)
        for choices in product(*map(range, sizes))
        if bytes_of(choices, nbytes) <= room
    )
    return min(fitting, default=None)


def test_sets_of_seconds_and_bytes_equal_exhaustive_search() -> None:
    """The best that fits, whatever the room; a price of bytes misses it often."""
    rng = np.random.default_rng(5)
    missed = needed = 0
    for case in range(CASES):
        sizes, tables = random_tables(rng)
        nbytes, room = random_room(rng, sizes)
        least = exhaustive_within(sizes, tables, nbytes, room)
        found = cheapest_within(sizes, tables, nbytes, room)
        assert found.fits == (least is not None), case
        if least is None:
            fewest = bytes_of(found.choices, nbytes)
            assert fewest == sum(float(own.min()) for own in nbytes)
            assert found.cost == leanest(sizes, tables, nbytes).cost
            continue
        assert bytes_of(found.choices, nbytes) <= room
        assert found.cost == total(found.choices, tables) == pytest.approx(least, rel=1e-9), case
        assert found.bound == pytest.approx(found.cost, rel=1e-8) and not found.thinned
        priced = priced_within(sizes, tables, nbytes, room)
        assert priced.bound <= least * (1 + 1e-9) and least <= priced.cost * (1 + 1e-9)
        missed += priced.cost > least * (1 + 1e-9)
        needed += found.kept > 0
    assert missed > CASES / 20 and needed > CASES / 4


@pytest.mark.parametrize("most", [1, 4])
def test_where_sets_are_too_large_that_is_said_and_the_bound_holds(most: int) -> None:
    rng, thinned, exact = np.random.default_rng(6), 0, 0
    for case in range(300):
        sizes, tables = random_tables(rng)
        nbytes, room = random_room(rng, sizes)
        least = exhaustive_within(sizes, tables, nbytes, room)
        if least is None:
            continue
        found = cheapest_within(sizes, tables, nbytes, room, most)
        assert bytes_of(found.choices, nbytes) <= room
        assert found.bound <= least * (1 + 1e-9) and least <= found.cost * (1 + 1e-9), case
        assert found.thinned or found.bound == pytest.approx(found.cost, rel=1e-8)
        thinned += found.thinned
        exact += found.cost <= least * (1 + 1e-9)
    assert thinned > 10 and exact > 200


def test_where_it_would_take_too_long_the_price_of_bytes_has_the_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pareto, "MOST_SUMS", 3)
    rng, given_up = np.random.default_rng(7), 0
    for _ in range(100):
        sizes, tables = random_tables(rng)
        nbytes, room = random_room(rng, sizes)
        found = cheapest_within(sizes, tables, nbytes, room)
        priced = priced_within(sizes, tables, nbytes, room)
        if found.thinned:
            given_up += 1
            assert (found.choices, found.bound) == (priced.choices, priced.bound)
    assert given_up > 10


@pytest.mark.parametrize("largest", [1, 8, 40])
def test_where_tables_are_too_large_the_bound_holds(largest: int) -> None:
    rng = np.random.default_rng(2)
    exact = 0
    for _ in range(300):
        sizes, tables = random_tables(rng)
        found, least = minimize(sizes, tables, largest), exhaustive(sizes, tables)
        assert found.bound <= least + 1e-9
        assert least - 1e-9 <= found.cost == total(found.choices, tables)
        exact += found.cost <= least + 1e-9
    assert exact > 150


def test_variables_that_share_a_choice_are_one() -> None:
    """The optimum is the best of all choices in which those that share have the same."""
    rng = np.random.default_rng(3)
    for case in range(CASES // 4):
        sizes, tables = random_tables(rng)
        first = list(range(len(sizes)))
        for i in range(len(sizes)):
            alike = [j for j in range(i) if sizes[j] == sizes[i] and first[j] == j]
            if alike and rng.random() < 0.5:
                first[i] = int(rng.choice(alike))
        found = minimize(sizes, shared(tables, first))
        choices = tuple(found.choices[i] for i in first)
        tied = (
            each for each in product(*map(range, sizes))
            if all(each[i] == each[j] for i, j in enumerate(first))
        )  # fmt: skip
        least = min(total(each, tables) for each in tied)
        assert total(choices, tables) == pytest.approx(least, rel=1e-12), case
        assert found.cost == found.bound == pytest.approx(least, rel=1e-12)
