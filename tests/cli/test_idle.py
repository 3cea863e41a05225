"""Settings that train nothing, or less than they seem to, are noted; others are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from netc.cli.main import main

NET = """
net tiny(classes = 3)
input image 3x8x8
conv 3x3 4 pad=1 | bn | relu
fc classes | softmax_loss
train { data synthetic(train=32, test=8) ; batch 8 ; momentum lr=0.02 ; epochs 2 }
"""


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "tiny.net").write_text(NET)
    monkeypatch.chdir(tmp_path)
    return "tiny.net"


FROZEN = "no weight is trained: all are frozen"
STILL = "no weight is trained: the rate is 0"
RISES = "the rate only rises: its warmup is of"
SHIFTED = "moves some images out of sight: they have 8x8 pixels"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), set()),
        (("--lr", "0"), {STILL}),
        (("--set", 'train.weights="*" frozen=true'), {FROZEN}),
        (("--set", 'train.weights="conv*" frozen=true'), set()),
        (("--set", "train.schedule=cosine(warmup=2)"), {RISES}),
        (("--set", "train.schedule=cosine(warmup=1)"), set()),
        (("--set", "train.augment=shift(8)"), {SHIFTED}),
        (("--set", "train.augment=shift(7) flip()"), set()),
        (("--lr", "0", "--set", "train.augment=flip() shift(99)"), {STILL, SHIFTED}),
    ],
)
def test_what_trains_little_is_noted(
    options: tuple[str, ...], told: set[str], net: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", net, "--out", "out", *options]) == 0
    said = capsys.readouterr().err
    assert {each for each in (FROZEN, STILL, RISES, SHIFTED) if each in said} == told


@pytest.mark.parametrize("verb", ["check", "render", "run"])
def test_a_pattern_that_matches_no_weight_is_refused(
    verb: str, net: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([verb, net, "--set", 'train.weights="nothere*" frozen=true']) != 0
    assert "error[E042]: no weight matches 'nothere*'" in capsys.readouterr().err
    if verb != "run":
        assert main([verb, net, "--set", 'train.weights="conv*" frozen=true']) == 0


def test_a_training_is_told_in_right_numbers(net: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", net, "--epochs", "1", "--out", "out"]) == 0
    assert "training  4 steps, 1 epoch, from the start" in capsys.readouterr().out
    assert main(["eval", net, "--out", "out"]) == 0
    assert "top 5" not in capsys.readouterr().out
    assert main(["compile", net]) == 0
    assert "tiny: 1 device, strategy" in capsys.readouterr().out


def test_a_picture_says_which_plan_a_search_took(
    net: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", net, "--devices", "2", "--strategy", "auto", "-o", "x.svg"]) == 0
    took = capsys.readouterr().err.split("auto took '")[1].split("'")[0]
    assert f"auto: {took}" in Path("x.svg").read_text()


def test_an_option_is_suggested_where_it_is_near(
    net: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong, near in (("--bogus", None), ("--bach", "--batch"), ("--skip-bda=3", "--skip-bad")):
        assert main(["run", net, wrong]) == 2
        said = capsys.readouterr().err
        assert ("did you mean" in said) == (near is not None)
        assert near is None or f"did you mean '{near}'?" in said
