"""Why a plan costs what it costs: a row a layer, or the splits that some layers could have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch

from netc.api.calls import checked_calls
from netc.api.figures import bytes_text, html_table, scaled, seconds_text, table, terminal_columns
from netc.errors import Diagnostic, UsageError, clip, did_you_mean
from netc.layers import LayerCost
from netc.passes.options import Options
from netc.passes.pipeline import Compiled
from netc.planner.why import Alternative, TimedExchange, alternatives, exchanges
from netc.spelling import in_python

_HEADER = ("layer", "kind", "split", "FLOPs", "sent", "weights", "activations", "compute",
           "exchange", "bound by")  # fmt: skip
_SPARE = ("kind", "activations", "weights", "FLOPs", "sent")
"""Columns that are left out first where there is little room."""
COSTS_ABOUT = (
    "A step on the device where each figure is largest; fused layers run with the one before."
)
CHOICES_ABOUT = (
    "Prices are a device's, all other layers as they are, in the model that 'auto' searches: "
    "nothing is hidden or joined. What hides behind what is of the whole step."
)


@checked_calls
@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Explanation:
    """What every layer of a plan costs in a step, and what bounds it; a table of that."""

    heading: str
    layers: tuple[LayerCost, ...]
    footing: str
    told: tuple[str, ...]
    """What there is to say of it, in words of the command line."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What there is to say of it."""
        return tuple(map(in_python, self.told))

    def table(self, columns: int | None = None) -> str:
        """A row a layer, as wide as so many columns."""
        return table(_HEADER, map(_row, self.layers), 3, _SPARE, columns)

    def __repr__(self) -> str:
        """All of it, as wide as the terminal."""
        told = self.table(terminal_columns())
        notes = "".join(f"\nnote: {each}" for each in self.notes)
        return f"{self.heading}\n{told}\n\n{COSTS_ABOUT}\n{self.footing}{notes}"

    def _repr_html_(self) -> str:
        notes = (COSTS_ABOUT, *self.footing.split("\n"), *self.notes)
        return html_table(self.heading, _HEADER, map(_row, self.layers), 3, notes)


@checked_calls
@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LayerChoices:
    """A layer's splits with their prices, the cheapest first, and its exchanges."""

    layer: str
    splits: tuple[Alternative, ...]
    exchanges: tuple[TimedExchange, ...]

    @property
    def taken(self) -> Alternative:
        """The split that the plan has."""
        (taken,) = (each for each in self.splits if each.chosen)
        return taken

    def table(self, columns: int | None = None) -> str:
        """A row a split, as wide as so many columns."""
        return table(self._header, self._cells(), columns=columns)

    @property
    def _header(self) -> tuple[str, ...]:
        return self.layer, "compute", "exchange", "of gradients", "all", "", "memory"

    def _cells(self) -> Iterator[tuple[str, ...]]:
        return (
            (",".join(each.split), seconds_text(each.compute_seconds),
             seconds_text(each.exchange_seconds), seconds_text(each.update_seconds),
             seconds_text(each.seconds), _against(each, self.taken), bytes_text(each.memory_bytes))
            for each in self.splits
        )  # fmt: skip

    @property
    def texts(self) -> tuple[str, ...]:
        """A line an exchange: what it takes, and behind what it hides."""
        return tuple(map(_exchange, self.exchanges))

    def __repr__(self) -> str:
        """Table and lines."""
        return "\n".join([self.table(terminal_columns()), *(f"  {t}" for t in self.texts)])

    def _repr_html_(self) -> str:
        return html_table("", self._header, self._cells(), notes=self.texts)


class ChoicesOfLayers(tuple[LayerChoices, ...]):
    """Some layers' splits with their prices; a table each."""

    def __repr__(self) -> str:
        """All tables, and what prices are."""
        return "\n\n".join([*map(repr, self), in_python(CHOICES_ABOUT)])

    def _repr_html_(self) -> str:
        return "".join(each._repr_html_() for each in self)


def layer_choices(compiled: Compiled, chosen: Options, pattern: str) -> ChoicesOfLayers:
    """For each layer that a pattern names: its splits with their prices, and its exchanges.

    Raises UsageError (E051) where it names none.
    """
    found = alternatives(compiled.graph, chosen.mesh, chosen.cluster, compiled.splits)
    layers = [layer for layer in found if fnmatch(layer, pattern)]
    if not layers:
        message = f"no layer matches '{clip(pattern)}'."
        hint = did_you_mean(pattern, found) + "'netc summary' lists all layers."
        raise UsageError(Diagnostic("E051", message, help=hint))
    graph, program = compiled.plan.graph, compiled.program
    return ChoicesOfLayers(
        LayerChoices(layer, tuple(found[layer]), tuple(exchanges(graph, program, layer)))
        for layer in layers
    )


def _exchange(each: TimedExchange) -> str:
    hidden = 1 - each.exposed_seconds / each.seconds if each.seconds else 1.0
    behind = f" behind {_few(each.behind)}" if each.behind else ""
    many = f" of {each.tensors} tensors" if each.tensors > 1 else ""
    took = seconds_text(each.seconds)
    return f"{each.phase} {each.kind}{many}: {took}, {100 * hidden:.0f} % hidden{behind}"


def _against(each: Alternative, taken: Alternative) -> str:
    if each is taken:
        return "taken"
    more = each.seconds - taken.seconds
    return f"{'+' if more >= 0 else '-'}{seconds_text(abs(more))}" if more else "the same"


def _few(layers: Sequence[str]) -> str:
    return layers[0] if len(layers) == 1 else f"{layers[0]} to {layers[-1]}"


def _row(cost: LayerCost) -> tuple[str, ...]:
    return (
        cost.layer,
        cost.kind,
        ",".join(cost.split),
        scaled(cost.flops, ""),
        bytes_text(cost.sent_bytes),
        bytes_text(cost.weight_bytes),
        bytes_text(cost.activation_bytes),
        seconds_text(cost.seconds),
        seconds_text(cost.exchange_seconds),
        cost.bound,
    )
