"""Two plans of a network beside each other, as values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from api_cases import refused, tiny

import netc
from netc.cli.main import main

WORDS: dict[str, Any] = {"devices": 4, "cluster": "p100", "scheme": "a"}


def test_what_the_command_line_prints(capsys: pytest.CaptureFixture[str]) -> None:
    found = netc.load("digits").diff("data", "hybrid", **WORDS)
    asked = ("--devices", "4", "--cluster", "p100", "--scheme", "a")
    assert main(["diff", "digits", "data", "hybrid", *asked]) == 0
    assert capsys.readouterr().out == f"{found!r}\n"


def test_plans_that_were_made_differ_as_their_strategies_do() -> None:
    network = netc.load("digits")
    one, other = (network.plan(strategy=name, **WORDS) for name in ("data", "hybrid"))
    found = one.diff(other)
    assert repr(found) == repr(network.diff("data", "hybrid", **WORDS))
    assert found.layers == tuple(
        name for name, split in one.splits.items() if name in found.first.layers
        and split != other.splits[name]
    )  # fmt: skip
    assert one.diff(one).layers == ()
    assert found._repr_html_().count("<tr>") == len(found.layers) + 4


def test_rounds_are_a_difference() -> None:
    words = {**WORDS, "strategy": "hybrid"}
    one, other = (tiny().plan(**{**words, "scheme": name}) for name in "ab")
    found = one.diff(other)
    assert found.layers == ("fc1", "softmax_loss1")
    assert "k | k in 4 rounds" in found.table()


def test_what_is_not_alike_is_named() -> None:
    one, other = (tiny().plan(**WORDS, batch=batch) for batch in (16, 32))
    assert "batch 16 | 32, fp32: " in one.diff(other).heading


def test_a_page_of_both(tmp_path: Path) -> None:
    found = tiny().diff("data", "hybrid", **WORDS)
    found.save(tmp_path / "both.html")
    assert "netc" in (tmp_path / "both.html").read_text()
    refused(lambda: found.save(tmp_path / "both.svg"), "E056")
    refused(lambda: found.save(tmp_path / "no" / "both.html"), "E056")


def test_what_is_no_pair_of_plans_is_refused() -> None:
    plan = tiny().plan(**WORDS)
    refused(lambda: plan.diff(netc.load("digits").plan(**WORDS)), "E051")
    refused(lambda: plan.diff("hybrid"), "E051")  # type: ignore[arg-type]
    refused(lambda: tiny().diff("data", "hybird", **WORDS), "E051")
    refused(lambda: tiny().diff("data", "hybrid", strategy="data"), "E051")  # type: ignore[call-arg]
