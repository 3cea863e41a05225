"""Files: what is written, by suffix, and when it cannot be."""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from schemas import PLAN, against, schema

from netc.cli.main import main
from netc.cost import plan_traffic
from netc.errors import UsageError
from netc.export import plan_dot, plan_json, write_plan
from netc.export.write import WRITERS
from netc.passes.choose_splits import Pin
from netc.strategies.fixed import FIXED

Make = Callable[..., Any]

HERE = Path(__file__).parent


def test_golden_dot(case: Make) -> None:
    expected = (HERE / "tiny.dot").read_text(encoding="utf-8")
    assert plan_dot(*case("tiny", "hybrid", (2,), "b", 8).given) == expected


@pytest.mark.parametrize("name", ["tiny", "blocks"])
@pytest.mark.parametrize("strategy", FIXED)
@pytest.mark.parametrize("mesh", [(1,), (3,), (2, 2)])
def test_json_is_what_its_schema_says(
    case: Make, name: str, strategy: str, mesh: tuple[int, ...]
) -> None:
    plan = plan_json(*case(name, strategy, mesh).given)
    assert against(PLAN, plan) == []
    assert list(plan) == schema(PLAN)["required"], "in this order"


@pytest.mark.parametrize(
    "more",
    [{"scheme": "b"}, {"scheme": "c"}, {"updates": "sharded"}, {"goal": "eval"},
     {"pins": (Pin("fc1", "@1"),)}],
    ids=str,
)  # fmt: skip
def test_json_of_special_plans_is_what_its_schema_says(case: Make, more: dict[str, Any]) -> None:
    given = case("tiny", **more)
    facts = (given.facts, replace(given.facts, memory_bytes=(), step_seconds=math.inf, cluster=""))
    goal = "inference" if "goal" in more else "training"
    for each in facts:
        plan = json.loads(WRITERS[".json"](given.plan, given.network, each))
        assert against(PLAN, plan) == []
        assert plan["goal"] == goal


def test_the_schema_refuses_what_is_missing_and_what_is_more(case: Make) -> None:
    plan = plan_json(*case("tiny", "hybrid", (2,), "b").given)
    places = [plan, plan["mesh"], plan["layers"][1], plan["exchanges"][0], plan["totals"]]
    for place in places:
        for key in list(place):
            kept = place.pop(key)
            assert against(PLAN, plan), key
            place[key] = kept
        place["more"] = 1
        assert against(PLAN, plan)
        del place["more"]
    assert against(PLAN, plan) == []


def test_json_totals_are_the_traffic(case: Make) -> None:
    given = case("blocks", "hybrid", (3,), None, 9)
    plan = plan_json(*given.given)
    traffic = plan_traffic(given.plan).values()
    sent = [sum(t[device][0] for t in traffic) for device in range(3)]
    received = [sum(t[device][1] for t in traffic) for device in range(3)]
    assert (plan["totals"]["sent_bytes"], plan["totals"]["received_bytes"]) == (sent, received)
    assert sum(sent) == sum(received) > 0


def test_json_file_is_the_dict(case: Make, tmp_path: Path) -> None:
    given = case("blocks", "model", (2, 2)).given
    write_plan(tmp_path / "plan.json", *given)
    assert json.loads((tmp_path / "plan.json").read_text()) == plan_json(*given)


@pytest.mark.parametrize(
    ("suffix", "magic"),
    [("svg", b"<svg "), ("pdf", b"%PDF-1.4\n"), ("PNG", b"\x89PNG"), ("dot", b"digraph "),
     ("json", b"{\n"), ("html", b"<!DOCTYPE html>\n")],
)  # fmt: skip
def test_the_suffix_says_what_is_written(
    case: Make, tmp_path: Path, suffix: str, magic: bytes
) -> None:
    path = tmp_path / f"plan.{suffix}"
    write_plan(path, *case("tiny").given)
    assert path.read_bytes().startswith(magic)


@pytest.mark.parametrize(
    ("words", "reason", "remedy"),
    [
        (["-o", "plan.html"], "in a picture only", "write .svg, .pdf, .png."),
        (["-o", "plan.svg", "--goal", "inference"], "inference has none", "leave out '--goal'"),
    ],
)
def test_phases_where_there_are_no_lanes(
    words: list[str], reason: str, remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "lenet", "--phases", *words]) == 2
    shown = capsys.readouterr().err
    assert "E051" in shown
    assert reason in shown
    assert remedy in shown


@pytest.mark.parametrize("name", ["plan.jpg", "plan", "plan.svgg"])
def test_an_unknown_suffix(case: Make, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        write_plan(tmp_path / name, *case("tiny").given)
    (problem,) = caught.value.diagnostics
    assert problem.code == "E056"
    assert problem.help.endswith("a plan is written as .svg, .pdf, .png, .dot, .json, .html.")
    assert not list(tmp_path.iterdir())


def test_a_near_suffix_is_offered(case: Make, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        write_plan(tmp_path / "plan.svgg", *case("tiny").given)
    assert "did you mean '.svg'?" in caught.value.diagnostics[0].help


@pytest.mark.parametrize("suffix", ["svg", "json"])
def test_a_place_that_cannot_be_written(case: Make, tmp_path: Path, suffix: str) -> None:
    with pytest.raises(UsageError) as caught:
        write_plan(tmp_path / "missing" / f"plan.{suffix}", *case("tiny").given)
    assert "cannot write" in str(caught.value)
    assert "No such file or directory" in str(caught.value)


_OTHER = """
import hashlib, importlib.util, json, sys
spec = importlib.util.spec_from_file_location("cases", sys.argv[1])
cases = importlib.util.module_from_spec(spec)
sys.modules["cases"] = cases
spec.loader.exec_module(cases)
from netc.export.write import WRITERS
from netc.passes.choose_splits import Pin
from netc.strategies.fixed import FIXED
given = cases.page_case("blocks", "model").given
print(json.dumps({s: hashlib.sha256(write(*given)).hexdigest() for s, write in WRITERS.items()}))
"""


def test_another_process_without_fonts_writes_the_same_bytes(whole_case: Make) -> None:
    """Graphviz must not ask for fonts, and nothing may depend on the order of sets."""
    given = whole_case("blocks", "model").given
    own = {s: hashlib.sha256(write(*given)).hexdigest() for s, write in WRITERS.items()}
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONHASHSEED": "7",
        "FONTCONFIG_FILE": os.devnull,
        "LC_ALL": "C",
    }
    command = [sys.executable, "-c", _OTHER, str(HERE / "conftest.py")]
    other = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(other.stdout) == own
    assert other.stderr == ""


def test_a_system_without_what_graphviz_wants_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    asked = ["plan", "digits", "--devices", "2", "--strategy", "data", "-o"]
    assert main([*asked, str(tmp_path / "x.svg")]) == 6
    told = capsys.readouterr().err
    assert "error[E099]: Graphviz" in told and "libglib2.0-0" in told and "Traceback" not in told
    assert not (tmp_path / "x.svg").exists()
    for suffix in ("dot", "json"):
        assert main([*asked, str(tmp_path / f"x.{suffix}")]) == 0
