"""What goes wrong on a GPU, in a user's words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from netc.errors import DeviceError, Diagnostic, NetError


@contextmanager
def explained(what: str) -> Iterator[None]:
    """What CUDA, its libraries and the driver say, as the device's error."""
    try:
        yield
    except NetError:
        raise
    except Exception as error:
        message = f"a program cannot be {what} on the GPU: {type(error).__name__}: {error}."
        hint = "'--no-graph' issues a step bit by bit, which shows where it fails."
        raise DeviceError(Diagnostic("E070", message, help=hint)) from error
