"""Damaged files: cut, overwritten or lengthened anywhere, they load or are a DataError."""

from __future__ import annotations

import contextlib
import gzip
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from netc.errors import DataError
from netc_runtime.io import load, save
from netc_runtime.train.cifar import cifar10
from netc_runtime.train.idx import idx
from netc_runtime.train.imagefolder import picture

Builder = Callable[..., Any]

DTYPES = ((b'"U32"', b"[2,3]"), (b'"C64"', b"[1,3]"), (b'"F16"', b"[4,3]"), (b'"XYZ"', b"[2,3]"))


@st.composite
def damage(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Cuts a file at a place, then overwrites some bytes, most of them in its header."""
    places = st.floats(0, 1, exclude_max=True) | st.integers(0, 40)
    cut = draw(st.none() | places)
    writes = draw(st.lists(st.tuples(places, st.binary(min_size=1, max_size=4)), max_size=3))
    tail = draw(st.just(b"") | st.binary(max_size=4))

    def apply(content: bytes) -> bytes:
        def at(place: float) -> int:
            return place if isinstance(place, int) else int(place * len(content))

        changed = bytearray(content if cut is None else content[: at(cut)])
        for place, new in writes:
            changed[at(place) : at(place) + len(new)] = new
        return bytes(changed) + tail

    return apply


def loads_or_complains(load_it: Callable[[], object]) -> None:
    with contextlib.suppress(DataError):
        load_it()


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"])
def test_idx(
    tmp_path_factory: pytest.TempPathFactory, make_idx: Builder, name: str, zipped: bool
) -> None:
    place = tmp_path_factory.mktemp("idx")
    make_idx(place, zipped)
    path = place / f"{name}{'.gz' if zipped else ''}"
    whole = path.read_bytes()

    @settings(max_examples=40, deadline=None)
    @given(damage(), st.booleans())
    def check(change: Callable[[bytes], bytes], inside: bool) -> None:
        inside = inside and zipped
        path.write_bytes(
            gzip.compress(change(gzip.decompress(whole)), 1) if inside else change(whole)
        )
        loads_or_complains(lambda: idx(str(place)).load("train", range(4), np.float32))

    check()


@pytest.mark.parametrize("name", ["data_batch_3.bin", "test_batch.bin", "batches.meta.txt"])
def test_cifar(tmp_path_factory: pytest.TempPathFactory, make_cifar: Builder, name: str) -> None:
    place = tmp_path_factory.mktemp("cifar")
    make_cifar(place, count=1)
    path = place / name
    whole = path.read_bytes()

    @settings(max_examples=40, deadline=None)
    @given(damage())
    def check(change: Callable[[bytes], bytes]) -> None:
        path.write_bytes(change(whole))
        loads_or_complains(lambda: cifar10(str(place)).load("test", [0], np.float32))

    check()


def test_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("checkpoint") / "a"
    save(path, {"w": np.ones((2, 3), np.float32), "n": np.array(3)}, {"step": "3"})
    whole = path.read_bytes()

    @settings(max_examples=120, deadline=None)
    @given(damage() | st.sampled_from(dtype_changes()))
    def check(change: Callable[[bytes], bytes]) -> None:
        path.write_bytes(change(whole))
        loads_or_complains(lambda: load(path))

    check()


def dtype_changes() -> list[Callable[[bytes], bytes]]:
    """Other element types, some unknown, in a header that is right in all else."""
    return [partial(with_dtype, dtype, shape) for dtype, shape in DTYPES]


def with_dtype(dtype: bytes, shape: bytes, content: bytes) -> bytes:
    return content.replace(b'"F32"', dtype).replace(b"[2,3]", shape)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["png", "jpg", "gif", "bmp", "tif", "webp"])
def test_pictures(tmp_path_factory: pytest.TempPathFactory, kind: str) -> None:
    path: Path = tmp_path_factory.mktemp("pictures") / f"a.{kind}"
    pixels = np.random.default_rng(0).integers(0, 256, (9, 11, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    whole = path.read_bytes()

    @settings(max_examples=30, deadline=None)
    @given(damage())
    def check(change: Callable[[bytes], bytes]) -> None:
        path.write_bytes(change(whole))
        loads_or_complains(lambda: picture(path, (3, 8, 8)))

    check()
