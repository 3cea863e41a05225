"""Predictions beside what came true, in words; nothing here needs the compiler."""

from __future__ import annotations

from netc.api.figures import seconds_text
from netc.errors import escaped
from netc_runtime.measure.machine import has_target, own_cluster

LOCAL = "local"
"""The name of the machine at hand."""
CALIBRATE = "'netc calibrate' measures this machine"


def outcome(predicted: float, measured: float, target: str, cluster: str | None) -> str:
    """A prediction beside what came true, "2.1 s predicted (+5.0 %)", with the machine that it is
    for, if one was named. Default prices of this machine are rough, which is said in place of how
    far they are off.
    """
    if not is_priced(target, cluster):
        return f"{seconds_text(predicted)} predicted by rough defaults: {CALIBRATE}"
    off = 100 * (predicted / measured - 1)
    machine = f" for '{escaped(str(cluster))}'" if cluster not in (None, LOCAL) else ""
    return f"{seconds_text(predicted)} predicted{machine} ({off:+.1f} %)"


def roughly(target: str, cluster: str | None) -> str:
    """What there is to say behind a prediction by default prices of this machine."""
    return "" if is_priced(target, cluster) else f"; by rough defaults: {CALIBRATE}"


def is_priced(target: str, cluster: str | None) -> bool:
    """Whether prices are a named machine's, or measured here; GPUs have those of their kind."""
    return cluster not in (None, LOCAL) or target == "cuda" or (
        has_target(target) and own_cluster(target).exists()
    )  # fmt: skip
