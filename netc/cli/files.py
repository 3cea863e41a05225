"""What the command line says of files: networks, shipped ones too, and outputs.

Verbs that only read a network import this module alone, which needs nothing that runs one.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import netc_models
from netc.cli.compiled import is_compiled, no_network
from netc.errors import Diagnostic, UsageError, clip, did_you_mean
from netc.syntax import Network, parse_file


def load_network(options: argparse.Namespace) -> Network:
    """The network that the command names, with its -D parameters.

    Raise UsageError (E057) where it is a compiled program.
    """
    path = find(options.network, netc_models, ".net")
    if is_compiled(path):
        raise UsageError(no_network(path, options.verb))
    return parse_file(path, defines(options.define))


def find(name: str, package: Any, suffix: str) -> Path:
    """A path as it is, or the file of that name that netc ships."""
    path = Path(name)
    folder = Path(package.__file__).parent
    shipped = folder / f"{name}{suffix}"
    is_name = not path.suffix and len(path.parts) == 1
    # A folder is no network: it does not hide one, but is named where there is none.
    if is_name and shipped.exists() and (path.is_dir() or not path.exists()):
        return shipped
    if path.exists() or not is_name:
        return path
    known = sorted(p.stem for p in folder.glob(f"*{suffix}"))
    message = f"there is no file '{name}', and netc ships nothing of that name."
    hint = did_you_mean(name, known) + f"shipped are: {', '.join(known)}."
    raise UsageError(Diagnostic("E051", message, help=hint))


def defines(items: list[str]) -> dict[str, str]:
    """-D NAME=VALUE, as a mapping."""
    found = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals or not name:
            message = f"'-D {clip(item)}' is not of the form NAME=VALUE."
            raise UsageError(Diagnostic("E051", message))
        found[name] = value
    return found
