"""Files of compiled programs, as far as their first bytes tell; nothing here needs the compiler."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from netc.errors import Diagnostic, clip

BUNDLE_HEAD = "netc bundle "
HEAD_BYTES = 2**16
"""Where the facts of a compiled program stand."""


def _fact(name: str) -> re.Pattern[str]:
    return re.compile(rf"^fact {name} (.+)$", re.M)


def is_compiled(path: Path) -> bool:
    """Whether the file is a compiled program, or begins as one."""
    return _head(path, len(BUNDLE_HEAD)) == BUNDLE_HEAD.encode()


def _head(path: Path, size: int) -> bytes:
    """The first bytes of a file; none of what is no regular file, or cannot be read."""
    with contextlib.suppress(OSError, ValueError):
        if path.is_file():
            with path.open("rb") as file:
                return file.read(size)
    return b""


def fixed_problem(option: str, was: object = None) -> Diagnostic:
    """Say that an option cannot change what was fixed when a program was compiled."""
    with_ = "" if was is None else f": it was compiled with {was}"
    message = f"'{option}' cannot change a compiled program{with_}."
    return Diagnostic("E057", message, help="compile the network again.")


def no_network(path: Path, verb: str) -> Diagnostic:
    """Say what a compiled program is, and what to do with it."""
    text = _head(path, HEAD_BYTES).decode("utf-8", "replace")
    facts = {name: _fact(name).search(text) for name in ("network", "strategy", "batch", "mesh")}
    known = {name: clip(found[1].strip('"[]')) for name, found in facts.items() if found}
    parts = [known["network"]] if "network" in known else []
    parts += [f"devices {known['mesh'].replace(',', 'x')}"] if "mesh" in known else []
    parts += [f"{name} {known[name]}" for name in ("strategy", "batch") if name in known]
    what = f" ({', '.join(parts)})" if parts else ""
    message = f"'{clip(str(path), 80)}' is a compiled program{what}, and no network."
    hint = (
        f"'netc run {clip(str(path), 80)}' runs it; so do 'eval', 'predict' and 'profile'. Give "
        f"'{verb}' the network that it was compiled from."
    )
    return Diagnostic("E057", message, help=hint)
