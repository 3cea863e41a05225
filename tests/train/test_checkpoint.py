"""Checkpoints: round trips, atomic writing, and what is said of files that are none."""

from __future__ import annotations

import pickle
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

import netc_runtime.io.tensors as tensors_module
from netc_runtime.io import Position, checkpoint_name, checkpoints, latest, load, save
from netc_runtime.io.checkpoint import (
    Best,
    meta_of,
    run_in,
    run_meta,
    settings_in,
    settings_meta,
    unfinished,
)

Complains = Callable[..., Any]

POSITION = Position(120, 2, 20, 32, 1600, "vgg16", 2**63 - 1)


@pytest.mark.parametrize(
    "text",
    ["null", "[1]", "[1, NaN]", "[Infinity, 0.5]", "[-1, 0.5]", "[1.5, 0.5]", "[1, 2.0]",
     "[1, 0.5, 1]", "{", "[" * 100_000, '["1", "0.5"]'],
)  # fmt: skip
def test_what_was_best_is_kept_or_not_known(text: str) -> None:
    best = Best(70, 0.9875)
    assert Best.from_meta(best.as_meta()) == best
    assert Best.from_meta({}) == Best.from_meta({"best": text}) == Best()


def tensors() -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(0)
    return {
        "conv1.weight": rng.standard_normal((4, 3, 3, 3)).astype(np.float32),
        "bn1.count": np.array(7, np.int64),
        "mask": np.array([True, False, True]),
        "turned": rng.standard_normal((5, 2)).T,
        "big_endian": np.arange(3, dtype=">f8"),
        "nothing": np.zeros((0, 4), np.float32),
        "half": np.arange(3, dtype=np.float16),
    }


def assert_same(found: dict[str, NDArray[Any]], wanted: dict[str, NDArray[Any]]) -> None:
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype.newbyteorder("=")
        assert found[name].shape == array.shape and np.array_equal(found[name], array)


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / checkpoint_name(120)
    save(path, tensors(), {**POSITION.as_meta(), "note": 'grüezi "all"'})
    found, meta = load(path)
    assert_same(found, tensors())
    assert meta == {**POSITION.as_meta(), "note": 'grüezi "all"'}
    assert Position.from_meta(meta, path) == POSITION
    assert [each.name for each in path.parent.iterdir()] == ["step-00000120.safetensors"]


@pytest.mark.parametrize("size", [1, 8, 4095, 4096, 3 * 8192, 3 * 8192 + 4097])
def test_changed_bytes_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, complains: Complains, size: int
) -> None:
    """One anywhere, and blocks that changed places; a file without a checksum loads as it is."""
    monkeypatch.setattr(tensors_module, "_ROOM_BYTES", 8192)
    seed = random.randrange(2**32)
    rng = np.random.default_rng(seed)
    whole = rng.integers(0, 256, size, np.uint8)
    save(tmp_path / "a", {"w": whole[: size // 3], "x": whole[size // 3 :]}, {"step": "1"})
    found = load(tmp_path / "a")
    assert np.array_equal(np.concatenate(list(found[0].values())), whole)
    assert found[1] == {"step": "1"} == meta_of(tmp_path / "a")
    content = np.frombuffer((tmp_path / "a").read_bytes(), np.uint8)
    for _ in range(20):
        changed = content.copy()
        place = len(content) - 1 - int(rng.integers(size))
        changed[place] ^= 1 << int(rng.integers(8))
        if size > 8192 and rng.integers(2):
            changed = content.copy()
            start = len(content) - size
            both = changed[start : start + 8192].reshape(2, 4096)
            both[:] = both[::-1].copy()
        (tmp_path / "b").write_bytes(changed.tobytes())
        with complains("E068", "checksum differs"):
            load(tmp_path / "b", names=())
    save_file(load_file(tmp_path / "b"), tmp_path / "c", {"step": "1"})
    assert load(tmp_path / "c")[1] == {"step": "1"}, f"seed {seed}"


def test_some_tensors_can_be_loaded(tmp_path: Path) -> None:
    save(tmp_path / "a", tensors(), POSITION.as_meta())
    found, meta = load(tmp_path / "a", ("mask", "unknown"))
    assert_same(found, {"mask": tensors()["mask"]})
    assert meta == POSITION.as_meta()


@pytest.mark.parametrize(
    ("write", "read"), [(run_meta, run_in), (settings_meta, settings_in)], ids=["run", "settings"]
)
def test_words_of_a_run_come_back(write: Any, read: Any) -> None:
    words = {"network": "/a/ü\udcff.net", "data": "idx('x')", "lr": "0.1"}
    assert read(write(words)) == words and write(words) == write(dict(reversed(words.items())))
    (key,) = write(words)
    for damaged in ("", "[1]", "null", "[" * 100_000, '{"lr": 1}'):
        assert read({key: damaged}) == {} == read({})


def test_the_library_reads_what_we_write(tmp_path: Path) -> None:
    save(tmp_path / "a", tensors(), {})
    assert_same(load_file(tmp_path / "a"), tensors())


def test_other_safetensors_files_can_be_loaded(tmp_path: Path, complains: Complains) -> None:
    save_file({"w": np.ones(3)}, tmp_path / "a")
    found, meta = load(tmp_path / "a")
    assert_same(found, {"w": np.ones(3)})
    with complains("E068", "does not say where its training stood: it lacks 'step'."):
        Position.from_meta(meta, tmp_path / "a")


def test_equal_contents_give_equal_bytes(tmp_path: Path) -> None:
    meta = POSITION.as_meta()
    save(tmp_path / "a", tensors(), meta)
    save(tmp_path / "b", dict(reversed(tensors().items())), dict(reversed(meta.items())))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_crash_before_the_replacement_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / checkpoint_name(1)
    save(path, {"w": np.zeros(9)}, {})
    old = path.read_bytes()
    crash = (
        "import os, sys, numpy\n"
        "from netc_runtime.io import save\n"
        "os.replace = lambda *names: os._exit(9)\n"
        "save(sys.argv[1], {'w': numpy.ones(9)}, {})\n"
    )
    assert subprocess.run([sys.executable, "-c", crash, path], check=False).returncode == 9
    assert path.read_bytes() == old and len(list(tmp_path.iterdir())) == 2
    assert latest(tmp_path) == path
    save(path, {"w": np.ones(9)}, {})
    assert load(path)[0]["w"].tolist() == [1.0] * 9
    assert list(tmp_path.iterdir()) == [path]


def test_a_refused_write_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, complains: Complains
) -> None:
    path = tmp_path / "a"
    save(path, {"w": np.zeros(9)}, {})
    old = path.read_bytes()

    def no_room(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", no_room)
    with complains("E069", f"cannot write '{path}': No space left on device.", "= help: "):
        save(path, {"w": np.ones(9)}, {})
    assert path.read_bytes() == old and list(tmp_path.iterdir()) == [path]


def test_latest(tmp_path: Path) -> None:
    assert latest(tmp_path / "none") is None and latest(tmp_path) is None
    for step in (5, 100_000_000, 40, 7):
        save(tmp_path / checkpoint_name(step), {}, {})
    others = ["step-x.safetensors", "best.safetensors", "metrics.jsonl"]
    for name in (*others, "step-00000041.safetensors.tmp"):
        (tmp_path / name).write_text("")
    assert latest(tmp_path) == tmp_path / "step-100000000.safetensors"
    assert [int(path.stem[5:]) for path in checkpoints(tmp_path)] == [5, 7, 40, 100_000_000]
    assert [path.name for path in unfinished(tmp_path)] == ["step-00000041.safetensors.tmp"]


def test_missing(tmp_path: Path, complains: Complains) -> None:
    with complains("E061", f"cannot read '{tmp_path}/none': No such file or directory."):
        load(tmp_path / "none")
    with complains("E061", f"cannot read '{tmp_path}': Is a directory."):
        load(tmp_path)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickles_are_refused(tmp_path: Path, protocol: int, complains: Complains) -> None:
    (tmp_path / "a").write_bytes(pickle.dumps({"w": [1.0] * 99}, protocol))
    with complains("E068", "which is refused: reading a pickle can run any code.", "= help: "):
        load(tmp_path / "a")


def test_archives_are_refused(tmp_path: Path, complains: Complains) -> None:
    np.savez(tmp_path / "a.npz", w=np.ones(3))
    with complains("E068", "looks like a pickle or a zip archive (.pkl, .pt, .npz)"):
        load(tmp_path / "a.npz")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x08" + bytes(7) + b'{"a": 1}'])
def test_malformed(tmp_path: Path, content: bytes, complains: Complains) -> None:
    (tmp_path / "a").write_bytes(content)
    with complains("E068", f"'{tmp_path}/a' is not a whole safetensors file: ", "= help: "):
        load(tmp_path / "a")


def test_element_types_that_numpy_lacks(tmp_path: Path, complains: Complains) -> None:
    header = b'{"w":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]}}'
    (tmp_path / "a").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with complains("E068", f"'{tmp_path}/a' holds an element type that NumPy lacks: ", "F8_E4M3"):
        load(tmp_path / "a")


def test_bfloat16_becomes_float32(tmp_path: Path) -> None:
    numbers = np.array([[1.5, -2.0], [np.inf, 3.25], [0.0, 2.0**-130]], np.float32)
    halves = (numbers.view(np.uint32) >> 16).astype("<u2").tobytes()
    entries = (
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
        b'"w":{"dtype":"BF16","shape":[3,2],"data_offsets":[4,16]}}'
    )
    data = len(entries).to_bytes(8, "little") + entries + bytes(4) + halves
    (tmp_path / "a").write_bytes(data)
    tensors, _ = load(tmp_path / "a")
    assert tensors["w"].dtype == np.float32
    np.testing.assert_array_equal(tensors["w"], numbers)


def test_later_versions_are_refused(tmp_path: Path, complains: Complains) -> None:
    save_file({"w": np.ones(3)}, tmp_path / "a", {"netc_checkpoint": "3"})
    with complains("E068", "has format 3; this netc reads formats up to 2."):
        load(tmp_path / "a")


@pytest.mark.parametrize(("key", "said"), [("step", "it lacks 'step'"), ("network", "'network'")])
def test_positions_must_be_whole(key: str, said: str, complains: Complains) -> None:
    meta = POSITION.as_meta()
    del meta[key]
    with complains("E068", "'a.safetensors' does not say where its training stood: ", said):
        Position.from_meta(meta, "a.safetensors")


@pytest.mark.parametrize("name", ["step", "epoch", "place", "batch", "images", "seed"])
@pytest.mark.parametrize(
    "number", ["x", "", "-5", "1" + "0" * 30, "9" * 5000, str(2**63), "1e3", "\u0663"]
)
def test_numbers_of_positions_have_bounds(name: str, number: str, complains: Complains) -> None:
    with complains("E068", "does not say where its training stood: ", f"'{name}' is '"):
        Position.from_meta({**POSITION.as_meta(), name: number}, "a.safetensors")


@pytest.mark.parametrize("change", [{"place": "50"}, {"batch": "0"}, {"images": "31"}])
def test_places_lie_within_their_epoch(change: dict[str, str], complains: Complains) -> None:
    with complains("E068", "does not say where its training stood: step "):
        Position.from_meta({**POSITION.as_meta(), **change}, "a.safetensors")
