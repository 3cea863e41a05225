"""Whether files can be written, before anything is computed."""

from __future__ import annotations

import os
from pathlib import Path

from netc.errors import Diagnostic, UsageError, escaped


def check_writable(path: Path) -> None:
    """Raise UsageError (E056) where a file cannot be written: a folder is missing or refuses it."""
    if (why := _refused(path)) is not None:
        message = f"cannot write '{escaped(str(path))}': {escaped(why)}."
        raise UsageError(Diagnostic("E056", message, help="name a file in a folder that exists and "
                                    "can be written to."))  # fmt: skip


def _refused(path: Path) -> str | None:
    """Why a file cannot be written; None where nothing speaks against it."""
    folder = path.parent
    if path.is_dir():
        return "it is a folder"
    if not folder.is_dir():
        return f"there is no folder '{folder}'"
    if path.exists():
        return None if os.access(path, os.W_OK) else "the file that is there is read-only"
    return None if os.access(folder, os.W_OK | os.X_OK) else f"the folder '{folder}' is read-only"
