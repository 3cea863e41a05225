"""Strategy files: one split per layer as TOML, written by the planner, edited by people."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netc.errors import Diagnostic, Source, Span, SyntaxProblem, did_you_mean
from netc.ir.plan import Split

VERSION = 1
_FORMS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "netc_strategy": (lambda value: value == VERSION, f"{VERSION}, the version of its format"),
    "devices": (lambda value: _counts([value]), "a number of devices"),
    "mesh": (lambda value: _counts(value), "devices along each axis, such as [2, 2]"),
    "scheme": (lambda value: value in ("", "a", "b", "c"), "a, b or c"),
    "fc_update": (lambda value: value in ("step", "round"), "step or round"),
    "splits": (lambda value: isinstance(value, dict), "a table: write [splits]"),
}
"""For every key what its value must be: a test, and the words for it."""


@dataclass(frozen=True, slots=True)
class StrategyFile:
    """The contents of a strategy file."""

    splits: tuple[tuple[str, str, Span], ...]
    """Layer name or pattern, split, and where that stands, in file order."""
    mesh: tuple[int, ...] | None
    """Devices along each axis, where the file says so."""
    scheme: str | None
    fc_update: str | None


def read_strategy(path: Path) -> StrategyFile:
    """Read a strategy file; raises SyntaxProblem with the place of everything wrong in it."""
    try:
        source = Source(path.name, path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        problem = f"cannot read the strategy file '{path}': {_reason(error)}."
        raise SyntaxProblem(Diagnostic("E042", problem)) from None
    try:
        content = tomllib.loads(source.text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        where = _line_span(source, int(line[1]) if line else source.text.count("\n") + 1)
        raise SyntaxProblem(Diagnostic("E042", f"not valid TOML: {error}.", where)) from None
    return _checked(source, content)


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return error.strerror or "" if isinstance(error, OSError) else "it is not UTF-8 text"


def _line_span(source: Source, line: int) -> Span:
    lines = source.text.splitlines(keepends=True)
    start = sum(map(len, lines[: line - 1]))
    text = lines[line - 1].rstrip("\n") if line <= len(lines) else ""
    return Span(source, start, start + max(len(text), 1))


def _key_span(source: Source, key: str) -> Span:
    """The line that sets `key`."""
    found = re.search(rf"^\s*[\"']?{re.escape(key)}[\"']?\s*=", source.text, re.MULTILINE)
    line = source.text.count("\n", 0, found.end()) + 1 if found else 1
    return _line_span(source, line)


def _checked(source: Source, content: Mapping[str, Any]) -> StrategyFile:
    problems = [p for key, value in content.items() if (p := _problem(source, key, value))]
    splits = content.get("splits", {})
    for layer, value in splits.items() if isinstance(splits, dict) else ():
        if not isinstance(value, str):
            message = f"the split of '{layer}' must be text such as \"k\"."
            problems.append(Diagnostic("E042", message, _key_span(source, layer)))
    if not splits:
        message = "no [splits] in the strategy file."
        problems.append(Diagnostic("E042", message, _line_span(source, 1)))
    if problems:
        raise SyntaxProblem(*problems)
    mesh = content.get("mesh", [content["devices"]] if "devices" in content else None)
    return StrategyFile(
        tuple((layer, value, _key_span(source, layer)) for layer, value in splits.items()),
        None if mesh is None else tuple(mesh),
        content.get("scheme"),
        content.get("fc_update"),
    )


def _problem(source: Source, key: str, value: Any) -> Diagnostic | None:
    """What is wrong with one key of the file."""
    if key not in _FORMS:
        hint = did_you_mean(key, _FORMS) + f"keys are: {', '.join(_FORMS)}."
        return Diagnostic("E042", f"unknown key '{key}'.", _key_span(source, key), help=hint)
    right, words = _FORMS[key]
    if right(value):
        return None
    return Diagnostic("E042", f"'{key}' must be {words}.", _key_span(source, key))


def _counts(values: Any) -> bool:
    """Whether these are one or more positive integers."""
    some = isinstance(values, list) and len(values) > 0
    return some and all(type(value) is int and value > 0 for value in values)


def write_strategy(
    path: Path, network: str, mesh: tuple[int, ...], splits: Mapping[str, Split], scheme: str,
    fc_update: str,
) -> None:  # fmt: skip
    """Write the choices of a plan so that `read_strategy` gives them back."""
    lines = [
        f"# How {network} is split. Splits: n batch, k output channels, c input channels,",
        "# h height, w width, r computed everywhere, @0 on device 0 only.",
        f"netc_strategy = {VERSION}",
        f"mesh = [{', '.join(map(str, mesh))}]",
        f'scheme = "{scheme}"',
        f'fc_update = "{fc_update}"',
        "",
        "[splits]",
        *(f'"{layer}" = "{",".join(split)}"' for layer, split in splits.items()),
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
