"""Strategy files: one split per layer as TOML, written by the planner, edited by people."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from math import prod
from pathlib import Path
from typing import Any

from netc.errors import ERROR_LIMIT, Diagnostic, Span, SyntaxProblem, clip, did_you_mean
from netc.ir.facts import UPDATES
from netc.ir.plan import Split
from netc.numbers import DEVICES
from netc.text import Toml, Unreadable, line_span, read_toml

VERSION = 1
MESH_AXES = 3
"""How many axes of devices there may be at most."""
_FORMS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "netc_strategy": (
        lambda value: type(value) is int and value == VERSION,
        f"{VERSION}, the version of its format",
    ),
    "devices": (DEVICES.accepts, DEVICES.description),
    "mesh": (
        lambda value: _mesh(value),
        f"devices along one to {MESH_AXES} axes, such as [2, 2]: {DEVICES.description} in all",
    ),
    "scheme": (lambda value: value in ("", "a", "b", "c"), "a, b or c"),
    "fc_update": (lambda value: value in ("step", "round"), "step or round"),
    "updates": (lambda value: value in UPDATES, " or ".join(UPDATES)),
    "recompute": (
        lambda value: isinstance(value, list) and all(type(each) is str for each in value),
        "a list of layers, or patterns of them",
    ),
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
    updates: str | None
    recompute: tuple[str, ...] = ()
    """Layers, by name or pattern, whose values the backward pass computes again."""


def read_strategy(path: Path) -> StrategyFile:
    """Read a strategy file; raises SyntaxProblem with the place of everything wrong in it."""
    try:
        file = read_toml(path)
    except Unreadable as problem:
        message = f"cannot read the strategy file '{path}': {problem.reason}."
        diagnostic = Diagnostic("E042", message, problem.span, help=problem.help)
        raise SyntaxProblem(diagnostic) from None
    problems = list(islice(_problems(file), ERROR_LIMIT))
    if problems:
        raise SyntaxProblem(*problems)
    content = file.content
    mesh = content.get("mesh", [content["devices"]] if "devices" in content else None)
    return StrategyFile(
        tuple((layer, split, file.span("splits", layer))
              for layer, split in content["splits"].items()),
        None if mesh is None else tuple(mesh),
        content.get("scheme"),
        content.get("fc_update"),
        content.get("updates"),
        tuple(content.get("recompute", ())),
    )  # fmt: skip


def _problems(file: Toml) -> Iterator[Diagnostic]:
    for key, value in file.content.items():
        problem = _problem(file.span(key), key, value)
        if problem is not None:
            yield problem
    splits = file.content.get("splits", {})
    for layer, value in splits.items() if isinstance(splits, dict) else ():
        if not isinstance(value, str):
            message = f"the split of '{clip(layer)}' must be text such as \"k\"."
            hint = "a name with dots stands in quotes." if isinstance(value, dict) else ""
            yield Diagnostic("E042", message, file.span("splits", layer), help=hint)
    if not splits:
        message = "no [splits] in the strategy file."
        yield Diagnostic("E042", message, line_span(file.source, 1))
    mesh, devices = file.content.get("mesh", ()), file.content.get("devices")
    if _mesh(mesh) and devices is not None and devices != prod(mesh):
        message = f"'devices' and 'mesh' disagree: {prod(mesh)} devices are on the mesh."
        yield Diagnostic("E042", message, file.span("devices"), help="leave 'devices' out.")


def _problem(span: Span, key: str, value: Any) -> Diagnostic | None:
    """What is wrong with one key of the file."""
    if key not in _FORMS:
        hint = did_you_mean(key, _FORMS) + f"keys are: {', '.join(_FORMS)}."
        return Diagnostic("E042", f"unknown key '{clip(key)}'.", span, help=hint)
    right, words = _FORMS[key]
    return None if right(value) else Diagnostic("E042", f"'{key}' must be {words}.", span)


def _mesh(values: Any) -> bool:
    """Whether these are the devices along one to three axes."""
    if not (isinstance(values, list) and 1 <= len(values) <= MESH_AXES):
        return False
    return all(DEVICES.accepts(value) for value in values) and DEVICES.accepts(prod(values))


def write_strategy(
    path: Path, network: str, mesh: tuple[int, ...], splits: Mapping[str, Split], scheme: str,
    fc_update: str, updates: str, recompute: Sequence[str] = (),
) -> None:  # fmt: skip
    """Write the choices of a plan so that `read_strategy` gives them back."""
    again = ", ".join(f'"{layer}"' for layer in recompute)
    lines = [
        f"# How {network} is split. Splits: n batch, k output channels, c input channels,",
        "# h height, w width, r computed everywhere, @0 on device 0 only.",
        f"netc_strategy = {VERSION}",
        f"mesh = [{', '.join(map(str, mesh))}]",
        f'scheme = "{scheme}"',
        f'fc_update = "{fc_update}"',
        f'updates = "{updates}"',
        *([f"recompute = [{again}]"] if recompute else []),
        "",
        "[splits]",
        *(f'"{layer}" = "{",".join(split)}"' for layer, split in splits.items()),
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
