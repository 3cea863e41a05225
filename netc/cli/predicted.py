"""Predictions beside what came true, in words; nothing here needs the compiler."""

from __future__ import annotations

from netc.cli.output import seconds_text
from netc.errors import escaped
from netc_runtime.measure.machine import has_target, own_cluster


def against(predicted: float, measured: float, cluster: str | None) -> str:
    """A prediction beside what came true: "2.1 s predicted (+5.0 %)"; the machine that it is for,
    if one was named.
    """
    off = 100 * (predicted / measured - 1)
    machine = f" for '{escaped(cluster)}'" if cluster is not None else ""
    return f"{seconds_text(predicted)} predicted{machine} ({off:+.1f} %)"


def uncalibrated(target: str, cluster: str | None) -> str:
    """What there is to say behind predictions for the machine at hand where nobody measured it."""
    if cluster is not None:
        return ""
    if has_target(target) and own_cluster(target).exists():
        return ""
    return "; 'netc calibrate' measures this machine"
