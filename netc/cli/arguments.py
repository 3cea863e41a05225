"""Options and arguments, checked where they are read."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable
from typing import NoReturn

from netc.errors import Diagnostic, UsageError, clip
from netc.numbers import COUNT, DEVICES, MEASURE, NATURAL, NON_NEGATIVE, Number

_NAME_BYTES, _PATH_BYTES = 255, 4095


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are diagnostics."""

    words: Callable[[], str] | None = None
    """Makes what stands behind the help, once that is asked for."""

    def format_help(self) -> str:
        """The help, with its lists of words."""
        return super().format_help() + (self.words() if self.words else "")

    def error(self, message: str) -> NoReturn:
        """Raise UsageError (E051)."""
        hint = f"'{self.prog} --help' lists what there is."
        said = clip(message.removeprefix("argument "), 400)
        raise UsageError(Diagnostic("E051", f"{said}.", help=hint))


def _of(kind: Number) -> Callable[[str], int | float]:
    """Read a number of that kind."""

    def read(text: str) -> int | float:
        try:
            return kind.read(text)
        except ValueError:
            raise _wrong(kind.description, text) from None

    return read


def _wrong(description: str, text: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f"must be {description}, not '{clip(text)}'")


count, natural, non_negative, devices = map(_of, (COUNT, NATURAL, NON_NEGATIVE, DEVICES))


AUTO_BATCH = "auto"
"""In place of a batch: the largest that fits."""
_MEMORY = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGT]i?)B?", re.IGNORECASE)


def batch(text: str) -> int | float | str:
    """Return a number of images, or `AUTO_BATCH`."""
    return text if text == AUTO_BATCH else count(text)


def memory(text: str) -> float:
    """Return bytes: 16GiB, 16GB, 512MiB."""
    found = _MEMORY.fullmatch(text.strip())
    if found is None or not MEASURE.accepts(float(found[1])):
        raise _wrong("a size such as 16GiB or 500MB", text)
    unit = found[2].lower()
    base = 1024 if unit.endswith("i") else 1000
    power = "kmgt".index(unit[0]) + 1
    return float(found[1]) * float(base) ** power


def file_name(text: str) -> str:
    """Return what can be the name of a file."""
    encoded = os.fsencode(text)
    longest = max(map(len, encoded.split(os.fsencode(os.sep))))
    if not 0 < len(encoded) <= _PATH_BYTES or longest > _NAME_BYTES or b"\0" in encoded:
        limits = f"{_PATH_BYTES:,} bytes at most, {_NAME_BYTES} between slashes"
        raise _wrong(f"a path: not empty, {limits}", text)
    return text


def file_name_or_none(text: str) -> str:
    """Return a name, or the empty text for none."""
    return text and file_name(text)
