"""How many cores of its machine a process may use."""

from __future__ import annotations

import os
from math import ceil
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Time that a container may take of all cores, and in how much time (control groups, version 2)."""


def cores() -> int:
    """Those it is bound to, and no more than its container's share of time makes whole."""
    try:
        bound = len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        bound = os.cpu_count() or 1
    return max(1, min(bound, _share()))


def _share() -> int:
    """Whole cores in a container's share of time; more than there are where it has no limit."""
    unlimited = 1 << 30
    try:
        share, period = map(int, QUOTA.read_text(encoding="ascii").split())
        return ceil(share / period)
    except (OSError, ValueError, ZeroDivisionError):  # "max": no limit
        return unlimited
