"""`netc explain --layer`: every split that a layer could have, and what hides its exchanges."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from netc.cli.main import main
from netc.cost import read_cluster
from netc.ir.types import line_mesh
from netc.passes.options import Options
from netc.passes.pipeline import lower_network
from netc.planner.prices import choices_of, price
from netc.planner.terms import terms_of
from netc.planner.why import alternatives
from netc.strategies.search import total
from netc.syntax import parse_file
from netc_clusters import __file__ as clusters

DIGITS = "models/digits.net"
ASKED = ("--cluster", "p100", "--batch", "64", "--devices", "4", "--strategy", "hybrid")


@pytest.fixture(autouse=True)
def at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])


def explained(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    assert main(["explain", DIGITS, *ASKED, *arguments, "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("strategy", ["data", "model", "hybrid", "spatial"])
def test_prices_differ_as_those_of_whole_plans_do(strategy: str) -> None:
    cluster = read_cluster(Path(clusters).parent / "p100.toml")
    options = Options(line_mesh(4), 64, cluster, strategy, scheme="a")
    compiled = lower_network(parse_file(Path(DIGITS)), options)
    found = alternatives(compiled.graph, options.mesh, cluster, compiled.splits)
    choices = choices_of(compiled.graph, options.mesh)
    priced = price(terms_of(compiled.graph, choices), options.mesh, cluster, choices)
    tables, chosen = priced.tables(), dict(compiled.splits)
    here = total(priced.number({layer: chosen[layer] for layer in priced.layers}), tables)
    for layer, own in found.items():
        assert [each.seconds for each in own] == sorted(each.seconds for each in own)
        (taken,) = (each for each in own if each.chosen)
        assert taken.split == chosen[layer]
        for each in own:
            other = {**{name: chosen[name] for name in priced.layers}, layer: each.split}
            more = total(priced.number(other), tables) - here
            assert each.seconds - taken.seconds == pytest.approx(more, abs=1e-12)


def test_exchanges_say_how_much_of_them_is_hidden(capsys: pytest.CaptureFixture[str]) -> None:
    rows = explained(capsys, "--layer", "conv*", "--strategy", "data")
    timed = [row for row in rows if row["event"] == "exchange"]
    assert {row["kind"] for row in timed} == {"all_reduce"}
    for row in timed:
        assert 0 <= row["exposed_seconds"] <= row["seconds"] * (1 + 1e-9)
        assert bool(row["behind"]) == (row["exposed_seconds"] < row["seconds"])
    assert rows[-1]["layers"] == ["conv1", "conv2"]


def test_a_table_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", DIGITS, *ASKED, "--layer", "fc1"]) == 0
    shown = capsys.readouterr().out
    for words in ("fc1 ", "taken", "of gradients", "% hidden", "all other layers as they are"):
        assert words in shown


def test_layers_and_kernels_are_two_questions(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", DIGITS, *ASKED, "--layer", "fc1", "--kernels"]) == 2
    assert "take one" in capsys.readouterr().err


def test_no_such_layer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", DIGITS, *ASKED, "--layer", "fc9"]) == 2
    assert "no layer matches 'fc9'" in capsys.readouterr().err
