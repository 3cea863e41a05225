"""From the description of a plan to what is drawn of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from netc.export.describe import Description, ExchangeFacts, LayerFacts, most_sent, total_traffic
from netc.export.detail import brief_lines, more_lines, phase_lines, phase_times, scopes_of
from netc.export.figures import Figures
from netc.export.fold import Run, find_runs
from netc.export.picture import Badge, Card, Frame, Item, Picture, PictureLink, cards_of
from netc.export.words import exchange_text, from_to, layer_text, plural, shape_text
from netc.ir.ops import ACTIVATIONS

_JOINED = ("bn", "lrn", *ACTIVATIONS, "dropout")
"""Kinds that are drawn with their producer."""
WAYS = {"activation": "forward", "gradient": "backward"}
"""Where exchanges go that stand between two cards, by role."""


def build_picture(
    description: Description, devices: int, scheme: str = "", figures: Figures | None = None
) -> Picture:
    """What there is to draw of a plan for `devices` devices, under the exchange scheme `scheme`."""
    return _Builder(description, devices, scheme, figures or Figures()).build()


@dataclass(frozen=True, slots=True)
class Way:
    """A connection between cards, by their numbers."""

    source: int
    targets: tuple[int, ...]
    exchanges: tuple[ExchangeFacts, ...]
    """What is exchanged on it, forward and backward."""


@dataclass(frozen=True, slots=True)
class Unfolded:
    """All cards of a plan, in topological order, and which of them a picture draws once."""

    cards: tuple[Card, ...]
    inside: tuple[tuple[ExchangeFacts, ...], ...]
    """By card, what is exchanged inside it."""
    ways: tuple[Way, ...]
    runs: tuple[Run, ...]
    """Equal stretches of cards."""
    rounds: str
    """What the part that is run in rounds is called; empty where there is none."""


def build_unfolded(description: Description, devices: int, scheme: str = "") -> Unfolded:
    """What `build_picture` draws, before equal stretches are drawn once."""
    return _Builder(description, devices, scheme, Figures()).unfolded()


class _Builder:
    def __init__(
        self, description: Description, devices: int, scheme: str, figures: Figures
    ) -> None:
        self.description, self.devices, self.scheme = description, devices, scheme
        self.figures = figures
        self.readers: dict[str, list[str]] = {layer.name: [] for layer in description.layers}
        for layer in description.layers:
            for name in layer.inputs:
                self.readers[name].append(layer.name)
        self.members = self._join()
        self.home = {layer.name: i for i, group in enumerate(self.members) for layer in group}
        self.after = self._after()
        self.badges: dict[int, list[ExchangeFacts]] = {i: [] for i in range(len(self.members))}
        self.links = self._links()
        self.scopes = scopes_of(group[0].name for group in self.members)
        self.cards = [self._card(i) for i in range(len(self.members))]
        signatures = [self._signature(i) for i in range(len(self.cards))]
        self.runs = find_runs(signatures, self._closed)

    def unfolded(self) -> Unfolded:
        ways = tuple(Way(source, tuple(to), tuple(moved)) for source, to, moved in self.links)
        inside = tuple(tuple(self.badges[i]) for i in range(len(self.cards)))
        rounds = max(layer.rounds for layer in self.description.layers)
        title = self._rounds_title(rounds) if rounds > 1 else ""
        return Unfolded(tuple(self.cards), inside, ways, self.runs, title)

    def build(self) -> Picture:
        shown, items = self._fold(self.runs, 0, len(self.cards))
        return Picture(self._in_rounds(items), tuple(self._shown_links(shown)))

    def _join(self) -> list[list[LayerFacts]]:
        """Layers by card."""
        crossed = {
            frozenset((exchange.source, target))
            for exchange in self.description.exchanges
            for target in exchange.targets
        }
        groups: dict[str, list[LayerFacts]] = {}
        for layer in self.description.layers:
            before = layer.inputs[0] if layer.inputs else ""
            group = groups.get(before)
            if group is not None and self._joins(layer, group[-1], crossed):
                del groups[before]
            else:
                group = []
            group.append(layer)
            groups[layer.name] = group
        ordered = {id(group): group for group in groups.values()}
        positions = {layer.name: i for i, layer in enumerate(self.description.layers)}
        return sorted(ordered.values(), key=lambda group: positions[group[0].name])

    def _joins(self, layer: LayerFacts, before: LayerFacts, crossed: set[frozenset[str]]) -> bool:
        return (
            layer.kind in _JOINED
            and before.kind not in ("input", "softmax_loss")
            and self.readers[before.name] == [layer.name]
            and (layer.split, layer.rounds) == (before.split, before.rounds)
            and frozenset((layer.name, before.name)) not in crossed
        )

    def _after(self) -> list[set[int]]:
        """For every card all cards that depend on it, and itself."""
        after: list[set[int]] = [{i} for i in range(len(self.members))]
        for i in reversed(range(len(self.members))):
            for target in self._next(i):
                after[i] |= after[target]
        return after

    def _next(self, card: int) -> list[int]:
        """The cards that read this one's result."""
        return sorted({self.home[r] for r in self.readers[self.members[card][-1].name]})

    def _links(self) -> list[tuple[int, list[int], list[ExchangeFacts]]]:
        """(source, targets, exchanges) of every connection; fills the cards' own badges."""
        bundles: dict[int, list[tuple[set[int], list[ExchangeFacts]]]] = {}
        own = ("weights", "statistics", "places", "labels")
        ordered = sorted(self.description.exchanges, key=lambda e: e.role == "gradient")
        for exchange in ordered:
            place = None if exchange.role in own else self._place(exchange)
            if place is None:
                self.badges[self.home[exchange.targets[0]]].append(exchange)
            else:
                _bundle(bundles.setdefault(place[0], []), place[1], exchange)
        links = []
        for card in range(len(self.members)):
            moved = bundles.get(card, [])
            links += [(card, sorted(targets), exchanges) for targets, exchanges in moved]
            reached = set().union(*(targets for targets, _ in moved))
            plain = [t for t in self._next(card) if t not in reached]
            links += [(card, [target], []) for target in plain]
        return links

    def _place(self, exchange: ExchangeFacts) -> tuple[int, set[int]] | None:
        """Source and targets on the way of the activations; a gradient goes the other way."""
        if exchange.role == "activation":
            return self.home[exchange.source], {self.home[t] for t in exchange.targets}
        card, end = self.home[exchange.targets[0]], self.home[exchange.source]
        onward = self._next(card)
        if card != end:
            onward = [t for t in onward if end in self.after[t]]
        return (card, set(onward)) if onward else None

    def _card(self, index: int) -> Card:
        layers = tuple(self.members[index])
        badges = self._timed(self.badges[index])
        return Card(
            layers, badges, tuple(self._lines(layers)), tuple(more_lines(layers, self.figures)),
            tuple(brief_lines(layers, self.scopes)), times=phase_lines(layers, self.figures),
            spent=phase_times(layers, self.figures), title=layers[0].name,
        )  # fmt: skip

    def _timed(self, exchanges: Iterable[ExchangeFacts]) -> tuple[Badge, ...]:
        return badges_of(exchanges, self.figures.exchanges)

    def _lines(self, layers: tuple[LayerFacts, ...]) -> Iterator[str]:
        yield " + ".join(layer_text(layer) for layer in layers)
        last = layers[-1]
        if last.type.shape:
            shape = shape_text(last.type.shape[1:])
            yield shape if len(last.type.shape) > 2 else f"{shape} values"
        if last.type.shape and self.devices > 1:
            each = ", each round" if last.rounds > 1 else ""
            images, rest = plural(last.local[0], "image"), shape_text(last.local[1:])
            yield f"{images} of {rest} a device{each}"
        weights = sum(layer.parameters for layer in layers)
        held = sum(layer.local_parameters for layer in layers)
        if weights:
            part = f", {held:,} a device" if held != weights else ""
            yield f"{weights:,} parameters{part}"

    def _signature(self, index: int) -> object:
        """What makes two cards equal: all but their names, and how they are connected."""
        card = self.cards[index]
        layers = tuple(replace(layer, name="", inputs=()) for layer in card.layers)
        inputs = tuple(
            (index - source, badges_of(exchanges))
            for source, targets, exchanges in self.links
            if index in targets
        )
        return layers, badges_of(self.badges[index]), inputs

    def _closed(self, start: int, period: int, count: int) -> bool:
        """Whether stretches take up where the one before ended, and give only their last result."""
        stop = start + period * count
        for source, targets, _ in self.links:
            for target in targets:
                if start <= target < stop and source < target - (target - start) % period - 1:
                    return False
                if start <= source < stop and target >= stop and source != stop - 1:
                    return False
                inside = start <= source and target < stop
                if inside and not _joint(source - start, target - start, period):
                    return False
        return True

    def _fold(self, runs: tuple[Run, ...], start: int, stop: int) -> tuple[list[int], list[Item]]:
        """For every card the one that is drawn for it, and what is drawn."""
        shown: list[int] = []
        items: list[Item] = []
        waiting = list(runs)
        while start < stop:
            if not waiting or waiting[0].start != start:
                items.append(self.cards[start])
                shown.append(start)
                start += 1
                continue
            run = waiting.pop(0)
            first, inner = self._fold(run.inner, start, start + run.period)
            shown += first * run.count
            items.append(self._framed(run, inner))
            start = run.stop
        return shown, items

    def _framed(self, run: Run, inner: list[Item]) -> Item:
        if run.period == 1:
            title = from_to(self.cards[run.start].name, self.cards[run.stop - 1].name)
            return replace(self.cards[run.start], count=run.count, title=title)
        span = from_to(self.cards[run.start].name, self.cards[run.stop - run.period].name)
        return Frame(f"{run.count} x   {span}", tuple(inner), run.count)

    def _shown_links(self, shown: list[int]) -> Iterable[PictureLink]:
        """Links between what is drawn; those between equal stretches go."""
        seen: dict[object, PictureLink] = {}
        for source, targets, exchanges in self.links:
            drawn = shown[source]
            ahead = sorted({shown[t] for t in targets if shown[t] > drawn})
            if ahead:
                names = tuple(self.cards[t].name for t in ahead)
                key = self.cards[drawn].name, names, badges_of(exchanges)
                seen.setdefault(key, PictureLink(*key[:2], self._timed(exchanges)))
        return seen.values()

    def _in_rounds(self, items: list[Item]) -> tuple[Item, ...]:
        """Everything that is run in rounds in a frame of its own."""
        inside = [item for item in items if cards_of([item])[0].layers[0].rounds > 1]
        if not inside:
            return tuple(items)
        title = self._rounds_title(cards_of(inside)[0].layers[0].rounds)
        frame = Frame(title, tuple(inside))
        position = items.index(inside[0])
        outside = [item for item in items if item not in inside]
        return (*outside[:position], frame, *outside[position:])

    def _rounds_title(self, rounds: int) -> str:
        most, uneven = divmod(self.description.batch, rounds)
        examples = f"up to {plural(most + 1, 'image')}" if uneven else plural(most, "image")
        title = f"scheme {self.scheme}: " if self.scheme else ""
        return f"{title}{rounds} rounds of {examples}"


def _bundle(
    bundles: list[tuple[set[int], list[ExchangeFacts]]], targets: set[int], exchange: ExchangeFacts
) -> None:
    """Put an exchange to the others on the way to the same cards."""
    for known, exchanges in bundles:
        if known & targets:
            known |= targets
            exchanges.append(exchange)
            return
    bundles.append((set(targets), [exchange]))


def badges_of(
    exchanges: Iterable[ExchangeFacts], seconds: Mapping[str, float] | None = None
) -> tuple[Badge, ...]:
    """One badge for all exchanges of a kind that move something."""
    groups: dict[tuple[str, str, str], list[ExchangeFacts]] = {}
    for exchange in exchanges:
        lane = "forward" if exchange.phase == "forward" else "backward"
        key = WAYS.get(exchange.role, ""), exchange_text(exchange), lane
        groups.setdefault(key, []).append(exchange)
    badges = []
    for (way, text, lane), group in groups.items():
        nbytes = most_sent(total_traffic(group))
        rounds = len({e.round for e in group if e.round is not None})
        known = [seconds[e.name] for e in group if e.name in seconds] if seconds else []
        text = f"{text}, {rounds} rounds" if rounds > 1 else text
        badges.append(Badge(text, nbytes, way, sum(known) if known else None, lane))
    return tuple(badge for badge in badges if badge.nbytes)


def _joint(source: int, target: int, period: int) -> bool:
    """Inside one stretch, or from the end of one into the next."""
    first, second = source // period, target // period
    return first == second or (second == first + 1 and source % period == period - 1)
