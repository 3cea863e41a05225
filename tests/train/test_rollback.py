"""`--on-nan rollback`: back to the last checkpoint, and on behind the batch that was bad."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from small_runs import SmallRuns, check_same_tensors

from netc.api.running import open_session
from netc.cli.main import main, parser
from netc.cli.session import choose, load_bundle
from netc_runtime.io import load
from netc_runtime.io.checkpoint import Rollbacks
from netc_runtime.train.augment import order
from netc_runtime.train.evaluate import Evaluation
from netc_runtime.train.metrics import read_metrics

IMAGES, BATCH, EPOCH = 160, 16, 10
BAD_STEP = 6
"""The step of the first epoch, from 0, whose batch has the bad image."""
NETWORK = """
net poor(classes = 4)
input image 1x4x4
fc 8 | relu | dropout 0.5
fc classes
softmax_loss
train { batch 16 ; epochs 2 ; adam lr=0.01 ; schedule cosine() }
"""
ROLLBACK = ("--on-nan", "rollback", "--save-every", 4, "--keep", 99)


def bad_step(epoch: int, image: int) -> int:
    """The step, from 0, that takes an image."""
    place = int(np.flatnonzero(order(0, epoch, IMAGES) == image)[0])
    return epoch * EPOCH + place // BATCH


IMAGE = int(order(0, 0, IMAGES)[BAD_STEP * BATCH + 3])


def images() -> dict[str, NDArray[Any]]:
    """Finite numbers, one of which no network of floats can stand."""
    rng = np.random.default_rng(0)
    made: dict[str, NDArray[Any]] = {}
    for split, size in (("train", IMAGES), ("test", 40)):
        labels = np.arange(size) % 4
        x = rng.standard_normal((size, 1, 4, 4)) + labels[:, None, None, None]
        made |= {f"x_{split}": x.astype(np.float32), f"y_{split}": labels}
    made["x_train"][IMAGE] = 3e38
    return made


class PoorRuns(SmallRuns):
    """Of images with a bad one."""

    def __post_init__(self) -> None:
        (self.folder / "n.net").write_text(NETWORK)
        np.savez(self.folder / "d.npz", allow_pickle=False, **images())

    def __call__(self, *options: object, code: int = 0, out: str = "o") -> str:
        data = ("--data", self.folder / "d.npz")
        return super().__call__(*data, *options, code=code, out=out)

    def rollbacks(self, out: str = "o") -> list[dict[str, Any]]:
        return [row for row in self.rows(out) if "rollback" in row]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> PoorRuns:
    return PoorRuns(tmp_path, capsys)


def by_hand(run: PoorRuns, rates: dict[int, float], undone: dict[int, int]) -> dict[str, Any]:
    """The weights after the steps, from 0, of these rates; `undone` are the updates that are there
    no more when some of them are made.
    """
    given = ["run", str(run.folder / "n.net"), "--kernels", "reference"]
    options = parser().parse_args(given)
    bundle = load_bundle(options)
    session = open_session(choose(options, bundle), bundle, None)
    session.initialize(0)
    data, lost = images(), 0
    for step, rate in rates.items():
        lost = undone.get(step, lost)
        epoch, place = divmod(step, EPOCH)
        rows = order(0, epoch, IMAGES)[place * BATCH :][:BATCH]
        batch = data["x_train"][rows], data["y_train"][rows]
        session.step(*batch, step=step - lost, seed=0, learning_rate=rate)
    return session.state()


def cosine(step: int) -> float:
    return 0.01 * (1 + np.cos(np.pi * step / (2 * EPOCH))) / 2


def test_it_goes_on_behind_the_batch(run: PoorRuns) -> None:
    """Steps 5 to 7 are undone; the weights are those of a training that never took them."""
    shown = run(*ROLLBACK, "--epochs", 2, "--steps", 9)
    wanted = "the loss is not a finite number at step 7: back to step 4, on after step 7 at 0.5 of"
    assert wanted in " ".join(shown.split()) and "(1 of 3)" in shown
    (told,) = run.rollbacks()
    assert told == {"step": 7, "epoch": 1, "rollback": 1, "back_to": 4, "rate_factor": 0.5}
    steps = [row for row in run.rows() if "loss" in row]
    assert [row["step"] for row in steps] == [1, 2, 3, 4, 5, 6, 8, 9]
    rates = {n: cosine(n) / (1 if n < 7 else 2) for n in (0, 1, 2, 3, 7, 8)}
    made = [row["learning_rate"] for row in steps if row["step"] not in (5, 6)]
    np.testing.assert_allclose(made, list(rates.values()), rtol=1e-12)
    found = load(run.files()[-1])[0]
    for name, value in by_hand(run, dict(zip(rates, made, strict=True)), {7: 3}).items():
        assert found[name].tobytes() == value.tobytes(), name


def test_whoever_is_interrupted_goes_on_alike(run: PoorRuns) -> None:
    """What there is after a rollback is saved at once, with the rate and the number of them."""
    run(*ROLLBACK, out="whole")
    assert [row["step"] for row in run.rollbacks("whole")] == [7, bad_step(1, IMAGE) + 1]
    for steps in (4, 7, 8, 12, 20):
        shown = run(*ROLLBACK, "--steps", steps, "--resume", "auto")
        if steps == 8:
            assert "resumed at step 7" in shown
            assert "the rate is 0.5 of the recipe's" in shown and "(1 of 3)" in shown
    run.check_same("whole")
    meta = load(run.files()[-1])[1]
    assert Rollbacks.from_meta(meta).count == 2


def test_a_killed_run_replays_it(run: PoorRuns) -> None:
    """Killed after the record of it, before its checkpoint: the record is there once."""
    run(*ROLLBACK, out="whole")
    shutil.copytree(run.folder / "whole", run.folder / "o")
    for file in run.files()[2:]:
        file.unlink()
    assert run.steps() == [0, 4]
    run(*ROLLBACK, "--resume", "auto")
    run.check_same("whole")


def test_the_start_is_gone_back_to(run: PoorRuns) -> None:
    """Where nothing was saved since; given weights are part of it."""
    run("--steps", 3, out="first")
    weights = run.folder / "first"
    run("--on-nan", "rollback", "--weights", weights, "--steps", 7)
    assert run.steps() == [0, 7] and run.rollbacks()[0]["back_to"] == 0
    check_same_tensors(*run.files())
    first, last = load(run.files("first")[0])[0], load(run.files()[-1])[0]
    assert np.array_equal(first["fc1.weight"], last["fc1.weight"])
    assert not last["fc1.weight.moment1"].any()


def test_the_start_is_not_the_best(run: PoorRuns) -> None:
    """Where a run was killed before it knew of any."""
    run(*ROLLBACK, "--steps", 3)
    (run.folder / "o" / "best.safetensors").unlink()
    run.files()[-1].unlink()
    run(*ROLLBACK, "--steps", 4, "--resume", "auto", "--patience", 9)
    assert load(run.folder / "o" / "best.safetensors")[1]["step"] == "4"


def test_three_times_at_most(run: PoorRuns) -> None:
    """Then it ends as it does without; what was saved stays, and counts when it goes on."""
    shown = run(*ROLLBACK, "--epochs", 9, code=5)
    assert shown.count("back to step") == 3 and "error[E075]" in shown
    assert "--on-nan rollback" not in shown
    assert "went back to a checkpoint 3 times before" in shown
    ends = [bad_step(epoch, IMAGE) + 1 for epoch in range(4)]
    assert [row["step"] for row in run.rollbacks()] == ends[:3]
    assert [row["rate_factor"] for row in run.rollbacks()] == [0.5, 0.25, 0.125]
    assert run.steps()[-1] < ends[3] and run.rows()[-1]["step"] == ends[3] - 1
    before = run.steps()
    again = run(*ROLLBACK, "--epochs", 9, "--resume", "auto", code=5)
    assert "back to step" not in again and "error[E075]" in again and run.steps() == before


def test_it_stops_unless_told_otherwise(run: PoorRuns) -> None:
    shown = run("--save-every", 4, code=5)
    assert "error[E075]" in shown and "'--on-nan rollback' it does so by itself" in shown
    assert "'--resume' goes on from step 4" in shown
    assert "went back" not in shown and run.steps() == [4] and not run.rollbacks()


def test_what_helps_where_nothing_is_saved(run: PoorRuns) -> None:
    """Each of what is advised works, and leads into no circle."""
    shown = " ".join(run(code=5).split())
    assert "nothing is saved, and '--replace' begins anew" in shown
    assert "'--resume' goes on" not in shown
    assert "'--replace' removes its metrics and begins anew" in " ".join(run(code=5).split())
    assert "'--replace' in place of '--resume'" in " ".join(run("--resume", code=5).split())
    shown = run("--replace", "--on-nan", "rollback", "--steps", 8)
    assert "back to step 0" in shown and run.steps()[-1] == 8


def test_a_state_that_is_none(run: PoorRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen when it is to be saved: the loss was finite still."""
    from netc_runtime.session import Session

    looks = iter([[], ["fc1.weight"], [], [], []])
    monkeypatch.setattr(Session, "not_finite", lambda _: next(looks))
    shown = run(*ROLLBACK, "--steps", 5)
    assert "not all numbers are finite in 'fc1.weight': back to step 0" in " ".join(shown.split())
    assert run.steps() == [0, 4, 5]
    check_same_tensors(*run.files()[:2])


def test_held_out_images_that_show_it(run: PoorRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end of the last epoch: what is saved then is what it went back to."""
    import netc_runtime.train.trainer as trainer

    losses = iter([np.nan, 1.0])
    monkeypatch.setattr(trainer, "evaluate", lambda *_: Evaluation(next(losses), 0.5, None, 0.1))
    shown = run(*ROLLBACK, "--steps", 6)
    assert "held-out images is not a finite number: back to step 4" in " ".join(shown.split())
    assert run.steps() == [0, 4, 6] and "test accuracy 50.00 %" in shown
    check_same_tensors(*run.files()[1:])


def test_others_can_read_it(run: PoorRuns, capsys: pytest.CaptureFixture[str]) -> None:
    shown = run(*ROLLBACK, "--json")
    events = [json.loads(line, parse_constant=pytest.fail) for line in shown.splitlines()]
    (first, _) = [event for event in events if event["event"] == "rollback"]
    assert (first["step"], first["back_to"], first["rate_factor"]) == (7, 4, 0.5)
    assert first["why"] == "the loss is not a finite number at step 7"
    assert len(read_metrics(run.folder / "o" / "metrics.jsonl")) == len(run.rows())
    assert main(["report", str(run.folder / "o"), "-o", str(run.folder / "page.html")]) == 0


MPIEXEC = shutil.which("mpiexec") or str(Path(sys.executable).parent / "mpiexec")


@pytest.mark.skipif(not Path(MPIEXEC).exists(), reason="there is no mpiexec")
def test_all_ranks_go_back(run: PoorRuns) -> None:
    run(*ROLLBACK, "--devices", 2, out="threads")
    command = [MPIEXEC, "-n", "2", sys.executable, "-m", "netc.cli.main", "run", "n.net", "--out",
               "o", "--data", "d.npz", "--kernels", "reference", "--devices", "2"]  # fmt: skip
    done = subprocess.run(
        [*command, *map(str, ROLLBACK)], cwd=run.folder, capture_output=True, text=True,
        timeout=120, env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("back to step") == 2
    assert run.steps() == run.steps("threads")
    run.check_same("threads")
