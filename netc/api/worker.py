"""A process that works for another one: `python -m netc.api.worker FILE`, by `netc.api.apart`.

The file says what to do. What that yields goes to standard output, and what is sent back comes from
standard input. It may start others by its own command, one a GPU, which do the same and are silent.
"""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from pathlib import Path
from typing import Any, BinaryIO

from netc.errors import NetError

VALUE, REFUSED, BROKEN, ENDED = "value", "refused", "broken", "ended"
"""What comes: a value; a NetError; the text of another error, our mistake; nothing more."""
_LENGTH = 8
"""Bytes that say how long a message is."""


def send(stream: BinaryIO, value: object) -> None:
    """Send a value; raises OSError where nobody takes it."""
    data = pickle.dumps(value)
    stream.write(len(data).to_bytes(_LENGTH, "little") + data)
    stream.flush()


def receive(stream: BinaryIO) -> Any:
    """The next value; raises EOFError where none comes any more."""
    length = int.from_bytes(_exactly(stream, _LENGTH), "little")
    return pickle.loads(_exactly(stream, length))


def _exactly(stream: BinaryIO, length: int) -> bytes:
    data = stream.read(length)
    if len(data) < length:
        raise EOFError
    return data


def main(file: str) -> None:
    """Do what the file says."""
    work, given = pickle.loads(Path(file).read_bytes())
    # Imported here: who only sends and receives needs nothing that runs.
    from netc_runtime.choose import is_first

    out = _output() if is_first() else None
    try:
        ended = _talk(work(*given), out)
    except NetError as error:
        ended = REFUSED, error
    except Exception:
        ended = BROKEN, traceback.format_exc()
    if out is not None and ended is not None:
        send(out, ended)


def _talk(values: Any, out: BinaryIO | None) -> tuple[str, Any] | None:
    """Send what comes, and send back what that is answered; None where nobody listens any more."""
    answer = None
    while True:
        try:
            value = values.send(answer)
        except StopIteration:
            return ENDED, None
        if out is not None:
            try:
                send(out, (VALUE, value))
                answer = receive(sys.stdin.buffer)
            except (OSError, EOFError):
                values.close()
                return None


def _output() -> BinaryIO:
    """Standard output, which from now on is this module's alone: what is printed is an error's."""
    own = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return os.fdopen(own, "wb")


if __name__ == "__main__":
    main(sys.argv[1])
