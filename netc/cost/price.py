"""What an exchange takes, and how much of the links."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ExchangePrice:
    """What an exchange takes where nothing else uses its links."""

    seconds: float
    algorithm: str
    """The way it goes, as in `ring` or `nccl ring LL128`; `measured` where that tells nothing."""
    ports: tuple[tuple[float, float], ...]
    """By device, the part of these seconds in which it sends, and in which it receives."""
    shared: tuple[tuple[str, float], ...]
    """By link that devices share, the part in which the busiest one is in use."""


def after(seconds: float, price: ExchangePrice) -> ExchangePrice:
    """The same exchange behind so many seconds in which its devices copy in their own memory."""
    part = price.seconds / (price.seconds + seconds) if seconds else 1.0
    ports = tuple((out * part, into * part) for out, into in price.ports)
    shared = tuple((name, each * part) for name, each in price.shared)
    return ExchangePrice(price.seconds + seconds, price.algorithm, ports, shared)


def priced(
    algorithm: str,
    latency: float,
    ports: Iterable[Iterable[float]],
    shared: Mapping[str, float],
    least: float = 0.0,
) -> ExchangePrice:
    """The price of an algorithm, from the seconds in which each device's ports (to send, and to
    receive) and shared links are in use. Beside the latency, it takes as long as the busiest is,
    and at least as long as told.
    """
    busy = [tuple(pair) for pair in ports]
    longest = max(max(map(max, busy), default=0.0), *shared.values(), least)
    seconds = latency + longest
    parts = tuple((out / seconds, into / seconds) for out, into in busy)
    used = tuple((name, each / seconds) for name, each in shared.items() if each)
    return ExchangePrice(seconds, algorithm, parts, used)
