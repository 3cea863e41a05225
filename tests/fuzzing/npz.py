"""NumPy's archives, whole and damaged: read as they were saved, or refused."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from netc_runtime.train.images import Wanted
from netc_runtime.train.npz import npz

from ._mutate import damaged

DTYPES = ("u1", "f2", "f4", "f8", "i4", "O", "U2", "b1")


def case(rng: np.random.Generator, folder: Path) -> str:
    shape = tuple(map(int, rng.integers(1, 5, 3)))
    arrays: dict[str, Any] = {}
    for split in ("train", "test"):
        count = int(rng.integers(0 if rng.random() < 0.1 else 1, 5))
        dtype = DTYPES[0] if rng.random() < 0.8 else str(rng.choice(DTYPES))
        made = rng.integers(0, 256, (count, *shape)).astype(dtype)
        arrays[f"x_{split}"] = made if rng.random() < 0.9 else made[..., :1]
        labels = rng.integers(0, 3, count if rng.random() < 0.9 else 3)
        arrays[f"y_{split}"] = labels.astype("f4" if rng.random() < 0.05 else "i8")
    if rng.random() < 0.1:
        del arrays[str(rng.choice(list(arrays)))]
    file = io.BytesIO()
    (np.savez if rng.random() < 0.5 else np.savez_compressed)(file, **arrays)
    whole = rng.random() < 0.5
    path = folder / "a.npz"
    path.write_bytes(file.getvalue() if whole else damaged(rng, file.getvalue(), 128))
    channels, height, width = shape
    dataset = npz(Wanted((channels, height, width), 3), str(path))
    images, labels = dataset.load("test", range(dataset.test_size), np.float64)
    assert images.shape == (len(labels), *shape) and np.isfinite(images).all()
    if whole and arrays["x_test"].dtype == np.uint8:
        assert np.array_equal(np.rint((images + 1) * 127.5), arrays["x_test"])
        assert np.array_equal(labels, arrays["y_test"])
    return "whole" if whole else "damaged"
