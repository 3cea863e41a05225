"""Plans of cuDNN's made ready by several processes, before they are wanted."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from netc_kernels.cuda.conv.ready import Place, Vendor, WantedPlan
from netc_kernels.cuda.conv.vendor import UnsupportedError
from netc_kernels.helpers import hand_out, helped

FEW = 4
"""Plans for which a further process does not pay: it takes a second to start."""
MOST_HELPERS = 8
HELPER_BYTES = 2**30
"""Of the GPU's memory that a process takes for itself, and more."""
LOOKS_SECONDS = 0.25


def helpers_for(plans: int, cores: int, free_bytes: int) -> int:
    """How many processes make so many plans, of those that cores and the GPU have room for."""
    return max(min(cores, plans // FEW, MOST_HELPERS, free_bytes // HELPER_BYTES), 0)


def make_plans(
    wanted: Sequence[WantedPlan],
    place: Place,
    device: int,
    helpers: int,
    counted: Callable[[int], None],
) -> None:
    """Have so many processes make plans on a GPU and keep them in a place; `counted` hears how many
    are made. What they do not keep is made where it is wanted.
    """
    todo, done = deque((place, each) for each in wanted), list[tuple[Place, WantedPlan]]()
    code = f"from netc_kernels.cuda.conv.apart import help_out; help_out({device})"
    threads = [
        threading.Thread(target=hand_out, args=(code, todo, done), daemon=True)
        for _ in range(helpers)
    ]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            while thread.is_alive():
                thread.join(LOOKS_SECONDS)
                counted(len(done))
    finally:
        todo.clear()


def help_out(device: int) -> None:
    """Make the plans that this helper is asked for on a GPU."""
    import cupy

    cupy.cuda.Device(device).use()
    make_each(helped())


def make_each(pieces: Iterable[tuple[Place, WantedPlan]]) -> None:
    """Make plans and keep them in their places."""
    known: dict[Place, Vendor] = {}
    for place, wanted in pieces:
        if place not in known:
            known[place] = Vendor(place)
        with suppress(UnsupportedError):
            known[place].plan(wanted)
