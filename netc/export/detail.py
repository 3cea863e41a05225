"""How much cards say: all that is known, less, or as little as makes a large network legible."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from netc.export.describe import LayerFacts
from netc.export.figures import Figures
from netc.export.picture import Badge, Card, Item, Picture
from netc.export.words import amount, brief_text, duration, shape_text


def more_lines(layers: Sequence[LayerFacts], figures: Figures) -> Iterator[str]:
    """Work, time and memory of a card's layers on a device; nothing where that is not known."""
    costs = [figures.layers[layer.name] for layer in layers if layer.name in figures.layers]
    flops, seconds = (sum(cost[key] for cost in costs) for key in ("flops", "seconds"))
    if flops and seconds:
        yield f"{amount(flops, 'FLOP')}, {duration(seconds)} a device"
    kept = sum(cost["weight_bytes"] for cost in costs)
    written = sum(cost["activation_bytes"] for cost in costs)
    parts = [f"weights {amount(kept, 'B')}"] if kept else []
    parts += [f"values {amount(written, 'B')}"] if written else []
    if parts:
        yield f"{', '.join(parts)} a device"


def brief_lines(layers: Sequence[LayerFacts], scopes: Mapping[str, int]) -> Iterator[str]:
    """A title, what is done, and the shape; `scopes` counts the cards in every block."""
    name = layers[0].name
    scope = name.rpartition(".")[0]
    yield scope if scopes.get(scope) == 1 else name
    yield " + ".join(brief_text(layer) for layer in layers)
    shape = layers[-1].type.shape
    if shape:
        yield shape_text(shape[1:])


def scopes_of(names: Iterable[str]) -> Counter[str]:
    """How many of these names are in every block."""
    return Counter(
        ".".join(parts[:depth])
        for parts in (name.split(".") for name in names)
        for depth in range(1, len(parts))
    )


def levels(picture: Picture) -> Iterator[Picture]:
    """The picture from the one that says most to the one that says least."""
    if any(card.more for card in picture.cards):
        yield _changed(picture, lambda card: replace(card, lines=card.lines + card.more))
    yield picture
    texts = (badge.text for card in picture.cards for badge in card.badges)
    yield replace(_changed(picture, _brief), inside=tuple(dict.fromkeys(texts)))


def _brief(card: Card) -> Card:
    title, *lines = card.brief
    title = card.title if card.count > 1 else title
    return replace(card, title=title, lines=tuple(lines), badges=_few(card.badges))


def _changed(picture: Picture, change: Callable[[Card], Card]) -> Picture:
    return replace(picture, items=tuple(_items(picture.items, change)))


def _items(items: Iterable[Item], change: Callable[[Card], Card]) -> Iterator[Item]:
    for item in items:
        if isinstance(item, Card):
            yield change(item)
        else:
            yield replace(item, items=tuple(_items(item.items, change)))


def _few(badges: Sequence[Badge]) -> tuple[Badge, ...]:
    """One badge for all, without a text."""
    if not badges:
        return ()
    known = [badge.seconds for badge in badges if badge.seconds is not None]
    nbytes = sum(badge.nbytes for badge in badges)
    return (Badge("", nbytes, seconds=sum(known) if known else None),)
