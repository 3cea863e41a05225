"""Pieces of work that other processes do, which are this Python and end with it.

A helper gets pieces by its standard input, one after the other, and answers each with a byte.
"""

import os
import pickle
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, TypeVar

Piece = TypeVar("Piece")


def hand_out(
    code: str, todo: deque[Piece], done: list[Piece], env: Mapping[str, str] | None = None
) -> None:
    """Start a helper that runs a line of Python, and have it do the last pieces of `todo` until
    none is left. It gives back what it has not done, where it dies or cannot start.

    What goes through `helped` there is what it is asked for.
    """
    asked: list[Piece] = []
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
    with (
        suppress(OSError, EOFError, IndexError),
        subprocess.Popen(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": paths, **(env or {})},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        ) as helper,
    ):  # fmt: skip
        assert helper.stdin is not None and helper.stdout is not None
        while helper.stdout.read(1):
            done += asked
            asked = []
            asked = [todo.pop()]
            pickle.dump(asked[0], helper.stdin)
            helper.stdin.flush()
    todo.extend(asked)


def helped() -> Iterator[Any]:
    """In a helper: the pieces that it is asked for, until there is none; a byte says that one is
    done, or that there may be a first one.
    """
    # whoever asks ends this process
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        sys.stdout.buffer.write(b".")
        sys.stdout.buffer.flush()
        try:
            yield pickle.load(sys.stdin.buffer)
        except EOFError:
            return
