"""`netc fmt`: networks in the canonical layout."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from pathlib import Path
from uuid import uuid4

from netc.api.compiled import is_compiled, no_network
from netc.cli.output import json_line, say
from netc.errors import Diagnostic, NetError, Source, SyntaxProblem, UsageError, escaped
from netc.syntax.files import read_source
from netc.syntax.formatter import format_source
from netc.text import FILE_LIMIT_BYTES, normalized, read_bytes, shown_name

STDIN = "-"
EXIT_WOULD_CHANGE = 1


def run(options: argparse.Namespace) -> int:
    """Lay out every file that is right; then say what is wrong with the others."""
    if STDIN in options.files:
        return _stdin(options)
    problems: list[NetError] = []
    changed = []
    for name in options.files:
        try:
            changed += [name] if _file(Path(name), options) else []
        except NetError as problem:
            problems.append(problem)
    if options.json:
        json_line(event="result", files=len(options.files), changed=changed)
    if problems:
        raise type(problems[0])(*(d for each in problems for d in each.diagnostics))
    return EXIT_WOULD_CHANGE if changed and options.check else 0


def _file(path: Path, options: argparse.Namespace) -> bool:
    """Lay out a file, or only say that it would change; whether it does."""
    if is_compiled(path):
        raise UsageError(no_network(path, "fmt"))
    text = format_source(read_source(path, shown_name(path), None))
    if text.encode() == read_bytes(path):
        return False
    if not options.check:
        _write(path, text)
    if not options.json:
        say(
            f"would change {escaped(str(path))}" if options.check else f"wrote {escaped(str(path))}"
        )
    return True


def _stdin(options: argparse.Namespace) -> int:
    """Print what is on standard input, or only say whether it would change."""
    if options.files != [STDIN] or options.json:
        message = "'-' reads standard input and prints it: it stands alone, and without '--json'."
        raise UsageError(Diagnostic("E051", message))
    data = sys.stdin.buffer.read(FILE_LIMIT_BYTES + 1)
    source = Source("standard input", _decoded(data))
    text = format_source(source)
    if not options.check:
        print(text, end="")
    elif text.encode() != data:
        say("would change standard input")
        return EXIT_WOULD_CHANGE
    return 0


def _decoded(data: bytes) -> str:
    """Text of standard input; raise SyntaxProblem as for files (E006, E007)."""
    if len(data) > FILE_LIMIT_BYTES:
        message = f"standard input is longer than {FILE_LIMIT_BYTES >> 20} MiB."
        raise SyntaxProblem(Diagnostic("E006", message))
    try:
        return normalized(data.decode())
    except UnicodeDecodeError as error:
        message = f"standard input is not UTF-8: byte {error.start} is 0x{data[error.start]:02x}."
        raise SyntaxProblem(Diagnostic("E007", message)) from None


def _write(path: Path, text: str) -> None:
    """Write whole or not at all, with the file's permissions; of a link, what it points to."""
    path = path.resolve()
    temporary = path.with_name(f".{uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            os.fchmod(file.fileno(), path.stat().st_mode & 0o7777)
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            message = f"cannot write '{escaped(str(path))}': {error.strerror}."
            raise UsageError(Diagnostic("E054", message)) from None
        raise
