"""Folders of idx files, damaged, swapped, or cut while they are in use."""

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netc_runtime.train.idx import _MEAN, _STD, idx
from netc_runtime.train.images import ByteImages, Split

from ._mutate import damaged

HUGE = (0, 1, 2**16, 2**31, 2**32 - 1)


def case(rng: np.random.Generator, folder: Path) -> str:
    contents = _written(rng, folder)
    classes = None if rng.random() < 0.8 else int(rng.integers(-1, 12))
    dataset = idx(str(folder), classes)
    if rng.random() < 0.3:
        path = folder / str(rng.choice(list(contents)))
        os.truncate(path, int(rng.integers(0, path.stat().st_size + 9)))
    stems: dict[Split, str] = {"train": "train", "test": "t10k"}
    for split, stem in stems.items():
        (images,) = (contents[name] for name in contents if name.startswith(f"{stem}-images"))
        _check(dataset, split, images)
    return "fine"


def _check(dataset: ByteImages, split: Split, content: bytes) -> None:
    """What is loaded is what the file ended with when it was opened."""
    size = dataset.train_size if split == "train" else dataset.test_size
    images, labels = dataset.load(split, range(size), np.float64)
    assert images.shape == (size, *dataset.image_shape) and labels.max() < len(dataset.classes)
    pixels = np.rint(images * _STD + _MEAN).astype(np.uint8).tobytes()
    zipped = content[:2] == b"\x1f\x8b"
    assert (gzip.decompress(content) if zipped else content).endswith(pixels)


def _written(rng: np.random.Generator, folder: Path) -> dict[str, bytes]:
    """What the four files hold, by name; some are damaged, or have another's place."""
    shape = tuple(rng.integers(1, 5, rng.integers(2, 4)))
    contents = {}
    for stem, count in (("train", rng.integers(1, 9)), ("t10k", rng.integers(1, 5))):
        images = rng.integers(0, 256, (count, *shape), np.uint8)
        labels = rng.integers(0, 4, count, np.uint8)
        for name, array in ((f"images-idx{images.ndim}", images), ("labels-idx1", labels)):
            zipped = rng.random() < 0.3
            content = _spoiled(rng, _as_idx(array))
            content = _spoiled(rng, gzip.compress(content)) if zipped else content
            contents[f"{stem}-{name}-ubyte{'.gz' if zipped else ''}"] = content
    if rng.random() < 0.05:
        one, other = rng.choice(list(contents), 2)
        contents[str(one)] = contents[str(other)]
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return contents


def _spoiled(rng: np.random.Generator, content: bytes) -> bytes:
    choice = rng.random()
    if choice < 0.12:
        return damaged(rng, content, 16)
    if choice < 0.2:
        place = int(rng.choice((4, 8, 12)))
        return content[:place] + struct.pack(">I", int(rng.choice(HUGE))) + content[place + 4 :]
    return content


def _as_idx(array: NDArray[np.uint8]) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()
