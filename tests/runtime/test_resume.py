"""What a checkpoint knows is compared with what the run has: said, or refused."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import load_file, save_file
from saved import newest

from netc.cli.main import main
from netc_runtime.io.checkpoint import latest, load, meta_of
from netc_runtime.io.problems import unwritable

TINY = """
net tiny(classes = 10, rate = 0.0)
input image 1x8x8
fc 16 | relu | dropout rate
fc classes
softmax_loss
train { data digits() ; batch 96 ; sgd lr=0.01 ; schedule step(every=2ep, gamma=0.1) }
"""
PICTURES = """
net pictures(classes = 2)
input image 3x8x8
fc classes
softmax_loss
train { batch 4 ; sgd lr=0.01 }
"""


@dataclass
class Runs:
    """Runs of a network in a folder."""

    folder: Path
    capsys: pytest.CaptureFixture[str]

    def netc(self, *arguments, code=0):
        """What a command says on both outputs."""
        self.capsys.readouterr()
        assert main([*map(str, arguments)]) == code
        shown = self.capsys.readouterr()
        return shown.out + shown.err

    def run(self, *options, code=0):
        return self.netc("run", self.folder / "n.net", "--plain", "--out", self.folder / "o",
                         *options, code=code)  # fmt: skip

    def metrics(self):
        return [json.loads(line) for line in (self.folder / "o" / "metrics.jsonl").open()]


@pytest.fixture
def runs(tmp_path, capsys):
    (tmp_path / "n.net").write_text(TINY)
    return Runs(tmp_path, capsys)


@pytest.fixture
def pictures(tmp_path, capsys):
    """Two classes of eight pictures to train on, and as many held out."""
    rng = np.random.default_rng(0)
    for part in ("train", "val"):
        for number, name in enumerate(("cat", "dog")):
            (tmp_path / "p" / part / name).mkdir(parents=True)
            for k in range(8):
                pixels = rng.integers(0, 110, (9, 9, 3)) + 120 * number
                file = tmp_path / "p" / part / name / f"{k}.png"
                Image.fromarray(pixels.astype(np.uint8)).save(file)
    (tmp_path / "n.net").write_text(PICTURES)
    return Runs(tmp_path, capsys)


@pytest.mark.parametrize(("first", "second"), [(96, 24), (24, 96)])
def test_another_batch_goes_on_in_the_next_epoch(runs, first, second):
    """1,437 images: 14 steps of 96, 59 of 24. The rate falls after two epochs."""
    runs.run("--epochs", 2, "--batch", first)
    done = 2 * (1437 // first)
    shown = runs.run("--epochs", 4, "--batch", second, "--resume")
    assert f"batch ({first}, now {second})" in shown and f"resumed at step {done}" in shown
    steps = [row for row in runs.metrics() if "loss" in row]
    assert [row["step"] for row in steps] == list(range(1, done + 2 * (1437 // second) + 1))
    later = steps[done:]
    assert [row["epoch"] for row in later] == [3] * (1437 // second) + [4] * (1437 // second)
    np.testing.assert_allclose([row["learning_rate"] for row in later], 0.001)


def test_another_batch_within_an_epoch(runs):
    """Images that were seen are whole batches of the new size, or it is refused."""
    runs.run("--steps", 3)
    message = runs.run("--batch", 36 * 2 + 1, "--resume", code=5)
    assert "after 288 of 1,437 images, which are no whole number of batches of 73" in message
    assert "resume with '--batch 96'" in message
    runs.run("--batch", 72, "--resume", "--epochs", 1)
    steps = [row["step"] for row in runs.metrics() if "loss" in row]
    assert steps == list(range(1, 3 + (19 - 4) + 1))


def test_nothing_left_to_do_is_said(runs):
    runs.run("--epochs", 2)
    before = newest(runs.folder / "o").read_bytes()
    shown = runs.run("--epochs", 2, "--resume")
    assert "nothing is left to do: 28 steps are done" in shown and "larger '--epochs'" in shown
    shown = runs.run("--epochs", 2, "--steps", 90, "--resume", code=2)
    assert "'--steps 90' is more than there are: 2 epochs have 28 steps." in shown
    assert "larger '--epochs'" in shown
    assert "larger '--steps'" in runs.run("--epochs", 9, "--steps", 20, "--resume")
    assert newest(runs.folder / "o").read_bytes() == before


def test_what_was_changed_is_said(runs):
    runs.run("--steps", 1)
    shown = runs.run("--steps", 2, "--resume", "--lr", 0.02, "-D", "rate=0.5")
    assert "lr (0.01, now 0.02)" in shown and "-D rate (its default, now 0.5)" in shown
    assert "the network's layers" in shown
    assert "changed since" not in runs.run("--steps", 3, "--resume", "--lr", 0.02, "-D", "rate=0.5")
    shown = runs.netc("eval", runs.folder / "n.net", "--out", runs.folder / "o")
    assert "changed since" in shown and "lr" not in shown.partition("changed since")[2]


@pytest.mark.parametrize(
    ("key", "value"), [("step", "-5"), ("step", "1" + "0" * 30), ("epoch", "x"), ("place", "14")]
)
def test_a_place_that_is_none_is_refused(runs, key, value):
    runs.run("--steps", 1)
    file = newest(runs.folder / "o")
    meta = meta_of(file) | {key: value, "netc_checkpoint": "2"}
    save_file(load_file(file), file, meta)
    assert "does not say where its training stood" in runs.run("--resume", code=5)


def test_classes_must_be_the_same_in_the_same_order(pictures):
    data = ("--data", f'imagefolder("{pictures.folder}/p")')
    pictures.run("--epochs", 1, *data)
    for part in ("train", "val"):
        (pictures.folder / "p" / part / "cat").rename(pictures.folder / "p" / part / "zebra")
    message = pictures.run("--epochs", 2, "--resume", *data, code=5)
    assert "class 0 of" in message and "is 'cat', that of the data set is 'dog'" in message
    network, out = pictures.folder / "n.net", pictures.folder / "o"
    assert "is 'cat'" in pictures.netc("eval", network, "--out", out, *data, code=5)


def test_images_that_came_later(pictures):
    """Another number of images is right between epochs only."""
    data = ("--data", f'imagefolder("{pictures.folder}/p")')
    pictures.run("--epochs", 1, *data)
    train = pictures.folder / "p" / "train"
    for k in range(4):
        shutil.copy(train / "cat" / "0.png", train / "cat" / f"more{k}.png")
    pictures.run("--epochs", 2, "--resume", *data)
    assert [row["step"] for row in pictures.metrics() if "loss" in row] == list(range(1, 10))
    pictures.run("--steps", 11, "--epochs", 3, "--resume", *data)
    (train / "cat" / "more0.png").unlink()
    message = pictures.run("--epochs", 3, "--resume", *data, code=5)
    assert "within epoch 3, after 8 of 20 images" in message and "has 19 now" in message


@pytest.mark.parametrize("part", ["train", "val"])
def test_a_picture_that_cannot_be_read_loses_nothing(pictures, part):
    data = ("--data", f'imagefolder("{pictures.folder}/p")', "--batch", 2)
    bad = pictures.folder / "p" / part / "cat" / "zz.png"
    bad.write_bytes((pictures.folder / "p/train/cat/0.png").read_bytes()[:40])
    message = pictures.run("--epochs", 9, *data, code=5)
    assert "zz.png" in message and "'--resume' goes on" in message
    steps = [row["step"] for row in pictures.metrics() if "loss" in row]
    assert newest(pictures.folder / "o").name == f"step-{steps[-1]:08d}.safetensors"
    shutil.copy(pictures.folder / "p/train/cat/0.png", bad)
    pictures.run("--epochs", 2, "--resume", *data)


def test_metrics_that_cannot_be_written_lose_nothing(runs, monkeypatch):
    import netc_runtime.train.metrics as metrics

    write = metrics.Metrics.write

    def full(self, step, **values):
        if step == 3:
            raise unwritable(self.path, OSError(28, "No space left on device"))
        write(self, step, **values)

    monkeypatch.setattr(metrics.Metrics, "write", full)
    message = runs.run("--epochs", 2, code=5)
    assert "No space left" in message and "saved up to step 3" in message
    assert newest(runs.folder / "o").name == "step-00000003.safetensors"


def scaled(runs, weight, bias=1.0):
    """A file of weights and biases that are multiplied by so much."""
    runs.run("--steps", 1)
    tensors = load(newest(runs.folder / "o"))[0]
    factors = {"weight": np.float32(weight), "bias": np.float32(bias)}
    kept = {n: t * factors[n.split(".")[-1]] for n, t in tensors.items() if n.count(".") == 1}
    save_file(kept, runs.folder / "w.safetensors")
    shutil.rmtree(runs.folder / "o")
    return ("--weights", runs.folder / "w.safetensors")


@pytest.mark.parametrize("devices", [1, 2])
def test_numbers_that_are_not_finite_are_not_saved(runs, devices):
    """The loss of the first step is finite; what it makes of the weights is not."""
    begin = scaled(runs, 1.0)
    message = runs.run("--steps", 1, "--lr", 3e38, "--devices", devices, *begin, code=5)
    assert "E075" in message
    assert latest(runs.folder / "o") is None


def test_a_state_that_is_not_finite_is_named(runs, monkeypatch):
    """Losses may be finite still: a dead relu hides what is behind it."""
    import netc_runtime.train.trainer as trainer

    monkeypatch.setattr(trainer.Trainer, "evaluate", lambda self: (1.0, 0.5))
    message = runs.run("--steps", 1, "--lr", 1e39, code=5)
    assert "after step 1 not all numbers are finite in '" in message
    assert latest(runs.folder / "o") is None


def test_json_has_no_other_numbers(runs):
    begin = scaled(runs, 1e38)
    shown = runs.run("--steps", 1, "--json", *begin, code=5)
    for line in shown.splitlines():
        json.loads(line, parse_constant=pytest.fail)


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ('train.weights="fc1.*" frozen=true', None, ("fc1.weight.velocity' is missing", "frozen")),
        (None, 'train.weights="fc1.*" frozen=true', ("fc1.weight.velocity' is unknown", "frozen")),
        (
            None,
            "train.optimizer=adam(lr=0.01)",
            ("trained with sgd(", "this training is with adam("),
        ),
    ],
)
def test_other_optimizer_state_is_told_as_that(runs, first, second, told):
    """And what is said to help does."""
    runs.run("--steps", 2, *(("--set", first) if first else ()))
    now = ("--set", second) if second else ()
    file = newest(runs.folder / "o")
    shown = " ".join(runs.run("--resume", "--steps", 4, *now, code=5).split())
    assert (
        all(each in shown for each in told) and f"'--weights {file} --out FOLDER' begins" in shown
    )
    assert "does not fit this network" not in shown
    runs.netc("run", runs.folder / "n.net", "--weights", file, "--steps", 1, *now, "--out",
              runs.folder / "p")  # fmt: skip


def test_data_of_one_input_are_refused_for_two(runs):
    (runs.folder / "n.net").write_text(
        "net two(classes = 10)\ninput image 1x8x8\ninput depth 1x8x8\n"
        "concat { $image ; $depth }\nfc classes\nsoftmax_loss\ntrain { data digits() }\n"
    )
    begin = scaled_by_names(runs)
    for verb in (("run",), ("eval", *begin), ("data",)):
        message = runs.netc(verb[0], runs.folder / "n.net", *verb[1:], code=5)
        assert "the network has 2 inputs ('image', 'depth')" in message, verb
        assert "but data set 'digits' fills 1." in message and "'npz' and 'synthetic'" in message


@pytest.mark.parametrize(
    ("recipe", "named"),
    [
        ("augment shift(70000)", "shift"),
        ("augment turn(3)", "turn"),
        ("schedule slow(2)", "slow"),
    ],
)
def test_what_a_recipe_calls_wrongly_is_said_before_the_first_step(runs, recipe, named):
    text = TINY.replace("schedule step(every=2ep, gamma=0.1)", recipe)
    (runs.folder / "n.net").write_text(text)
    message = runs.run("--epochs", 1, code=3)
    assert named in message and "step 1" not in message


def scaled_by_names(runs):
    rng = np.random.default_rng(0)
    weights = {"fc1.weight": rng.standard_normal((10, 128)), "fc1.bias": np.zeros(10)}
    kept = {name: value.astype(np.float32) for name, value in weights.items()}
    save_file(kept, runs.folder / "w.safetensors")
    return ("--weights", str(runs.folder / "w.safetensors"))


def test_memory_as_it_lay_is_never_read():
    """A program that reads what nobody wrote does not run."""
    from harness import compiled, options, tiny

    from netc_runtime.cpu.backend import CpuBackend

    bundle, _ = compiled(tiny(), options(tiny(), 1, 4))
    executable = CpuBackend([bundle.train]).load(bundle.train)
    with pytest.raises(AssertionError, match="nobody wrote"):
        executable.run()


MPIEXEC = shutil.which("mpiexec") or str(Path(sys.executable).parent / "mpiexec")
needs_mpi = pytest.mark.skipif(not Path(MPIEXEC).exists(), reason="there is no mpiexec")


def two_ranks(runs, options, of_the_second):
    """Train on two ranks; the second one has options of its own."""
    script = (
        f"[ ${{PMI_RANK:-$OMPI_COMM_WORLD_RANK}} = 1 ] && X='{of_the_second}'; exec "
        f"{sys.executable} -m netc.cli.main run {runs.folder}/n.net --devices 2 "
        f"--kernels reference --out {runs.folder}/o {options} $X"
    )
    return subprocess.run([MPIEXEC, "-n", "2", "sh", "-c", script], capture_output=True, text=True,
                          timeout=120, env=os.environ | {"OPENBLAS_NUM_THREADS": "1"})  # fmt: skip


@needs_mpi
@pytest.mark.parametrize(
    ("other", "named"),
    [("--lr 0.5", "learning rate"), ("--seed 7", "seed"), ("--epochs 3", "number of epochs"),
     ("--steps 5", "number of steps"), ("--resume", "way to begin")],
)  # fmt: skip
def test_ranks_that_differ_are_refused_at_once(runs, other, named):
    done = two_ranks(runs, "--epochs 2", other)
    assert done.returncode == 6, done.stderr
    assert f"rank 1 has another {named} than rank 0" in done.stderr
    assert "Traceback" not in done.stderr


@needs_mpi
def test_only_the_first_rank_reads_its_disk(runs):
    """Another machine has no checkpoints: they are where they were saved."""
    runs.run("--steps", 2)
    done = two_ranks(runs, "--steps 4 --resume", f"--out {runs.folder}/empty")
    assert done.returncode == 0, done.stderr
    assert "resumed at step 2" in done.stdout
    assert not (runs.folder / "empty").exists()
    many, _ = load(newest(runs.folder / "o"))
    runs.netc("run", runs.folder / "n.net", "--steps", "4", "--out", runs.folder / "whole")
    whole, _ = load(newest(runs.folder / "whole"))
    for name, value in whole.items():
        np.testing.assert_allclose(many[name], value, rtol=1e-4, atol=1e-6, err_msg=name)


def test_a_tensor_larger_than_a_message_is_shared_in_parts(monkeypatch):
    import netc_runtime.launch.ranks as ranks

    monkeypatch.setattr(ranks, "SHARED_BYTES", 64)
    given: dict[str, NDArray[Any]] = {
        "a": np.arange(100, dtype=np.float32).reshape(4, 25),
        "b": np.zeros((0, 3)),
        "c": as_strided(np.arange(6.0), (3, 2), (8, 24)),
        "d": np.array(7),
    }
    messages = []

    class First(ranks.Ranks):
        rank, size = 0, 2

        def allgather(self, value):
            messages.append(np.copy(value) if isinstance(value, np.ndarray) else value)
            return [value, None]

    class Second(ranks.Ranks):
        rank, size = 1, 2

        def allgather(self, value):
            return [messages.pop(0), value]

    assert all(np.array_equal(v, given[n]) for n, v in First().share_tensors(given).items())
    assert len(messages) > 9
    found = Second().share_tensors({})
    assert not messages and set(found) == set(given)
    assert all(np.array_equal(found[n], v) and found[n].shape == v.shape for n, v in given.items())


def test_a_training_that_cannot_begin_replaces_nothing(pictures):
    data = ("--data", f'imagefolder("{pictures.folder}/p")', "--batch", 16)
    pictures.run("--epochs", 1, *data)
    before = sorted((pictures.folder / "o").iterdir())
    (pictures.folder / "p/train/cat/0.png").write_bytes(b"no picture")
    assert "0.png" in pictures.run("--replace", *data, code=5)
    assert sorted((pictures.folder / "o").iterdir()) == before


def test_the_start_tells_what_is_in_force(runs):
    shown = runs.run("--json", "--steps", 1, "--epochs", 3, "--lr", 0.5, "--seed", 9)
    start = json.loads(shown.splitlines()[0])
    assert (start["epochs"], start["lr"], start["seed"]) == (3, 0.5, 9)


@pytest.mark.parametrize("option", ["-o", "--save-strategy"])
def test_what_a_command_reads_is_not_replaced(runs, option):
    network = runs.folder / "n.net"
    assert "is read by this command" in runs.netc("compile", network, option, network, code=2)
    assert network.read_text() == TINY


def test_weights_are_not_exported_over_themselves(runs):
    runs.run("--steps", 1)
    file = newest(runs.folder / "o")
    before = file.read_bytes()
    weights = ("--weights", runs.folder / "o", "-o", file)
    assert "is read by this" in runs.netc("export", runs.folder / "n.net", *weights, code=2)
    assert file.read_bytes() == before
