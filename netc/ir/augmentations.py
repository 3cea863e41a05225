"""Augmentations: random changes of training images.

Each is declared once, in `AUGMENTATIONS`: the language, `--help` and tests follow. What it does to
images is in `netc_runtime.train.augment`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from netc.numbers import FACTOR, FRACTION, NamedNumber, Number

_FARTHEST = 1 << 16
"""Pixels; no picture is wider, and half a word divided by so few choices favours none of them."""
_PIXELS = Number(
    f"a whole number, 1 to {_FARTHEST:,}", True, lambda value: 1 <= value <= _FARTHEST
)  # fmt: skip
_RATIO = Number("a number from 0.01 to 1", False, lambda value: 0.01 <= value <= 1)


@dataclass(frozen=True, slots=True)
class Augmentation:
    """One random change of training images."""

    word: str
    about: str
    """What it does, for lists."""
    arguments: tuple[NamedNumber, ...] = ()

    @property
    def form(self) -> str:
        """The word with what it takes and what that is by default, as in erase(p=0.5, ...)."""
        return f"{self.word}({', '.join(map(_shown, self.arguments))})"


def _shown(argument: NamedNumber) -> str:
    default = argument.default
    return argument.name if default is None else f"{argument.name}={default:g}"


def _rectangle(least: float, most: float, ratio: float) -> tuple[NamedNumber, ...]:
    """A share of the area, and the least ratio of the sides; the largest is 1 / ratio."""
    return (
        NamedNumber("min", FACTOR, least),
        NamedNumber("max", FACTOR, most),
        NamedNumber("ratio", _RATIO, ratio),
    )


RESIZED_CROP = "resized_crop"
"""The one that chooses what is read of a picture, and so comes before all others."""
AUGMENTATIONS: Mapping[str, Augmentation] = {
    each.word: each
    for each in (
        Augmentation(
            "shift",
            "moved by up to so many pixels each way, filled with 0: padded, then cropped back",
            (NamedNumber("pixels", _PIXELS),),
        ),
        Augmentation("flip", "mirrored left to right, half of the images"),
        Augmentation(
            RESIZED_CROP,
            "a window of min to max of the area, width / height from ratio to 1 / ratio, scaled "
            "to the network's size; stands first",
            _rectangle(0.08, 1.0, 0.75),
        ),
        Augmentation(
            "jitter",
            "brightness, contrast and saturation, each times a number from 1 - value to 1 + value",
            tuple(
                NamedNumber(name, FRACTION, 0.4)
                for name in ("brightness", "contrast", "saturation")
            ),
        ),
        Augmentation(
            "erase",
            "with probability p a rectangle of min to max of the area, width / height from ratio "
            "to 1 / ratio, becomes 0",
            (NamedNumber("p", FRACTION, 0.5), *_rectangle(0.02, 0.33, 0.3)),
        ),
    )
}
"""All augmentations by the word of the language."""


def misfit(position: int, word: str, told: Mapping[str, Any]) -> str:
    """What is wrong with an augmentation whose numbers are right one by one; empty for nothing.

    `position` is its place in the recipe, from 0.
    """
    if told.get("min", 0) > told.get("max", 1):
        return f"'min' of '{word}' is {told['min']}, more than 'max', {told['max']}."
    if word == RESIZED_CROP and position > 0:
        return f"'{word}' must be the first augmentation: it chooses what is read of a picture."
    return ""
