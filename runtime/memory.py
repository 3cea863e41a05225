"""Whether programs fit into memory."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence

from netc.errors import DeviceError, Diagnostic
from netc.ir.program import Program
from netc.numbers import memory_text


def check_memory(
    programs: Sequence[Program], devices: Sequence[int], free: int, where: str
) -> None:
    """Raise DeviceError where the devices of this process need more than is free."""
    needed = sum(max(p.arena_bytes[p.class_of[d]] for p in programs) for d in devices)
    if needed <= free:
        return
    class_ = programs[0].class_of[devices[0]]
    worst = max(programs, key=lambda p: p.arena_bytes[class_])
    sizes = dict.fromkeys(("persistent", "input"), 0)
    for buffer in worst.buffers_of[class_]:
        if buffer.kind in sizes:
            sizes[buffer.kind] += buffer.nbytes
    rest = worst.arena_bytes[class_] - sum(sizes.values())
    shares = (("weights and state", sizes["persistent"]), ("inputs", sizes["input"]),
              ("activations", rest))  # fmt: skip
    parts = ", ".join(f"{name} {memory_text(size)}" for name, size in shares)
    many = f"{len(devices)} device{'s' * (len(devices) > 1)}"
    message = (
        f"{many} of this process need {memory_text(needed)} together, {where} has "
        f"{memory_text(free)} free (device {devices[0]}: {parts})."
    )
    hint = "take a smaller batch or more devices, or '--backend null' to predict without memory."
    raise DeviceError(Diagnostic("E072", message, help=hint))


def available_bytes() -> int:
    """Memory that programs may still take, as the system reports it."""
    with contextlib.suppress(OSError, ValueError), open("/proc/meminfo", encoding="ascii") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def peak_bytes() -> int:
    """The most memory that this process had so far; 0 where the system does not say."""
    try:
        import resource
    except ImportError:  # not on every system
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
