"""Cards and the badges of exchanges: how large they are, and what they look like."""

from __future__ import annotations

import math
from collections.abc import Iterator

from netc.export.picture import Badge, Card, PictureLink
from netc.export.scene import Box, Panel, Shape, Text, shortened, text_width, wrapped
from netc.export.style import EXCHANGE, FAINT, INK, NAME, PAD, SMALL, TEXT, on, tints

_LINE = 13.0
"""From one line of a card to the next."""
_BADGE = 15.0
"""Height of a badge."""
_BAND = 16.0
"""Width of the band with a split's letter."""
_WIDEST = 230.0
"""Longest line of a card; a longer one goes on below."""
_LONGEST = 320.0
"""Longest title, and longest word; what is longer is cut."""
_STEP = 5.0
"""Cards are as wide as a multiple of this, so that most in a column are alike."""
_NEXT = 3.0
"""How far cards stand out behind one that is drawn for several."""
_WAY = 44.0
"""Room for "forward" or "backward" in a badge."""


def _count(card: Card) -> str:
    return f"{card.count} x" if card.count > 1 else ""


def _lines(card: Card) -> tuple[str, ...]:
    parts = (part for line in card.lines for part in wrapped(line, _WIDEST, TEXT))
    return tuple(shortened(part, _LONGEST, TEXT) for part in parts)


def _title(card: Card) -> str:
    return shortened(card.title, _LONGEST, NAME, True)


def card_size(card: Card) -> tuple[float, float]:
    """Width and height of a card."""
    first = text_width(_title(card), NAME, True)
    if card.count > 1:
        first += text_width(_count(card), NAME, True) + 14
    own, beside = _placed_badges(card)
    widths = [first, *(text_width(line, TEXT) for line in _lines(card))]
    widths[-1] += sum(_badge_width(badge) + 8 for badge in beside)
    widths += [_badge_width(badge) for badge in own]
    height = _LINE * (1 + len(_lines(card))) + (_BADGE + 3) * len(own) + 10
    width = max(widths) + _bands(card) + 2 * PAD
    return math.ceil(width / _STEP) * _STEP, height


def _placed_badges(card: Card) -> tuple[list[Badge], list[Badge]]:
    """Those on lines of their own, and the one without a text, behind the last line."""
    own = [badge for badge in card.badges if badge.text]
    return own, [badge for badge in card.badges if not badge.text]


def _bands(card: Card) -> float:
    return _BAND * len(card.split)


def _badge_width(badge: Badge) -> float:
    figure = text_width(badge.figures, SMALL, True)
    way = _WAY if badge.way else 0.0
    text = text_width(badge.text, SMALL) + 14 if badge.text else 0.0
    return way + text + figure + 12


def draw_card(card: Card, box: Box) -> Iterator[Shape]:
    """A card in its place, with others behind it where it stands for several."""
    strong, faint = tints(card.split[0])
    for i in range(2 if card.count > 2 else card.count - 1, 0, -1):
        yield Panel(box.moved(i * _NEXT, i * _NEXT), faint, strong, 5)
    yield Panel(box, faint, strong, 5)
    for i, label in enumerate(card.split):
        yield from _band(label, Box(box.x + i * _BAND, box.y, _BAND, box.height), i == 0)
    yield Panel(box, None, strong, 5)
    x, y = box.x + _bands(card) + PAD, box.y + _LINE + 3
    yield Text(x, y, _title(card), NAME, True, INK)
    if card.count > 1:
        yield Text(box.right - PAD, y, _count(card), NAME, True, FAINT, "end")
    for line in _lines(card):
        y += _LINE
        yield Text(x, y, line, TEXT, color=INK)
    own, beside = _placed_badges(card)
    for badge in beside:
        width = _badge_width(badge)
        # Lower than others, so that it keeps off the line above.
        yield from _badge(badge, Box(box.right - PAD - width, y - 9.5, width, _BADGE - 1.5))
    y += 6
    for badge in own:
        yield from _badge(badge, Box(x, y, box.right - PAD - x, _BADGE))
        y += _BADGE + 3


def _band(label: str, box: Box, first: bool) -> Iterator[Shape]:
    """The strip that tells a card's split along one mesh axis."""
    strong, _ = tints(label)
    yield Panel(box, strong, None, 5 if first else 0)
    if first:
        yield Panel(Box(box.x + 6, box.y, box.width - 6, box.height), strong)
    size = {1: 13.0, 2: 9.0}.get(len(label), 7.5)
    yield Text(box.middle, box.y + box.height / 2 + 4.5, label, size, True, on(strong), "middle")


def _badge(badge: Badge, box: Box) -> Iterator[Shape]:
    """An exchange inside a card."""
    strong, faint = EXCHANGE
    yield Panel(box, faint, strong, box.height / 2, 0.8)
    yield from _badge_text(badge, box)


def _badge_text(badge: Badge, box: Box) -> Iterator[Shape]:
    y = box.y + box.height / 2 + 3
    x = box.x + 6
    if badge.way:
        yield Text(x, y, badge.way, SMALL, color=FAINT)
        x += _WAY
    if badge.text:
        yield Text(x, y, badge.text, SMALL, color=INK)
    yield Text(box.right - 6, y, badge.figures, SMALL, True, INK, "end")


def way_size(link: PictureLink) -> tuple[float, float]:
    """Width and height of the badges of a link."""
    width = max(_badge_width(badge) for badge in link.badges)
    return math.ceil(width + 6), _LINE * len(link.badges) + 6


def draw_way(link: PictureLink, box: Box) -> Iterator[Shape]:
    """The badges of a link, on its way between cards."""
    strong, faint = EXCHANGE
    yield Panel(box, faint, strong, 9, 1.2)
    for i, badge in enumerate(link.badges):
        line = Box(box.x + 3, box.y + 2.5 + i * _LINE, box.width - 6, _BADGE)
        yield from _badge_text(badge, line)
