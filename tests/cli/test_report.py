"""`netc report` and `netc run --report`: what `netc eval` says, and what cannot be said."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from saved import newest

import netc_models
from netc.api.networks import read_network
from netc.api.training_facts import SHOWN_IMAGES
from netc.cli import run_
from netc.cli.main import main
from netc.strategies.fixed import FIXED
from netc.syntax import Network
from netc_runtime.io.checkpoint import load, run_in, run_meta, save
from netc_runtime.train.events import EpochDone
from netc_runtime.train.metrics import read_metrics

DIGITS = str(Path(netc_models.__file__).parent / "digits.net")
PETS = """
net pets(classes = 2, width = 4)
input image 3x8x8
conv 3x3 width pad=1 | bn | relu | avgpool global
fc classes
softmax_loss
train { data imagefolder("pets") ; batch 6 ; sgd lr=0.05 momentum=0.9 ; epochs 2 }
"""


def call(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> Any:
    """Run a verb with --json; its last line."""
    capsys.readouterr()
    assert main([*map(str, arguments), "--json"]) == code
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def refused(capsys: pytest.CaptureFixture[str], code: int, *arguments: object) -> str:
    """The diagnostics of a verb that ends with `code`, and writes nothing."""
    capsys.readouterr()
    assert main([*map(str, arguments)]) == code
    return capsys.readouterr().err


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short training, with its page."""
    folder = tmp_path_factory.mktemp("trained")
    options = ("--epochs", "2", "--json", "--out", str(folder), "--report")
    assert main(["run", DIGITS, *options]) == 0
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of it, without the page."""
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    (folder / "report.html").unlink()
    return folder


@pytest.fixture
def pets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a training on pictures, which were named by a relative path."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 3)):
        for name in ("cat", "dog"):
            place = tmp_path / "pets" / split / name
            place.mkdir(parents=True)
            for index in range(count):
                pixels = rng.integers(0, 255, (9, 12, 3), np.uint8)
                Image.fromarray(pixels).save(place / f"{index}.png")
    (tmp_path / "pets.net").write_text(PETS)
    monkeypatch.chdir(tmp_path)
    assert main(["run", "pets.net", "-D", "width=3", "--out", "out", "--json"]) == 0
    return tmp_path / "out"


def cells(page: str) -> dict[tuple[str, str], int]:
    """The matrix as it is drawn: images by class and the one that they are taken for."""
    found = re.findall(r"<title>([^<]+) taken for ([^<]+?): ([\d,]+), ", page)
    return {(own, said): int(images.replace(",", "")) for own, said, images in found}


def tiles(page: str) -> dict[str, str]:
    found = re.findall(r'<div class="tile"><b>(.*?)</b><span>(.*?)</span></div>', page)
    return {meaning: figure for figure, meaning in found}


# What it says


def test_the_matrix_is_that_of_the_evaluation(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = call(capsys, "report", run)
    evaluated = call(capsys, "eval", DIGITS, "--out", run)
    page = (run / "report.html").read_text()
    matrix = cells(page)
    assert len(matrix) == 100
    assert sum(matrix.values()) == evaluated["test_images"] == said["test_images"] == 360
    right = sum(images for (own, said), images in matrix.items() if own == said)
    assert right / 360 == evaluated["test_accuracy"] == said["test_accuracy"]
    assert said["test_loss"] == evaluated["test_loss"]
    shown = tiles(page)
    assert shown["of 360 held-out images are right"] == f"{100 * right / 360:.2f} %"
    assert shown["held-out loss"] == f"{evaluated['test_loss']:.4f}"
    among = shown["have their class among the first 5"]
    assert among == f"{100 * evaluated['top5_accuracy']:.2f} %"
    assert (shown["epochs"], shown["steps"]) == ("2 of 2", "28 of 28")
    assert said == said | {
        "written": str(run / "report.html"), "bytes": len(page.encode()), "network": "digits",
        "steps": 28, "notes": [], "tensorboard": None,
    }  # fmt: skip


def test_a_training_writes_the_page_that_is_made_of_it(
    trained: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(run)]) == 0
    printed = capsys.readouterr().out
    assert f"wrote {run / 'report.html'}\n" in printed and "test accuracy" in printed
    pages = ((folder / "report.html").read_text() for folder in (trained, run))
    first, second = (
        page.replace(str(f), "") for page, f in zip(pages, (trained, run), strict=True)
    )
    assert first == second


def test_every_image_is_shown_with_what_is_said_of_it(trained: Path) -> None:
    page = (trained / "report.html").read_text()
    worst, sample = re.findall(r'<div class="gallery">(.*?)</div>', page)
    for gallery in (worst, sample):
        assert gallery.count('src="data:image/png;base64,') == SHOWN_IMAGES
    own = [float(share) for share in
           re.findall(r'<span class="own">\d</span><b>([\d.]+) %</b>', worst)]  # fmt: skip
    assert len(own) == SHOWN_IMAGES and own == sorted(own)
    numbers = re.findall(r'alt="held-out image (\d+)', sample)
    assert list(map(int, numbers)) == np.linspace(0, 359, SHOWN_IMAGES).round().tolist()


def test_it_says_what_was_trained(pets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, "report", "out")["notes"] == []
    page = (pets / "report.html").read_text()
    rows = dict(re.findall(r'<th scope="row">(.*?)</th><td>(.*?)</td>', page))
    assert rows == {
        "network": "pets", "file": str(pets.parent / "pets.net"), "-D width": "3",
        "data set": rows["data set"], "devices": "1", "strategy": "single",
        "computed in": "fp32, cpu, reference kernels", "batch": "6",
        "optimizer": "sgd(momentum=0.9, decay=0.0), rate 0.05", "schedule": rows["schedule"],
        "epochs": "2", "seed": "0", "checkpoint": newest(pets).name,
    }  # fmt: skip
    assert "conv1: 3 filters of 3x3x3" in page and page.count("filter ") >= 3


def test_it_says_the_whole_recipe(pets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What `netc render` says is in force, with what is evaluated."""
    said = ("ema=0.9", "clip=2.0", "accumulate=2", "rate_batch=12", 'weights="*.bias" decay=0')
    options = [option for each in said for option in ("--set", f"train.{each}")]
    Path("smooth.net").write_text(
        PETS.replace("softmax_loss", "softmax_loss smoothing=0.25").replace(
            "net pets", "net smooth"
        )
    )
    call(capsys, "run", "smooth.net", "--out", "smooth", "--report", *options)
    page = Path("smooth/report.html").read_text()
    rows = dict(re.findall(r'<th scope="row">(.*?)</th><td>(.*?)</td>', page))
    assert rows["optimizer"] == "sgd(momentum=0.9, decay=0.0), rate 0.025"
    assert rows["rate_batch"] == "the recipe&#x27;s rate is for 12 images"
    assert (rows["weights"], rows["clip"], rows["accumulate"]) == ("*.bias decay=0", "2.0", "2")
    assert rows["smoothing"] == "0.25" and rows["ema"].startswith("0.9; averages of weights")
    assert "held-out images are right, by the averages of weights" in page


def test_epochs_are_those_that_are_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--epochs", 2, "--out", tmp_path, "--report")
    for steps, epochs in ((5, 0), (28, 2)):
        ended = call(capsys, "run", DIGITS, *options, "--steps", steps, "--replace")
        assert ended["epoch"] == epochs
        assert tiles((tmp_path / "report.html").read_text())["epochs"] == f"{epochs} of 2"
        found = call(capsys, "report", tmp_path, "--no-evaluation")
        assert (found["epochs"], found["steps"]) == (epochs, steps)


def test_a_checkpoint_that_goes_while_it_is_read_gives_way_to_a_newer_one(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training that runs on removes the oldest of those that it keeps."""
    real, old = read_network, run / "step-00000020.safetensors"
    file = newest(run)
    newer = file.read_bytes()
    file.rename(old)

    def meanwhile(*asked: Any) -> Network:
        if old.exists():
            old.unlink()
            file.write_bytes(newer)
        return real(*asked)

    monkeypatch.setattr("netc.api.report.read_network", meanwhile)
    for each in run.glob("step-*"):
        if each != old:
            each.unlink()
    found = call(capsys, "report", run)
    assert found["checkpoint"] == str(file) and found["notes"] == []
    assert found["test_images"] == 360


def test_a_training_that_failed_is_told_from_one_that_ended(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of steps behind the newest checkpoint, and of going back."""
    more = [
        {"step": 28, "epoch": 3, "rollback": 1, "back_to": 14, "rate_factor": 0.5},
        {"step": 29, "epoch": 3, "loss": 12643940264050688.0, "learning_rate": 0.1},
        {"step": 30, "epoch": 3, "loss": None, "learning_rate": 0.1},
    ]
    with open(run / "metrics.jsonl", "a") as file:
        file.writelines(json.dumps(each) + "\n" for each in more)
    (note,) = call(capsys, "report", run)["notes"]
    assert note.startswith("the newest checkpoint is of step 28, of 30 that were made")
    page = (run / "report.html").read_text()
    assert note in page and "images are right, after step 28" in page
    rows = dict(re.findall(r'<th scope="row">(.*?)</th><td>(.*?)</td>', page))
    assert rows["rollbacks"] == "after step 28 back to step 14, on at 0.5 of the rate"
    assert 'class="event"' in page and "step 29: each step 1.264e+16" in page


# Where it is called from, and with what


def test_relative_pictures_are_found_from_anywhere(
    pets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    said = call(capsys, "report", "../out", "-o", "page.html")
    assert said["written"] == "page.html" and said["test_images"] == 6
    assert Path("page.html").exists() and not (pets / "report.html").exists()
    assert Path.cwd() == tmp_path / "elsewhere"


def test_what_is_gone_is_left_out_and_said(
    pets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.move(tmp_path / "pets", tmp_path / "moved")
    assert main(["report", "out"]) == 0
    captured = capsys.readouterr()
    note = "what the network makes of the held-out images is left out: directory 'pets' does not"
    assert f"note: {note}" in captured.err and "'--network' and '--data' name them." in captured.err
    page = (pets / "report.html").read_text()
    assert note in page.replace("&#x27;", "'") and 'class="matrix"' not in page
    assert 'class="chart"' in page and "pets.net" in page
    said = call(capsys, "report", "out", "--data", "imagefolder('moved')")
    assert said["test_images"] == 6 and said["notes"] == []
    # What the command names has to be there.
    assert "E061" in refused(capsys, 5, "report", "out", "--data", "imagefolder('pets')")
    said = call(capsys, "report", "out", "--no-evaluation")
    assert said["test_accuracy"] is None
    assert said["notes"] == ["the held-out images are left out, as asked."]


def test_a_network_that_moved_is_named(
    pets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.move(tmp_path / "pets.net", tmp_path / "new.net")
    assert call(capsys, "report", "out")["test_accuracy"] is None
    said = call(capsys, "report", "out", "--network", "new.net")
    assert said["test_images"] == 6 and said["notes"] == []
    (tmp_path / "new.net").write_text(PETS.replace("| bn | relu", "| bn | gelu"))
    said = call(capsys, "report", "out", "--network", "new.net")
    assert "the network's layers" in said["notes"][0]
    assert "E082" in refused(capsys, 5, "report", "out", "--network", "new.net", "-D", "width=2")
    assert "E051" in refused(capsys, 2, "report", "out", "--network", "nothing")


def test_a_compiled_program_is_found_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program, out = tmp_path / "x.netc", tmp_path / "out"
    assert main(["compile", DIGITS, "-D", "width=8", "--devices", "2", "-o", str(program)]) == 0
    call(capsys, "run", program, "--steps", 5, "--out", out)
    said = call(capsys, "report", out)
    assert said["test_images"] == 360 and said["notes"] == []
    assert said["test_accuracy"] == call(capsys, "eval", program, "--out", out)["test_accuracy"]


def test_a_checkpoint_of_an_earlier_version_needs_its_network(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors, meta = load(newest(run))
    assert run_in(meta)["network"] == DIGITS
    del meta["run"]
    save(newest(run), tensors, meta)
    (note,) = call(capsys, "report", run)["notes"]
    assert note.endswith("does not say which network it is of; name it with '--network'.")
    assert call(capsys, "report", run, "--network", "digits")["test_images"] == 360


@pytest.mark.parametrize("text", ["", "\0", "x" * 5000, "\ud800", "/no/such.net"])
def test_a_checkpoint_that_names_nonsense(
    run: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors, meta = load(newest(run))
    save(newest(run), tensors, meta | run_meta({"network": text, "directory": text, "steps": text}))
    said = call(capsys, "report", run)
    assert said["test_accuracy"] is None and len(said["notes"]) == 1


# Trainings that end otherwise


def test_a_training_that_goes_on(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--out", run, "--resume", "--report", "--devices", 2, "--strategy", "model")
    ended = call(capsys, "run", DIGITS, "--epochs", 3, *options)
    assert ended["report"] == str(run / "report.html")
    page = (run / "report.html").read_text()
    matrix = cells(page)
    right = sum(images for (own, said), images in matrix.items() if own == said)
    assert right / 360 == ended["test_accuracy"]
    assert tiles(page)["steps"] == "42 of 42" and "<td>model" in page
    again = call(capsys, "run", DIGITS, "--epochs", 3, "--out", run, "--resume", "--report")
    assert again["test_accuracy"] == ended["test_accuracy"]
    call(capsys, "run", DIGITS, "--epochs", 4, "--out", run, "--resume", "--devices", 2)
    call(capsys, "report", run)
    said = re.search(r"<td>auto: ([^<]*)", (run / "report.html").read_text())
    assert said is not None and said[1].split()[0] in FIXED


def test_an_interrupted_training_has_its_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(options: object, bar: object, event: EpochDone) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(run_, "tell_epoch", interrupt)
    options = ("--epochs", 5, "--out", tmp_path, "--report")
    ended = call(capsys, "run", DIGITS, *options, code=130)
    assert ended["interrupted"] and 14 <= ended["step"] < 70
    page = (tmp_path / "report.html").read_text()
    assert sum(cells(page).values()) == 360
    assert tiles(page)["steps"] == f"{ended['step']} of 70"


def test_without_a_page_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = call(capsys, "run", DIGITS, "--steps", 2, "--out", tmp_path)
    assert ended["report"] is None and not (tmp_path / "report.html").exists()


def test_a_page_that_cannot_be_written_is_said_after_the_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "report.html").mkdir()
    assert main(["run", DIGITS, "--steps", "2", "--out", str(tmp_path), "--report"]) == 2
    captured = capsys.readouterr()
    assert "error[E056]: cannot write" in captured.err
    assert "test accuracy" in captured.out and "saved " in captured.out


@pytest.mark.parametrize("more", [("--dry-run",), ("--backend", "null")])
def test_where_nothing_is_trained(
    more: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, 2, "run", DIGITS, "--report", *more)
    assert "error[E051]: '--report' tells of a training, and nothing is trained." in said


# What is no training


def test_what_is_no_training_is_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = refused(capsys, 5, "report", "nothing")
    assert "error[E061]: directory 'nothing' does not exist." in said
    assert "help: name the folder of a training: runs/NAME, or what" in said
    said = refused(capsys, 5, "report", newest(run))
    assert "is a file, not a directory" in said
    (tmp_path / "empty").mkdir()
    said = refused(capsys, 5, "report", "empty")
    assert "error[E068]: 'empty' is not the folder of a training: there is no metrics.jsonl" in said
    assert "help: 'netc run' makes one: runs/NAME" in said
    shutil.copytree(run, tmp_path / "runs" / "mine")
    said = refused(capsys, 5, "report", "mine")
    assert "did you mean 'runs/mine'? name the folder" in said


def test_metrics_that_are_missing_or_none(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = run / "metrics.jsonl"
    metrics.write_text("")
    said = refused(capsys, 5, "report", run)
    assert f"error[E068]: '{metrics}' has no lines yet." in said and "--resume" in said
    metrics.write_text("hello\n")
    assert "error[E068]: line 1 of" in refused(capsys, 5, "report", run)
    metrics.unlink()
    said = refused(capsys, 5, "report", run)
    assert "has checkpoints, but no metrics.jsonl" in said
    assert f"'netc eval NET --weights {newest(run)}'" in said
    assert not (run / "report.html").exists()


def test_checkpoints_that_are_missing_or_damaged(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    newest(run).write_bytes(b"hello")
    (note,) = call(capsys, "report", run)["notes"]
    assert str(newest(run)) in note
    for file in run.glob("*.safetensors"):
        file.unlink()
    (note,) = call(capsys, "report", run)["notes"]
    assert "the folder has no checkpoint; wait for the end of an epoch" in note
    page = (run / "report.html").read_text()
    assert "none that can be read" in page
    tests = [line for line in read_metrics(run / "metrics.jsonl") if "test_accuracy" in line]
    accuracy = tests[-1]["test_accuracy"] or 0.0
    assert tiles(page)["of held-out images are right, epoch 2"] == f"{100 * accuracy:.2f} %"


def test_other_files_are_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, 2, "report", run, "-o", "page.svg")
    assert "error[E056]: cannot write a report as 'page.svg'" in said
    assert "a report is written as .html." in said
    said = refused(capsys, 2, "report", run, "-o", run / "no" / "page.html")
    assert "error[E056]: cannot write" in said
