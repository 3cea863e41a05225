"""What recipes have done with gradients and weights, from end to end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
