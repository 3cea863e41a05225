"""What stands above and below a picture: title, figures, notes, and what its colours mean."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from netc.export.picture import Frame, Item, Picture
from netc.export.scene import Box, Panel, Shape, Text, shortened, text_width, wrapped
from netc.export.style import EXCHANGE, FAINT, INK, SMALL, TEXT, on, tints
from netc.export.words import MEANINGS, letter

Tile = tuple[str, str]
"""A figure and what it means."""


class Flow:
    """Puts things one behind the other, in lines of a width."""

    def __init__(self, width: float, y: float = 0.0) -> None:
        self.width, self.x, self.y = width, 0.0, y

    def _room(self, wide: float, high: float) -> float:
        """Where something begins that is so wide; goes on to a new line where it does not fit."""
        if self.x and self.x + wide > self.width:
            self.x, self.y = 0.0, self.y + high
        x, self.x = self.x, self.x + wide
        return x

    def header(self, title: str, tiles: Iterable[Tile]) -> Iterator[Shape]:
        """The title, and figures with their meanings below them."""
        yield Text(0, 16, shortened(title, self.width, 20, True), 20, True, INK)
        self.y = 44.0
        for figure, meaning in tiles:
            figure = shortened(figure, self.width / 2, 13, True)
            wide = max(text_width(figure, 13, True), text_width(meaning, SMALL)) + 24
            x = self._room(wide, 34)
            yield Text(x, self.y, figure, 13, True, INK)
            yield Text(x, self.y + 12, meaning, SMALL, color=FAINT)
        self.y += 14

    def notes(self, notes: Iterable[str]) -> Iterator[Shape]:
        """Sentences, each on a line or more of its own."""
        for note in notes:
            for line in wrapped(note, self.width, TEXT):
                self.y += 13.0
                yield Text(0, self.y + 4, shortened(line, self.width, TEXT), TEXT, color=INK)

    def legend(self, picture: Picture) -> Iterator[Shape]:
        """What the colours and badges mean, as far as they occur."""
        used = {letter(label) for card in picture.cards for label in card.split}
        for label, meaning in MEANINGS.items():
            if label in used:
                yield from self._swatch(label, meaning)
        if any(x.badges for x in picture.links) or any(x.badges for x in picture.cards):
            strong, faint = EXCHANGE
            x, text = self._entry(_exchanges(picture), 30)
            yield Panel(Box(x, self.y - 10, 25, 13), faint, strong, 6.5, 0.8)
            yield text
        if many := set(_repeated(picture.items)):
            x, text = self._entry(_alike(many, picture), 22)
            yield Text(x, self.y, "3 x", TEXT, True, FAINT)
            yield text

    def _swatch(self, label: str, meaning: str) -> Iterator[Shape]:
        x, text = self._entry(meaning, 20)
        box, (strong, _) = Box(x, self.y - 11, 15, 15), tints(label)
        yield Panel(box, strong, None, 3)
        yield Text(box.middle, self.y, label, 10, True, on(strong), "middle")
        yield text

    def _entry(self, meaning: str, sign: float) -> tuple[float, Text]:
        """Where a sign so wide begins, and its meaning behind it."""
        x = self._room(text_width(meaning, SMALL) + sign + 18, 20)
        return x, Text(x + sign, self.y, meaning, SMALL, color=INK)


def _exchanges(picture: Picture) -> str:
    """What a badge says."""
    badges = [b for x in picture.links for b in x.badges] + [
        b for x in picture.cards for b in x.badges
    ]
    timed = any(badge.seconds is not None for badge in badges)
    figures = "bytes a device sends in a step" + (", time alone" if timed else "")
    inside = f"; inside cards: {', '.join(picture.inside)}" if picture.inside else ""
    return f"exchange: {figures}{inside}"


def _alike(many: set[str], picture: Picture) -> str:
    """What figures of several mean that are drawn once."""
    led = any(link.badges and many.intersection(link.targets) for link in picture.links)
    front = ", and so is what is exchanged in front" if led else ""
    return f"several alike in a row; figures are for one{front}"


def _repeated(items: Iterable[Item], inside: bool = False) -> Iterator[str]:
    """The cards that are drawn once for several."""
    for item in items:
        several = inside or item.count > 1
        if isinstance(item, Frame):
            yield from _repeated(item.items, several)
        elif several:
            yield item.name
