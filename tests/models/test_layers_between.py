"""The page on layers in between says what the planner finds."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


def _script() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "layers_between.py"
    spec = importlib.util.spec_from_file_location("layers_between_page", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Data classes look their module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


script = _script()


@pytest.mark.parametrize("link", script.LINKS)
def test_activations_are_split_as_what_they_read_or_what_reads_them(link: str) -> None:
    """They move nothing by themselves: what changes placement is what is between two others."""
    case = script.found(script.network("alexnet"), 256, 4, link)
    habits = script.habits([case])
    assert habits["relu"]["neither"] == 0
    assert sum(habits["relu"].values()) == 7
    assert habits["dropout"]["neither"] == 0


def test_what_is_taken_is_the_cheapest_where_others_stay() -> None:
    case = script.found(script.network("alexnet"), 256, 4, "PCI Express")
    rows = list(script.prices(case))
    assert [row[0] for row in rows] == list(script.SHOWN["alexnet"])
    for row in rows:
        assert row[4].count(";") >= 1


def test_batches_of_change_lie_between_two_plans() -> None:
    name, devices, link = "alexnet_owt", 4, "NVLink"
    found = dict(script.changes(name, devices, link))
    assert {"fc6", "fc7", "fc8"} <= set(found)
    for layer in ("fc7", "fc8"):
        batch, before, after = found[layer]
        plans = [
            script.found(script.network(name), each, devices, link).splits[layer]
            for each in (batch, batch + devices)
        ]
        assert plans == [(before,), (after,)]
    assert not {"flatten1", "image", "labels"} & set(found)


def test_windows_of_one_pixel_have_no_borders() -> None:
    one, other = (script.found(script.of_kernels(size), 256, 4, "slow") for size in (1, 3))
    assert "h" in {split[0] for split in one.splits.values()}
    assert "h" not in {split[0] for split in other.splits.values()}
