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


def placed(bundle: Bundle, share_gpus: bool = False) -> BackendChoice:
    """The backend that runs a program, in this process or in several, as `several` says.

    Raises DeviceError (E071) in one of several processes that mpiexec started, and as `choose`.
    """
    choice = choose(bundle, RunChoices(share_gpus=share_gpus))
    check_one_process()
    return choice


def check_one_process() -> None:
    """Raise DeviceError (E071) in one of several processes that mpiexec started."""
    if started_ranks() > 1:
        message = f"this is one of {started_ranks()} processes that mpiexec started."
        hint = "'mpiexec -n N netc run' runs a program in them; start one process for all else."
        raise DeviceError(Diagnostic("E071", message, help=hint))


def several(bundle: Bundle, choice: BackendChoice) -> bool:
    """Whether each device has a process of its own: several GPUs do."""
    return choice.name == "cuda" and bundle.train.mesh.size > 1 and not choice.share_gpus


def alone(bundle: Bundle, share_gpus: bool = False) -> BackendChoice:
    """The backend that runs a program in this process.

    Raises DeviceError (E071) where several processes are to run it, and as `placed`.
    """
    choice = placed(bundle, share_gpus)
    if several(bundle, choice):
        devices = bundle.train.mesh.size
        message = f"{devices} GPUs have a process each, and a session is of this one alone."
        hint = (
            "plan with 'share_gpus=True' to have all devices on one GPU, or let 'run' and 'train' "
            "start the processes."
        )
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
