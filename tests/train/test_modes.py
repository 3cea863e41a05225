"""Every mode of pixels is read right or refused by name; pictures stand upright."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.ImageMode import getmode

from netc_runtime.train.imagefolder import picture
from netc_runtime.train.modes import UndefinedError, to_bytes
from netc_runtime.train.pictures import decode

Complains = Callable[..., Any]

KNOWN = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX",
         "CMYK", "YCbCr", "LAB", "HSV")  # fmt: skip
SIXTEEN = ("I;16", "I;16L", "I;16B")
COLOURS = np.random.default_rng(0).integers(0, 256, (5, 6, 3), np.uint8)
GREY16 = np.random.default_rng(1).integers(0, 1 << 16, (5, 6), np.uint16)
TURNED: dict[int, Callable[[Any], Any]] = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).swapaxes(0, 1),
    8: np.rot90,
}
"""By the orientation of Exif: what was stored, as it is to be seen."""


def as_mode(mode: str) -> Image.Image:
    """COLOURS, opaque, in a mode."""
    if mode == "LAB":
        return Image.merge("LAB", [Image.fromarray(COLOURS[..., 0])] + [Image.new("L", (6, 5))] * 2)
    through = {"La": "LA", "RGBa": "RGBA", "PA": "P"}.get(mode, mode)
    return Image.fromarray(COLOURS).convert(through).convert(mode)


def read(path: Path, channels: int, shape: tuple[int, int] = (5, 6)) -> Any:
    return decode(path, (channels, *shape)).transpose(1, 2, 0)


@pytest.mark.parametrize("mode", KNOWN)
def test_known_modes(mode: str) -> None:
    given = as_mode(mode)
    grey, colours = (np.asarray(to_bytes(given, to), int) for to in ("L", "RGB"))
    assert grey.shape == (5, 6) and colours.shape == (5, 6, 3)
    assert np.abs(grey - colours @ [0.299, 0.587, 0.114]).max() <= 1
    if mode in ("RGB", "RGBA", "RGBa", "RGBX", "CMYK"):
        assert np.array_equal(colours, COLOURS)
    if mode in ("YCbCr", "HSV"):
        assert np.abs(colours - COLOURS).max() < 10
    if mode in ("L", "LA", "La"):
        assert np.array_equal(grey, np.asarray(Image.fromarray(COLOURS).convert("L")))


def test_no_other_mode_passes() -> None:
    """Of those that Pillow knows, and those that it may know once."""
    for mode in ("I", "F", *SIXTEEN, "I;16N", "X"):
        made = Image.new("L", (2, 2))
        made._mode = mode
        with pytest.raises(UndefinedError, match=f"of mode '{mode}' in a file of format None"):
            to_bytes(made, "RGB")
    assert {getmode(mode).mode for mode in KNOWN} == set(KNOWN)


def test_alpha_is_left_out(tmp_path: Path) -> None:
    alpha = np.arange(30, dtype=np.uint8).reshape(5, 6, 1)
    Image.fromarray(np.concatenate([COLOURS, alpha], 2)).save(tmp_path / "a.png")
    assert np.array_equal(read(tmp_path / "a.png", 3), COLOURS)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jp2", "a.pgm"])
@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_of_grey(tmp_path: Path, name: str, channels: int) -> None:
    Image.fromarray(GREY16).save(tmp_path / name)
    wanted = np.repeat(GREY16[..., None] // 257, channels, 2)
    assert np.array_equal(read(tmp_path / name, channels), wanted)


def tiff(values: Any, order: str, bits: int, photometric: int, sample_format: int) -> bytes:
    """A TIFF file of one strip of grey, values in rows of whole bytes."""
    height, width = values.shape
    if bits == 12:
        digits = "".join(f"{value:03x}" for value in values.reshape(-1))
        pixels = bytes.fromhex(digits)
    else:
        kind = {1: "u", 2: "i", 3: "f"}[sample_format]
        pixels = values.astype(f"{order}{kind}{bits // 8}").tobytes()
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 277: 1, 278: height,
            279: len(pixels), 339: sample_format}  # fmt: skip
    tags[273] = 8 + 2 + 12 * 10 + 4
    found = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, 8)
    found += struct.pack(f"{order}H", len(tags))
    for tag in sorted(tags):
        found += struct.pack(f"{order}HHII", tag, 4, 1, tags[tag])
    return found + bytes(4) + pixels


@pytest.mark.parametrize("order", "<>")
def test_tiffs_of_sixteen_bits(tmp_path: Path, order: str) -> None:
    (tmp_path / "a.tif").write_bytes(tiff(GREY16, order, 16, 1, 1))
    assert np.array_equal(read(tmp_path / "a.tif", 1)[..., 0], GREY16 // 257)


def test_tiffs_whose_white_is_zero_or_twelve_bits_wide(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(tiff(GREY16, "<", 16, 0, 1))
    assert np.array_equal(read(tmp_path / "a.tif", 1)[..., 0], (65535 - GREY16) // 257)
    narrow = GREY16 >> 4
    (tmp_path / "b.tif").write_bytes(tiff(narrow, "<", 12, 1, 1))
    assert np.array_equal(read(tmp_path / "b.tif", 1)[..., 0], narrow.astype(int) * 255 // 4095)


@pytest.mark.parametrize(
    ("bits", "sample_format", "said"),
    [(32, 1, "mode 'I'"), (32, 2, "mode 'I'"), (16, 2, "mode 'I'"), (32, 3, "mode 'F'"),
     (8, 2, "its numbers are signed")],
)  # fmt: skip
def test_numbers_without_a_meaning(
    tmp_path: Path, complains: Complains, bits: int, sample_format: int, said: str
) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(GREY16 >> 9, "<", bits, 1, sample_format))
    for channels in (1, 3):
        remedy = "= help: save it with 8 or 16 bits of grey, or"
        with complains("E066", f"cannot decode the image '{path}': ", said, remedy):
            read(path, channels)


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp", "a.jpg"])
def test_pictures_stand_upright(tmp_path: Path, name: str, orientation: int) -> None:
    """Every corner of the picture has its own grey."""
    stored = np.kron([[20, 90], [160, 230]], np.ones((8, 16))).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / name, exif=exif, quality=100)
    seen = TURNED[orientation](stored)
    found = read(tmp_path / name, 1, seen.shape)[..., 0]
    assert np.abs(found.astype(int) - seen).max() <= 3


def test_the_centre_is_that_of_the_upright_picture(tmp_path: Path) -> None:
    """A wide picture on its side: the bright left end comes on top, and is cut off."""
    stored = np.zeros((40, 80), np.uint8)
    stored[:, :15] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif)
    assert not picture(tmp_path / "a.png", (3, 8, 8)).any()


@pytest.mark.filterwarnings("ignore")
def test_exif_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    for content in (b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0nothing", b"\xff" * 30):
        Image.fromarray(COLOURS).save(tmp_path / "a.png", exif=content)
        assert np.array_equal(read(tmp_path / "a.png", 3), COLOURS)
