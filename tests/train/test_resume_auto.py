"""`--resume auto`: the same command again and again, whatever happened before."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file
from small_runs import SmallRuns

import netc_runtime.train.trainer as trainer
from netc_runtime.io.checkpoint import meta_of
from netc_runtime.train.evaluate import Evaluation

AUTO = ("--resume", "auto", "--save-every", 4, "--keep", 9)


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> SmallRuns:
    return SmallRuns(tmp_path, capsys)


def test_the_same_command_until_all_is_done(run: SmallRuns) -> None:
    """Nothing is there, then a part of an epoch, then all."""
    assert "from the start" in run(*AUTO, "--steps", 6)
    assert "resumed at step 6" in run(*AUTO, "--steps", 21)
    assert "resumed at step 21" in run(*AUTO)
    before = run.files()[-1].read_bytes()
    shown = run(*AUTO)
    assert "nothing is left to do" in shown and "test accuracy" in shown
    assert run.files()[-1].read_bytes() == before
    assert run.steps()[-4:] == [32, 36, 40, 42]
    run(out="whole")
    run.check_same("whole")


def test_a_run_that_ended_before_its_first_checkpoint(run: SmallRuns) -> None:
    """Only lines of metrics are there, the last one cut: they begin anew."""
    run("--steps", 2)
    run.files()[0].unlink()
    (run.folder / "o" / "best.safetensors").unlink()
    with (run.folder / "o" / "metrics.jsonl").open("a") as file:
        file.write('{"step":3,"lo')
    shown = " ".join(run(code=5).split())
    assert "has a training already" in shown and "it saved no checkpoint to go on from" in shown
    assert "'--resume'" not in shown and "'--replace' removes its metrics" in shown
    assert "take '--replace' in place of '--resume'" in " ".join(run("--resume", code=5).split())
    assert "from the start" in run(*AUTO, "--steps", 5)
    run("--steps", 5, out="whole")
    run.check_same("whole")


def test_the_best_of_a_killed_run(run: SmallRuns) -> None:
    """It was killed when its best checkpoint was there, and not yet kept as such."""
    run(*AUTO, "--steps", 14)
    best = run.folder / "o" / "best.safetensors"
    wanted = best.read_bytes()
    best.unlink()
    run(*AUTO, "--steps", 16)
    assert (run.folder / "o" / "best.safetensors").exists()
    best.unlink()
    for file in run.files()[-1:]:
        file.unlink()
    run(*AUTO, "--steps", 14)
    assert best.read_bytes() == wanted


def test_the_best_of_another_training_is_not_replaced(run: SmallRuns) -> None:
    run("--steps", 2)
    run.files()[0].unlink()
    assert "has a training already ('best.safetensors')" in run(*AUTO, code=5)


@pytest.mark.parametrize("damaged", [1, 2])
def test_damaged_files_are_put_aside(run: SmallRuns, damaged: int) -> None:
    """Cut anywhere; what was there is gone on from, and the curve has each step once."""
    seed = random.randrange(2**32)
    choose = random.Random(seed)
    run(*AUTO, "--steps", 13)
    assert run.steps() == [4, 8, 12, 13]
    contents = {}
    for file in run.files()[-damaged:]:
        contents[file] = file.read_bytes()[: choose.randrange(file.stat().st_size)]
        file.write_bytes(contents[file])
    shown = run(*AUTO, "--json")
    start = json.loads(shown.splitlines()[0])
    assert start["resumed_at"] == (12 if damaged == 1 else 8), f"seed {seed}"
    assert start["damaged"] == [str(file) for file in reversed(contents)], f"seed {seed}"
    for file, content in contents.items():
        assert file.with_name(file.name + ".damaged").read_bytes() == content
    run(out="whole")
    run.check_same("whole")


def test_it_is_said_what_is_damaged(run: SmallRuns) -> None:
    run(*AUTO, "--steps", 5)
    run.files()[-1].write_bytes(b"")
    shown = run(*AUTO, "--steps", 6)
    assert "step-00000005.safetensors' is not a whole safetensors file" in shown
    assert "put aside as 'step-00000005.safetensors.damaged'" in shown
    assert "resumed at step 4" in shown


def test_where_all_are_damaged_nothing_is_touched(run: SmallRuns) -> None:
    run(*AUTO, "--steps", 5)
    for file in run.files():
        file.write_bytes(file.read_bytes()[:-1])
    before = {file: file.read_bytes() for file in (run.folder / "o").iterdir()}
    shown = run(*AUTO, code=5)
    assert "error[E068]" in shown and "step-00000005" in shown and "no other checkpoint" in shown
    before[run.folder / "o" / ".lock"] = (run.folder / "o" / ".lock").read_bytes()
    assert {file: file.read_bytes() for file in (run.folder / "o").iterdir()} == before


def test_where_the_best_one_alone_is_whole(run: SmallRuns) -> None:
    """It is named, and what is said of it works."""
    run(*AUTO, "--steps", 16)
    for file in run.files():
        content = file.read_bytes()
        file.unlink()  # the best one may be the same file
        file.write_bytes(content[:-1])
    shown = " ".join(run(*AUTO, code=5).split())
    best = run.folder / "o" / "best.safetensors"
    step = meta_of(best)["step"]
    assert f"'best.safetensors' alone is whole, of step {step}" in shown
    assert f"'--resume {best} --out FOLDER' goes on" in shown
    assert f"resumed at step {step}" in run("--resume", best, "--steps", 17, out="other")


@pytest.mark.parametrize("damage", [b"\xff" * 64, bytes(4096), b"\x00"])
def test_damaged_tensors_are_put_aside(run: SmallRuns, damage: bytes) -> None:
    """The file is as long as it was, and its header whole."""
    run(*AUTO, "--steps", 13)
    file = run.files()[-1]
    content = bytearray(file.read_bytes())
    place = len(content) // 2
    assert content[place : place + len(damage)] != damage
    content[place : place + len(damage)] = damage
    file.write_bytes(content)
    assert "their checksum differs" in run("--resume", code=5)
    shown = " ".join(run(*AUTO, "--steps", 14).split())
    assert "their checksum differs" in shown and "put aside as" in shown
    assert "resumed at step 12" in shown
    run("--steps", 14, out="whole")
    run.check_same("whole")


def test_what_another_version_wrote_is_not_damaged(run: SmallRuns) -> None:
    run(*AUTO, "--steps", 5)
    file = run.files()[-1]
    save_file(load_file(file), file, meta_of(file) | {"netc_checkpoint": "3"})
    assert "has format 3" in run(*AUTO, code=5)
    assert run.steps() == [4, 5]


def test_weights_to_begin_with(run: SmallRuns) -> None:
    """They count where there is nothing to go on from."""
    run("--steps", 3, out="first")
    weights = ("--weights", run.folder / "first")
    assert "from the weights in" in run(*AUTO, *weights, "--steps", 2)
    assert "resumed at step 2" in run(*AUTO, *weights, "--steps", 4)
    run(*weights, "--steps", 4, out="whole")
    run.check_same("whole")


def test_it_removes_nothing(run: SmallRuns) -> None:
    assert "'--replace' removes it" in run(*AUTO, "--replace", code=2)


def test_a_folder_of_that_name(run: SmallRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    run("--steps", 2, out="auto")
    monkeypatch.chdir(run.folder)
    assert "resumed at step 2" in run("--resume", "./auto", "--steps", 3)


@pytest.mark.parametrize("damage", ["is missing", "checksum differs", "is of step 20, not 14"])
def test_a_best_that_is_damaged_or_gone(
    run: SmallRuns, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    """It is said, and the next one that is evaluated is kept in its place."""
    accuracies = iter([0.7, 0.5, 0.4])
    monkeypatch.setattr(
        trainer, "evaluate", lambda *_: Evaluation(1.0, next(accuracies), None, 0.1)
    )
    best = run.folder / "o" / "best.safetensors"
    run("--steps", 20)
    assert meta_of(best)["step"] == "14" and meta_of(run.files()[-1])["best"] == "[14, 0.7]"
    content = best.read_bytes()
    best.unlink()
    if "checksum" in damage:
        best.write_bytes(content[:-4] + bytes(4))
    elif "step" in damage:
        best.write_bytes(run.files()[-1].read_bytes())
    shown = run(*AUTO, "--steps", 28, "--json").splitlines()
    start, result = json.loads(shown[0]), json.loads(shown[-1])
    assert damage in start["lost_best"]
    assert (result["best_step"], result["best_accuracy"]) == (28, 0.4)
    assert meta_of(best)["step"] == "28" and load_file(best)
    monkeypatch.undo()
    assert json.loads(run(*AUTO, "--steps", 28, "--json").splitlines()[0])["lost_best"] is None
    best.unlink()
    run("--steps", 29, "--resume")  # of a file that is there again, or is still missing
    assert best.exists()


def test_patience_that_is_at_its_end(run: SmallRuns) -> None:
    """The same command again trains nothing more."""
    still = (*AUTO, "--lr", 0, "--epochs", 9, "--patience", 2)
    assert "ended     early" in run(*still)
    before, curves = run.files()[-1].read_bytes(), run.curves()
    for _ in range(2):
        shown = " ".join(run(*still).split())
        assert "nothing is left to do: nothing was better than step 14 in 2 epochs" in shown
        assert "a larger '--patience' goes on" in shown
        assert (run.files()[-1].read_bytes(), run.curves()) == (before, curves)
    shown = run(*AUTO, "--lr", 0, "--epochs", 9, "--patience", 3)
    assert "nothing is left" not in shown and run.steps()[-1] == 56
