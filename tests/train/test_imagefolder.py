"""Folders of pictures: which are held out, which are skipped, and what an evaluation needs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from netc_runtime.train.class_folders import held_out
from netc_runtime.train.datasets import Dataset, open_dataset
from netc_runtime.train.imagefolder import ImageFolder

SHARES = st.floats(1e-3, 0.999)
NAMES = st.lists(st.text("abcé猫 _", min_size=1, max_size=8), min_size=1, max_size=40, unique=True)


def opened(place: Path, training: bool = True, classes: int = 2, **given: object) -> ImageFolder:
    found = open_dataset(
        "imagefolder", (str(place),), given, (3, 4, 4), classes, training=training
    )  # fmt: skip
    assert isinstance(found, ImageFolder)
    return found


def make(place: Path, counts: dict[str, int]) -> Path:
    for name, count in counts.items():
        (place / name).mkdir(parents=True)
        for number in range(count):
            Image.new("L", (4, 4)).save(place / name / f"{number:03}.png")
    return place


def below(paths: Sequence[Path], place: Path) -> list[str]:
    return [path.relative_to(place).as_posix() for path in paths]


@given(NAMES, SHARES)
def test_a_share_is_held_out_and_one_stays(names: list[str], share: float) -> None:
    """Whatever the order in which they are met; what is left of them is about the share."""
    place = Path("/x")
    paths = [place / "c" / f"{name}.png" for name in names]
    out = held_out(place, paths, share)
    assert out == held_out(place, paths[::-1], share) and out < set(paths)
    assert len(out) >= min(1, len(paths) - 1)
    assert abs(len(out) - share * len(paths)) <= 1


@given(NAMES, SHARES)
def test_more_pictures_move_few(names: list[str], share: float) -> None:
    """A picture that comes later changes at most one other's place."""
    place = Path("/x")
    paths = [place / "c" / f"{name}.png" for name in names]
    now, before = held_out(place, paths, share), held_out(place, paths[:-1], share)
    assert len((now ^ before) - {paths[-1]}) <= 1


def test_one_folder_is_parted(tmp_path: Path, loads_by_index: Callable[[Dataset], None]) -> None:
    make(tmp_path, {"cat": 20, "dog": 5, "eel": 1})
    dataset = opened(tmp_path, classes=3, validation=0.2)
    train, test = (below(part.paths, tmp_path) for part in (dataset.train, dataset.test))
    assert (dataset.train_size, dataset.test_size) == (21, 5)
    assert sorted(train) == train and sorted(test) == test
    assert sorted(train + test) == below(sorted(tmp_path.rglob("*.png")), tmp_path)
    for part, names in ((dataset.train, train), (dataset.test, test)):
        assert [dataset.classes[k] for k in part.labels] == [name[:3] for name in names]
    assert "eel/000.png" in train
    assert dataset.description.endswith("in 3 classes; 5 held-out images: 20 % of each class")
    loads_by_index(dataset)
    moved = tmp_path.with_name("moved")
    shutil.move(tmp_path, moved)
    assert below(opened(moved, classes=3, validation=0.2).test.paths, moved) == test


@pytest.mark.parametrize("share", [-0.1, 1, 1.5, "0.1", True, float("nan")])
def test_shares_that_are_none(tmp_path: Path, share: object, complains: Any) -> None:
    make(tmp_path, {"cat": 2})
    with complains("E060", "'validation' of 'imagefolder' is", "not a number from 0 to below 1."):
        opened(tmp_path, validation=share)


def test_folders_that_cannot_be_parted(tmp_path: Path, complains: Any) -> None:
    make(tmp_path / "a", {"cat": 1, "dog": 1})
    with complains("E065", f"no class in '{tmp_path}/a' has two pictures"):
        opened(tmp_path / "a", validation=0.5)
    make(tmp_path / "b" / "train", {"cat": 1})
    make(tmp_path / "b" / "val", {"cat": 1})
    with complains(
        "E065", "/b' holds train/, val/, not folders of classes.", "name 'train' itself"
    ):
        opened(tmp_path / "b", validation=0.5)
    with complains("E061", "/a/train' does not exist.", 'imagefolder("folder", validation=0.1)'):
        opened(tmp_path / "a")


def test_empty_classes(tmp_path: Path, complains: Any) -> None:
    make(tmp_path / "train", {"cat": 2, "dog": 2, "eel": 0})
    make(tmp_path / "val", {"cat": 1, "dog": 0, "fox": 0})
    (tmp_path / "train" / "eel" / "a.txt").touch()
    with complains(
        "E065", "/train/eel' holds no pictures: 1 other file left out: .txt.", "skip_emp"
    ):
        opened(tmp_path, classes=3)
    dataset = opened(tmp_path, skip_empty=True)
    assert dataset.classes == ("cat", "dog")
    assert dataset.test.labels.tolist() == [0]
    assert dataset.description.endswith("; 3 folders without pictures skipped: dog, eel, fox")
    make(tmp_path / "val", {"gnu": 1})
    with complains("E064", "there is no training folder 'gnu'."):
        opened(tmp_path, skip_empty=True)
    with complains("E060", "'skip_empty' of 'imagefolder' is 'yes', neither true nor false."):
        opened(tmp_path, skip_empty="yes")
    make(tmp_path / "none" / "train", {"cat": 0})
    make(tmp_path / "none" / "val", {"cat": 1})
    with complains("E065", "/none/train' holds no pictures in any of its folders."):
        opened(tmp_path / "none", skip_empty=True)


def test_an_evaluation_needs_no_training_images(tmp_path: Path, complains: Any) -> None:
    make(tmp_path / "val", {"cat": 2, "dog": 1})
    dataset = opened(tmp_path, training=False)
    assert dataset.classes == ("cat", "dog") and dataset.test.labels.tolist() == [0, 0, 1]
    assert dataset.train_size == 0
    with complains("E061", f"directory '{tmp_path}/train' does not exist."):
        opened(tmp_path)
    make(tmp_path / "train", {"ant": 1, "cat": 1, "dog": 1})
    dataset = opened(tmp_path, training=False, classes=3)
    assert dataset.test.labels.tolist() == [1, 1, 2]
