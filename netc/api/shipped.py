"""Files by their paths, or by the names of what netc ships; nothing here needs the compiler."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import netc_models
from netc.errors import Diagnostic, UsageError, did_you_mean


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


def lasting(name: str) -> str:
    """By what a network or a compiled program is found from any folder: the name of a shipped one,
    else its whole path.
    """
    return name if find(name, netc_models, ".net") != Path(name) else str(Path(name).absolute())
