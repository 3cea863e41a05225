"""NumPy's archives: layouts and scales, and what is said of arrays that are no images."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from netc_runtime.train.datasets import Dataset, open_dataset

Check = Callable[[Dataset], None]
SHAPE = (3, 4, 5)
LAYOUTS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "channels first": lambda images: images,
    "channels last": lambda images: images.transpose(0, 2, 3, 1),
    "no channels": lambda images: images[:, 0],
}
DTYPES = (np.uint8, np.float16, np.float32, np.float64, ">f4")


def arrays(shape: tuple[int, ...] = SHAPE, dtype: Any = np.uint8) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    made = {f"x_{split}": rng.integers(0, 256, (n, *shape)).astype(dtype)
            for split, n in (("train", 7), ("test", 4))}  # fmt: skip
    return made | {"y_train": np.arange(7) % 3, "y_test": np.arange(4) % 3}


def opened(path: Path, shape: tuple[int, int, int] = SHAPE, classes: int = 3) -> Dataset:
    return open_dataset("npz", (str(path),), {}, shape, classes)


@given(
    st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)),
    st.sampled_from(list(LAYOUTS)), st.sampled_from(DTYPES), st.booleans(),
)  # fmt: skip
def test_images_are_those_that_were_saved(
    tmp_path_factory: pytest.TempPathFactory,
    loads_by_index: Check,
    shape: tuple[int, int, int],
    layout: str,
    dtype: Any,
    packed: bool,
) -> None:
    """Where channels may be first or last, they are first."""
    shape = (1, *shape[1:]) if layout == "no channels" else shape
    height, width, channels = shape[1], shape[2], shape[0]
    as_first = layout == "channels last" and (height, width, channels) == shape
    given = arrays(shape, dtype)
    laid: dict[str, Any] = given | {
        name: LAYOUTS["channels first" if as_first else layout](given[name])
        for name in ("x_train", "x_test")
    }
    path = tmp_path_factory.mktemp("npz") / "a.npz"
    (np.savez_compressed if packed else np.savez)(path, **laid)
    dataset = opened(path, shape)
    images, labels = dataset.load("test", range(4), np.float64)
    wanted = given["x_test"].astype(np.float64)
    assert np.allclose(images, wanted / 127.5 - 1 if dtype is np.uint8 else wanted)
    assert labels.tolist() == [0, 1, 2, 0]
    loads_by_index(dataset)


def test_bytes_and_floats_in_one_file(tmp_path: Path) -> None:
    """Each split has the scale of its own."""
    for floats in ("train", "test"):
        given = arrays()
        given[f"x_{floats}"] = given[f"x_{floats}"].astype(np.float32)
        np.savez(tmp_path / "a.npz", **given)
        dataset = opened(tmp_path / "a.npz")
        for split in ("train", "test"):
            found, _ = dataset.load(split, range(4), np.float64)
            saved = given[f"x_{split}"][:4].astype(float)
            wanted = saved if split == floats else (saved - 127.5) / 127.5
            np.testing.assert_allclose(found, wanted)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint64])
@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_labels_as_keras_has_them(tmp_path: Path, dtype: Any, shape: tuple[int, ...]) -> None:
    made: dict[str, Any] = {name: array.reshape(shape).astype(dtype) if name[0] == "y" else array
            for name, array in arrays().items()}  # fmt: skip
    np.savez(tmp_path / "a.npz", **made)
    assert opened(tmp_path / "a.npz").load("train", [4, 5], float)[1].tolist() == [1, 2]


def test_classes_may_have_names(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, **arrays(), more=np.zeros(3))
    assert opened(path, classes=4).classes == ("0", "1", "2", "3")
    np.savez(path, **arrays(), classes=np.array(["cat", "größe", "猫"]))
    dataset = opened(path)
    assert dataset.classes == ("cat", "größe", "猫")
    assert dataset.description == (
        f"arrays of bytes in '{path}', 7 training images; 4 held-out images: x_test"
    )


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"x_test": None}, "E062", "has no array x_test: it has x_train, y_test, y_train."),
        ({"x_train": np.zeros((7, 4, 5))}, "E067", "is 7 x 4 x 5; the network takes n x 3 x 4 x 5"),
        ({"x_test": np.zeros((4, 60))}, "E067", "is 4 x 60; the network takes"),
        ({"x_test": np.array(3.0)}, "E067", "is one number; the network takes"),
        ({"x_train": np.zeros((7, *SHAPE), int)}, "E062", "is int64 of 7 x 3 x 4 x 5, neither"),
        ({"x_train": np.zeros((7, *SHAPE), "U3")}, "E062", "neither bytes (uint8) nor floats."),
        ({"x_test": np.full((4, *SHAPE), np.nan)}, "E062", "numbers that are not finite."),
        ({"y_test": np.arange(5)}, "E063", "has 4 images, but 'y_test' has 5 labels."),
        ({"y_train": np.eye(7)}, "E062", "is float64 of 7 x 7, not one whole number an image."),
        ({"y_train": np.zeros(7)}, "E062", "help: save the classes' numbers, from 0; of one-hot"),
        ({"y_test": np.array([0, 1, 3, 0])}, "E064", "image 2 of '{path}: y_test' has label 3"),
        ({"y_train": np.arange(7) - 1}, "E064", "has label -1, but the 3 classes are 0 to 2."),
        ({"x_test": np.zeros((0, *SHAPE)), "y_test": np.zeros(0, int)}, "E065", "no images."),
        ({"classes": np.arange(3)}, "E064", "is int64 of 3, not one text a class."),
        ({"classes": np.array(["a", "b\n", "c"])}, "E064", "no text on one line."),
        ({"classes": np.array(["a", "b", "c", "d"])}, "E067", "'npz' has 4."),
        ({"x_train": np.array([{}, 3], object)}, "E062", "it holds objects or is of another kind"),
    ],
)
def test_wrong_arrays(
    tmp_path: Path, change: dict[str, Any], code: str, said: str, complains: Any
) -> None:
    path = tmp_path / "a.npz"
    made = {name: array for name, array in (arrays() | change).items() if array is not None}
    np.savez(path, **made)
    with complains(code, f"'{path}" if code != "E067" or "x_" in said else "", "help: ",
                   said.format(path=path)):  # fmt: skip
        opened(path)


def test_an_evaluation_needs_no_training_images(tmp_path: Path, complains: Any) -> None:
    made = arrays()
    np.savez(tmp_path / "a.npz", x_test=made["x_test"], y_test=made["y_test"])
    with complains("E062", "has no array x_train, y_train: it has x_test, y_test."):
        opened(tmp_path / "a.npz")
    dataset = open_dataset("npz", (str(tmp_path / "a.npz"),), {}, SHAPE, 3, training=False)
    assert (dataset.train_size, dataset.test_size) == (0, 4)
    assert dataset.load("test", [1, 0], float)[1].tolist() == [1, 0]


class Trap:
    def __reduce__(self) -> Any:
        return os.mkdir, ("sprung",)


def test_nothing_pickled_is_read(
    tmp_path: Path, complains: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("a.npz", **arrays() | {"y_train": np.array([Trap()] * 7, object)})
    Path("b.npz").write_bytes(pickle.dumps(Trap()))
    for name in ("a.npz", "b.npz"):
        with complains("E062", f"'{name}' is no archive of arrays that can be read: it holds obj"):
            opened(Path(name))
    assert not Path("sprung").exists()


def test_wrong_files(tmp_path: Path, complains: Any) -> None:
    path = tmp_path / "a.npz"
    with complains("E061", f"cannot read '{path}': No such file or directory.", "numpy.savez"):
        opened(path)
    with complains("E061", f"'{tmp_path}' is no file."):
        opened(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with complains("E061", "pipe' is no file."):
        opened(tmp_path / "pipe")
    with open(path, "wb") as file:
        np.save(file, np.zeros(3))
    with complains("E062", "holds one array, not several."):
        opened(path)
    np.savez_compressed(path, **arrays())
    content = path.read_bytes()
    for place in (0, 9, 40, len(content) // 2, len(content) - 30):
        path.write_bytes(content[:place])
        with complains("E062", f"'{path}' "):
            opened(path)
