"""Files of images are read as they were when they were opened, or an error names them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netc_runtime.train.cifar import cifar10
from netc_runtime.train.idx import idx
from netc_runtime.train.stored import Stored

Builder = Callable[..., Any]
Complains = Callable[..., Any]

CUT = """
import os, sys
import numpy as np
from netc.errors import DataError
from netc_runtime.train.datasets import DATASETS
name, folder, file = sys.argv[1:]
dataset = DATASETS[name].make(folder)
os.truncate(file, 100)
try:
    dataset.load("train", range(dataset.train_size), np.float32)
except DataError as problem:
    print(problem)
"""


@pytest.mark.parametrize(
    ("name", "file"), [("idx", "train-images-idx3-ubyte"), ("cifar10", "data_batch_5.bin")]
)
def test_a_file_that_is_cut_is_named(
    tmp_path: Path, make_idx: Builder, make_cifar: Builder, name: str, file: str
) -> None:
    """In a process of its own: what reads a mapped file that was cut is ended by the system."""
    make_idx(tmp_path, shape=(60, 50))
    make_cifar(tmp_path)
    path = tmp_path / file
    done = subprocess.run(
        [sys.executable, "-c", CUT, name, tmp_path, path], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"error[E062]: '{path}' changed while it was in use: ")
    assert "it has 100 bytes" in done.stdout


def test_a_file_that_is_gone_is_named(
    tmp_path: Path, make_idx: Builder, make_cifar: Builder, complains: Complains
) -> None:
    make_idx(tmp_path)
    make_cifar(tmp_path)
    for dataset, name in (
        (idx(str(tmp_path)), "train-images-idx3-ubyte"),
        (cifar10(str(tmp_path)), "data_batch_1.bin"),
    ):
        (tmp_path / name).unlink()
        with complains("E061", f"cannot read '{tmp_path / name}': No such file", "= help: "):
            dataset.load("train", [0], np.float32)


@given(st.data())
def test_rows(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """As an array of the file's bytes has them."""
    count, gap, start = (data.draw(st.integers(low, 5)) for low in (1, 0, 0))
    shape = tuple(data.draw(st.integers(1, 3)) for _ in range(3))
    size = int(np.prod(shape))
    content = np.random.default_rng(0).integers(0, 256, start + count * (size + gap), np.uint8)
    path = tmp_path_factory.mktemp("stored") / "a"
    path.write_bytes(content.tobytes())
    stored = Stored(path, len(content), start, size + gap, (count, *shape))
    rows = data.draw(st.lists(st.integers(0, count - 1)))
    wanted = content[start:].reshape(count, -1)[:, :size].reshape(count, *shape)
    assert len(stored) == count
    assert np.array_equal(stored[np.array(rows, np.int64)], wanted[rows])
