"""Images are judged in one place, whoever asks: from Python or on the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from api_cases import IMAGES, LABELS, TINY, refused, tiny
from PIL import Image

import netc
from netc.api.judge import Judge
from netc.api.values import usage
from netc.cli.main import main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With a network, weights of it and a picture."""
    monkeypatch.chdir(tmp_path)
    text = TINY.replace("epochs 2", "epochs 2; data synthetic(train=80, test=40)")
    (tmp_path / "tiny.net").write_text(text)
    netc.load("tiny.net").save("tiny.safetensors", seed=3)
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save("a.png")
    return tmp_path


@pytest.mark.parametrize("verb", ["evaluate", "shares"])
def test_both_ask_the_judge(
    verb: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise usage("asked.")

    monkeypatch.setattr(Judge, verb, refuse)
    asked = ["eval", "tiny.net"] if verb == "evaluate" else ["predict", "tiny.net", "a.png"]
    assert main([*asked, "--weights", "tiny.safetensors"]) == 2
    assert "asked." in capsys.readouterr().err
    network = netc.load("tiny.net")
    with pytest.raises(netc.UsageError, match="asked"):
        network.evaluate() if verb == "evaluate" else network.predict(["a.png"])


def test_both_say_the_same(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = netc.load("tiny.net").with_weights("tiny.safetensors")
    assert main(["eval", "tiny.net", "--weights", "tiny.safetensors"]) == 0
    assert f"test accuracy {100 * known.evaluate().accuracy:.2f} %" in capsys.readouterr().out
    assert main(["predict", "tiny.net", "a.png", "--weights", "tiny.safetensors"]) == 0
    shown = capsys.readouterr().out
    for share in known.predict(["a.png"])[0]:
        assert f"{100 * share:.2f} %" in shown


def test_of_a_session_too() -> None:
    shares = tiny().predict(IMAGES[:20], batch=16)
    with tiny().plan().open() as session:
        assert np.allclose(session.predict(IMAGES[:20]), shares)


def test_two_arrays_are_enough() -> None:
    given = tiny().evaluate(data=(IMAGES, LABELS))
    named = tiny().evaluate(data={"x_test": IMAGES, "y_test": LABELS})
    assert (given.loss, given.accuracy) == (named.loss, named.accuracy)
    refused(lambda: tiny().run(data=(IMAGES, LABELS)), "E051")
    refused(lambda: tiny().evaluate(data="di"), "E061")
