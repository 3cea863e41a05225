"""Plans from Python: the values of the command line, and what is said of wrong choices."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from api_cases import TINY, refused, tiny

import netc
from netc.api.choices import PLAN_NAMES, ComparedWords, PlanChoices, PlanWords, plan_choices
from netc.api.model import RunWords
from netc.api.train_choices import TRAIN_NAMES, TrainWords
from netc.cli.arguments import verbs_of
from netc.cli.main import main, parser


def options_of(verb: str) -> set[str]:
    return {action.dest for action in verbs_of(parser())[verb]._actions}


def test_words_are_the_options() -> None:
    assert set(PLAN_NAMES) == set(PlanWords.__annotations__)
    assert set(PLAN_NAMES) - {"share_gpus"} <= options_of("plan")
    assert set(TRAIN_NAMES) == set(TrainWords.__annotations__) <= options_of("run")
    assert not set(PLAN_NAMES) & set(TRAIN_NAMES)
    assert set(RunWords.__annotations__) == {*PLAN_NAMES, *TRAIN_NAMES}
    left = {"devices", "mesh", "strategy", "share_gpus"}
    assert set(ComparedWords.__annotations__) == set(PLAN_NAMES) - left


@pytest.mark.parametrize("cluster", ["h100", "k20"])
def test_a_plan_shows_what_the_command_line_shows(
    cluster: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--devices", "4", "--strategy", "hybrid", "--scheme", "b", "--cluster", cluster]
    assert main(["compile", "digits", *words]) == 0
    plan = netc.load("digits").plan(devices=4, strategy="hybrid", scheme="b", cluster=cluster)
    assert f"{plan}\n" == capsys.readouterr().out
    assert repr(plan) == str(plan)


def test_an_explanation_is_that_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["explain", "digits", "--devices", "2", "--strategy", "hybrid", "--cluster", "k20"]
    assert main(words) == 0
    said = capsys.readouterr()
    given: dict[str, Any] = {"devices": 2, "strategy": "hybrid", "cluster": "k20"}
    found = netc.load("digits").explain(**given)
    notes = ["".join(f"note: {each}\n" for each in own) for own in (found.told, found.notes)]
    assert said.err == notes[0] and f"{found}\n" == said.out + notes[1]
    assert main([*words, "--layer", "fc1"]) == 0
    (choice,) = netc.load("digits").plan(**given).choices_of("fc1")
    assert repr(choice) in capsys.readouterr().out
    assert choice.taken.split == ("k",)


def test_a_comparison_is_that_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "digits", "--devices", "1,2", "--cluster", "k20", "--json"]) == 0
    *rows, result = map(json.loads, capsys.readouterr().out.splitlines())
    found = netc.load("digits").compare(devices=[2, 1], cluster="k20")
    assert [plan.seconds for plan in found.plans] == [row["seconds"] for row in rows]
    best = {str(devices): plan.name for devices, (plan, _) in found.best.items()}
    assert best == result["best"]
    assert "fastest" in repr(found) and "<table>" in found._repr_html_()


def test_what_cannot_be_carried_out_is_left_out_of_a_comparison() -> None:
    found = tiny().compare(devices=[1, 2], strategies=["data", "hybrid"], cluster="k20", batch=1,
                           memory="4kB")  # fmt: skip
    assert all(not plan.fits for plan in found.plans) and not found.best


def test_figures_agree() -> None:
    plan = tiny().plan(devices=2, strategy="data", cluster="h100", batch=8)
    assert (plan.devices, plan.batch, plan.strategy, plan.cluster) == (2, 8, "data", "h100")
    assert len(plan.sent_bytes) == len(plan.memory_bytes) == 2
    assert plan.images_per_second == 8 / plan.step_seconds
    assert {each.layer for each in plan.layers} <= set(plan.splits)


def test_a_search_is_told_where_it_is_asked_for() -> None:
    asked = tiny().plan(devices=2, strategy="auto", cluster="h100")
    assert any(note.startswith("auto took '") for note in asked.notes)
    assert not tiny().plan(devices=2, cluster="h100").notes


def test_pictures(tmp_path: Path) -> None:
    plan = tiny().plan(devices=2, strategy="hybrid", cluster="h100")
    assert plan._repr_svg_().startswith("<svg")
    for suffix in plan.suffixes:
        plan.save(tmp_path / f"tiny{suffix}")
        assert (tmp_path / f"tiny{suffix}").stat().st_size > 100
    assert (tmp_path / "tiny.svg").read_text() == plan._repr_svg_()
    again = tiny().plan(strategy=tmp_path / "tiny.toml", cluster="h100")
    assert again.splits == plan.splits
    assert ".svg" in refused(lambda: plan.save(tmp_path / "tiny.jpg"), "E056")
    assert "there is no folder" in refused(lambda: plan.save(tmp_path / "a" / "b.svg"), "E056")


def test_what_is_planned_for_here_can_run_here() -> None:
    assert plan_choices({}).runs and plan_choices({"devices": 2}).runs
    assert not plan_choices({"cluster": "h100"}).runs
    assert plan_choices({"strategy": None, "devices": None}) == PlanChoices(runs=True)


def test_values_of_several_kinds() -> None:
    given = plan_choices({
        "pin": {"fc*": "k"}, "mesh": (2, 2), "memory": "16GiB", "batch": np.int64(8),
        "recompute": ["relu*", "bn*"], "strategy": Path("a.toml"),
    })  # fmt: skip
    assert given.pin == ("fc*=k",) and given.mesh == "2x2" and given.memory == 2**34
    assert given.batch == 8 and given.recompute == "relu*,bn*" and given.strategy == "a.toml"


WRONG = [
    {"devices": 0}, {"devices": -1}, {"devices": "4"}, {"devices": 2.5}, {"devices": True},
    {"devices": 10**6}, {"device": 2}, {"epochs": 3}, {"strategy": "nope"}, {"strategy": 3},
    {"batch": 0}, {"batch": "autoo"}, {"memory": "lots"}, {"memory": -1}, {"cluster": "nowhere"},
    {"cluster": b"k20"}, {"pin": "fc1=k"}, {"pin": [3]}, {"mesh": "2xx"}, {"mesh": []},
    {"mesh": (0, 2)}, {"precision": "fp8"}, {"scheme": "z"}, {"goal": "train"}, {"recompute": 3},
    {"search_labels": "q", "devices": 2}, {"share_gpus": "yes"}, {"no_share": 1},
    {"kernels": "slow"}, {"backend": "tpu"}, {"fc_update": "never"}, {"updates": []},
]  # fmt: skip


@pytest.mark.parametrize("words", WRONG, ids=str)
def test_wrong_choices(words: dict[str, Any]) -> None:
    said = refused(lambda: tiny().plan(**words), "E051")
    assert said.startswith("error[E051]: ")


@pytest.mark.parametrize(
    ("words", "code"),
    [({"memory": "1KB"}, "E052"), ({"cluster": "k20", "devices": 1000}, "E055"),
     ({"pin": {"zz": "k"}, "devices": 2, "strategy": "data"}, "E042"),
     ({"precision": "bf16", "backend": "cpu"}, "E078")],
)  # fmt: skip
def test_plans_that_cannot_be(words: dict[str, Any], code: str) -> None:
    refused(lambda: tiny().plan(**words), code)


@pytest.mark.parametrize(
    "words",
    [{"devices": [0]}, {"devices": 4}, {"devices": []}, {"devices": "12"}, {"strategies": ["x"]},
     {"strategies": "data"}, {"strategies": []}, {"mesh": "2x2"}, {"weak": 1}],
    ids=str,
)  # fmt: skip
def test_wrong_comparisons(words: dict[str, Any]) -> None:
    refused(lambda: tiny().compare(**words), "E051")


@pytest.mark.parametrize("layer", ["zz", 3, None])
def test_wrong_layers(layer: Any) -> None:
    refused(lambda: tiny().plan().choices_of(layer), "E051")


def test_a_page_and_pictures_as_they_are_asked_for(tmp_path: Path) -> None:
    words: dict[str, Any] = {"devices": 2, "strategy": "data", "cluster": "h100"}
    plan = netc.load("digits").plan(**words)
    plan.draw(tmp_path / "one.svg")
    plan.draw(tmp_path / "two.svg", phases=True)
    assert (tmp_path / "one.svg").read_text() != (tmp_path / "two.svg").read_text()
    plan.save_trace(tmp_path / "step.json")
    with pytest.raises(netc.NetError, match="nothing was measured"):
        plan.draw(tmp_path / "x.html", trace=tmp_path / "step.json")
    refused(lambda: plan.draw(tmp_path / "x.html", phases=True), "E051")
    refused(lambda: plan.draw(tmp_path / "x.svg", alternatives=True), "E051")
    refused(lambda: plan.draw(tmp_path / "no" / "x.svg"), "E056")
    said = refused(lambda: plan.draw(tmp_path / "x.svg", trace="step.json"), "E051")
    assert 'draw("FILE.html")' in said
    inference = netc.load("digits").plan(**words, goal="inference")
    refused(lambda: inference.draw(tmp_path / "x.svg", phases=True), "E051")


def test_up_to_which_batch(capsys: pytest.CaptureFixture[str]) -> None:
    found = netc.load("digits").crossovers("hybrid", "data", devices=[2], cluster="k20")
    words = ["--crossover", "hybrid,data", "--devices", "2", "--cluster", "k20", "--json"]
    assert main(["compare", "digits", *words]) == 0
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert [(each.sent_bytes, each.seconds) for each in found] == [
        (line["sent_bytes"], line["seconds"])
    ]
    refused(lambda: netc.load("digits").crossovers("hybrid", "auto"), "E051")


@pytest.mark.parametrize(("name", "program"), [("insert-comm", "train"), ("insert-waits", "eval")])
def test_values_after_passes(
    name: str, program: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tiny.net").write_text(TINY)
    plan = netc.load(tmp_path / "tiny.net").plan(devices=2, strategy="hybrid", cluster="h100")
    asked = ["--devices", "2", "--strategy", "hybrid", "--cluster", "h100", "--program", program]
    assert main(["compile", str(tmp_path / "tiny.net"), *asked, "--print-after", name]) == 0
    said = capsys.readouterr().out
    assert said == f"# after {name}\n{plan.emit_after(name, program=program)}"
    if program == "train":
        assert plan.emit_after(name) == plan.emit_after(name, program="train")
    wrong: Any = 3
    for given, text in (
        ("fues", "did you mean 'fuse'"),
        ("init-graph", "no pass of"),
        (wrong, "3"),
    ):
        assert text in refused(lambda given=given: plan.emit_after(given), "E051")
