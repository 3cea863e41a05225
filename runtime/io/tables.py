"""Tables of what was measured on this machine, kept in files that many processes change."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from netc_kernels.files import write_whole

VERSION = 1
PATIENCE_SECONDS = 10.0
"""Somebody else changes a table in milliseconds."""
NO_TABLE = (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError)
"""What reading a text raises that nobody wrote."""


def table_path() -> Path:
    """Where measured times are kept: `$NETC_CACHE`, or the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("NETC_CACHE") or Path(home) / "netc") / "kernels.json"


def kept(path: Path, of: str) -> dict[str, Any]:
    """What a table has of a machine; nothing where there is no such table."""
    return _machines(path).get(of, {})


def keep(path: Path, of: str, found: Mapping[str, Any]) -> None:
    """Add what was measured on a machine to a table; the file is replaced whole.

    What other processes add at the same time stays. Raises OSError where it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone(path):
        machines = _machines(path)
        machines[of] = {**machines.get(of, {}), **found}
        text = json.dumps({"version": VERSION, "machines": machines}, indent=1, sort_keys=True)
        write_whole(path, f"{text}\n".encode())


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep others from changing a table meanwhile.

    Who cannot, or waits too long, goes on without: at worst something is measured again.
    """
    with ExitStack() as stack:
        with suppress(ImportError, OSError):
            import fcntl  # Windows has none

            file = stack.enter_context(path.with_suffix(".lock").open("ab"))
            end = time.monotonic() + PATIENCE_SECONDS
            while time.monotonic() < end:
                with suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                time.sleep(0.005)
        yield


def _machines(path: Path) -> dict[str, dict[str, Any]]:
    """What a table has of each machine; nothing of one that is damaged or of another version."""
    with suppress(OSError, *NO_TABLE):
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["version"] == VERSION:
            return {of: dict(entries) for of, entries in found["machines"].items()}
    return {}
