"""What recipes have done with gradients and weights, from end to end."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from saved import newest

from netc.cli.main import main
from netc_runtime.io.checkpoint import load, meta_of, settings_in

TEXT = """net small
input image 1x8x8
conv 3x3 8 pad=1 | bn | relu
fc 10
softmax_loss
train {{
    data  digits()
    batch 96
    sgd   lr=0.1 momentum=0.9
    {settings}
}}
"""


def train(folder: Path, settings: str, *options: object) -> int:
    """Some steps of a small network with some settings; the exit code."""
    file = folder / "small.net"
    file.write_text(TEXT.format(settings=settings))
    return main(["run", str(file), "--json", *map(str, options)])


def steps(folder: Path) -> list[dict[str, Any]]:
    rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [row for row in rows if "loss" in row]


@pytest.mark.parametrize("devices", [1, 3])
def test_the_norm_before_clipping_is_a_metric(tmp_path: Path, devices: int) -> None:
    out = tmp_path / "out"
    told = ("--devices", devices, "--steps", 3, "--precision", "fp64", "--out", out)
    assert train(tmp_path, "clip 1e9", *told) == 0
    loose = steps(out)
    assert all(row["gradient_norm"] > 0.01 for row in loose)
    assert train(tmp_path, "clip 0.01", *told, "--replace") == 0
    tight = steps(out)
    assert tight[0]["gradient_norm"] == loose[0]["gradient_norm"]
    assert tight[2]["loss"] > loose[2]["loss"]
    assert train(tmp_path, "", *told, "--replace") == 0
    assert [row["loss"] for row in steps(out)] == [row["loss"] for row in loose]
    assert "gradient_norm" not in steps(out)[0]


def test_checkpoints_say_the_limit(tmp_path: Path) -> None:
    assert train(tmp_path, "clip 0.5", "--steps", 1, "--out", tmp_path / "out") == 0
    assert settings_in(meta_of(newest(tmp_path / "out")))["clip"] == "0.5"
    assert load(newest(tmp_path / "out"))[0].keys() >= {"conv1.weight", "conv1.weight.velocity"}


def test_averages_go_on_to_the_bit(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert train(tmp_path, "ema 0.9", "--steps", 9, "--out", whole) == 0
    assert train(tmp_path, "ema 0.9", "--steps", 4, "--out", parts) == 0
    assert train(tmp_path, "ema 0.9", "--steps", 9, "--out", parts, "--resume") == 0
    one, other = (load(newest(folder))[0] for folder in (whole, parts))
    assert one.keys() == other.keys() > {"conv1.weight.average"}
    assert all(np.array_equal(one[name], other[name]) for name in one)
    assert not any(name.startswith("bn1.running_mean.") for name in one)


def evaluated(folder: Path, settings: str, capsys: Any, *options: object) -> tuple[float, str]:
    """The loss of the newest checkpoint with other settings, and what was said besides."""
    file = folder / "small.net"
    file.write_text(TEXT.format(settings=settings))
    capsys.readouterr()
    assert main(["eval", str(file), "--out", str(folder / "out"), *map(str, options)]) == 0
    said = capsys.readouterr()
    return float(re.findall(r"loss ([\d.]+)", said.out)[0]), said.err


def test_what_is_evaluated_is_what_the_recipe_says(tmp_path: Path, capsys: Any) -> None:
    """Averages where it has `ema` and the checkpoint has some, else the weights: it is told."""
    assert train(tmp_path, "ema 0.9", "--steps", 12, "--out", tmp_path / "out") == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    average, said = evaluated(tmp_path, "ema 0.5", capsys)
    assert average == pytest.approx(result["test_loss"], abs=1e-4) and "averages" not in said
    weights, said = evaluated(tmp_path, "", capsys)
    assert "has moving averages of weights; without 'ema' in the recipe they are left aside" in said
    assert abs(weights - average) > 1e-2
    assert train(tmp_path, "", "--steps", 12, "--out", tmp_path / "out", "--replace") == 0
    again, said = evaluated(tmp_path, "ema 0.9", capsys)
    assert again == pytest.approx(weights, abs=1e-4)
    assert "has no moving averages; the weights themselves stand for them" in said


def test_a_training_goes_on_with_and_without_averages(tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    assert train(tmp_path, "", "--steps", 3, "--out", out) == 0
    before = load(newest(out))[0]
    assert train(tmp_path, "ema 0.75", "--steps", 4, "--out", out, "--resume") == 0
    after = load(newest(out))[0]
    wanted = 0.75 * before["fc1.weight"] + 0.25 * after["fc1.weight"]
    np.testing.assert_allclose(after["fc1.weight.average"], wanted, rtol=1e-5, atol=1e-7)
    assert train(tmp_path, "", "--steps", 5, "--out", out, "--resume") == 0
    assert "fc1.weight.average" not in load(newest(out))[0]


def test_exports_have_what_is_evaluated(tmp_path: Path) -> None:
    assert train(tmp_path, "ema 0.9", "--steps", 3, "--out", tmp_path / "out") == 0
    saved, file = load(newest(tmp_path / "out"))[0], tmp_path / "x.safetensors"
    told = ["--weights", str(tmp_path / "out"), "--names", "netc", "-o", str(file)]
    assert main(["export", str(tmp_path / "small.net"), *told]) == 0
    written = load(file)[0]
    assert np.array_equal(written["fc1.weight"], saved["fc1.weight.average"])
    assert np.array_equal(written["bn1.running_var"], saved["bn1.running_var"])


WHOLE = "accumulate 3\n    clip 0.5\n    ema 0.9"


@pytest.mark.parametrize("stop", [3, 4, 5])
def test_a_group_of_batches_goes_on_to_the_bit(tmp_path: Path, stop: int) -> None:
    """From its end, and from within it, with other devices too."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert train(tmp_path, WHOLE, "--steps", 8, "--out", whole) == 0
    assert train(tmp_path, WHOLE, "--steps", stop, "--out", parts) == 0
    assert train(tmp_path, WHOLE, "--steps", 8, "--out", parts, "--resume") == 0
    one, other = (load(newest(folder))[0] for folder in (whole, parts))
    assert one.keys() == other.keys() > {"conv1.weight.sum"}
    assert all(np.array_equal(one[name], other[name]) for name in one)
    assert one["conv1.weight.sum"].any()
    assert [row["step"] for row in steps(parts)] == list(range(1, 9))


def test_a_group_goes_on_with_other_devices(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    exact = ("--precision", "fp64")
    assert train(tmp_path, WHOLE, *exact, "--steps", 7, "--out", whole) == 0
    sharded = ("--devices", 2, "--strategy", "data", "--updates", "sharded")
    assert train(tmp_path, WHOLE, *exact, "--steps", 4, "--out", parts, *sharded) == 0
    assert train(tmp_path, WHOLE, *exact, "--steps", 7, "--out", parts, "--resume") == 0
    one, other = (load(newest(folder))[0] for folder in (whole, parts))
    for name, value in one.items():
        np.testing.assert_allclose(other[name], value, rtol=1e-9, atol=1e-12, err_msg=name)


def test_weights_rest_until_the_last_batch_of_a_group(tmp_path: Path) -> None:
    out, found = tmp_path / "out", []
    for number in range(1, 5):
        told = ("--steps", number, "--out", out, *(("--resume",) if number > 1 else ()))
        assert train(tmp_path, WHOLE, *told) == 0
        found.append(load(newest(out))[0])
    name = "fc1.weight"
    assert np.array_equal(found[0][name], found[1][name])
    assert not np.array_equal(found[1][name], found[2][name])
    assert np.array_equal(found[2][name], found[3][name])
    assert not found[2][f"{name}.sum"].any() and found[3][f"{name}.sum"].any()
    assert not np.array_equal(found[0]["bn1.running_mean"], found[1]["bn1.running_mean"])
    rows = steps(out)
    assert ["gradient_norm" in row for row in rows] == [False, False, True, False]


def test_another_number_of_batches_is_refused_within_a_group(tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    assert train(tmp_path, "accumulate 2", "--steps", 3, "--out", out) == 0
    capsys.readouterr()
    assert train(tmp_path, "", "--steps", 4, "--out", out, "--resume") == 5
    problem = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert "after 3 steps with 'accumulate 2'" in str(problem)
    assert train(tmp_path, "accumulate 2", "--steps", 4, "--out", out, "--resume") == 0
    assert train(tmp_path, "accumulate 3", "--steps", 6, "--out", out, "--resume") == 5
    assert train(tmp_path, "accumulate 4", "--steps", 8, "--out", out, "--resume") == 0
    assert train(tmp_path, "", "--steps", 9, "--out", out, "--resume") == 0
    assert "fc1.weight.sum" not in load(newest(out))[0]


def test_a_group_has_the_rate_of_its_first_batch(tmp_path: Path) -> None:
    text = "accumulate 4\n    schedule cosine()\n    epochs 1"
    assert train(tmp_path, text, "--out", tmp_path / "out") == 0
    rates = [row["learning_rate"] for row in steps(tmp_path / "out")]
    wanted = [0.05 * (1 + np.cos(np.pi * (n // 4 * 4) / len(rates))) for n in range(len(rates))]
    np.testing.assert_allclose(rates, wanted, rtol=1e-12)


SHOWN = (
    ("plan", "-o", "x.html"), ("plan", "-o", "x.svg", "--phases"), ("plan", "-o", "x.json"),
    ("explain",), ("explain", "--layer", "fc1"), ("compile",), ("compile", "--emit", "plan"),
    ("compare", "--devices", "1,2"), ("profile", "--steps", "1"),
)  # fmt: skip


@pytest.mark.parametrize("shown", SHOWN, ids=" ".join)
@pytest.mark.parametrize("updates", ["replicated", "sharded"])
def test_plans_with_all_settings_are_shown(
    tmp_path: Path, shown: tuple[str, ...], updates: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is of all layers together has no place among layers, and needs none."""
    monkeypatch.chdir(tmp_path)
    file, (verb, *told) = tmp_path / "small.net", shown
    file.write_text(TEXT.format(settings=WHOLE))
    devices = () if verb == "compare" else ("--devices", "2")
    strategy = () if verb == "compare" else ("--strategy", "hybrid", "--updates", updates)
    assert main([verb, str(file), *told, *devices, *strategy]) == 0
