"""Folders of pictures: of every mode and format, damaged, under any name, linked in circles."""

from __future__ import annotations

import io
import os
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from netc.errors import DataError, render
from netc_runtime.train.imagefolder import imagefolder
from netc_runtime.train.images import Wanted
from netc_runtime.train.pictures import decode, readable
from netc_runtime.train.windows import centre

from ._mutate import damaged

MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I", "I;16", "I;16B",
         "F")  # fmt: skip
ENDINGS = ("png", "jpg", "tif", "gif", "bmp", "webp", "ppm", "jp2", "ico", "tga", "sgi", "pcx",
           "im", "dds", "qoi", "apng", "PNG", "TiFF", "msp", "xbm")  # fmt: skip
LOSSLESS = frozenset({"png", "tif", "bmp", "ppm", "tga", "pcx", "PNG", "TiFF"})
TURNS = {1: 0, 8: 1, 3: 2, 6: 3}
"""Quarters of a turn to the left, by the orientation of Exif."""


def case(rng: np.random.Generator, folder: Path) -> str:
    return _one(rng, folder) if rng.random() < 0.7 else _folder(rng, folder)


def _one(rng: np.random.Generator, folder: Path) -> str:
    """A picture that is whole is read as it was made; a damaged one is read or refused."""
    mode, ending = str(rng.choice(MODES)), str(rng.choice(ENDINGS))
    made, content = _picture(rng, mode, ending)
    channels = int(rng.choice((1, 3)))
    centred = partial(centre, proportion=made.shape[0] / made.shape[1], kept=0.8)
    path = folder / f"a.{ending}"
    if whole := rng.random() < 0.3:
        path.write_bytes(content)
    else:
        path.write_bytes(damaged(rng, content, 128))
    found = decode(path, (channels, *made.shape[:2]), None if whole else centred)
    assert found.shape == (channels, *made.shape[:2]) and found.dtype == np.uint8
    if whole and ending in LOSSLESS and mode in ("L", "RGB"):
        grey = mode == "L" or channels == 1
        wanted = Image.fromarray(made).convert("L" if grey else "RGB")
        assert np.array_equal(found, np.asarray(wanted).reshape(*made.shape[:2], -1)
                              .transpose(2, 0, 1).repeat(channels if grey else 1, 0))  # fmt: skip
    return "whole" if whole else "damaged"


def _picture(rng: np.random.Generator, mode: str, ending: str) -> tuple[np.ndarray, bytes]:
    """The pixels as they are to be seen, and a file that has them, where the format can."""
    shape = tuple(int(n) for n in rng.integers(1, 20, 2))
    seen = rng.integers(0, 256, (*shape, 3) if mode != "L" else shape, np.uint8)
    orientation = int(rng.choice(list(TURNS)))
    turned = ending in ("png", "PNG", "tif", "TiFF")
    stored = np.rot90(seen, -TURNS[orientation]) if turned else seen
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"exif": exif} if turned else {}
    kind = Image.registered_extensions()[f".{ending.lower()}"]
    file = io.BytesIO()
    try:
        Image.fromarray(np.ascontiguousarray(stored)).convert(mode).save(file, kind, **options)
    except Exception:  # what the format has no place for
        file = io.BytesIO()
        Image.fromarray(stored[..., 0] if stored.ndim == 3 else stored).save(file, "PNG", **options)
        return (seen[..., 0] if seen.ndim == 3 else seen), file.getvalue()
    return seen, file.getvalue()


def _folder(rng: np.random.Generator, folder: Path) -> str:
    """All files are read or counted, and every name can be shown."""
    root = folder / _name(rng)
    for part in ("train", "val"):
        for number in range(2):
            _fill(rng, root / part / f"class{number}", 0)
    if rng.random() < 0.1:
        (root / "train" / _name(rng)).mkdir(exist_ok=True)
    try:
        dataset = imagefolder(_wanted(rng), str(root))
        dataset.description.encode()
        assert dataset.description.isprintable()
        endings = readable()[1]
        assert {path.suffix.lower() for path in dataset.train.paths} <= endings
        images, labels = dataset.load("train", range(dataset.train_size), np.float32)
        assert len(images) == len(labels) and np.isfinite(images).all()
    except DataError as problem:
        for each in problem.diagnostics:
            text = render([each])
            text.encode()
            assert "\n     = help: " in text or each.severity == "note"
            assert text.replace("\n", "").isprintable()
        raise
    return "folder"


def _wanted(rng: np.random.Generator) -> Wanted:
    """Grey or of colours, of any proportions."""
    height, width = map(int, rng.integers(1, 9, 2))
    return Wanted((int(rng.choice((1, 3))), height, width), 2)


def _fill(rng: np.random.Generator, place: Path, depth: int) -> None:
    place.mkdir(parents=True, exist_ok=True)
    for _ in range(rng.integers(1, 4)):
        path = place / _name(rng)
        choice = rng.random()
        if os.path.lexists(path):
            continue
        if choice < 0.2 and depth < 3:
            _fill(rng, path, depth + 1)
        elif choice < 0.3:
            path.symlink_to(place.parents[int(rng.integers(0, 3))])
        else:
            ending = str(rng.choice((*ENDINGS, "txt", "")))
            _, content = _picture(rng, "RGB", ending if ending in ENDINGS else "png")
            content = damaged(rng, content) if rng.random() < 0.03 else content
            path.with_name(f"{path.name}.{ending}").write_bytes(content)


def _name(rng: np.random.Generator) -> str:
    """Of letters, most often; else of any bytes."""
    if rng.random() < 0.8:
        return "".join(rng.choice(list("abc.é猫 "), rng.integers(1, 6))).strip(". ") or "x"
    raw = bytes(byte for byte in rng.bytes(int(rng.integers(1, 6))) if byte not in b"/\0")
    return os.fsdecode(raw.strip(b".") or b"\xff")
