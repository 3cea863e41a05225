"""Recipes that mix images, from the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netc_clusters
from netc.cli.main import main
from netc.cost import read_cluster
from netc.ir.load import read_bundle
from netc.ir.plain import TextError
from netc.ir.types import line_mesh
from netc.passes.options import Options, task
from netc.syntax import parse_text
from netc_runtime.io.checkpoint import load

TEXT = """net t
input image 1x8x8
conv 3x3 4 pad=1 | bn | relu
fc 12 | relu
fc 10
softmax_loss smoothing=0.1
train { data digits() ; batch 96 ; momentum lr=0.1 ; augment shift(1) AUGMENT ; seed 4 }
"""
LOCAL = Path(netc_clusters.__file__).parent / "local.toml"
BOTH = "mixup(alpha=0.5, p=0.9) cutmix()"
REFERENCE = ["--kernels", "reference"]


def network(folder: Path, augment: str = BOTH) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "t.net"
    path.write_text(TEXT.replace("AUGMENT", augment))
    return path


def told(capsys: pytest.CaptureFixture[str], *asked: object) -> list[dict[str, Any]]:
    """What a command says with `--json`."""
    capsys.readouterr()
    assert main([*map(str, asked), "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def trained(
    capsys: pytest.CaptureFixture[str], source: Path, out: Path, *asked: object
) -> tuple[list[float], dict[str, np.ndarray], float]:
    """Losses of the steps, the state at the end, and the accuracy."""
    lines = told(capsys, "run", source, "--out", out, *asked)
    metrics = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    result = next(line for line in lines if line["event"] == "result")
    losses = [line["loss"] for line in metrics if "loss" in line]
    return losses, load(result["checkpoint"])[0], result["test_accuracy"]


@pytest.mark.parametrize(
    "plan",
    [
        ["--devices", "3", "--strategy", "data"],
        ["--devices", "3", "--strategy", "model"],
        ["--devices", "4", "--strategy", "hybrid", "--scheme", "b"],
        ["--devices", "4", "--strategy", "hybrid", "--scheme", "c"],
        ["--devices", "2x2", "--strategy", "data", "--pin", "softmax_loss1=n,k"],
    ],
    ids=["data", "model", "scheme b", "scheme c", "two axes"],
)
def test_the_plan_does_not_matter(
    plan: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, how = network(tmp_path), ["--precision", "fp64", "--steps", "3", *REFERENCE]
    if "2x2" in plan:
        plan = ["--mesh", "2x2", *plan[2:]]
    losses, state, _ = trained(capsys, source, tmp_path / "one", *how)
    others, other, _ = trained(capsys, source, tmp_path / "many", *how, *plan)
    np.testing.assert_allclose(losses, others, rtol=1e-9)
    for name, value in state.items():
        np.testing.assert_allclose(other[name], value, rtol=1e-7, atol=1e-9)


def test_it_learns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And judges by labels as they are: losses of mixed images are higher."""
    losses, _, accuracy = trained(capsys, network(tmp_path), tmp_path / "a", "--epochs", "16")
    plain = network(tmp_path / "plain", "flip()")
    less, _, _ = trained(capsys, plain, tmp_path / "b", "--epochs", "16")
    assert accuracy > 0.8
    assert np.mean(losses[-20:]) > np.mean(less[-20:]) + 0.2


def test_going_on_in_the_middle_of_an_epoch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = network(tmp_path)
    _, whole, _ = trained(capsys, source, tmp_path / "a", "--steps", "5", *REFERENCE)
    trained(capsys, source, tmp_path / "b", "--steps", "2", *REFERENCE)
    _, later, _ = trained(capsys, source, tmp_path / "b", "--steps", "5", "--resume", *REFERENCE)
    assert all(np.array_equal(later[name], value) for name, value in whole.items())


def test_a_compiled_program_goes_with_its_recipe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, made = network(tmp_path), tmp_path / "t.netc"
    options = ["--devices", "2", "--strategy", "data", *REFERENCE]
    assert main(["compile", str(source), *options, "-o", str(made)]) == 0
    steps = ["--steps", "3"]
    losses, state, _ = trained(capsys, made, tmp_path / "a", *steps)
    same, other, _ = trained(capsys, source, tmp_path / "b", *options, *steps)
    assert losses == same
    assert all(np.array_equal(other[name], value) for name, value in state.items())
    weights = sorted((tmp_path / "a").glob("step-*.safetensors"))[-1]
    (result,) = (
        line for line in told(capsys, "eval", made, "--weights", weights)
        if line["event"] == "result"
    )  # fmt: skip
    assert 0 <= result["test_accuracy"] <= 1
    text = made.read_text()
    for pattern, new, why in (
        (r'"(mixup|cutmix)"', '"flip"', "t.train: no input is labels2"),
        (r'inputs name="share"', 'inputs name="image2"', "t.train: no input is image2"),
        (r'(inputs name="labels2" dtype=)"i64"', r'\1"f32"', "t.train: no input is labels2"),
        (r'inputs name="labels2".*\n', "", "M1|its labels are labels, share"),
    ):
        changed = re.sub(pattern, new, text)
        assert changed != text
        with pytest.raises(TextError, match=why):
            read_bundle(changed.encode())


def test_a_plain_program_is_not_given_a_recipe_that_mixes(tmp_path: Path) -> None:
    source, made = network(tmp_path, "flip()"), tmp_path / "t.netc"
    assert main(["compile", str(source), *REFERENCE, "-o", str(made)]) == 0
    text = made.read_text().replace('"flip",[],{}', '"mixup",[],{"alpha":0.2,"p":1.0}')
    assert text != made.read_text()
    with pytest.raises(TextError, match=r"t\.train: its labels are labels$"):
        read_bundle(text.encode())


def test_inference_knows_nothing_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nor does what is exported."""
    pytest.importorskip("onnx")
    source, plain = network(tmp_path), network(tmp_path / "plain", "flip()")
    trained(capsys, source, tmp_path / "run", "--steps", "2")
    weights = max((tmp_path / "run").glob("step-*.safetensors"))
    losses, exported = [], []
    for number, each in enumerate((source, plain)):
        lines = told(capsys, "eval", each, "--weights", weights, *REFERENCE)
        losses += [line["test_loss"] for line in lines if line["event"] == "result"]
        file = tmp_path / f"{number}.onnx"
        assert main(["export", str(each), "--weights", str(weights), "-o", str(file)]) == 0
        exported.append(file.read_bytes())
    assert losses[0] == losses[1] and exported[0] == exported[1]


def test_a_step_is_profiled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", str(network(tmp_path)), *REFERENCE]) == 0


def test_what_was_measured_of_one_is_not_kept_for_the_other(tmp_path: Path) -> None:
    found = []
    for number, augment in enumerate(("flip()", "flip() mixup()", "cutmix()")):
        made = parse_text(network(tmp_path / str(number), augment).read_text())
        chosen = Options(line_mesh(2), 8, read_cluster(LOCAL))
        found.append(task(made, chosen))
    plain, mixed, also_mixed = found
    assert plain != mixed == also_mixed
