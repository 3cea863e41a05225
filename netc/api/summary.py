"""Layers, parameters and multiply-adds of a network."""

from __future__ import annotations

from dataclasses import dataclass

from netc.api.calls import checked_calls
from netc.api.figures import count, html_table, scaled, shape_text, table, terminal_columns
from netc.layers import LayerSize, layer_facts
from netc.passes.build_graph import build_graph
from netc.syntax import Network

_HEADER = ("layer", "kind", "output", "parameters", "multiply-adds")


@checked_calls
@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Summary:
    """A row a layer, and totals."""

    name: str
    layers: tuple[LayerSize, ...]

    @classmethod
    def of(cls, network: Network) -> Summary:
        """That of a network. Raises NetError where its shapes are wrong."""
        return cls(network.name, tuple(layer_facts(network, build_graph(network, batch=1))))

    @property
    def parameters(self) -> int:
        """Of all layers."""
        return sum(each.parameters for each in self.layers)

    @property
    def multiply_adds(self) -> int:
        """Of all layers, forward, for one image."""
        return sum(each.multiply_adds for each in self.layers)

    @property
    def footing(self) -> str:
        """The totals in a line."""
        adds = scaled(self.multiply_adds, "").strip()
        return f"{self.name}: {count(self.parameters)} parameters, {adds} multiply-adds an image"

    def table(self, columns: int | None = None) -> str:
        """A row a layer, as wide as so many columns."""
        return table(_HEADER, self._cells(), 2, ("kind",), columns)

    def __repr__(self) -> str:
        """All of it, as wide as the terminal."""
        return f"{self.table(terminal_columns())}\n\n{self.footing}"

    def _repr_html_(self) -> str:
        return html_table(self.footing, _HEADER, self._cells(), 2)

    def _cells(self) -> list[tuple[str, ...]]:
        return [
            (f.layer, f.kind, shape_text(f.shape), count(f.parameters) if f.parameters else "-",
             scaled(f.multiply_adds, ""))
            for f in self.layers
        ]  # fmt: skip
