"""`netc export` and `netc import`, as a person calls them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file, save_file

import netc
import netc_models
import netc_runtime
from netc.cli.main import main

DIGITS = str(Path(netc_models.__file__).parent / "digits.net")
DATA = Path(__file__).parent / "data"
ROOT = Path(__file__).parents[2]
Call = Callable[..., dict[str, Any]]


@pytest.fixture
def call(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Call:
    """Run a verb with --json in an empty folder; its last line."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, code: int = 0) -> dict[str, Any]:
        assert main([*arguments, "--json"]) == code
        line: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
        return line

    return run


def test_trained_weights_there_and_back(call: Call) -> None:
    call("run", DIGITS, "--steps", "20")
    before = call("eval", DIGITS)
    call("export", DIGITS, "--weights", "runs/digits", "-o", "d.onnx")
    result = call("import", "d.onnx", "-o", "d.net")
    assert result["written"] == ["d.net", "d.safetensors"]
    after = call("eval", "d.net", "--weights", "d.safetensors", "--data", "digits()")
    assert after["test_accuracy"] == before["test_accuracy"]
    assert after["test_loss"] == pytest.approx(before["test_loss"], rel=1e-6)
    again = call("export", "d.net", "--weights", "d.safetensors", "-o", "e.onnx")
    assert Path("d.onnx").read_bytes() == Path("e.onnx").read_bytes()
    assert again["tensors"] == 8


def test_initial_values(call: Call) -> None:
    """They are those that a training begins with, and depend on the seed alone."""
    call("export", "lenet", "-o", "a.safetensors", "--names", "netc")
    call("export", "lenet", "-o", "b.onnx", "--seed", "7")
    call("export", "lenet", "-o", "c.onnx", "--seed", "7", "--batch", "3")
    own = load_file("a.safetensors")
    assert {"conv1.weight", "fc3.bias"} < own.keys()
    seven = onnx.load("b.onnx")
    values = {t.name: onnx.numpy_helper.to_array(t) for t in seven.graph.initializer}
    assert values.keys() == own.keys()
    assert not np.array_equal(values["conv1.weight"], own["conv1.weight"])
    fixed = onnx.load("c.onnx")
    assert list(fixed.graph.initializer) == list(seven.graph.initializer)
    assert fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 3
    assert (seven.producer_name, seven.producer_version) == ("netc", netc.__version__)


def test_the_names_of_weights(call: Call) -> None:
    call("export", "resnet18", "-D", "classes=3", "-o", "torch.safetensors")
    call("export", "resnet18", "-D", "classes=3", "-o", "own", "--names", "netc",
         "--format", "safetensors")  # fmt: skip
    torch, own = load_file("torch.safetensors"), load_file("own")
    assert "layer1.0.conv1.weight" in torch
    assert "layer1.0.bn1.running_var" in torch
    assert "layer1.0.conv1.weight" not in own
    call("export", "resnet18", "-D", "classes=3", "-o", "own2", "--names", "netc",
         "--format", "safetensors", "--weights", "torch.safetensors")  # fmt: skip
    again = load_file("own2")
    assert again.keys() == own.keys()
    assert all(np.array_equal(again[name], own[name]) for name in own)


def test_weights_that_a_file_lacks(call: Call) -> None:
    call("export", "lenet", "-o", "a.safetensors", "--names", "netc")
    some = load_file("a.safetensors")
    some = {name: value + 1 for name, value in some.items() if not name.startswith("fc3")}
    save_file(some, "some.safetensors")
    asked = ("export", "lenet", "--weights", "some.safetensors", "-o", "b.safetensors",
             "--names", "netc")  # fmt: skip
    said = call(*asked, code=5)
    assert [each["code"] for each in said["diagnostics"]] == ["E080"]
    call(*asked, "--allow-missing", "fc3.*")
    merged, initial = load_file("b.safetensors"), load_file("a.safetensors")
    assert np.array_equal(merged["fc3.weight"], initial["fc3.weight"])
    assert np.array_equal(merged["fc1.weight"], some["fc1.weight"])


def test_a_file_of_pytorch(call: Call) -> None:
    for name in ("torchscript", "dynamo"):
        result = call("import", str(DATA / f"{name}.onnx"), "-o", f"{name}.net")
        assert result["numbers"] == sum(v.size for v in load_file(f"{name}.safetensors").values())
        call("check", f"{name}.net")
        assert Path(f"{name}.net").read_text().startswith(f"net {name}\n")


def test_what_people_read(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file, net = tmp_path / "l.onnx", tmp_path / "l.net"
    assert main(["export", "lenet", "-o", str(file)]) == 0
    assert main(["import", str(file), "-o", str(net)]) == 0
    said = capsys.readouterr().out.replace(str(tmp_path), "")
    assert said.splitlines() == [
        "wrote /l.onnx: 10 tensors, 61,706 numbers, 248.1 kB, initial values",
        "wrote /l.net: 13 layers",
        "wrote /l.safetensors: 61,706 numbers",
        "use them: netc run /l.net --weights /l.safetensors --data ...  (or eval, predict, export)",
    ]


@pytest.mark.parametrize(
    ("ends", "notes"),
    [
        ("s = Flatten (x) y = Sigmoid (s)", 1),
        ("s = Flatten (x) t = Sigmoid (s) y = Softmax (t)", 0),
        ("t = Sigmoid (x) y = Flatten (t)", 1),
        ("y = Flatten (x)", 0),
    ],
)
def test_a_sigmoid_at_the_end_is_noted(call: Call, ends: str, notes: int) -> None:
    """Of the model's own softmax nothing is said: the network's is the same."""
    head = '<ir_version: 8, opset_import: ["": 17]> g (float[N,3,1,1] x) => (float[N,K] y)'
    onnx.save(onnx.parser.parse_model(f"{head} {{ {ends} }}"), "t.onnx")
    found = call("import", "t.onnx", "-o", "t.net")["notes"]
    assert len(found) == notes
    assert all("a softmax follows it" in each for each in found)


def test_what_learns_otherwise_is_noted(call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (float[N,3,4,4] x) => (float[N,K] y) {
        h = Constant <value_float = 0.5> ()
        [half] a = Mul (x, h)
        [less] b = Sub (a, h)
        y = Flatten (b)
    }"""
    onnx.save(onnx.parser.parse_model(text), "t.onnx")
    note = "half stands for arithmetic with constants (node 'half' and 1 more): "
    note += "it normalizes batches once it is trained."
    assert call("import", "t.onnx", "-o", "t.net")["notes"] == [note]
    assert main(["import", "t.onnx", "-o", "t.net", "--replace"]) == 0
    assert f"note: {note}" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export", "lenet", "-o", "f.bin"], "'f.bin' has no suffix that names a format"),
        (["export", "lenet", "-o", "f.onnx", "--names", "torch"], "'--names' is for"),
        (["export", "lenet", "-o", "f.safetensors", "--batch", "2"], "'--batch' is for"),
        (["export", "lenet", "-o", "f.onnx", "--batch", "0"], "--batch: must be a whole number"),
        (["export", "lenet", "-o", "f.onnx", "--seed", "-1"], "--seed: must be a whole number"),
        (["export", "lenet", "-o", "f.onnx", "--allow-missing", "a"], "need '--weights'"),
        (["import", "f.onnx", "-o", "f.txt"], "'-o f.txt' must end in .net"),
    ],
)
def test_wrong_calls(call: Call, arguments: list[str], message: str) -> None:
    said = call(*arguments, code=2)
    assert [each["code"] for each in said["diagnostics"]] == ["E051"]
    assert message in said["diagnostics"][0]["message"]
    assert not list(Path().iterdir())


def test_nothing_is_written_where_something_is_unsupported(call: Call) -> None:
    model = onnx.load(DATA / "torchscript.onnx")
    model.graph.node[2].op_type = "Elu"
    onnx.save(model, "bad.onnx")
    said = call("import", "bad.onnx", "-o", "bad.net", code=5)
    assert [each["code"] for each in said["diagnostics"]] == ["E092"]
    assert [each.name for each in Path().iterdir()] == ["bad.onnx"]


@pytest.mark.parametrize("there", ["d.net", "d.safetensors"])
def test_what_nobody_named_is_not_replaced(call: Call, there: str) -> None:
    model = str(DATA / "torchscript.onnx")
    Path(there).write_text("mine")
    said = call("import", model, "-o", "d.net", code=2)
    assert said["diagnostics"][0]["message"] == f"'{there}' exists already."
    assert "--replace" in said["diagnostics"][0]["help"]
    assert [(each.name, each.read_text()) for each in Path().iterdir()] == [(there, "mine")]
    call("import", model, "-o", "d.net", "--replace")
    assert load_file("d.safetensors")
    call("check", "d.net")


def test_every_message_is_listed() -> None:
    folders = (
        Path(netc.__file__).parent / "interchange",
        Path(netc_runtime.__file__).parent / "io",
    )
    text = "".join(path.read_text() for folder in folders for path in folder.glob("*onnx*.py"))
    text += (folders[0].parent / "api" / "torch.py").read_text()
    listed = re.findall(
        r"^\| (E09\d) \|", (ROOT / "docs" / "interchange.md").read_text(), re.MULTILINE
    )
    assert listed == sorted(set(re.findall(r'"(E09\d)"', text)))
