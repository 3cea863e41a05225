"""Small images inside a page: held-out ones with what is said of them, and filters."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from netc.export.training.facts import FirstFilters, ShownImage
from netc.export.training.markup import Markup, element
from netc.export.words import shape_text

SIDE = 96
"""Pixels of the longer side that an image is reduced to, if it has more."""
_LONG = 12
"""Characters of a class's name, above which images need more room."""
_QUALITY = 85
"""Of JPEG, which reduced images are, as they are photographs."""


def image_uri(pixels: NDArray[np.uint8]) -> str:
    """An image (C, H, W) inside a page: all of a small one, another one reduced.

    Three channels are red, green and blue; of any other number it is their mean.
    """
    # Imported here: pages of plans need no pictures.
    from PIL import Image

    is_colour = len(pixels) == 3
    shown = pixels.transpose(1, 2, 0) if is_colour else np.rint(pixels.mean(axis=0))
    picture = Image.fromarray(np.ascontiguousarray(shown, np.uint8))
    kind = "jpeg" if max(picture.size) > SIDE else "png"
    picture.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    picture.save(file, kind, optimize=True, quality=_QUALITY)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def draw_images(images: Sequence[ShownImage], classes: Sequence[str]) -> Markup:
    """Images with the classes that they have and are taken for."""
    longest = max((len(classes[each]) for shown in images for each, _ in shown.guesses), default=0)
    look = "gallery long" if longest > _LONG else "gallery"
    return element("div", *(_image(each, classes) for each in images), class_=look)


def _image(shown: ShownImage, classes: Sequence[str]) -> Markup:
    said = shown.guesses[0][0]
    own, taken = classes[shown.own], classes[said]
    right = said == shown.own
    about = f"held-out image {shown.number:,}, of class {own}"
    about += "" if right else f", taken for {taken}"
    guesses = [*shown.guesses]
    if all(name != shown.own for name, _ in guesses):
        guesses.append((shown.own, shown.share))
    rows = (
        element("li", element("span", classes[each], class_="own" if each == shown.own else None),
                element("b", f"{100 * share:.1f} %"))
        for each, share in guesses
    )  # fmt: skip
    height, width = shown.pixels.shape[1:]
    return element(
        "figure",
        element("img", src=image_uri(shown.pixels), alt=about, title=about,
                class_="small" if max(height, width) <= SIDE else None),
        element("figcaption", element("b", own), Markup() if right else f" taken for {taken}"),
        element("ol", *rows),
        class_="right" if right else "wrong",
    )  # fmt: skip


def draw_filters(filters: FirstFilters) -> Iterator[Markup]:
    """Filters as images, and what they are."""
    weights = filters.weights
    most = float(np.abs(weights).max()) or 1.0
    yield element("p", _about(filters, most))
    pixels = np.rint(127.5 + 127.5 * weights / most).clip(0, 255).astype(np.uint8)
    images = (
        element("img", src=image_uri(each), alt=f"filter {i}", title=f"filter {i}", class_="small")
        for i, each in enumerate(pixels)
    )
    yield element("div", *images, class_="filters")


def _about(filters: FirstFilters, most: float) -> str:
    count, shown = filters.count, len(filters.weights)
    some = "" if shown == count else f"the first {shown} of "
    which = f"{some}{count:,} filter{'s' * (count > 1)}"
    channels = filters.weights.shape[1]
    mean = "" if channels in (1, 3) else f", the mean of {channels} channels"
    shape = shape_text(filters.weights.shape[1:])
    ends = f"black is -{most:.3g}, grey 0, white {most:.3g}"
    return f"{filters.layer}: {which} of {shape}{mean}; {ends}."
