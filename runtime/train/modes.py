"""What the numbers of a picture file mean as grey or as red, green and blue of a byte each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

_GREY = frozenset({"1", "L", "LA"})
_COLOURS = frozenset({"P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"})
_PREMULTIPLIED = {"La": "LA", "RGBa": "RGBA"}
"""Modes whose grey or colours are stored times alpha, and what they are without that."""
_SIXTEEN = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
_WHITE_IS_SIXTEEN_BITS = frozenset({"PNG", "PPM", "JPEG2000", "TIFF"})
"""Formats in which 16 bits of grey go from black, 0, to white, 65,535."""
_SIXTEEN_IN_INT = frozenset({"PNG", "PPM"})
"""Formats that have no more than 16 bits, also where Pillow keeps them in 32."""

_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
_WHITE_IS_ZERO, _UNSIGNED = 0, 1
"""Tags of TIFF 6.0, and values of theirs."""
_ORIENTATION = 0x0112
"""The tag of Exif 2.3."""


class UndefinedError(ValueError):
    """The file does not say which of its numbers are black and white."""


def to_bytes(picture: Image, mode: str) -> Image:
    """A loaded picture as `mode`, "L" or "RGB", of the same size. Alpha is left out.

    16 bits of grey become value // 257. Raises `UndefinedError` for numbers without a meaning, such
    as floats.
    """
    grey = picture
    _check_unsigned(picture)
    if picture.mode in _SIXTEEN or picture.mode == "I":
        grey = _from_sixteen(picture)
    elif picture.mode in _PREMULTIPLIED:
        grey = picture.convert(_PREMULTIPLIED[picture.mode])
    elif picture.mode not in _GREY | _COLOURS:
        raise _undefined(picture)
    if grey.mode in _GREY:
        return grey.convert("L").convert(mode)
    return grey.convert("RGB").convert(mode)


def upright(picture: Image, colours: Image) -> Image:
    """`colours`, turned and mirrored as the Exif data of the `picture` they are of has it.

    Exif data that cannot be read counts as none.
    """
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    try:
        turn = turns.get(picture.getexif().get(_ORIENTATION, 1))
    except Exception:  # of many kinds, as for pixels; these are whole
        return colours
    return colours if turn is None else colours.transpose(turn)


def _from_sixteen(picture: Image) -> Image:
    """Grey of up to 16 bits as mode L."""
    from PIL.Image import fromarray

    defined = _SIXTEEN_IN_INT if picture.mode == "I" else _WHITE_IS_SIXTEEN_BITS
    if picture.format not in defined:
        raise _undefined(picture)
    bits = _tag(picture, _BITS, 16)
    white = 2**bits - 1
    table = (np.arange(white + 1) * 255 // white).astype(np.uint8)
    if _tag(picture, _PHOTOMETRIC, 1) == _WHITE_IS_ZERO:
        table = table[::-1]
    return fromarray(np.take(table, np.asarray(picture), mode="clip"))


def _check_unsigned(picture: Image) -> None:
    if picture.mode == "L" and _tag(picture, _SAMPLE_FORMAT, _UNSIGNED) != _UNSIGNED:
        raise UndefinedError("its numbers are signed, which leaves open what is black and white")


def _tag(picture: Image, number: int, default: int) -> int:
    """The value of a TIFF's tag, the first of several; `default` in other formats."""
    value = getattr(picture, "tag_v2", {}).get(number, default)
    return int(value[0] if isinstance(value, tuple) else value)


def _undefined(picture: Image) -> UndefinedError:
    return UndefinedError(
        f"its pixels are of mode '{picture.mode}' in a file of format {picture.format}, "
        "which leaves open what is black and white"
    )
