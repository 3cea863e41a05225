"""What a user did wrong: places in a text, diagnostics, and the one renderer.

Mistakes of the user are `NetError`s and carry diagnostics; mistakes of netc itself are asserts.
"""

from __future__ import annotations

import os
import re
import unicodedata
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Literal, TextIO

from netc.spelling import in_python, place_in_python

Severity = Literal["error", "note"]
_Paint = Callable[[str, str], str]

ERROR_LIMIT = 20
"""After so many mistakes the rest is not looked at."""
_COMPARED_WORDS = 1000
_SHOWN_COLUMNS = 100
_SHOWN_TRAIL = 8
_LISTED_WORDS = 20
FEWEST_COLUMNS = 20
"""Narrower lines than these are not made."""
_LABEL = re.compile(r"     = (help: )?|note: |[a-z]+(?: [a-z]+)? {2,}| +")
"""What stands before a text, which goes on below itself."""
_TAB = "    "
_UNSHOWN = ("Cc", "Cs", "Zl", "Zp")
"""Categories of Unicode: controls, halves of characters, ends of lines and of paragraphs."""
_BOLD_RED, _BOLD, _BLUE, _PLAIN = "\x1b[1;31m", "\x1b[1m", "\x1b[34m", "\x1b[0m"


@dataclass(frozen=True)
class Source:
    """A text that was read, and the name it is shown under. Not slotted: it caches a view."""

    name: str
    """What a message calls it, for example `vgg16.net`."""
    text: str
    """The whole text, lines ended by `\\n`."""

    def line(self, number: int) -> str:
        """Return line `number`, counted from 1, without its end."""
        starts = self.line_starts
        end = starts[number] - 1 if number < len(starts) else len(self.text)
        return self.text[starts[number - 1] : end]

    @cached_property
    def line_starts(self) -> Sequence[int]:
        """The offset at which every line starts."""
        return array("q", [0, *(match.end() for match in re.finditer("\n", self.text))])


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of characters of a source, and how the expansion of blocks came to it."""

    source: Source
    """The text."""
    start: int
    """Offset of the first character."""
    end: int
    """Offset after the last character."""
    trail: tuple[str, ...] = ()
    """Notes such as `in block 'stage', called at 11:1`, innermost first."""

    @property
    def line(self) -> int:
        """The line of the first character, counted from 1."""
        return bisect_right(self.source.line_starts, self.start)

    @property
    def column(self) -> int:
        """The column of the first character, counted in characters from 1."""
        return self.start - self.source.line_starts[self.line - 1] + 1

    @property
    def place(self) -> str:
        """Line and column, for example `12:9`."""
        return f"{self.line}:{self.column}"

    @property
    def origin(self) -> str:
        """Source, line and column, for example `vgg16.net:12:9`."""
        return f"{self.source.name}:{self.place}"

    def in_python(self) -> Span:
        """The same, where the text is the value of an option, by the option's word of Python."""
        name = place_in_python(self.source.name)
        return (
            self
            if name == self.source.name
            else replace(self, source=Source(name, self.source.text))
        )


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One thing that is wrong: what, where, why and the remedy."""

    code: str
    """A stable number such as `E012`; the language reference lists them."""
    message: str
    """One sentence, ended by a full stop."""
    span: Span | None = None
    """Where, if there is such a place."""
    label: str = ""
    """A few words shown after the carets."""
    notes: tuple[str, ...] = ()
    """More facts, one a line."""
    help: str = ""
    """The remedy."""
    severity: Severity = "error"
    """`error`, or `note` for what only accompanies one."""

    def in_python(self) -> Diagnostic:
        """The same, where it names options of the command line, in words of Python."""
        message, help = in_python(self.message), in_python(self.help)
        span = None if self.span is None else self.span.in_python()
        notes = tuple(map(in_python, self.notes))
        return replace(self, message=message, span=span, help=help, notes=notes)


class NetError(Exception):
    """The user wrote something wrong. Holds every diagnostic that was collected.

    These are in words of the command line, which renders them; its own text is in those of Python.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, *diagnostics: Diagnostic) -> None:
        """Keep `diagnostics`, in the order in which they are shown."""
        super().__init__(*diagnostics)
        self.diagnostics: tuple[Diagnostic, ...] = diagnostics

    def __str__(self) -> str:
        """Render without colour."""
        return render(each.in_python() for each in self.diagnostics)


class UsageError(NetError):
    """A command was called wrongly."""

    exit_code = 2


class SyntaxProblem(NetError):  # noqa: N818 - both networks and strategy files have syntax
    """A `.net` or strategy file is wrong."""

    exit_code = 3


class PlanError(NetError):
    """The plan is infeasible or does not fit."""

    exit_code = 4


class DataError(NetError):
    """A data set or a file of weights is missing or wrong."""

    exit_code = 5


class DeviceError(NetError):
    """A device or the communication between devices failed."""

    exit_code = 6


def render(
    diagnostics: Iterable[Diagnostic], *, color: bool = False, columns: int | None = None
) -> str:
    """Return `diagnostics` as text for people, a blank line between two.

    With `color`, ANSI escapes mark the severity, the message and the carets; lines are folded to
    so many `columns`.
    """
    paint = _paint if color else _leave
    return "\n\n".join("\n".join(_lines(each, paint, columns)) for each in diagnostics)


def is_live(stream: TextIO) -> bool:
    """Whether `stream` is a terminal that follows codes: for colours, or to move the cursor."""
    return stream.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown")


def wants_color(stream: TextIO) -> bool:
    """Whether text on `stream` is coloured: on terminals, but for NO_COLOR (no-color.org)."""
    return is_live(stream) and not os.environ.get("NO_COLOR")


def columns_of(stream: TextIO) -> int | None:
    """Return how many columns lines on `stream` may have: what COLUMNS says, or the terminal has.

    Return None where neither bounds them: whoever reads a file or a pipe wants all of a line.
    """
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given):
        return max(int(given), FEWEST_COLUMNS)
    try:
        found = os.get_terminal_size(stream.fileno()).columns if stream.isatty() else 0
    except (OSError, ValueError):
        return None
    return max(found, FEWEST_COLUMNS) if found else None


def folded(text: str, columns: int | None, hang: int | None = None) -> str:
    """Return `text` with lines of at most so many columns, parted between words.

    What goes on is indented by `hang`; if it is None, as the text behind a label, such as `note: `
    or `memory    `. A word longer than a line stays whole.
    """
    if columns is None:
        return text
    return "\n".join(_fold(line, columns, hang) for line in text.split("\n"))


def _fold(line: str, columns: int, hang: int | None) -> str:
    if _width(line) <= columns:
        return line
    from textwrap import fill

    label = _LABEL.match(line)
    indent = (label.end() if label else 0) if hang is None else hang
    return fill(
        line, columns, subsequent_indent=" " * min(indent, columns // 2), replace_whitespace=False,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def did_you_mean(
    word: str, known: Iterable[str], elsewhere: Mapping[str, str] | None = None
) -> str:
    """Return `did you mean 'pad'? `, with the space, for the known word that other tools call
    `word` (`elsewhere`), or else the nearest to it. Return nothing where no known word is near.
    """
    known = tuple(known)
    if elsewhere and elsewhere.get(word) in known:
        return f"did you mean '{elsewhere[word]}'? "
    if len(word) > 64:
        return ""
    from difflib import get_close_matches
    from heapq import nsmallest

    # Comparing takes long: of very many words only those of about the same length may be near.
    def far(each: str) -> tuple[int, bool, str]:
        return abs(len(each) - len(word)), each[:1] != word[:1], each

    likely = nsmallest(_COMPARED_WORDS, known, key=far)
    near = get_close_matches(word, sorted(likely), n=1)
    return f"did you mean '{near[0]}'? " if near else ""


def listed(words: Iterable[str]) -> str:
    """Return `words` in alphabetical order, joined by commas; of many only the first."""
    known = sorted(words)
    more = [f"... ({len(known)} in all)"] if len(known) > _LISTED_WORDS else []
    return ", ".join([clip(each) for each in known[:_LISTED_WORDS]] + more)


def clip(text: str, limit: int = 40) -> str:
    """Return `text` fit for a message: printable, and at most `limit` characters."""
    short = text if len(text) <= limit else text[: limit - 3] + "..."
    return _printable(short)


def escaped(text: str) -> str:
    r"""Return `text` on one line, in characters that every encoding of Unicode has.

    A name of the file system may hold anything: its line feeds and escapes become `\n` and `\x1b`,
    its bytes that are no UTF-8 `\xff`.
    """
    return text if text.isprintable() else "".join(map(_escape, text))


def _escape(character: str) -> str:
    if unicodedata.category(character) not in _UNSHOWN:
        return character
    if 0xDC80 <= ord(character) <= 0xDCFF:
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def _lines(diagnostic: Diagnostic, paint: _Paint, columns: int | None) -> Iterator[str]:
    code = f"[{diagnostic.code}]" if diagnostic.code else ""
    heading = f"{diagnostic.severity}{code}"
    message = folded(f"{heading}: {diagnostic.message}", columns, hang=4)
    yield paint(heading, _BOLD_RED) + paint(message[len(heading) :], _BOLD)
    span = diagnostic.span
    if span is not None:
        yield f"  --> {span.origin}"
        yield from _excerpt(span, diagnostic.label, paint, columns)
    trail = _short_trail(span.trail) if span is not None else ()
    help_line = (f"help: {diagnostic.help}",) if diagnostic.help else ()
    for note in (*trail, *diagnostic.notes, *help_line):
        yield folded(f"     = {note}", columns, hang=7)


def _short_trail(trail: tuple[str, ...]) -> tuple[str, ...]:
    if len(trail) <= _SHOWN_TRAIL:
        return trail
    half = _SHOWN_TRAIL // 2
    left_out = f"... {len(trail) - 2 * half} more ..."
    return (*trail[:half], left_out, *trail[-half:])


def _excerpt(span: Span, label: str, paint: _Paint, columns: int | None) -> Iterator[str]:
    line = span.source.line(span.line)
    first = span.column - 1
    last = max(first + 1, min(first + span.end - span.start, len(line)))
    gutter = f"{span.line:4} | "
    room = _SHOWN_COLUMNS if columns is None else columns - len(gutter) - 2 * len("...")
    before, marked, after = _window(line, first, last, max(1, min(room, _SHOWN_COLUMNS)))
    yield paint(gutter, _BLUE) + before + marked + after
    blank = " " * (len(gutter) - 2) + "| "
    carets = "^" * max(1, _width(marked))
    marks = paint(f"{carets} {label}".rstrip(), _BOLD_RED)
    yield paint(blank, _BLUE) + " " * _width(before) + marks


def _window(line: str, first: int, last: int, room: int) -> tuple[str, str, str]:
    """Cut `line` to what is shown: before, within and after the carets."""
    start = max(0, min(first - min(30, room // 2), len(line) - room))
    end = start + room
    before = ("..." if start else "") + line[start:first]
    after = line[last:end] + ("..." if end < len(line) else "")
    return _printable(before), _printable(line[first : min(last, end)]), _printable(after)


def _printable(text: str) -> str:
    """Expand tabs and replace what would move the cursor or colour the terminal."""
    shown = text.replace("\t", _TAB)
    if shown.isprintable():
        return shown
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in shown)


def _width(text: str) -> int:
    """Columns of `text` on a terminal."""
    if text.isascii():
        return len(text)
    return sum(_columns(each) for each in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _paint(text: str, style: str) -> str:
    return f"{style}{text}{_PLAIN}"


def _leave(text: str, style: str) -> str:
    return text
