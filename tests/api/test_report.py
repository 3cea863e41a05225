"""`netc.report`: what the verb says of a training, as a value."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from api_cases import ARRAYS, IMAGES, LABELS, TINY, refused, tiny

import netc
from netc.cli.main import main


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training of a file, which the checkpoint names."""
    folder = tmp_path_factory.mktemp("trained")
    text = TINY.replace("epochs 2", "epochs 2; data synthetic(train=64, test=24)")
    (folder / "tiny.net").write_text(text)
    netc.load(folder / "tiny.net").run(out=folder / "o")
    return folder / "o"


def test_both_say_the_same(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(trained), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    found, here = netc.report(trained), Path.cwd()
    assert capsys.readouterr() == ("", "") and Path.cwd() == here
    assert said == said | {
        "network": found.network, "epochs": found.epochs, "steps": found.steps,
        "checkpoint": str(found.checkpoint), "test_accuracy": found.accuracy,
        "test_loss": found.loss, "notes": [],
    }  # fmt: skip
    assert (found.epochs, found.steps, found.notes) == (2, 8, ())
    assert found.lines[0]["step"] == 1
    found.save(trained / "own.html")
    assert (trained / "own.html").read_bytes() == (trained / "report.html").read_bytes()
    assert "of 24 held-out images are right" in repr(found) and "2 of 2" in found._repr_html_()


def test_of_arrays_and_a_network_without_a_file(tmp_path: Path) -> None:
    """Bytes, which are shown as they are."""
    images = (IMAGES * 60 + 60).clip(0, 255).astype(np.uint8)
    arrays = images[:80], LABELS[:80], images[80:], LABELS[80:]
    done = tiny().run(data=arrays, out=tmp_path / "o")
    found = netc.report(tmp_path / "o")
    assert found.accuracy is None and "name it with 'network'" in found.notes[0]
    for data in (arrays, arrays[2:], {"x_test": images[80:], "y_test": LABELS[80:]}):
        found = netc.report(tmp_path / "o", network=tiny(), data=data)
        assert (found.accuracy, found.notes) == (done.accuracy, ())
        assert found.loss == pytest.approx(done.loss)
    assert found.judged is not None
    (first, *_) = found.judged.held_out.sample
    np.testing.assert_array_equal(first.pixels, images[80 + first.number])


def test_without_an_evaluation(trained: Path) -> None:
    found = netc.report(trained, no_evaluation=True)
    assert (found.accuracy, found.loss, found.judged) == (None, None, None)
    assert found.notes == ("the held-out images are left out, as asked.",)


def test_what_is_wrong(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained.parent)
    given: dict[str, Any] = {"network": 3}
    assert "'network' must be" in refused(lambda: netc.report(trained, **given), "E051")
    given = {"network": tiny(), "define": {"classes": 4}}
    assert "'define' is of a network's file" in refused(
        lambda: netc.report(trained, **given), "E051"
    )
    assert "network.run(out)" in refused(lambda: netc.report("none"), "E061")
    assert "no metrics" in refused(lambda: netc.report(tmp_path), "E068")
    refused(lambda: netc.report(trained, data="none"), "E061")
    refused(lambda: netc.report(trained).save("x.pdf"), "E056")
    program = tmp_path / "x.netc"
    tiny().plan(goal="inference").save(program)
    given = {"network": program, "define": {"classes": 4}, "data": ARRAYS}
    assert "cannot change a compiled" in refused(lambda: netc.report(trained, **given), "E057")
    assert netc.report(trained, network=program, data=ARRAYS).accuracy is not None
    assert os.listdir(tmp_path) == ["x.netc"]


@pytest.mark.parametrize("path", ["x" * 300, "x/" * 3000, "a\0b", "\ud800", ""])
def test_what_can_be_no_path(path: str, tmp_path: Path) -> None:
    network = tiny()
    for work in (
        lambda: netc.load(path),
        lambda: netc.load_program(path),
        lambda: netc.report(path),
        lambda: network.run(data=ARRAYS, out=path),
        lambda: network.plan(cluster=path),
        lambda: network.save(path),
    ):
        assert "must be a path" in refused(work, "E051")
