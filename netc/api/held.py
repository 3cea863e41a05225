"""What a session holds of the process that opens it, and gives back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from netc.api.running import RunChoices, choose
from netc.errors import DeviceError, Diagnostic
from netc.ir.program import Bundle
from netc_runtime.choose import BackendChoice
from netc_runtime.launch.mpi import started_ranks

_lock = threading.Lock()
_open = 0
_before: Any = None
"""How many sessions are open; BLAS's threads before the first of them."""


def alone(bundle: Bundle, share_gpus: bool = False) -> BackendChoice:
    """The backend that runs a program in this process.

    Raises DeviceError (E071) where several processes are to run it, and as `choose`.
    """
    choice = choose(bundle, RunChoices(share_gpus=share_gpus))
    devices = bundle.train.mesh.size
    if started_ranks() > 1 or (choice.name == "cuda" and devices > 1 and not share_gpus):
        message = f"{devices} devices have a process each, which 'netc run' starts."
        hint = "from Python one GPU computes: plan with 'share_gpus=True', or use 'netc run'."
        raise DeviceError(Diagnostic("E071", message, help=hint))
    # What stands still is not to end somebody else's process.
    return replace(choice, watched=False)


@contextmanager
def blas_kept() -> Iterator[None]:
    """BLAS has as many threads behind the block as before, and behind all others that overlap it.

    Sessions set them as their programs want it.
    """
    from threadpoolctl import threadpool_limits

    global _open, _before
    with _lock:
        if not _open:
            _before = threadpool_limits(limits=None, user_api="blas")
        _open += 1
    try:
        yield
    finally:
        with _lock:
            _open -= 1
            before: Any = None if _open else _before
        if before is not None:
            before.restore_original_limits()
