"""What a training left."""

from __future__ import annotations

from pathlib import Path

from netc_runtime.io.checkpoint import latest


def newest(folder: Path) -> Path:
    """The newest checkpoint in a folder that has one."""
    path = latest(folder)
    assert path is not None, f"there is no checkpoint in '{folder}'"
    return path
