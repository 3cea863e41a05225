"""The page of a plan says all that there is of it, in one file that is safe to open."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from page_laws import check_page, data_in, groups
from pages import HOSTILE, Parsed

import netc.api.pictures
import netc_models
from netc.api.pictures import LEFT_OUT
from netc.cli.main import main
from netc.errors import Source, UsageError
from netc.export.describe import describe
from netc.export.page import PlanCase, diff_html, page_html
from netc.export.page.data import page_data
from netc.export.write import check_diff
from netc.ir.program import in_place_pairs

Make = Callable[..., Any]
MODELS = sorted(path.stem for path in Path(netc_models.__file__).parent.glob("*.net"))
SHORT = ("alexnet", "cifar", "digits", "googlenet", "lenet", "resnet18", "vgg16")
LARGEST_BYTES = 4_000_000
"""Of a page of any shipped network."""


@pytest.fixture(params=[(name, s) for name in MODELS for s in ("data", "hybrid")], ids=str)
def made(
    request: pytest.FixtureRequest, whole_case: Make, pytestconfig: pytest.Config
) -> Any:  # fmt: skip
    name, strategy = request.param
    if name not in SHORT and not pytestconfig.getoption("--full"):
        pytest.skip("all models run with --full")
    return whole_case(name, strategy)


def data_of(case: Any) -> dict[str, Any]:
    found: dict[str, Any] = page_data([PlanCase(*case.given)])
    return found


def test_every_shipped_plan_is_whole_on_its_page(made: Any) -> None:
    data = data_of(made)
    check_page(made, data)
    layers = zip(describe(made.plan, made.network).layers, data["plans"][0]["layers"], strict=True)
    assert all(extra["alternatives"] for layer, extra in layers if layer.kind != "input")
    assert len(page_html(*made.given)) < LARGEST_BYTES


def test_a_measured_step_is_on_its_page(traced: Make, whole_case: Make) -> None:
    """Every instruction on every device, and all else as without it."""
    made = traced("vgg16", scheme="b")
    (plan,) = data_of(made)["plans"]
    measured = plan["clock"].pop("measured")
    rows = list(zip(*[iter(measured["times"])] * 4, strict=True))
    predicted = {
        (number, class_): (start, end)
        for number, row in enumerate(plan["clock"]["instructions"])
        for class_, start, end in zip(*[iter(row[7])] * 3, strict=True)
    }
    program = made.facts.program
    assert len({(number, device) for number, device, *_ in rows}) == len(rows)
    assert len(rows) == sum(len(program.numbers[c]) for c in program.class_of)
    for number, device, start, end in rows:
        a, b = predicted[number, program.class_of[device]]
        assert (start, end) == (2 * a, 2 * b)
    assert (measured["step"], measured["nanoseconds"]) == (4, 2 * plan["clock"]["nanoseconds"])
    (other,) = data_of(whole_case("vgg16", "hybrid", "b"))["plans"]
    assert other["clock"].pop("measured") is None
    assert plan == other


def test_bytes_are_handed_over_on_some_page(whole_case: Make) -> None:
    """Else the law of memory would say nothing of results that take their operand's place."""
    program = whole_case("alexnet").facts.program
    pairs = [p for i in program.instructions for p in in_place_pairs(program, i, i.classes[0])]
    assert any(old.offset == new.offset and old.storage != new.storage for old, new in pairs)


# One file that is safe to open


TAGS = ["html", "head", "meta", "meta", "meta", "title", "link", "style", "body", "noscript",
        "script", "script"]  # fmt: skip


def hostile(case: Any) -> tuple[Any, ...]:
    """A plan whose names, notes and source are full of HTML."""
    network = replace(
        case.network, name=HOSTILE, source=Source(f"{HOSTILE}.net", f"# {HOSTILE}\nconv\n")
    )
    facts = replace(case.facts, strategy=HOSTILE, cluster=HOSTILE, notes=(HOSTILE,))
    return case.plan, network, facts


def test_hostile_names_stay_text(whole_case: Make) -> None:
    given = hostile(whole_case("tiny"))
    page = page_html(*given)
    parsed = Parsed(page)
    assert [tag for tag, _ in parsed.elements] == TAGS
    assert page.count("</script>") == 2 and "<!--" not in page and "alert(1)<" not in page
    assert parsed.texts["title"] == f"{HOSTILE}: {HOSTILE}"
    assert data_in(page) == json.loads(json.dumps(page_data([PlanCase(*given)])))
    assert data_in(page)["title"] == HOSTILE


@pytest.mark.parametrize("name", ["alexnet", "blocks"])
def test_nothing_is_loaded_from_elsewhere(whole_case: Make, name: str) -> None:
    page = page_html(*whole_case(name).given)
    parsed = Parsed(page)
    asked = [v for _, attrs in parsed.elements for k, v in attrs.items() if k in ("src", "href")]
    assert asked == ["data:,"]
    script, style = parsed.texts["script"], parsed.texts["style"]
    assert set(re.findall(r"\w+://[^\s\"')]*", script + style)) == {"http://www.w3.org/2000/svg"}
    for word in ("fetch(", "XMLHttpRequest", "import(", "innerHTML", "eval(", "url(//", "@import"):
        assert word not in script + style, word


def test_only_the_page_s_own_script_may_run(case: Make) -> None:
    parsed = Parsed(page_html(*case("tiny").given))
    (policy,) = (a["content"] for _, a in parsed.elements if "http-equiv" in a)
    assert policy is not None
    allowed = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert allowed["default-src"] == "'none'"
    for name in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(parsed.texts[name].encode()).digest()).decode()
        assert allowed[f"{name}-src"] == f"'sha256-{digest}'"


# Sizes, and what is shared


def test_vgg_is_less_than_a_megabyte(whole_case: Make) -> None:
    assert len(page_html(*whole_case("vgg16", "hybrid", "b").given).encode()) < 1_000_000


def test_the_page_has_what_json_has(whole_case: Make) -> None:
    from netc.export import plan_json

    made = whole_case("blocks")
    (plan,) = data_of(made)["plans"]
    assert plan["plan"] == plan_json(*made.given)


def test_without_a_program_there_is_no_clock(case: Make) -> None:
    (plan,) = data_of(case("tiny"))["plans"]
    assert plan["clock"] is plan["memory"] is None
    assert plan["layers"] and plan["cards"]


def test_rounds_are_told_apart(whole_case: Make) -> None:
    (plan,) = data_of(whole_case("alexnet", "hybrid", "b"))["plans"]
    assert plan["rounds"] == 4
    assert {e["round"] for e in plan["plan"]["exchanges"]} == {None, 0, 1, 2, 3}
    assert {row[4] for row in plan["clock"]["instructions"]} == {-1, 0, 1, 2, 3}
    (rounds,) = (item for item in plan["folding"] if not isinstance(item, int))
    assert rounds["kind"] == "rounds" and "4 rounds of 4 images" in rounds["title"]


def test_a_run_of_units_folds_inside_its_block(whole_case: Make) -> None:
    (plan,) = data_of(whole_case("blocks", "data"))["plans"]
    found = [(g["kind"], g.get("name", g.get("title"))) for g in groups(plan["folding"])]
    assert ("run", "unit1 to unit3") in found and ("block", "unit2") in found
    assert ("block", "inception1") in found and ("run", "conv3 to conv4") in found


# Two plans


def test_two_plans_share_their_source(whole_case: Make) -> None:
    first, second = whole_case("lenet", "data"), whole_case("lenet", "hybrid")
    page = diff_html(PlanCase(*first.given), PlanCase(*second.given))
    data = data_in(page)
    assert [plan["name"] for plan in data["plans"]] == ["data", "hybrid"]
    assert [source["name"] for source in data["sources"]] == ["lenet.net"]
    assert Parsed(page).texts["title"] == "lenet: data and hybrid"
    twice = data_in(diff_html(PlanCase(*first.given), PlanCase(*first.given)))
    assert [plan["name"] for plan in twice["plans"]] == ["data (1)", "data (2)"]


def test_the_verbs_write_pages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    asked = ["--devices", "4", "--batch", "8", "--kernels", "reference"]
    plan, both = tmp_path / "plan.html", tmp_path / "both.html"
    assert main(["plan", "models/lenet.net", *asked, "--strategy", "model", "-o", str(plan)]) == 0
    words = ["diff", "models/lenet.net", "data", "model", *asked]
    assert main([*words, "-o", str(both)]) == 0
    assert capsys.readouterr().out.endswith(f"wrote {both}\n")
    (alone,), (_, second) = (data_in(p.read_text())["plans"] for p in (plan, both))
    # Of the bundle, memory has state at other places: evaluation reads it too.
    assert {k: v for k, v in alone.items() if k not in ("memory", "plan", "tiles")} == {
        k: v for k, v in second.items() if k not in ("memory", "plan", "tiles")
    }


def test_what_takes_long_to_price_is_left_out_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on three axes, which would take a minute."""
    monkeypatch.setattr(netc.api.pictures, "CHEAP_PAIRS", 10)
    file = tmp_path / "plan.html"
    words = ["plan", "lenet", "--devices", "2", "--kernels", "reference", "-o", str(file)]
    for more, priced in (((), False), (("--alternatives",), True)):
        assert main([*words, *more]) == 0
        (plan,) = data_in(file.read_text())["plans"]
        assert any(layer["alternatives"] for layer in plan["layers"]) is priced
        assert (LEFT_OUT in plan["plan"]["notes"]) is not priced
        assert (LEFT_OUT in capsys.readouterr().err) is not priced


@pytest.mark.parametrize(
    "verb", [["plan", "lenet", "-o", "x.svg"], ["diff", "lenet", "data", "model"]]
)
def test_alternatives_are_for_pages(verb: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*verb, "--devices", "2", "--alternatives"]) != 0
    assert "'--alternatives' prices other splits for a page" in capsys.readouterr().err


def test_a_difference_is_written_as_a_page_only() -> None:
    with pytest.raises(UsageError) as caught:
        check_diff(Path("both.svg"))
    (problem,) = caught.value.diagnostics
    assert problem.code == "E056" and problem.help == "a difference is written as .html."
