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


def phase_lines(
    layers: Sequence[LayerFacts], figures: Figures
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What a card's layers take forward, and backward with the update."""
    sums = _seconds(layers, figures)
    texts = {phase: f"{phase} {duration(time)}" for phase, time in sums.items() if time}
    forward = tuple(text for phase, text in texts.items() if phase == "forward")
    return forward, tuple(text for phase, text in texts.items() if phase != "forward")


def phase_times(layers: Sequence[LayerFacts], figures: Figures) -> tuple[str, str]:
    """The same as one figure each; empty where nothing is done, or it is not known."""
    sums = _seconds(layers, figures)
    forward, backward = (
        duration(time) if time else ""
        for time in (sums["forward"], sums["backward"] + sums["update"])
    )
    return forward, backward


def _seconds(layers: Sequence[LayerFacts], figures: Figures) -> dict[str, float]:
    """What layers take together, by phase."""
    rows = [figures.phases[layer.name] for layer in layers if layer.name in figures.phases]
    return {phase: sum(row[phase] for row in rows) for phase in ("forward", "backward", "update")}


def lanes(picture: Picture) -> Iterator[tuple[Picture, Picture]]:
    """The forward and the backward pass of a picture, from what says most to what says least: all;
    brief cards; names and times alone; exchanges without their times, too.
    """
    picture = replace(picture, items=_shortened(picture))
    for change in (_same, _brief, _named, _untimed):
        yield _lane_of(picture, 0, change), _lane_of(picture, 1, change)


def _shortened(picture: Picture) -> tuple[Item, ...]:
    """Every card with its shortest title: without its block's name, but for the block's last."""
    last: dict[str, str] = {}
    for card in picture.cards:
        last[_block(card)] = card.name
    shorter: dict[str, str] = {}
    for card in picture.cards:
        title, block = _brief_title(card), _block(card)
        whole = not block or last[block] == card.name
        shorter[card.name] = title if whole else title.removeprefix(f"{block}.")
    return tuple(_items(picture.items, lambda card: replace(card, short=shorter[card.name])))


def _block(card: Card) -> str:
    """What a card's block is called; empty outside blocks."""
    return card.brief[0].rpartition(".")[0]


def _brief_title(card: Card) -> str:
    return card.title if card.count > 1 else card.brief[0]


def _lane_of(picture: Picture, lane: int, change: Callable[[Card], Card]) -> Picture:
    way = ("forward", "backward")[lane]
    links = tuple(
        replace(link, badges=tuple(badge for badge in link.badges if badge.way == way))
        for link in picture.links
    )
    if change is _untimed:
        links = tuple(replace(link, badges=_without_times(link.badges)) for link in links)
    inside = tuple(badge.text for card in picture.cards for badge in card.badges)
    inside = tuple(dict.fromkeys(inside)) if change is not _same else ()
    changed = _changed(picture, lambda card: change(_lane(card, lane)))
    return replace(changed, links=links, inside=inside)


def _same(card: Card) -> Card:
    return card


def _named(card: Card) -> Card:
    """Its name, and in one line its time and what is exchanged inside it."""
    time = tuple(filter(None, card.spent))
    return replace(_brief(card), title=card.short, lines=time)


def _untimed(card: Card) -> Card:
    named = _named(card)
    return replace(named, badges=_without_times(named.badges))


def _without_times(badges: Iterable[Badge]) -> tuple[Badge, ...]:
    return tuple(replace(badge, seconds=None) for badge in badges)


def _lane(card: Card, lane: int) -> Card:
    """What a card says of the forward (0) or of the backward pass (1)."""
    times = card.times[lane]
    spent = (card.spent[0], "") if lane == 0 else ("", card.spent[1])
    badges = tuple(each for each in card.badges if (each.lane == "forward") == (lane == 0))
    lines, brief = (card.lines, card.brief) if lane == 0 else ((), card.brief[:1])
    return replace(card, lines=lines + times, brief=brief + times, badges=badges, spent=spent)


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
    whole = together(picture)
    if any(card.more for card in picture.cards):
        yield _changed(whole, lambda card: replace(card, lines=card.lines + card.more))
    yield whole
    texts = (badge.text for card in picture.cards for badge in card.badges)
    yield replace(_changed(picture, _brief), inside=tuple(dict.fromkeys(texts)))


def together(picture: Picture) -> Picture:
    """What is exchanged alike inside a card, forward and backward, as one."""
    return _changed(
        picture, lambda card: replace(card, badges=_merged(card.badges, lambda badge: badge.text))
    )


def _brief(card: Card) -> Card:
    _, *lines = card.brief
    return replace(
        card,
        title=_brief_title(card),
        lines=tuple(lines),
        badges=_merged(card.badges, lambda _: ""),
    )


def _changed(picture: Picture, change: Callable[[Card], Card]) -> Picture:
    return replace(picture, items=tuple(_items(picture.items, change)))


def _items(items: Iterable[Item], change: Callable[[Card], Card]) -> Iterator[Item]:
    for item in items:
        if isinstance(item, Card):
            yield change(item)
        else:
            yield replace(item, items=tuple(_items(item.items, change)))


def _merged(badges: Iterable[Badge], text: Callable[[Badge], str]) -> tuple[Badge, ...]:
    """One badge for all that are given the same text."""
    groups: dict[str, list[Badge]] = {}
    for badge in badges:
        groups.setdefault(text(badge), []).append(badge)
    return tuple(_sum(name, group) for name, group in groups.items())


def _sum(text: str, badges: Sequence[Badge]) -> Badge:
    known = [badge.seconds for badge in badges if badge.seconds is not None]
    nbytes = sum(badge.nbytes for badge in badges)
    return replace(badges[0], text=text, nbytes=nbytes, seconds=sum(known) if known else None)
