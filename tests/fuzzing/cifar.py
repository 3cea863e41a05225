"""Folders of CIFAR-10, damaged, or cut while they are in use."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from netc_runtime.train.cifar import cifar10
from netc_runtime.train.images import Split

from ._mutate import damaged

NAMES = b"airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n"
FILES = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
RECORD = 3073


def case(rng: np.random.Generator, folder: Path) -> str:
    contents = [_content(rng) for _ in FILES]
    for name, content in zip(FILES, contents, strict=True):
        (folder / name).write_bytes(content)
    names = damaged(rng, NAMES) if rng.random() < 0.2 else NAMES
    (folder / "batches.meta.txt").write_bytes(names)
    dataset = cifar10(str(folder))
    if rng.random() < 0.3:
        path = folder / str(rng.choice(FILES))
        os.truncate(path, int(rng.integers(0, path.stat().st_size + 9)))
    wholes: dict[Split, bytes] = {"train": b"".join(contents[:5]), "test": contents[5]}
    for split, whole in wholes.items():
        records = np.frombuffer(whole, np.uint8).reshape(-1, RECORD)
        rows = rng.integers(0, len(records), 9)
        images, labels = dataset.load(split, rows, np.float64)
        pixels = images * np.reshape(dataset.std, (3, 1, 1)) + np.reshape(dataset.mean, (3, 1, 1))
        assert np.array_equal(np.rint(pixels).reshape(9, -1), records[rows, 1:])
        assert np.array_equal(labels, records[rows, 0])
    assert len(dataset.classes) == 10
    return "fine"


def _content(rng: np.random.Generator) -> bytes:
    records = rng.integers(0, 256, (rng.integers(1, 4), RECORD), np.uint8)
    records[:, 0] %= 10
    content = records.tobytes()
    choice = rng.random()
    if choice < 0.05:
        return damaged(rng, content)
    if choice < 0.1:
        place = int(rng.integers(0, len(records))) * RECORD
        return content[:place] + rng.bytes(1) + content[place + 1 :]
    return content
