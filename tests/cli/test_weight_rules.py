"""`weights "PATTERN" ...` of a recipe, as a run carries it out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from netc.cli.main import main
from netc_runtime.io.checkpoint import load

TEXT = """net t
input image 1x8x8
conv 3x3 4 pad=1 | bn | relu
fc 10
softmax_loss
train { data digits() ; batch 96 ; sgd lr=0.125 decay=0.5RULES }
"""


def trained(
    folder: Path, capsys: pytest.CaptureFixture[str], rules: str, steps: int = 1
) -> tuple[dict[str, np.ndarray], int]:
    """Weights after some steps on two devices, and bytes that a device sent in one."""
    folder.mkdir()
    network = folder / "t.net"
    network.write_text(TEXT.replace("RULES", rules))
    asked = ["run", str(network), "--devices", "2", "--strategy", "data", "--kernels", "reference",
             "--steps", str(steps), "--out", str(folder), "--json"]  # fmt: skip
    assert main(asked) == 0
    lines = map(json.loads, capsys.readouterr().out.splitlines())
    result = next(line for line in lines if line["event"] == "result")
    return load(result["checkpoint"])[0], result["sent_bytes"][0]


def moved(folder: Path, capsys: pytest.CaptureFixture[str], rules: str) -> dict[str, np.ndarray]:
    """What a step adds to every weight; where all are frozen they are as they began."""
    folder.mkdir()
    after, _ = trained(folder / "after", capsys, rules)
    begun, _ = trained(folder / "begun", capsys, rules + ' ; weights "*" frozen=true')
    return {name: after[name] - begun[name] for name in begun}


def test_a_factor_of_the_rate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = moved(tmp_path / "a", capsys, "")
    other = moved(tmp_path / "b", capsys, ' ; weights "fc1.*" rate=2')
    np.testing.assert_allclose(other["fc1.weight"], 2 * plain["fc1.weight"], rtol=1e-4, atol=1e-7)
    np.testing.assert_array_equal(other["conv1.weight"], plain["conv1.weight"])


def test_decay_of_some(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = moved(tmp_path / "a", capsys, "")
    other = moved(tmp_path / "b", capsys, ' ; weights "bn*" decay=0')
    np.testing.assert_allclose(
        other["bn1.weight"] - plain["bn1.weight"], 0.125 * 0.5 * np.ones(4), rtol=1e-5
    )
    np.testing.assert_array_equal(other["fc1.weight"], plain["fc1.weight"])


def test_frozen_weights_stay_and_are_not_exchanged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, whole = trained(tmp_path / "a", capsys, "")
    rule = ' ; weights "conv1.*" frozen=true'
    begun, part = trained(tmp_path / "b", capsys, rule)
    after, _ = trained(tmp_path / "c", capsys, rule, steps=3)
    for name in ("conv1.weight", "conv1.bias"):
        np.testing.assert_array_equal(after[name], begun[name])
        assert not np.array_equal(one[name], begun[name])
    assert not np.array_equal(after["fc1.weight"], begun["fc1.weight"])
    gradients = one["conv1.weight"].nbytes + one["conv1.bias"].nbytes
    assert part == whole - gradients


def test_a_pattern_that_matches_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = tmp_path / "t.net"
    network.write_text(TEXT.replace("RULES", ' ; weights "cov1.*" decay=0'))
    assert main(["compile", str(network)]) != 0
    told = capsys.readouterr().err
    assert "error[E042]: no weight matches 'cov1.*'." in told
    assert "t.net:6:" in told
