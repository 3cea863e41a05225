"""Pictures of any kind become images as the data sets have them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from netc.ir.datasets import DATA_SETS
from netc_runtime.io.checkpoint import classes_in, classes_meta, meta_of, save
from netc_runtime.train.cifar import CIFAR10, cifar10, cifar100
from netc_runtime.train.datasets import DATASETS, Dataset, preparation
from netc_runtime.train.digits import digits
from netc_runtime.train.idx import fashion, idx
from netc_runtime.train.imagefolder import imagefolder
from netc_runtime.train.images import Wanted, normalize
from netc_runtime.train.outcomes import joined, outcomes_of
from netc_runtime.train.pictures import Preparation, Shape, decode
from netc_runtime.train.windows import centre


def prepared(name: str | None, paths: list[Path], shape: Shape) -> NDArray[Any]:
    found = preparation(name, shape)
    return normalize(found.load(paths, shape), found.mean, found.std, np.float64)


def written(folder: Path, dataset: Any, scale: float, count: int = 5) -> list[Path]:
    """The first held-out images as files."""
    paths = []
    for index, pixels in enumerate(dataset.test.pixels(np.arange(count))):
        bright = np.rint(pixels * scale).astype(np.uint8).transpose(1, 2, 0)
        paths.append(folder / f"{index}.png")
        Image.fromarray(bright[..., 0] if bright.shape[2] == 1 else bright).save(paths[-1])
    return paths


def assert_as_loaded(name: str, dataset: Dataset, paths: list[Path]) -> None:
    images, _ = dataset.load("test", range(len(paths)), np.float64)
    assert np.array_equal(prepared(name, paths, dataset.image_shape), images)


@pytest.mark.parametrize("word", DATA_SETS)
def test_every_data_set_prepares_pictures(word: str) -> None:
    assert any(len(each.mean) in (1, 3) for each in DATASETS[word].pictures)


def test_other_channels_than_the_data_has(complains: Any) -> None:
    with complains(
        "E067", "images of data set 'cifar10' have three channels; the network takes 1."
    ):
        preparation("cifar10", (1, 32, 32))


def test_digits(tmp_path: Path) -> None:
    assert_as_loaded("digits", digits(), written(tmp_path, digits(), 255 / 16))


def test_idx(tmp_path: Path, make_idx: Any) -> None:
    make_idx(tmp_path)
    dataset = idx(str(tmp_path))
    count = min(dataset.test_size, 5)
    assert_as_loaded("idx", dataset, written(tmp_path, dataset, 1, count))


def test_cifar(tmp_path: Path, make_cifar: Any) -> None:
    make_cifar(tmp_path)
    dataset = cifar10(str(tmp_path))
    count = min(dataset.test_size, 5)
    assert_as_loaded("cifar10", dataset, written(tmp_path, dataset, 1, count))


def test_fashion(tmp_path: Path, make_idx: Any) -> None:
    make_idx(tmp_path)
    dataset = fashion(str(tmp_path))
    assert_as_loaded("fashion", dataset, written(tmp_path, dataset, 1, 4))


def test_cifar100(tmp_path: Path, make_cifar100: Any) -> None:
    make_cifar100(tmp_path)
    dataset = cifar100(str(tmp_path))
    assert_as_loaded("cifar100", dataset, written(tmp_path, dataset, 1, 3))


def test_imagefolder(tmp_path: Path, make_folder: Any) -> None:
    make_folder(tmp_path)
    dataset = imagefolder(Wanted((3, 8, 8), 2), str(tmp_path))
    assert_as_loaded("imagefolder", dataset, list(dataset.test.paths))


def test_a_picture_is_stretched_to_the_network(tmp_path: Path) -> None:
    pixels = np.repeat(np.arange(0, 240, 10, dtype=np.uint8)[:, None], 40, axis=1)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    shape = (3, 6, 8)
    (found,) = CIFAR10.pictures.load([tmp_path / "a.png"], shape)
    assert found.shape == shape
    assert np.all(np.diff(found[0, :, 0].astype(int)) > 0)
    assert np.all(found == found[:1, :, :1])


def test_the_centre_keeps_the_proportions_of_the_network(tmp_path: Path) -> None:
    """Of 100 x 80, for images twice as wide as high, 0.5 keeps 50 x 25 in the middle."""
    pixels = np.zeros((80, 100), np.uint8)
    pixels[28:52, 26:74] = 200
    Image.fromarray(pixels).save(tmp_path / "a.png")
    half, whole = (partial(centre, proportion=10 / 20, kept=kept) for kept in (0.5, 1.0))
    found = decode(tmp_path / "a.png", (1, 10, 20), half)
    assert np.all(found[:, 1:-1, 1:-1] == 200)
    assert np.all(decode(tmp_path / "a.png", (1, 10, 20), whole)[:, :2] == 0)


def test_grey_without_a_data_set(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), (51, 51, 51)).save(tmp_path / "a.png")
    assert np.allclose(prepared(None, [tmp_path / "a.png"], (1, 4, 4)), 0.2)


def test_each_fault_has_its_remedy(
    tmp_path: Path, complains: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, torn, text = (tmp_path / name for name in ("good.png", "torn.png", "text.png"))
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 30), np.uint8)).save(good)
    torn.write_bytes(good.read_bytes()[:300])
    text.write_text("no picture")
    for path, said, remedy in (
        (tmp_path / "none", "cannot read the image", "check that there is a file of this name"),
        (tmp_path, "cannot read the image", "check that there is a file of this name"),
        (torn, "cannot decode the image", "it is damaged: copy it again, or leave it out"),
        (text, "it is of no format that is read.", "it is damaged or of another kind: copy it"),
    ):
        with complains("E066", f"'{path}'", said, f"= help: {remedy}"):
            decode(path, (1, 4, 4))
    with monkeypatch.context() as patch, complains("E066", "cannot decode", "it is damaged"):
        patch.setattr(Image.Image, "convert", Mock(side_effect=OSError(22, "a bad place in it")))
        decode(good, (1, 4, 4))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 440)
    with complains("E066", "it is too large.", "save it smaller: at most 880 pixels are read"):
        decode(good, (1, 4, 4))


@pytest.mark.parametrize("classes", [2, 5, 7])
def test_the_highest_scores(classes: int) -> None:
    """Ties included: they go to the lower class, as a stable sort has it."""
    rng = np.random.default_rng(classes)
    scores = rng.integers(0, 4, (200, classes)).astype(np.float64)
    labels = rng.integers(0, classes, 200)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :5]
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    found = joined([outcomes_of(scores[k : k + 60], labels[k : k + 60]) for k in range(0, 200, 60)])
    assert np.array_equal(found.labels, labels) and np.array_equal(found.classes, best)
    assert np.allclose(found.probabilities, np.take_along_axis(shares, best, axis=1))
    assert np.allclose(found.own, shares[np.arange(200), labels])
    for top in range(1, 6):
        among = (best[:, :top] == labels[:, None]).any(axis=1)
        assert found.share_in(top) == among.mean()


def test_names_of_classes_in_a_checkpoint(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    names = ("cat", "größer", 'a "b"')
    save(file, {}, classes_meta(names))
    assert classes_in(meta_of(file)) == names
    save(file, {}, classes_meta(["x" * 100] * 20_000))
    assert classes_in(meta_of(file)) is None


PREPARED = [(name, each) for name, kind in DATASETS.items() for each in kind.pictures]


@pytest.mark.parametrize(("name", "prepared"), PREPARED)
def test_what_is_shown_are_the_pixels(name: str, prepared: Preparation) -> None:
    channels = len(prepared.mean)
    pixels = np.arange(channels * 256).reshape(1, channels, 16, 16) % (prepared.white + 1)
    images = normalize(pixels.astype(np.uint8), prepared.mean, prepared.std, np.float32)
    shown = prepared.shown(images)
    assert shown.dtype == np.uint8
    assert np.allclose(shown, pixels * (255 / prepared.white), rtol=0, atol=0.501)
    assert np.array_equal(prepared.shown(images * 10_000) == 255, images > 0)
