"""The search finds the least cost that there is."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest

from netc.strategies.search import CostTable, minimize, shared, total

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
