"""Reading files, and the files they include."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from netc.errors import Diagnostic, Source, Span, SyntaxProblem, clip
from netc.syntax import ast
from netc.syntax.lexer import DEPTH_LIMIT
from netc.syntax.parser import parse_source
from netc.syntax.words import misplaced
from netc.text import NotUtf8, Unreadable, read_text


@dataclass(slots=True)
class NetworkFiles:
    """All files of a network."""

    main: ast.File
    blocks: list[ast.Block] = field(default_factory=list)
    """Of the main file and of all included ones."""
    problems: list[Diagnostic] = field(default_factory=list)
    read: set[Path] = field(default_factory=set)
    """The included files, so that each is read once."""


def read_source(path: Path, name: str, span: Span | None) -> Source:
    """Read the file at `path`, shown as `name`; raise `SyntaxProblem` at `span` (E006, E007)."""
    try:
        return Source(name, read_text(path))
    except NotUtf8 as problem:
        message = f"'{clip(name, 80)}' {problem.reason.removeprefix('it ')}."
        raise SyntaxProblem(Diagnostic("E007", message, span, help=problem.help)) from None
    except Unreadable as problem:
        message = f"cannot read '{clip(str(path), 80)}': {problem.reason}."
        raise SyntaxProblem(Diagnostic("E006", message, span)) from None


def read_program(source: Source, path: Path) -> NetworkFiles:
    """Parse `source`, the file at `path`, and all it includes.

    Raise `SyntaxProblem` where the main file cannot be parsed; what is wrong elsewhere is in
    `Program.problems`.
    """
    program = NetworkFiles(parse_source(source))
    _collect(program, program.main, path, ())
    return program


def _collect(
    program: NetworkFiles, file: ast.File, path: Path, including: tuple[Path, ...]
) -> None:
    """Gather the blocks of `file` and of what it includes."""
    for statement in file.statements:
        if isinstance(statement, ast.Block):
            program.blocks.append(statement)
        elif isinstance(statement, ast.Include):
            try:
                _include(program, statement, path, including)
            except SyntaxProblem as problem:
                program.problems += problem.diagnostics
        elif including:
            where = "cannot stand in an included file, which holds blocks only"
            program.problems.append(misplaced(statement, where))


def _include(
    program: NetworkFiles, include: ast.Include, path: Path, including: tuple[Path, ...]
) -> None:
    target = path.parent / include.path
    source = read_source(target, include.path, include.span)
    here, resolved = path.resolve(), target.resolve()
    if resolved in (*including, here) or len(including) > DEPTH_LIMIT:
        names = " includes ".join(f"'{each.name}'" for each in (*including, here, resolved))
        message = f"'{clip(include.path)}' includes itself."
        raise SyntaxProblem(Diagnostic("E009", message, include.span, notes=(names,)))
    if resolved in program.read:
        return
    program.read.add(resolved)
    _collect(program, parse_source(source), target, (*including, here))
