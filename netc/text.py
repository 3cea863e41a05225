"""Text files that people write: one reader for all of them, and TOML with its places."""

from __future__ import annotations

import json
import math
import os
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from netc.errors import Source, Span, clip

FILE_LIMIT_BYTES = 2**24
"""How long a file may be."""
_TABLE = re.compile(r"[ \t]*\[[ \t]*([\w.\"'-]+)[ \t]*\]")
_KEY = re.compile(r"[ \t]*(?:\"([^\"]*)\"|'([^']*)'|([\w-]+))[ \t]*[=.]")


class Unreadable(Exception):  # noqa: N818 - a reason, which the caller makes a diagnostic of
    """A file that is not there, is no regular file, is too long, or no text of its kind."""

    def __init__(self, reason: str, span: Span | None = None, help: str = "") -> None:
        """Keep the reason, in words after `cannot read 'x': `, the place in it, and the remedy."""
        super().__init__(reason)
        self.reason, self.span, self.help = reason, span, help


class NotUtf8(Unreadable):
    """A file in another encoding."""


def read_text(path: Path, limit: int = FILE_LIMIT_BYTES) -> str:
    """Return the text of the file at `path`, all lines ended alike, without a byte order mark.

    Raise `Unreadable`, also for what is no regular file: reading a pipe could wait for ever.
    """
    data = read_bytes(path, limit)
    try:
        return normalized(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        where = f"byte {error.start}, on line {line}, is 0x{data[error.start]:02x}"
        remedy = "save the file in the encoding UTF-8."
        raise NotUtf8(f"it is not UTF-8: {where}", help=remedy) from None


def read_bytes(path: Path, limit: int = FILE_LIMIT_BYTES) -> bytes:
    """Return what is in the regular file at `path`, at most `limit` bytes; raise `Unreadable`."""
    try:
        with open(path, "rb", opener=_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise Unreadable("it is no regular file")
            data = file.read(limit + 1)
    except (OSError, ValueError) as error:
        raise Unreadable(getattr(error, "strerror", None) or "not a path") from None
    if len(data) > limit:
        raise Unreadable(f"it is longer than {limit >> 20} MiB")
    return data


def _at_once(path: str, flags: int) -> int:
    """Open without waiting for somebody who writes into a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def normalized(text: str) -> str:
    """Drop a byte order mark, and end all lines alike."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def json_text(value: Any, indent: int | None = None, compact: bool = False) -> str:
    """Return `value` as strict JSON, which has no numbers that are not finite: they are null."""
    separators = (",", ":") if compact else None
    return json.dumps(_finite(value), allow_nan=False, indent=indent, separators=separators)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list | tuple) else value


def shown_name(path: Path) -> str:
    """Return the name of a file as messages and compiled programs give it: always valid text."""
    return path.name.encode("utf-8", "backslashreplace").decode()


@dataclass(frozen=True)
class Toml:
    """A TOML file. Not slotted: it caches a view."""

    source: Source
    content: Mapping[str, Any]
    """What it says."""

    def span(self, *keys: str) -> Span:
        """Return the line that sets the key `keys[-1]` of the tables before it, else the first."""
        return line_span(self.source, self._lines.get(keys, 1))

    @cached_property
    def _lines(self) -> Mapping[tuple[str, ...], int]:
        """Where each key, and each table, is first written."""
        return dict(reversed(list(_keys(self.source.text))))


def read_toml(path: Path) -> Toml:
    """Read the TOML file at `path`; raise `Unreadable`, with a place where there is one."""
    source = Source(shown_name(path), read_text(path))
    try:
        return Toml(source, tomllib.loads(source.text))
    except RecursionError:
        raise Unreadable("it nests too deeply") from None
    except ValueError as error:
        line = re.search(r"line (\d+)", str(error))
        where = line_span(source, int(line[1]) if line else source.text.count("\n") + 1)
        raise Unreadable(f"not valid TOML: {clip(str(error), 200)}", where) from None


def _keys(text: str) -> Iterator[tuple[tuple[str, ...], int]]:
    """Yield every key that begins a line, with its table before it, and the number of the line."""
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.split("\n"), 1):
        if header := _TABLE.match(line):
            table = tuple(part.strip("\"'") for part in header[1].split("."))
            yield from ((table[:depth], number) for depth in range(1, len(table) + 1))
        elif key := _KEY.match(line):
            yield (*table, next(part for part in key.groups() if part is not None)), number


def line_span(source: Source, number: int) -> Span:
    """Return line `number` of `source`, or its end where it has fewer."""
    if number > len(source.line_starts):
        return Span(source, len(source.text), len(source.text))
    start = source.line_starts[number - 1]
    return Span(source, start, start + max(len(source.line(number)), 1))
