"""Which part of a picture is looked at, and how that is scaled."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .philox import Words, units

Box = tuple[float, float, float, float]
"""Left, top, right and bottom of a part of a picture, in pixels."""
Window = Callable[[int, int], Box]
"""From the height and width of a picture to the part that is looked at."""
Rectangle = tuple[int, int, int, int]
"""Top, left, height and width, in pixels."""
Limits = tuple[float, float, float]
"""The least and the most of the area, and the least width / height; the most is 1 / that."""


def centre(height: int, width: int, proportion: float, kept: float) -> Box:
    """The part `kept` of the largest centred box whose height is `proportion` of its width."""
    wide = min(width, height / proportion) * kept
    left, top = (width - wide) / 2, (height - wide * proportion) / 2
    return left, top, left + wide, top + wide * proportion


def random_window(height: int, width: int, words: Words, limits: Limits) -> Box:
    """A `random_rectangle`, or where no attempt fits the largest centred box within the ratios.

    As torchvision's RandomResizedCrop (C. Szegedy et al., Going Deeper with Convolutions, 2014).
    """
    found = random_rectangle(height, width, words, limits)
    if found is None:
        ratio = limits[2]
        tall, wide = min(height, round(width / ratio)), min(width, round(height / ratio))
        found = (height - tall) // 2, (width - wide) // 2, tall, wide
    top, left, tall, wide = found
    return left, top, left + wide, top + tall


def random_rectangle(height: int, width: int, words: Words, limits: Limits) -> Rectangle | None:
    """A rectangle within `limits`: its area is uniform, as is the logarithm of width / height.

    `words` (attempts, 4); the first attempt that fits is taken, None where none does.
    """
    least, most, ratio = limits
    shares = units(words[:, :2]).tolist()
    for (area, quotient), (down, right) in zip(shares, words[:, 2:].tolist(), strict=True):
        pixels = height * width * (least + (most - least) * area)
        shape = ratio ** (1 - 2 * quotient)
        tall, wide = round(math.sqrt(pixels / shape)), round(math.sqrt(pixels * shape))
        if 1 <= tall <= height and 1 <= wide <= width:
            return down % (height - tall + 1), right % (width - wide + 1), tall, wide
    return None


def seen(images: NDArray[Any], windows: Sequence[Window]) -> NDArray[Any]:
    """What the windows, one an image, show of images (n, C, H, W), scaled to H and W.

    As Pillow's bilinear `resize` with a box: bytes in whole bytes, floats in 32 bits.
    """
    # Imported here: compiling and planning need no pictures.
    from PIL import Image

    images = images if images.dtype == np.uint8 else images.astype(np.float32)
    out = np.empty_like(images)
    height, width = images.shape[2:]
    for image, shown, window in zip(images, out, windows, strict=True):
        box = window(height, width)
        for channel, scaled in zip(image, shown, strict=True):
            picture = Image.fromarray(channel)
            scaled[:] = picture.resize((width, height), Image.Resampling.BILINEAR, box)
    return out
