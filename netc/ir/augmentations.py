"""Augmentations: random changes of training images.

Each is declared once, in `AUGMENTATIONS`: the language, `--help` and tests follow. What it does to
images is in `netc_runtime.train.augment`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netc.numbers import FACTOR, FRACTION, NamedNumber, Number

_FARTHEST = 1 << 16
"""Pixels; no picture is wider, and half a word divided by so few choices favours none of them."""
_PIXELS = Number(
    f"a whole number, 1 to {_FARTHEST:,}", True, lambda value: 1 <= value <= _FARTHEST
)  # fmt: skip
_ALPHA = Number("a number from 0.01 to 100", False, lambda value: 0.01 <= value <= 100)
_RATIO = Number("a number from 0.01 to 1", False, lambda value: 0.01 <= value <= 1)


@dataclass(frozen=True, slots=True)
class Augmentation:
    """One random change of training images."""

    word: str
    about: str
    """What it does, for lists."""
    arguments: tuple[NamedNumber, ...] = ()
    mixes: bool = False
    """Whether it mixes an image with another one, so that both labels count."""

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
        Augmentation(
            "mixup",
            "with probability p a share s of it and 1 - s of another training image, s from the "
            "distribution Beta(alpha, alpha); both labels count, by their shares",
            (NamedNumber("alpha", _ALPHA, 0.2), NamedNumber("p", FRACTION, 1.0)),
            mixes=True,
        ),
        Augmentation(
            "cutmix",
            "with probability p a rectangle of another training image lies over it, 1 - s of the "
            "area, s from Beta(alpha, alpha), less what the border cuts off; both labels count, "
            "by what is seen",
            (NamedNumber("alpha", _ALPHA, 1.0), NamedNumber("p", FRACTION, 1.0)),
            mixes=True,
        ),
    )
}
"""All augmentations by the word of the language."""


def mixes(words: Iterable[str]) -> bool:
    """Whether any of a recipe's augmentations mixes images."""
    return any(word in AUGMENTATIONS and AUGMENTATIONS[word].mixes for word in words)


def misfit(before: Sequence[str], word: str, told: Mapping[str, Any]) -> str:
    """What is wrong with an augmentation whose numbers are right one by one; empty for nothing.

    `before` are the words of those that the recipe has before it.
    """
    if told.get("min", 0) > told.get("max", 1):
        return f"'min' of '{word}' is {told['min']}, more than 'max', {told['max']}."
    if word == RESIZED_CROP and before:
        return f"'{word}' must be the first augmentation: it chooses what is read of a picture."
    if word in before and AUGMENTATIONS[word].mixes:
        return f"'{word}' is there twice: an image is mixed once."
    if mixes(before) and not AUGMENTATIONS[word].mixes:
        return f"'{word}' must be before '{before[-1]}': images are mixed when all else is done."
    return ""
