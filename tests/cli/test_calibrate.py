"""`netc calibrate`: the machine at hand is measured, kept, and planned for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from netc.api import configurations, exchange_times
from netc.api.machine import load_cluster, shipped_kind
from netc.cli.main import main
from netc.cost import read_cluster
from netc.planner.exchanges import KINDS
from netc.strategies.fixed import FIXED
from netc_runtime.measure.machine import machine_name, own_cluster

ASKED = ("--devices", "2", "--batch", "16", "--steps", "1", "--kernels", "reference")
DIGITS = str(Path(__file__).parents[2] / "models" / "digits.net")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A cache of its own, and exchanges that take no time."""
    monkeypatch.setenv("NETC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(exchange_times, "SIZES", (4096, 65536))
    monkeypatch.setattr(exchange_times, "REPEATS", 2)


def test_the_machine_is_measured_kept_and_planned_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert load_cluster(None, "cpu").name == "local"
    assert main(["calibrate", DIGITS, *ASKED]) == 0
    shown = capsys.readouterr().out
    for strategy in ("single", "data", "model", "hybrid", "spatial"):
        assert f"  {strategy}" in shown
    assert f"kept in   {own_cluster('cpu')}" in shown
    machine = load_cluster(None, "cpu")
    assert machine.machine == machine.name == machine_name("cpu") and machine.cores
    assert {(e.kind, e.size) for e in machine.links.measured} == {(kind, 2) for kind in KINDS}
    assert set(machine.launches) == {
        "cpu fp32 reference, 1 devices of 1 threads", "cpu fp32 reference, 2 devices of 1 threads",
    }  # fmt: skip
    # Every launch of a plan that was measured takes what it took; other commands plan for that.
    capsys.readouterr()
    asked = ["--devices", "2", "--batch", "16", "--strategy", "data", "--kernels"]
    assert main(["explain", DIGITS, *asked, "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    table = machine.launches["cpu fp32 reference, 2 devices of 1 threads"].launches
    measured = {each.seconds for each in table.values()}
    assert rows and all(row["seconds"] in measured for row in rows)
    profile = ["profile", DIGITS, "--devices", "2", "--batch", "16", "--steps", "1"]
    for more, told in (((), " predicted ("), (("--cluster", "p100"), " predicted for 'p100' (")):
        assert main([*profile, *more]) == 0
        assert told in capsys.readouterr().out.splitlines()[-1]
    assert main(["compile", DIGITS, "--devices", "2", "--batch", "16"]) == 0
    assert f"predicted on '{machine.machine}'" in capsys.readouterr().out


def test_the_best_plans_are_measured_and_the_fastest_is_taken(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # One more than there are fixed strategies.
    monkeypatch.setattr(configurations, "BEST_PLANS", 1 + len(FIXED))
    assert main(["calibrate", DIGITS, *ASKED, "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    steps = {
        line["strategy"]: line["measured_seconds"]
        for line in lines
        if line["event"] == "configuration" and line["devices"] == 2
    }
    assert set(steps) - set(FIXED)
    assert main(["compile", DIGITS, *ASKED[:4], "--strategy", "auto", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    plans = [line for line in lines if line["event"] == "candidate" and line["measured"]]
    assert {plan["step_seconds"] for plan in plans} == set(steps.values())
    (taken,) = (line for line in lines if line["event"] == "candidate" and line["chosen"])
    if taken["measured"]:
        assert taken["step_seconds"] == min(steps.values())
    else:
        # On a machine that others use, what was measured may be that much slower.
        assert taken["step_seconds"] < min(steps.values())


def test_a_file_of_ones_own_is_added_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "box.toml"
    for batch in ("8", "16"):
        asked = ["--devices", "1", "--batch", batch, *ASKED[4:], "--json", "-o", str(path)]
        assert main(["calibrate", DIGITS, *asked]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["event"] for line in lines} == {"measured", "configuration", "result"}
    result = lines[-1]
    assert result["written"] == str(path) and 0.02 <= result["error"] <= 0.9
    for line in lines:
        if line["event"] == "configuration":
            assert line["off"] == line["predicted_seconds"] / line["measured_seconds"] - 1
    table = read_cluster(path).launches["cpu fp32 reference, 1 devices of 1 threads"]
    assert any("8x1x8x8" in text for text in table.launches)
    assert any("16x1x8x8" in text for text in table.launches)
    assert not own_cluster("cpu").exists()


def test_a_damaged_file_of_this_machine_is_made_anew(capsys: pytest.CaptureFixture[str]) -> None:
    own = own_cluster("cpu")
    own.parent.mkdir(parents=True)
    own.write_text("[[")
    assert main(["compile", DIGITS]) == 2
    assert "'netc calibrate' measures it anew, or delete the file" in capsys.readouterr().err
    assert main(["calibrate", DIGITS, "--devices", "1", *ASKED[2:]]) == 0
    assert f"'{own}' is made anew" in capsys.readouterr().err
    assert main(["compile", DIGITS]) == 0


def test_what_was_not_measured_anew_stays(tmp_path: Path) -> None:
    path = tmp_path / "box.toml"
    both, alone = ["--devices", "2"], ["--devices", "1"]
    assert main(["calibrate", DIGITS, *both, *ASKED[2:], "-o", str(path)]) == 0
    before = read_cluster(path)
    assert main(["calibrate", DIGITS, *alone, "--batch", "8", *ASKED[4:], "-o", str(path)]) == 0
    after = read_cluster(path)
    assert after.while_exchanging == before.while_exchanging and after.error >= before.error
    assert after.links == before.links
    assert after.source == f"{before.source}, digits 8"


@pytest.mark.parametrize(
    ("output", "told"),
    [("x.json", "its name ends in '.toml'"), ("no/x.toml", "there is no folder 'no'")],
)
def test_where_it_cannot_be_written_is_told_before(
    output: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calibrate", DIGITS, *ASKED, "-o", output]) == 2
    assert told in capsys.readouterr().err


def test_what_cannot_be_carried_out_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", DIGITS, "no-such", *ASKED]) == 2
    assert "there is no file 'no-such'" in capsys.readouterr().err


def test_gpus_are_known_by_their_names() -> None:
    assert shipped_kind("NVIDIA H200").name == "h200"
    assert shipped_kind("NVIDIA H100 80GB HBM3").name == "h100"
    assert shipped_kind("Tesla P100-SXM2-16GB").name == "p100"
    assert shipped_kind("NVIDIA GeForce GTX").name == "local"


def test_a_part_is_measured_anew_and_the_rest_is_kept(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["calibrate", DIGITS, *ASKED]) == 0
    first = read_cluster(own_cluster("cpu"))
    monkeypatch.setattr(exchange_times, "SIZES", (8192, 65536))
    capsys.readouterr()
    assert main(["calibrate", *ASKED, "--only", "exchanges"]) == 0
    shown = capsys.readouterr().out
    assert "kept in" in shown and "strategy" not in shown
    second = read_cluster(own_cluster("cpu"))
    assert second.launches == first.launches and second.plans == first.plans
    assert (second.reached, second.error, second.source) == (
        first.reached, first.error, first.source,
    )  # fmt: skip
    before, after = (
        {(e.kind, e.size): e.points for e in machine.links.measured} for machine in (first, second)
    )
    assert set(before) == set(after) == {(kind, 2) for kind in KINDS}
    for key, points in after.items():
        assert points[0][0] > before[key][0][0], "of 8 KiB, not of 4"
    assert second.links.levels != first.links.levels
    # Steps alone: exchanges stay as they are.
    assert main(["calibrate", DIGITS, *ASKED, "--only", "steps"]) == 0
    third = read_cluster(own_cluster("cpu"))
    assert third.links == second.links and third.plans != second.plans
    alone = ["--devices", "1", "--batch", "16", "--kernels", "reference", "--only", "exchanges"]
    capsys.readouterr()
    assert main(["calibrate", *alone]) == 2
    assert "needs several devices" in capsys.readouterr().err


@pytest.mark.parametrize("part", ["exchanges", "steps"])
def test_a_part_of_nothing_is_refused(part: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", *ASKED, "--only", part]) == 2
    shown = capsys.readouterr().err
    assert f"'--only {part}' adds to what was measured" in shown and "without '--only'" in shown
