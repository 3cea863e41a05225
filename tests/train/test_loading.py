"""Images loaded in threads are those that one thread loads; what cannot be read is told once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netc.errors import DataError
from netc_runtime.cores import cores
from netc_runtime.launch.ranks import Alone, Ranks
from netc_runtime.train import loading
from netc_runtime.train.augment import examples
from netc_runtime.train.datasets import open_dataset
from netc_runtime.train.loading import Loader, loaders
from netc_runtime.train.survey import survey

Builder = Callable[..., Any]
ROWS = st.lists(st.integers(0, 39), min_size=1, max_size=40)


@given(
    ROWS, st.integers(1, 7), st.integers(0, 3), st.integers(0, 3), st.sampled_from([1, 999, 9999]),
    st.sampled_from([(), ("mixup", "cutmix")]),
)  # fmt: skip
def test_a_batch_does_not_depend_on_the_threads(
    rows: list[int], workers: int, before: int, behind: int, piece_bytes: int, ways: Any
) -> None:
    """Nor on the pieces: it is what the data set loads at once, changed at once."""
    dataset = open_dataset("synthetic", (), {"train": 40}, (3, 5, 4), 7)
    wanted = np.array(rows)
    specs: Any = [("resized_crop", (), {"min": 0.1, "max": 1.0, "ratio": 0.5}), ("flip", (), {})]
    specs += [(way, (), {"alpha": 0.5, "p": 0.9}) for way in ways]

    def read(numbers: Any) -> Any:
        return examples(dataset, numbers, np.float32, 3, 5, specs)

    kinds = (*loading.LABELS, *loading.LABELS, np.dtype(np.float32)) if ways else loading.LABELS
    images, *others = read(wanted)

    with (
        pytest.MonkeyPatch.context() as patch,
        Loader(dataset, np.float32, workers, kinds) as loader,
    ):
        patch.setattr(loading, "_PIECE_BYTES", piece_bytes)
        size = before + len(rows) + behind
        several = [loader.begin(read, wanted, before, size) for _ in range(3)]
        for each in several:
            found, *numbers = each.result()
            assert found.shape == (size, 3, 5, 4) and found.dtype == np.float32
            assert np.array_equal(found[before : before + len(rows)], images)
            for few, right in zip(numbers, others, strict=True):
                assert few.tolist() == [0] * before + right.tolist() + [0] * behind


def test_all_threads_load() -> None:
    """Each waits for the others, so fewer would wait for ever."""
    dataset = open_dataset("synthetic", (), {}, (3, 200, 200), 2)
    barrier = threading.Barrier(4, timeout=60)

    def read(numbers: Any) -> Any:
        barrier.wait()
        return dataset.load("train", numbers, np.float32)

    with Loader(dataset, np.float32, 4) as loader:
        loader.begin(read, np.arange(8)).result()


def test_what_is_left_is_dropped() -> None:
    dataset, done = open_dataset("synthetic", (), {}, (3, 200, 200), 2), []
    begun, go_on = threading.Event(), threading.Event()

    def read(numbers: Any) -> Any:
        done.append(numbers)
        begun.set()
        assert go_on.wait(60)
        return dataset.load("train", numbers, np.float32)

    with Loader(dataset, np.float32, 1) as loader:
        for _ in range(9):
            loader.begin(read, np.arange(3))
        assert begun.wait(60)
        threading.Timer(0.05, go_on.set).start()
    assert len(done) == 1


def test_a_file_that_changes_is_told_once(tmp_path: Path, make_cifar: Builder) -> None:
    make_cifar(tmp_path, count=200)
    dataset = open_dataset("cifar10", (str(tmp_path),), {}, (3, 32, 32), 10)
    (tmp_path / "data_batch_1.bin").write_bytes(b"")
    with Loader(dataset, np.float32, 3) as loader, pytest.raises(DataError) as caught:
        loader.begin(partial(dataset.load, "train", dtype=np.float32), np.arange(150)).result()
    (only,) = caught.value.diagnostics
    assert only.code == "E062" and "changed while it was in use" in only.message


class Others(Ranks):
    """Three processes, two of them here."""

    def allgather(self, value: Any) -> list[Any]:
        return [value, "elsewhere", value]


def test_processes_of_a_machine_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    assert loaders(Alone()) == cores() >= 1
    for have, wanted in ((16, 8), (5, 2), (1, 1)):
        monkeypatch.setattr(loading, "cores", lambda have=have: have)
        assert loaders(Others()) == wanted


@given(st.integers(1, 70), st.integers(1, 40), st.integers(1, 5))
def test_a_survey_sees_every_image(train: int, test: int, workers: int) -> None:
    """Once: what it says of all is what they are."""
    dataset = open_dataset("synthetic", (), {"train": train, "test": test}, (2, 3, 3), 4)
    found = survey(dataset, workers)
    for split, size in (("train", train), ("test", test)):
        images, labels = dataset.load(split, range(size), np.float64)  # type: ignore[arg-type]
        seen = found[split]  # type: ignore[index]
        assert seen.looked == size and seen.problems == ()
        assert seen.counts.tolist() == np.bincount(labels, minlength=4).tolist()
        assert np.allclose(seen.mean, images.mean((0, 2, 3)), atol=1e-6)
        assert np.allclose(seen.deviation, images.std((0, 2, 3)), atol=1e-6)


def test_a_survey_goes_on_behind_what_cannot_be_read(tmp_path: Path, make_folder: Builder) -> None:
    make_folder(tmp_path)
    dataset = open_dataset("imagefolder", (str(tmp_path),), {}, (3, 4, 4), 2)
    whole = survey(dataset, 2)["train"]
    bad = tmp_path / "train" / "dog" / "1.png"
    good, _ = dataset.load("train", [0, 1, 2, 3, 5], np.float64)
    bad.write_bytes(b"no picture")
    seen = survey(dataset, 2)["train"]
    assert (seen.looked, seen.counts.tolist()) == (6, [3, 2])
    assert whole.counts.tolist() == [3, 3]
    (problem,) = seen.problems
    assert f"'{bad}'" in problem.message
    assert np.allclose(seen.mean, good.mean((0, 2, 3)), atol=1e-6)
