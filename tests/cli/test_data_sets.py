"""What `--data` takes, and what is said where there are no data."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image
from saved import newest

from netc.api.data import data_call
from netc.cli.main import main
from netc.ir.datasets import DATA_SETS
from netc.ir.facts import RecipeCall
from netc_runtime.io.checkpoint import load

NET = """
net tiny(classes = 3)
input image 3x6x6
fc classes | softmax_loss
train {{ {data} ; batch 8 ; sgd lr=0.05 ; epochs 2 }}
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current folder is empty, but for what a test puts there."""
    monkeypatch.chdir(tmp_path)


def network(data: str = "") -> str:
    Path("tiny.net").write_text(NET.format(data=data))
    return "tiny.net"


def parsed_call(text: str) -> RecipeCall:
    network()
    call = data_call(text, Mock())
    assert call is not None
    return call


def refused(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 5) -> str:
    assert main(list(arguments)) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    return printed.err


def lines(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    assert main([*arguments, "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


# --- where there are none ---


@pytest.mark.parametrize("verb", ["run", "eval"])
@pytest.mark.parametrize("data", ["", 'data imagefolder("data/none")', 'data idx("none")'])
def test_what_else_there_is(verb: str, data: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("w.safetensors").touch()
    told = refused(capsys, verb, network(data), "--kernels", "fast", "--weights", "w.safetensors")
    for each in DATA_SETS.values():
        assert f"'{each.example}'" in told
    assert "'--data': 'synthetic()', made-up images" in told
    if data:
        assert f"the network's recipe names {data[5:]}; paths start at the current folder." in told


def test_shipped_networks_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    told = refused(capsys, "run", "alexnet")
    assert told.startswith("error[E061]: directory 'data/imagenet' does not exist.\n")
    assert "'--data': 'synthetic()'" in told


def test_who_names_data_hears_of_those(capsys: pytest.CaptureFixture[str]) -> None:
    told = refused(capsys, "run", network(), "--data", 'idx("none")')
    assert told.startswith("error[E061]: directory 'none' does not exist.")
    assert "synthetic" not in told


@pytest.mark.parametrize("text", ["idx(folder)", "idx(**{})", "idx(", "a.b()"])
def test_what_is_no_data_set(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = refused(capsys, "run", network(), "--data", text, code=2)
    assert f"error[E051]: '--data {text}' is not a data set." in told


def test_values_are_written_as_in_a_recipe() -> None:
    assert parsed_call('cifar100("a", coarse=true)') == ("cifar100", ("a",), {"coarse": True})
    assert parsed_call("synthetic(train=3, seed=0)")[2] == {"train": 3, "seed": 0}


@pytest.mark.parametrize(
    ("files", "name", "said"),
    [
        (["train-images-idx3-ubyte.gz"], "idx", 'idx("d")'),
        (["t10k-images.idx3-ubyte"], "idx", 'idx("d")'),
        (["data_batch_1.bin", "readme.html"], "cifar10", 'cifar10("d")'),
        (["fine_label_names.txt", "train.bin"], "cifar100", 'cifar100("d")'),
        (["train/cat/a.jpg", "val/cat/a.jpg"], "both", 'imagefolder("d")'),
        (["train/cat/a.jpg", "test/cat/a.jpg", "more/a"], "both", 'imagefolder("d")'),
        (["val/cat/a.jpg", ".x/a"], "for eval", 'imagefolder("d")'),
        (["train/cat/a.jpg"], "train", 'imagefolder("d/train", validation=0.1)'),
        (["cat/a.jpg", "dog/a.jpg", "a.txt"], "classes", 'imagefolder("d", validation=0.1)'),
        (["bus/a.jpg", "train/a.jpg"], "vehicles", 'imagefolder("d", validation=0.1)'),
        (["bus/a.jpg", "test/a.jpg"], "no split", 'imagefolder("d", validation=0.1)'),
    ],
)
def test_a_folder_is_seen_for_what_it_is(files: list[str], name: str, said: str) -> None:
    for file in files:
        path = Path("d") / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert parsed_call("d") == parsed_call(said)
    assert parsed_call("d/")[0] == parsed_call(said)[0]


def test_paths_and_words() -> None:
    Path("a.npz").touch()
    Path("x(1).NPZ").touch()
    Path("digits").mkdir()
    Path("digits/train-images").touch()
    assert parsed_call("a.npz") == ("npz", ("a.npz",), {})
    assert parsed_call("x(1).NPZ") == ("npz", ("x(1).NPZ",), {})
    assert parsed_call("digits") == parsed_call(" digits() ") == ("digits", (), {})
    assert parsed_call("./digits") == ("idx", ("./digits",), {})


def test_paths_without_data(capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()
    Path("a.txt").touch()
    for path, code, said in (
        ("empty", "E065", "'empty' holds no data set that is known"),
        ("a.txt", "E065", "'a.txt' is no data set that is known."),
        ("non/e", "E061", "there is no data set, file or folder 'non/e'."),
        ("synthetci", "E061", "folder 'synthetci'.\n     = help: did you mean 'synthetic'? known"),
        ("ixd('a')", "E060", "there is no data set 'ixd'.\n     = help: did you mean 'idx'?"),
    ):
        told = refused(capsys, "run", network(), "--data", path)
        assert told.startswith(f"error[{code}]: ") and said in told


def pictures(*places: str) -> None:
    for place in places:
        Path(place).mkdir(parents=True)
        for number in range(10):
            Image.new("RGB", (9, 9), (10 * number, 0, 0)).save(Path(place) / f"{number}.png")


def test_a_folder_of_folders_is_trained_on(capsys: pytest.CaptureFixture[str]) -> None:
    pictures("photos/a", "photos/b", "photos/c")
    *_, end = lines(capsys, "run", network(), "--data", "photos", "--steps", "1")
    assert end["test_images"] == 3
    assert "27 training images in 3 classes; 3 held-out images: 10 %" in end["held_out"]


def test_paths_start_at_the_current_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of a recipe too, wherever the network is."""
    far = tmp_path / "far"
    far.mkdir()
    (far / "n.net").write_text(NET.format(data='data imagefolder("photos", validation=0.3)'))
    pictures("photos/a", "photos/b", "photos/c")
    *_, end = lines(capsys, "run", "far/n.net", "--steps", "1")
    assert end["test_images"] == 9
    monkeypatch.chdir(far)
    assert "directory 'photos' does not exist." in refused(capsys, "run", "n.net")


# --- netc data ---


def test_data_says_what_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    pictures("p/train/a", "p/train/b", "p/train/c", "p/val/a", "p/val/b", "p/val/c")
    assert main(["data", network('data imagefolder("p")')]) == 0
    told = capsys.readouterr().out
    assert "data      pictures in 'p', 30 training images in 3 classes; 30 held-out" in told
    assert "images    3x6x6, 30 to train on, 30 held out\n" in told
    assert "\nb         10        10\n" in told
    # Red is 0, 10, ..., 90 in equal parts, the others are 0.
    mean, deviation = (45 - 123.675) / 58.395, np.std(10 * np.arange(10)) / 58.395
    assert f"\n0        {mean:.4f}     {deviation:.4f}\n" in told
    assert "\n1        -2.0357     0.0000\n" in told
    assert "read      60 images in " in told and " images/s in " in told and "bad" not in told


def test_data_names_everything_bad(capsys: pytest.CaptureFixture[str]) -> None:
    pictures("p/train/a", "p/train/b", "p/train/c", "p/val/a", "p/val/b", "p/val/c")
    bad = sorted(map(str, [*Path("p/train/b").glob("*"), *Path("p").glob("*/*/7.png")]))
    for path in bad:
        Path(path).write_text("no picture")
    assert main(["data", network(), "--data", "p", "--json"]) == 5
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    counts = [(e["train_images"], e["test_images"]) for e in found if e["event"] == "class"]
    assert counts == [(9, 9), (0, 9), (9, 9)]
    told = [each["message"] for each in found if each["event"] == "bad"]
    assert len(told) == len(set(bad)) == 15
    assert all(any(f"'{path}'" in text for text in told) for path in bad)
    assert found[-1]["bad"] == 15 and found[-1]["event"] == "result"
    assert main(["data", network(), "--data", "p"]) == 5
    shown = capsys.readouterr().out
    assert "bad       15 cannot be read:\n" in shown and f"'{bad[-1]}'" in shown


def test_data_wants_a_network_and_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert "'--data': 'synthetic()'" in refused(capsys, "data", network())
    told = refused(capsys, "data", network(), "--data", "digits")
    assert "the network takes 3x6x6 images, but data set 'digits' has 1x8x8." in told
    assert main(["compile", network(), "-o", "x.netc", "--json"]) == 0
    capsys.readouterr()
    assert "error[E057]" in refused(capsys, "data", "x.netc", code=2)


def test_other_classes_than_the_data_has(capsys: pytest.CaptureFixture[str]) -> None:
    pictures("p/a", "p/b")
    told = refused(capsys, "run", network(), "--data", "p")
    assert "with '-D classes=2' where it has such a parameter" in told
    assert main(["data", network(), "--data", "p", "-D", "classes=2", "--json"]) == 0


# --- images that cannot be read ---


def spoiled(*paths: str) -> None:
    for path in paths:
        Path(path).write_text("no picture")


def test_bad_images_are_left_out_and_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """The training is that of a folder where the next images stand in their places."""
    for root in ("p", "q"):
        pictures(f"{root}/train/a", f"{root}/train/b", f"{root}/train/c",
                 f"{root}/val/a", f"{root}/val/b", f"{root}/val/c")  # fmt: skip
    bad = ("p/train/a/3.png", "p/train/a/4.png", "p/val/c/2.png")
    spoiled(*bad)
    for path, other in (("a/3", "a/5"), ("a/4", "a/5")):
        shutil.copy(f"q/train/{other}.png", f"q/train/{path}.png")
    shutil.copy("q/val/c/3.png", "q/val/c/2.png")
    net = network()
    *_, end = lines(capsys, "run", net, "--data", "p", "--skip-bad", "3", "--out", "o")
    assert [any(path in text for text in end["bad"]) for path in bad] == [True] * 3
    *_, same = lines(capsys, "run", net, "--data", "q", "--out", "o2")
    assert same["bad"] == []
    assert (same["test_loss"], same["test_accuracy"]) == (end["test_loss"], end["test_accuracy"])
    mine, theirs = (load(newest(Path(out)))[0] for out in ("o", "o2"))
    assert all(np.array_equal(mine[name], theirs[name]) for name in mine)
    assert main(["run", net, "--data", "p", "--skip-bad", "9", "--replace", "--out", "o"]) == 0
    told = capsys.readouterr().out
    assert "left out  3 that cannot be read; others took their place:\n" in told
    assert all(f"  cannot decode the image '{path}': " in told for path in bad)


def test_what_was_trained_without_bad_images_is_evaluated_without_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By `netc eval` when told, and by `netc report`, which knows it of the training."""
    pictures("p/train/a", "p/train/b", "p/train/c", "p/val/a", "p/val/b", "p/val/c")
    spoiled("p/val/c/2.png")
    net, given = network(), ("--data", "p", "--out", "o")
    *_, end = lines(capsys, "run", net, *given, "--skip-bad", "1", "--report")
    whole = Path("o/report.html").read_text()
    assert end["bad"] and "Worst predictions" in whole
    # More than may be are not made fewer by asking for fewer.
    assert main(["eval", net, *given]) == 5
    capsys.readouterr()
    (found,) = lines(capsys, "eval", net, *given, "--skip-bad", "1")
    assert found["bad"] == end["bad"] and found["test_loss"] == pytest.approx(end["test_loss"])
    assert main(["eval", net, *given, "--skip-bad", "1"]) == 0
    assert "left out  1 that cannot be read" in capsys.readouterr().out
    (again,) = lines(capsys, "report", "o")
    assert again["notes"] == [] and again["test_accuracy"] == end["test_accuracy"]
    assert "Worst predictions" in Path("o/report.html").read_text()
    spoiled("p/val/a/2.png")
    assert main(["report", "o"]) == 0
    assert "'--skip-bad N' leaves them out." in capsys.readouterr().err
    (more,) = lines(capsys, "report", "o", "--skip-bad", "2")
    assert more["notes"] == [] and more["test_images"] == end["test_images"]


def test_the_data_in_force_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Those of `--data` where the command names some."""
    pictures("p/train/a", "p/train/b", "p/train/c", "p/val/a", "p/val/b", "p/val/c")
    start, *_ = lines(capsys, "run", network(), "--data", "synthetic(train=60)", "--out", "o")
    assert start["data"][0] == "synthetic" and "SYNTHETIC" in start["data_set"]
    start, *_ = lines(capsys, "run", network(), "--data", "p", "--out", "o2")
    assert start["data"] == ["imagefolder", ["p"], {}]


def test_more_bad_images_are_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    pictures("p/train/a", "p/train/b", "p/train/c", "p/val/a", "p/val/b", "p/val/c")
    bad = ("p/train/a/3.png", "p/train/b/4.png", "p/val/c/2.png")
    spoiled(*bad)
    assert main(["run", network(), "--data", "p", "--skip-bad", "2", "--epochs", "9"]) == 5
    told = capsys.readouterr().err
    assert all(f"'{path}'" in told for path in bad)
    assert "60 of the 60 images were looked at; 3 cannot be read; 'netc data' names all." in told


def test_an_evaluation_needs_no_training_images(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither in folders nor in arrays; a training says what is missing."""
    pictures("p/train/a", "p/train/b", "p/train/c", "p/val/a", "p/val/b", "p/val/c")
    net = network()
    *_, end = lines(capsys, "run", net, "--data", "p", "--out", "o")
    shutil.rmtree("p/train")
    (found,) = lines(capsys, "eval", net, "--data", "p", "--out", "o")
    assert (found["test_images"], found["test_loss"]) == (30, end["test_loss"])
    told = refused(capsys, "run", net, "--data", "p", "--out", "o2")
    assert "directory 'p/train' does not exist." in told
    # Classes have other names here, which eval refuses by the checkpoint.
    np.savez("a.npz", x_test=np.zeros((2, 6, 6, 3), np.uint8), y_test=[0, 2])
    assert "'a', that of the data set is '0'" in refused(
        capsys, "eval", net, "--data", "a.npz", "--out", "o"
    )
    np.savez("a.npz", x_test=np.zeros((2, 6, 6, 3)), y_test=[0, 2], classes=["a", "b", "c"])
    (found,) = lines(capsys, "eval", net, "--data", "a.npz", "--out", "o")
    assert found["test_images"] == 2


# --- synthetic ---


def test_a_training_on_synthetic_images(capsys: pytest.CaptureFixture[str]) -> None:
    """Its labels are learned; people and programs are told what it is."""
    net, data = network("data synthetic(train=640)"), ("--data", "synthetic(test=99)")
    assert main(["run", net, "--plain", "--kernels", "fast"]) == 0
    printed = capsys.readouterr()
    assert "data      SYNTHETIC images, made up from seed 0" in printed.out
    assert "note: the images are SYNTHETIC: neither weights nor accuracy say" in printed.err
    (found,) = lines(capsys, "eval", net, *data)
    assert found["test_images"] == 99 and found["test_accuracy"] > 0.9
    assert found["held_out"].startswith("SYNTHETIC images")
    begin, *_, end = lines(capsys, "run", net, *data, "--out", "o")
    assert begin["data_set"].startswith("SYNTHETIC images") and end["test_accuracy"] > 0.9
