"""Predictions beside what came true, in words; nothing here needs the compiler."""

from __future__ import annotations

from netc.cli.output import seconds_text
from netc_runtime.measure.machine import has_target, own_cluster


def against(predicted: float, measured: float) -> str:
    """A prediction beside what came true: "2.1 s predicted (+5.0 %)"."""
    off = 100 * (predicted / measured - 1)
    return f"{seconds_text(predicted)} predicted ({off:+.1f} %)"


def uncalibrated(target: str) -> str:
    """What there is to say behind predictions for the machine at hand where nobody measured it."""
    if has_target(target) and own_cluster(target).exists():
        return ""
    return "; 'netc calibrate' measures this machine"
