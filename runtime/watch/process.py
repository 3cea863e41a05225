"""A thread that waits for nothing, and ends a run in which nothing moves."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from weakref import WeakMethod

from netc.errors import DeviceError, Diagnostic, render
from netc_runtime.watch.standstill import stands_still
from netc_runtime.watch.words import Report, StallTimer, WatchedProgram

POLL_SECONDS = 0.2
STALL, STALL_SECONDS = "NETC_STALL_SECONDS", 10.0
"""The environment variable with the seconds after which a standstill ends a run, and the default:
the longest that GPUs may take from one word to the next, or a process may be stopped."""


def stall_seconds() -> float:
    """How long nothing may move.

    Raises DeviceError where the environment says something else than a number of seconds.
    """
    text = os.environ.get(STALL, "")
    with suppress(ValueError):
        seconds = float(text or STALL_SECONDS)
        if seconds > 0:
            return seconds
    message = f"{STALL} is '{text}', no number of seconds above 0."
    raise DeviceError(Diagnostic("E071", message, help="'inf' waits for ever."))


def watch_alone(
    rank: int,
    look: Callable[[], Report],
    programs: Sequence[WatchedProgram],
    end: Callable[[int], None],
    seconds: float,
) -> None:
    """From now on look at what this process is at; say so and `end` it where nothing moves.

    `look` is a method, and its object may go.
    """
    seen, timer = WeakMethod(look), StallTimer(seconds)

    def watch() -> None:
        while (now := seen()) is not None:
            reports = {rank: now()}
            if timer.is_over(reports, POLL_SECONDS):
                say(stands_still(programs, reports, timer.limit(reports)))
                end(DeviceError.exit_code)
                return
            del now
            time.sleep(POLL_SECONDS)

    threading.Thread(target=watch, name="netc-watch", daemon=True).start()


def say(diagnostic: Diagnostic) -> None:
    """Tell why a process ends, past whatever waits in its other threads."""
    say_text(render([diagnostic]))


def say_text(text: str) -> None:
    """Print to the error output, if there is anything to say."""
    if text:
        print(text, file=sys.stderr, flush=True)


def leave(code: int) -> None:
    """End this process, whatever its other threads wait for."""
    sys.stdout.flush()
    os._exit(code)


def is_stopped(process: int) -> bool:
    """Whether the system has stopped a process, as by SIGSTOP; False where it does not say."""
    with suppress(OSError):
        return process_state(process)[0] == "T"
    return False


def process_state(process: int) -> tuple[str, int]:
    """The state of a process, a letter, and the process that started it.

    Raises OSError where there is none, or the system does not say.
    """
    facts = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    state, parent = facts.rpartition(")")[2].split()[:2]
    return state, int(parent)
