"""What processes of their own do in tests."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

from netc.errors import DataError, Diagnostic
from netc_runtime.launch.local import LocalRanks


def echo(*given: Any) -> Generator[Any, Any, None]:
    """What is given, then what is answered; what is printed goes elsewhere."""
    print("said on the way")
    answer = yield given
    while answer is not None:
        answer = yield answer


def refuse() -> Generator[Any, Any, None]:
    yield os.getpid()
    raise DataError(Diagnostic("E061", "it is not there.", help="look elsewhere."))


def fail() -> Generator[Any, Any, None]:
    yield 1 // 0


def lose() -> Generator[Any, Any, None]:
    yield 1
    os.write(2, b"the last words\n")
    os.kill(os.getpid(), signal.SIGKILL)


def mark(file: str) -> Generator[Any, Any, None]:
    """Write a file where it is let go halfway."""
    try:
        yield os.getpid()
        time.sleep(60)
    finally:
        Path(file).write_text("ended")


def together(size: int) -> Generator[Any, Any, None]:
    """The processes that this one starts by its own command, as one a GPU is started."""
    ranks = LocalRanks(size)
    found = ranks.allgather((ranks.rank, os.getpid()))
    yield found
    found = ranks.allgather(ranks.rank * 10)
    yield found
    ranks.close()
