"""Networks with several inputs: they train, evaluate and are measured as those with one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netc.cli.main import main
from netc.errors import DataError
from netc.ir.load import read_bundle
from netc.syntax import parse_text
from netc_runtime.io.checkpoint import latest, load
from netc_runtime.ports import apart
from netc_runtime.session import image_inputs
from netc_runtime.train.datasets import open_dataset
from netc_runtime.train.several import SeveralInputs

REST = """conv 3x3 6 pad=1 | relu | maxpool 2x2 /2
fc 16 | relu | fc classes
softmax_loss
train { data npz("a.npz") ; batch 16 ; sgd lr=0.1 momentum=0.9 ; epochs 2 ; seed 3 }
"""
JOINED = f"net n(classes = 3)\ninput x 3x8x8\n{REST}"
APART = f"net n(classes = 3)\ninput z 1x8x8\ninput a 2x8x8\nconcat {{ $z ; $a }}\n{REST}"
ALONE = f"net n(classes = 3)\ninput x 1x8x8\n{REST}"
UNLIKE = """net n(classes = 3)
input z 3x8x8
input a 1x4x6
concat { $a | conv 3x3 4 pad=1 | avgpool global ; $z | conv 3x3 4 pad=1 | avgpool global }
fc classes
softmax_loss
train { data synthetic(train=48, test=20) ; batch 16 ; sgd lr=0.1 ; epochs 2 }
"""


def arrays() -> dict[str, Any]:
    """Images of three channels, as one array and as two; pixels of the label are brighter."""
    rng = np.random.default_rng(0)
    found: dict[str, Any] = {}
    for split, size in (("train", 70), ("test", 21)):
        labels = rng.integers(3, size=size)
        images = rng.standard_normal((size, 3, 8, 8)).astype(np.float32)
        images[np.arange(size), labels] += 1
        found |= {f"x_{split}": images, f"z_{split}": images[:, :1], f"y_{split}": labels}
        # Channels last, as arrays may be.
        found[f"a_{split}"] = images[:, 1:].transpose(0, 2, 3, 1)
    return found


@dataclass
class Runs:
    """Commands in a folder with networks and data."""

    folder: Path
    capsys: pytest.CaptureFixture[str]

    def netc(self, *words: str, code: int = 0) -> list[dict[str, Any]]:
        self.capsys.readouterr()
        assert main([*words, "--json"]) == code
        return [json.loads(line) for line in self.capsys.readouterr().out.splitlines()]

    def train(self, network: str, out: str, *words: str) -> dict[str, np.ndarray]:
        """The state after a training."""
        self.netc("run", f"{network}.net", "--out", out, "--kernels", "reference", *words)
        file = latest(self.folder / out)
        assert file is not None
        return load(file)[0]


@pytest.fixture
def runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Runs:
    np.savez(tmp_path / "a.npz", **arrays())
    networks = {"joined": JOINED, "apart": APART, "unlike": UNLIKE, "alone": ALONE}
    for name, text in networks.items():
        (tmp_path / f"{name}.net").write_text(text)
    monkeypatch.chdir(tmp_path)
    return Runs(tmp_path, capsys)


@pytest.mark.parametrize(
    "plan",
    [
        ("--devices", "1"),
        ("--devices", "3", "--strategy", "data"),
        ("--devices", "2", "--strategy", "spatial"),
        ("--devices", "2", "--strategy", "hybrid", "--scheme", "b"),
    ],
    ids=" ".join,
)
def test_inputs_that_are_joined_at_once_are_one_input(runs: Runs, plan: tuple[str, ...]) -> None:
    """Under any plan weights become those of one input with all channels, to rounding."""
    wanted = runs.train("joined", "one")
    found = runs.train("apart", "two", *plan)
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-3, atol=1e-5, err_msg=name)


def test_it_matters_which_input_gets_what(runs: Runs) -> None:
    """The other way round the channels are, and so are the weights."""
    text = APART.replace("$z ; $a", "$a ; $z")
    (runs.folder / "turned.net").write_text(text)
    wanted, found = runs.train("apart", "one"), runs.train("turned", "two")
    assert not np.allclose(found["conv1.weight"], wanted["conv1.weight"], atol=1e-2)


@pytest.mark.parametrize("devices", ["2", "3"])
@pytest.mark.parametrize("strategy", ["data", "model", "single"])
def test_made_up_images_do_not_depend_on_the_plan(runs: Runs, devices: str, strategy: str) -> None:
    """Nor does what is read first, or which name is first, matter."""
    wanted = runs.train("unlike", "one")
    plan = ["--devices", devices, "--strategy", strategy]
    found = runs.train("unlike", "two", *plan)
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-3, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("strategy", ["data", "model", "single", "hybrid"])
def test_inputs_are_in_the_order_of_the_network(runs: Runs, strategy: str) -> None:
    network, plan = parse_text(UNLIKE), ["--devices", "2", "--strategy", strategy]
    runs.netc("compile", "unlike.net", *plan, "-o", "unlike.netc")
    ports = image_inputs(read_bundle((runs.folder / "unlike.netc").read_bytes()))
    assert [(p.name, p.shape[1:]) for p in ports] == [(i.name, i.shape) for i in network.inputs]


def test_going_on_and_compiled_programs(runs: Runs) -> None:
    """To the bit."""
    wanted = runs.train("unlike", "whole")
    runs.train("unlike", "parts", "--steps", "4")
    found = runs.train("unlike", "parts", "--resume")
    runs.netc("compile", "unlike.net", "--kernels", "reference", "-o", "unlike.netc")
    runs.netc("run", "unlike.netc", "--out", "compiled")
    file = latest(runs.folder / "compiled")
    assert file is not None
    for name, values in wanted.items():
        np.testing.assert_array_equal(found[name], values)
        np.testing.assert_array_equal(load(file)[0][name], values)


def test_every_verb_that_reads_data(runs: Runs) -> None:
    runs.train("unlike", "o")
    *_, evaluated = runs.netc("eval", "unlike.net", "--out", "o")
    assert 0 <= evaluated["test_accuracy"] <= 1
    *_, profiled = runs.netc("profile", "unlike.net", "--steps", "1")
    assert profiled["step_seconds"] > 0
    *_, reported = runs.netc("report", "o")
    assert reported["test_accuracy"] == evaluated["test_accuracy"]
    told = runs.netc("data", "unlike.net")
    channels = [(each["input"], each["channel"]) for each in told if each["event"] == "channel"]
    assert channels == [("z", 0), ("z", 1), ("z", 2), ("a", 0)]
    assert told[-1]["inputs"] == {"z": [3, 8, 8], "a": [1, 4, 6]}


def test_a_survey_is_that_of_each_input(runs: Runs) -> None:
    given = arrays()
    found = [each for each in runs.netc("data", "apart.net") if each["event"] == "channel"]
    for each, channel in zip(found, np.moveaxis(given["x_train"], 1, 0), strict=True):
        assert each["mean"] == pytest.approx(channel.mean(dtype=np.float64), abs=1e-6)
        assert each["deviation"] == pytest.approx(channel.std(dtype=np.float64), abs=1e-6)


def test_what_has_one_input_only(runs: Runs) -> None:
    runs.train("unlike", "o", "--steps", "1")
    (error,) = runs.netc("predict", "unlike.net", "a.png", "--out", "o", code=5)
    assert "has 2 inputs ('z', 'a'); pictures fill one" in error["diagnostics"][0]["message"]
    (error,) = runs.netc("run", "unlike.net", "--set", "train.augment=flip()", code=5)
    assert "the recipe augments images, and the network" in error["diagnostics"][0]["message"]


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"a_train": None}, "E062", "has no array a_train: it has "),
        ({"z_test": None}, "E062", "has no array z_test"),
        ({"a_train": np.zeros((70, 8, 8))}, "E067", "n x 2 x 8 x 8 or n x 8 x 8 x 2"),
        ({"a_train": np.zeros((69, 2, 8, 8))}, "E063", "'a_train' of 'a.npz' has 69 images"),
        ({"z_test": np.full((21, 8, 8), np.inf)}, "E062", "'z_test' of 'a.npz' has numbers that"),
        ({"z_test": np.zeros((21, 8, 8), int)}, "E062", "neither bytes (uint8) nor floats"),
    ],
)
def test_arrays_that_are_wrong(
    runs: Runs, change: dict[str, np.ndarray | None], code: str, message: str
) -> None:
    given: dict[str, Any] = {**arrays(), **change}
    kept = {name: each for name, each in given.items() if each is not None}
    np.savez("a.npz", **kept)
    (error,) = runs.netc("run", "apart.net", code=5)
    (first,) = error["diagnostics"]
    assert first["code"] == code and message in first["message"]


def test_an_input_is_not_called_as_the_labels(runs: Runs) -> None:
    (runs.folder / "y.net").write_text(APART.replace("input z", "input y").replace("$z", "$y"))
    (error,) = runs.netc("run", "y.net", code=5)
    assert "an input is called 'y', as the labels" in error["diagnostics"][0]["message"]


def test_each_array_has_a_scale_of_its_own(runs: Runs) -> None:
    """Bytes beside floats."""
    given = arrays()
    levels = np.random.default_rng(1).integers(256, size=given["z_train"].shape)
    given["z_train"] = levels.astype(np.uint8)
    np.savez("a.npz", **given)
    inputs = {"z": (1, 8, 8), "a": (2, 8, 8)}
    dataset = open_dataset("npz", ("a.npz",), {}, (1, 8, 8), 3, inputs)
    assert isinstance(dataset, SeveralInputs) and dataset.inputs == 2
    assert dataset.description.startswith("arrays z of bytes, a of floats in 'a.npz', 70 training")
    examples, labels = dataset.load("train", [5, 2], np.float64)
    assert examples.shape == (2, 192, 1, 1) == (2, *dataset.image_shape)
    first, second = apart(examples, [(1, 8, 8), (2, 8, 8)])
    np.testing.assert_allclose(first, levels[[5, 2]] / 127.5 - 1, rtol=0, atol=1e-15)
    np.testing.assert_array_equal(second, given["x_train"][[5, 2], 1:])
    np.testing.assert_array_equal(labels, given["y_train"][[5, 2]])


def test_inputs_of_made_up_images_have_noise_of_their_own() -> None:
    """The first is what a network with one input gets."""
    shape = (1, 8, 8)
    inputs = {"left": shape, "right": shape}
    pair = open_dataset("synthetic", (), {}, shape, 3, inputs)
    left, right = apart(pair.load("train", range(6), np.float64)[0], [shape, shape])
    alone, labels = open_dataset("synthetic", (), {}, shape, 3).load("train", range(6), np.float64)
    np.testing.assert_array_equal(left, alone)
    assert abs(np.corrcoef(left.ravel(), right.ravel())[0, 1]) < 0.25
    np.testing.assert_array_equal(labels, [0, 1, 2, 0, 1, 2])
    with pytest.raises(DataError, match="fills 1"):
        open_dataset("digits", (), {}, shape, 10, inputs)
