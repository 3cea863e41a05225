"""Builders of small data sets, written byte by byte from the formats' descriptions."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from netc.errors import DataError, render
from netc_runtime.train.datasets import Dataset
from netc_runtime.train.images import Split

Complains = Callable[..., AbstractContextManager[None]]
Builder = Callable[..., Any]

CIFAR_NAMES = "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n"


@pytest.fixture(scope="session")
def complains() -> Complains:
    """Expects one DataError, of a code and with these words in it; to be used in `with`."""

    @contextmanager
    def expect(code: str, *texts: str) -> Iterator[None]:
        with pytest.raises(DataError) as caught:
            yield
        shown = render(caught.value.diagnostics)
        assert shown.startswith(f"error[{code}]: ")
        for text in texts:
            assert text in shown
        assert caught.value.exit_code == 5

    return expect


@pytest.fixture(scope="session")
def loads_by_index() -> Callable[[Dataset], None]:
    """Asserts that any images of a data set are those of these numbers, and are as it says."""

    def check(dataset: Dataset) -> None:
        sizes: dict[Split, int] = {"train": dataset.train_size, "test": dataset.test_size}
        for split, size in sizes.items():
            images, labels = dataset.load(split, range(size), np.float64)
            assert images.shape == (size, *dataset.image_shape) and images.dtype == np.float64
            assert labels.shape == (size,) and labels.dtype == np.int64
            assert set(labels.tolist()) <= set(range(len(dataset.classes)))
            rows = np.random.default_rng(3).integers(0, size, min(size, 9))
            some, their_labels = dataset.load(split, rows, np.float64)
            assert np.array_equal(some, images[rows])
            assert np.array_equal(their_labels, labels[rows])
            none, no_labels = dataset.load(split, [], np.float32)
            assert none.shape == (0, *dataset.image_shape) and none.dtype == np.float32
            assert no_labels.shape == (0,)

    return check


@pytest.fixture(scope="session")
def idx_bytes() -> Builder:
    """An array of bytes as an idx file."""

    def build(array: NDArray[np.uint8]) -> bytes:
        header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
        return header + array.tobytes()

    return build


@pytest.fixture(scope="session")
def make_idx(idx_bytes: Builder) -> Builder:
    """Writes the four files of an idx data set; returns train images, train labels."""

    def make(place: Path, zipped: bool = False, shape: tuple[int, ...] = (6, 5)) -> Any:
        rng = np.random.default_rng(0)
        place.mkdir(parents=True, exist_ok=True)
        made = []
        for split, count in (("train", 11), ("t10k", 4)):
            images = rng.integers(0, 256, (count, *shape), np.uint8)
            labels = (np.arange(count) % 3).astype(np.uint8)
            made += [images, labels]
            kind = f"idx{images.ndim}"
            for name, array in ((f"images-{kind}", images), ("labels-idx1", labels)):
                path = place / f"{split}-{name}-ubyte{'.gz' if zipped else ''}"
                content = idx_bytes(array)
                path.write_bytes(gzip.compress(content) if zipped else content)
        return made[0], made[1]

    return make


@pytest.fixture(scope="session")
def make_cifar() -> Builder:
    """Writes a CIFAR-10 folder with `count` images a file; returns all training records."""

    def make(place: Path, count: int = 3) -> NDArray[np.uint8]:
        rng = np.random.default_rng(1)
        place.mkdir(parents=True, exist_ok=True)
        records = rng.integers(0, 256, (6 * count, 3073), np.uint8)
        records[:, 0] %= 10
        names = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
        for number, name in enumerate(names):
            (place / name).write_bytes(records[number * count : (number + 1) * count].tobytes())
        (place / "batches.meta.txt").write_text(CIFAR_NAMES)
        return records[: 5 * count]

    return make


@pytest.fixture(scope="session")
def make_cifar100() -> Builder:
    """Writes a CIFAR-100 folder with 9 and 3 images; returns all training records."""

    def make(place: Path) -> NDArray[np.uint8]:
        rng = np.random.default_rng(1)
        place.mkdir(parents=True, exist_ok=True)
        records = rng.integers(0, 256, (12, 3074), np.uint8)
        records[:, 0] %= 20
        records[:, 1] %= 100
        (place / "train.bin").write_bytes(records[:9].tobytes())
        (place / "test.bin").write_bytes(records[9:].tobytes())
        for kind, count in (("coarse", 20), ("fine", 100)):
            text = "".join(f"{kind}_{number}\n" for number in range(count))
            (place / f"{kind}_label_names.txt").write_text(text)
        return records[:9]

    return make


@pytest.fixture(scope="session")
def make_folder() -> Builder:
    """Writes an imagefolder: `count` pictures a class to train on, one held out."""

    def make(place: Path, classes: tuple[str, ...] = ("cat", "dog"), held_out: str = "val") -> None:
        from PIL import Image

        rng = np.random.default_rng(2)
        for split, count in (("train", 3), (held_out, 1)):
            for name in classes:
                folder = place / split / name
                folder.mkdir(parents=True)
                for number in range(count):
                    pixels = rng.integers(0, 256, (20 + number, 30, 3), np.uint8)
                    Image.fromarray(pixels).save(folder / f"{number}.png")

    return make
