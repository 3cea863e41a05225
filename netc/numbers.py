"""The kinds of numbers that people give, in networks, files and options: one rule for each."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeGuard

LARGEST = 2**63 - 1
"""The largest whole number."""
LARGEST_SIZE = 2**31 - 1
"""The largest whole number in a layer."""
LARGEST_REAL = 1e30
"""The largest number in networks: float32 holds it, and what is made of it."""
MOST_DEVICES = 1024
"""How many devices a program may be for."""
_MOST_DIGITS = 40

_WHOLE = re.compile(r"[+-]?[0-9]+")
_REAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Number:
    """A kind of number: which are of it, in words and as a test."""

    description: str
    """In words, after `must be`."""
    whole: bool
    """Whether only whole numbers are of it; else whole ones are as good as others."""
    _within: Callable[[float], bool]

    def accepts(self, value: object) -> TypeGuard[int | float]:
        """Whether `value` is a number of this kind; true and false are no numbers."""
        if isinstance(value, bool) or not isinstance(value, int if self.whole else int | float):
            return False
        within = abs(value) <= LARGEST if isinstance(value, int) else math.isfinite(value)
        return within and self._within(value)

    def read(self, text: str) -> int | float:
        """Return the number that `text` is; raise `ValueError` where it is none of this kind."""
        value: int | float
        if _WHOLE.fullmatch(text) and len(text) <= _MOST_DIGITS:
            value = int(text)
        elif _REAL.fullmatch(text) and not text.lstrip("+-").isdecimal():
            value = float(text)
        else:
            raise ValueError(text)
        if not self.accepts(value):
            raise ValueError(text)
        return value if self.whole else float(value)


COUNT = Number("a whole number, 1 or more", True, lambda value: value >= 1)
NATURAL = Number("a whole number, 0 or more", True, lambda value: value >= 0)
DEVICES = Number(
    f"a whole number, 1 to {MOST_DEVICES:,}", True, lambda value: 1 <= value <= MOST_DEVICES
)
REAL = Number("a number", False, lambda value: True)
NON_NEGATIVE = Number("a number, 0 or more", False, lambda value: value >= 0)
POSITIVE = Number("a number above 0", False, lambda value: value > 0)
BELOW_ONE = Number("a number from 0 to below 1", False, lambda value: 0 <= value < 1)
FRACTION = Number("a number from 0 to 1", False, lambda value: 0 <= value <= 1)
FACTOR = Number("a number above 0, at most 1", False, lambda value: 0 < value <= 1)
DISTANCE = Number("a number of epochs above 0, such as 30ep", False, lambda value: value > 0)
RATE_FACTOR = Number("a number from 1e-6 to 1e6", False, lambda value: 1e-6 <= value <= 1e6)
DURATION = Number("a number of epochs, 0 or more, such as 5ep", False, lambda value: value >= 0)
MEASURE = Number("a number from 1e-15 to 1e24", False, lambda value: 1e-15 <= value <= 1e24)
"""What a machine does in a second, or holds, or how long it takes."""


@dataclass(frozen=True, slots=True)
class NamedNumber:
    """A number that is given by name."""

    name: str
    kind: Number
    default: float | None = None
    """None where it must be given."""


def loss_text(loss: float) -> str:
    """A loss: with four decimals, and as 1.264e+16 where it is very large or small."""
    return f"{loss:.4f}" if not loss or 1e-3 <= abs(loss) < 1e5 else f"{loss:.4g}"


def prefixed(number: float, unit: str) -> str:
    """A figure with four digits and a decimal prefix: "15.47 GFLOP", "14.2 MB"."""
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= factor:
            return f"{number / factor:.4g} {prefix}{unit}"
    return f"{number:.4g} {unit}"


def memory_text(nbytes: float) -> str:
    """Bytes in messages: "5.004 GB", "97.7 kB"."""
    return prefixed(nbytes, "B")
