"""What `--data` takes, and what is said where there are no data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from netc.cli.data import data_call
from netc.cli.main import main, parser
from netc.ir.datasets import DATA_SETS
from netc.ir.facts import RecipeCall
from netc_kernels import cpu

NET = """
net tiny(classes = 3)
input image 3x6x6
fc classes | softmax_loss
train {{ {data} ; batch 8 ; sgd lr=0.05 ; epochs 2 }}
"""
COMPILED = "kernels are compiled for this machine now"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current folder is empty, but for what a test puts there."""
    monkeypatch.chdir(tmp_path)


def network(data: str = "") -> str:
    Path("tiny.net").write_text(NET.format(data=data))
    return "tiny.net"


def parsed_call(text: str) -> RecipeCall:
    options, bundle = parser().parse_args(["run", network(), "--data", text]), Mock()
    call = data_call(options, bundle)
    assert call is not None
    return call


def refused(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 5) -> str:
    assert main(list(arguments)) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    return printed.err


def lines(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    assert main([*arguments, "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


# --- where there are none ---


@pytest.mark.parametrize("verb", ["run", "eval"])
@pytest.mark.parametrize("data", ["", 'data imagefolder("data/none")', 'data idx("none")'])
def test_what_else_there_is(
    verb: str, data: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before any kernel is compiled."""
    monkeypatch.setattr(cpu, "compiled", Mock(return_value=False))
    Path("w.safetensors").touch()
    told = refused(capsys, verb, network(data), "--kernels", "fast", "--weights", "w.safetensors")
    for each in DATA_SETS.values():
        assert f"'{each.example}'" in told
    assert "'--data': 'synthetic()', made-up images" in told
    assert COMPILED not in told
    if data:
        assert f"the network's recipe names {data[5:]}; paths start at the current folder." in told


def test_shipped_networks_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    told = refused(capsys, "run", "alexnet")
    assert told.startswith("error[E061]: directory 'data/imagenet' does not exist.\n")
    assert "'--data': 'synthetic()'" in told


def test_who_names_data_hears_of_those(capsys: pytest.CaptureFixture[str]) -> None:
    told = refused(capsys, "run", network(), "--data", 'idx("none")')
    assert told.startswith("error[E061]: directory 'none' does not exist.")
    assert "synthetic" not in told


@pytest.mark.parametrize("text", ["idx(folder)", "idx(**{})", "idx(", "3", "a.b()"])
def test_what_is_no_data_set(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = refused(capsys, "run", network(), "--data", text, code=2)
    assert f"error[E051]: '--data {text}' is not a data set." in told


def test_values_are_written_as_in_a_recipe() -> None:
    assert parsed_call('cifar100("a", coarse=true)') == ("cifar100", ("a",), {"coarse": True})
    assert parsed_call("synthetic(train=3, seed=0)")[2] == {"train": 3, "seed": 0}


# --- synthetic ---


def test_a_training_on_synthetic_images(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its labels are learned; people and programs are told what it is."""
    monkeypatch.setattr(cpu, "compiled", Mock(return_value=False))
    net, data = network("data synthetic(train=640)"), ("--data", "synthetic(test=99)")
    assert main(["run", net, "--plain", "--kernels", "fast"]) == 0
    printed = capsys.readouterr()
    assert "data      SYNTHETIC images, made up from seed 0" in printed.out
    assert "note: the images are SYNTHETIC: neither weights nor accuracy say" in printed.err
    assert printed.err.count(COMPILED) == 1
    (found,) = lines(capsys, "eval", net, *data)
    assert found["test_images"] == 99 and found["test_accuracy"] > 0.9
    assert found["held_out"].startswith("SYNTHETIC images")
    begin, *_, end = lines(capsys, "run", net, *data, "--out", "o")
    assert begin["data_set"].startswith("SYNTHETIC images") and end["test_accuracy"] > 0.9
