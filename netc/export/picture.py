"""The picture of a plan before it has places: cards, badges, links and frames.

A card is a layer with the elementwise layers behind it. What is exchanged between two cards stands
on their edge, what is exchanged inside a card is one of its badges. Equal stretches are drawn once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from netc.export.describe import LayerFacts
from netc.export.words import amount, duration
from netc.ir.plan import Split


@dataclass(frozen=True, slots=True)
class Badge:
    """Exchanges of one kind at one place."""

    text: str
    """Such as "all-reduce gradients"; empty where the legend says it for all."""
    nbytes: int
    """Sent in a step by the device that sends the most."""
    way: str = ""
    """On an edge: forward or backward."""
    seconds: float | None = None
    """It takes where nothing else goes on, if that is known."""
    lane: str = "forward"
    """When it is exchanged: forward, or backward and in the update."""

    @property
    def figures(self) -> str:
        """Its bytes, and its time: "14.16 MB, 1.2 ms"."""
        nbytes = amount(self.nbytes, "B")
        return nbytes if self.seconds is None else f"{nbytes}, {duration(self.seconds)}"


@dataclass(frozen=True, slots=True)
class Card:
    """One box."""

    layers: tuple[LayerFacts, ...]
    badges: tuple[Badge, ...]
    lines: tuple[str, ...]
    """What is done, and the shapes."""
    more: tuple[str, ...] = ()
    """Work, time and memory, for where there is room."""
    brief: tuple[str, ...] = ()
    """A short title and fewer lines, for where there is none."""
    times: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    """What it takes forward, and backward with the update."""
    spent: tuple[str, str] = ("", "")
    """The same as one figure each."""
    short: str = ""
    """Its shortest title, for where a block is named once."""
    count: int = 1
    """So many alike follow each other."""
    title: str = ""
    """Its name, or the first and the last name of those that it stands for."""

    @property
    def name(self) -> str:
        """Name of the first layer, and the identity of the card."""
        return self.layers[0].name

    @property
    def split(self) -> Split:
        """The split of all its layers."""
        return self.layers[0].split


@dataclass(frozen=True, slots=True)
class Frame:
    """Cards that belong together."""

    title: str
    items: tuple[Item, ...]
    count: int = 1
    """So many stretches like this follow each other."""


Item = Card | Frame


@dataclass(frozen=True, slots=True)
class PictureLink:
    """From one card to those that read its result; with badges where that is exchanged."""

    source: str
    targets: tuple[str, ...]
    badges: tuple[Badge, ...] = ()

    @property
    def name(self) -> str:
        """Its identity; no layer has such a name."""
        return f"{self.source} > {self.targets[0]}"


@dataclass(frozen=True, slots=True)
class Picture:
    """All of it, in topological order."""

    items: tuple[Item, ...]
    links: tuple[PictureLink, ...]
    inside: tuple[str, ...] = ()
    """What is exchanged inside cards, where their badges do not say it."""

    @property
    def cards(self) -> tuple[Card, ...]:
        """The cards in frames and outside."""
        return tuple(cards_of(self.items))


def cards_of(items: Iterable[Item]) -> list[Card]:
    """The cards in frames and outside, in order."""
    found = []
    for item in items:
        found += [item] if isinstance(item, Card) else cards_of(item.items)
    return found
