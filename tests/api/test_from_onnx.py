"""ONNX models as networks from Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from api_cases import IMAGES, LABELS, refused, tiny

import netc
from netc.cli.main import main

KEPT = Path(__file__).parents[1] / "interchange" / "data"


def test_a_network_comes_back_from_its_onnx_file(tmp_path: Path) -> None:
    file = tmp_path / "some.onnx"
    tiny().save(file)
    found = netc.from_onnx(file, name="other")
    # What netc wrote says itself what it is called.
    assert found.name == "tiny" and found.notes == ()
    for name, value in tiny().weights().items():
        assert np.array_equal(found.weights()[name], value), name
    one, other = (each.predict(IMAGES[:5], devices=2) for each in (found, tiny()))
    assert np.array_equal(one, other)
    words = {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES, "y_test": LABELS}
    assert found.run(data=words, batch=16, steps=2).steps == 2


def test_what_the_command_line_writes(tmp_path: Path) -> None:
    file = sorted(KEPT.glob("*.onnx"))[0]
    network, weights = tmp_path / "n.net", tmp_path / "n.safetensors"
    assert main(["import", str(file), "-o", str(network)]) == 0
    found = netc.from_onnx(file, name="n")
    assert network.read_text() == found.text
    again = netc.load(network).with_weights(weights)
    for name, value in found.weights().items():
        assert np.array_equal(again.weights()[name], value), name


def test_what_is_no_model_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.onnx").write_bytes(b"no")
    refused(lambda: netc.from_onnx("x.onnx"), "E091")
    refused(lambda: netc.from_onnx("y.onnx"), "E061")
    refused(lambda: netc.from_onnx("x.onnx", name=3), "E051")  # type: ignore[arg-type]
    refused(lambda: netc.load("x.onnx"), "E057")
    assert main(["check", "x.onnx"]) == 2
    assert "'netc import x.onnx -o X.net' makes one of it" in capsys.readouterr().err
