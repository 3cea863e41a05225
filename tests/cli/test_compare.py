"""`netc compare`: what it prices is what other commands predict, and it draws that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from netc.cli.main import main

DIGITS = "models/digits.net"
ASKED = ("--cluster", "p100", "--batch", "64")


@pytest.fixture(autouse=True)
def at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])


def compared(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    assert main(["compare", DIGITS, *ASKED, *arguments, "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_every_row_is_what_compiling_it_predicts(capsys: pytest.CaptureFixture[str]) -> None:
    *plans, result = compared(capsys, "--devices", "1,2,4")
    assert result["event"] == "result" and set(result["best"]) == {"1", "2", "4"}
    assert {(p["strategy"], p["scheme"]) for p in plans if p["devices"] == 4} >= {
        ("data", ""), ("model", ""), ("hybrid", "a"), ("hybrid", "b"), ("hybrid", "c"),
    }  # fmt: skip
    base = plans[0]["seconds"]
    for plan in plans:
        asked = ["--devices", str(plan["devices"]), "--strategy", plan["strategy"]]
        asked += ["--scheme", plan["scheme"]] if plan["scheme"] else []
        assert main(["compile", DIGITS, *ASKED, *asked, "--json"]) == 0
        found = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert plan["seconds"] == found["step_seconds"]
        assert plan["sent_bytes"] == max(found["sent_bytes"])
        assert plan["peak_bytes"] <= max(found["memory_bytes"])
        assert plan["speedup"] == pytest.approx(base / plan["seconds"])


def test_weak_scaling_gives_every_device_the_batch(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("--weak", "--strategies", "data", "--devices", "1,2,4")
    *plans, _ = compared(capsys, *asked)
    assert [p["batch"] for p in plans] == [64, 128, 256]
    one = plans[0]
    for plan in plans:
        faster = plan["images_per_second"] / one["images_per_second"]
        assert plan["speedup"] == pytest.approx(faster)


def test_the_same_command_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("--devices", "2", "--strategies", "hybrid,auto")
    assert compared(capsys, *asked) == compared(capsys, *asked)


def test_a_table_for_people_and_a_plot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "digits.svg"
    asked = ["--devices", "1,2,4", "--strategies", "data,hybrid", "-o", str(file)]
    assert main(["compare", DIGITS, *ASKED, *asked]) == 0
    shown = capsys.readouterr()
    assert "the same batch on all" in shown.out and "hybrid, scheme b" in shown.out
    assert shown.out.count("fastest") == 3
    drawn = file.read_text()
    for words in ("digits", "hybrid, scheme c", "times as fast as one device", "p100"):
        assert words in drawn


def test_a_strategy_file_is_priced_where_it_fits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(tmp_path / "plan.toml")
    asked = ["--devices", "2", "--strategy", "model", "--save-strategy", file]
    assert main(["compile", DIGITS, *ASKED, *asked]) == 0
    capsys.readouterr()
    rows = compared(capsys, "--devices", "2,4", "--strategies", f"model,{file}")
    plans = [row for row in rows if row["event"] == "plan" and row["devices"] == 2]
    assert plans[0]["seconds"] == plans[1]["seconds"]
    (left_out,) = (row for row in rows if row["event"] == "left out")
    assert left_out["devices"] == 4 and "mesh of 2" in left_out["reason"]


def test_nothing_to_compare_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", DIGITS, *ASKED, "--devices", "32"]) == 4
    assert "error[E055]: 'p100' has 16 devices" in capsys.readouterr().err


def test_what_cannot_be_is_left_out_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--devices", "2,32", "--strategies", "data"]
    assert main(["compare", DIGITS, *ASKED, *asked]) == 0
    shown = capsys.readouterr()
    assert "note: 'data' on 32 is left out: 'p100' has 16 devices, not 32." in shown.err


def test_a_crossover_is_where_the_order_of_two_strategies_turns(
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = ["--cluster", "p100", "--devices", "2", "--crossover", "hybrid,data", "--json"]
    assert main(["compare", DIGITS, *asked]) == 0
    found = json.loads(capsys.readouterr().out)
    batch = found["sent_bytes"]
    assert batch > 1
    for images, fewer in ((batch, "hybrid"), (batch + 2, "data")):
        given = ("--devices", "2", "--strategies", "hybrid,data", "--scheme", "a")
        *plans, _ = compared(capsys, *given, "--batch", str(images))
        assert min(plans, key=lambda p: p["sent_bytes"])["strategy"] == fewer


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--devices", "1,x"], "'--devices 1,x' is not of the form 1,2,4"),
        (["--devices", "0"], "is not of the form 1,2,4"),
        (["--strategies", "hibrid"], "did you mean 'hybrid'?"),
        (["--batch", "auto"], "must be a whole number"),
        (["--crossover", "data,data"], "is not of the form hybrid,data"),
        (["--crossover", "data,hybrid", "--batch", "8"], "has no use for --batch"),
        (["--crossover", "data"], "is not of the form hybrid,data"),
        (["--crossover", "data,auto"], "is not of the form hybrid,data"),
        (["-o", "x.txt"], "cannot write a plot as 'x.txt'"),
    ],
)
def test_what_is_wrong_is_told(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ASKED[:2] if "--batch" in arguments or "--crossover" in arguments else ASKED
    assert main(["compare", DIGITS, *given, *arguments]) == 2
    assert told in capsys.readouterr().err


def test_a_faster_plan_is_worth_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    """Where one is in the comparison; on one device and by an own choice nothing is said."""
    asked = ["--cluster", "p100", "--batch", "256", "--devices", "8"]
    plain = ["explain", "models/alexnet_owt.net", *asked]
    rows = {}
    for strategy in ("data", "hybrid"):
        assert main([*plain, "--strategy", strategy]) == 0
        rows[strategy] = capsys.readouterr().err
    strategies = ["--strategies", "data,model,hybrid,spatial"]
    assert main(["compare", "models/alexnet_owt.net", *asked, *strategies, "--json"]) == 0
    plans = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    steps = {(p["strategy"], p["scheme"]): p["seconds"] for p in plans if p["event"] == "plan"}
    (name, scheme), best = min(steps.items(), key=lambda each: each[1])
    gain = 100 * (1 - best / steps["data", ""])
    assert gain > 3 and name == "hybrid"
    told = f"'--strategy hybrid --scheme {scheme}' is predicted to take {gain:.1f} % less time"
    assert told in rows["data"] and not rows["hybrid"]
    assert main([*plain, "--strategy", "hybrid", "--scheme", "b"]) == 0
    gain = 100 * (1 - best / steps["hybrid", "b"])
    assert f"is predicted to take {gain:.1f} % less time" in capsys.readouterr().err
    assert main([*plain[:-1], "1", "--strategy", "data"]) == 0
    assert not capsys.readouterr().err
