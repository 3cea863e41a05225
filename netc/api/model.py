"""A network as Python has it: `netc.load`, and what can be done with what that returns."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from netc.api.networks import read_network
from netc.api.values import path_text, settings_text, value_text
from netc.syntax import Network, network_text, parse_text

Tensors = Mapping[str, Any]
"""Arrays by netc's own names of weights and statistics, such as "conv1.weight"."""


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A network, with weights where there are some. A value: what changes it returns another."""

    network: Network
    """What its file says."""
    file: str
    """By what it is found: a path, a shipped name, or empty where it comes from no file."""
    parameters: tuple[tuple[str, str], ...] = ()
    """What was given besides, by name, sorted."""
    tensors: Tensors | None = field(default=None, repr=False)
    """The weights and running statistics that it has, all or some; None for initial ones."""

    @property
    def name(self) -> str:
        """The network's name."""
        return self.network.name

    @property
    def text(self) -> str:
        """The network in its language, flat."""
        return network_text(self.network)

    def __repr__(self) -> str:
        """One line: name, parameters, layers."""
        told = ", ".join(f"{name}={value}" for name, value in self.parameters)
        weights = "" if self.tensors is None else ", with weights"
        shapes = " and ".join("x".join(map(str, each.shape)) for each in self.network.inputs)
        layers = len(self.network.layers)
        return f"<netc.Model {self.name}({told}): {layers} layers, image {shapes}{weights}>"

    def with_weights(self, tensors: Tensors) -> Model:
        """The same network with weights."""
        return replace(self, tensors=dict(tensors))


def load(
    network: str | os.PathLike[str],
    /,
    *,
    define: Mapping[str, object] | None = None,
    settings: Mapping[str, object] | Sequence[str] = (),
    **parameters: object,
) -> Model:
    """Read a network: a path, or the name of one that netc ships.

    Its parameters are given by name (`classes=10`), or in `define` where Python has another use for
    the name; `settings` are of its recipe, such as {"train.epochs": 3}, as `--set` has them.

    Raises NetError: SyntaxProblem for what is wrong in the file, UsageError for the rest.
    """
    name, given = path_text("network", network), _given(define, parameters)
    found = read_network(name, given, settings_text(settings), "load")
    return Model(found, name, tuple(sorted(given.items())))


def parse(
    text: str,
    /,
    *,
    define: Mapping[str, object] | None = None,
    settings: Mapping[str, object] | Sequence[str] = (),
    **parameters: object,
) -> Model:
    """Read a network from a text in netc's language; paths that it includes start at the working
    directory. Otherwise as `load`.
    """
    given = _given(define, parameters)
    found = parse_text(value_text("text", text), defines=given, settings=settings_text(settings))
    return Model(found, "", tuple(sorted(given.items())))


def _given(define: Mapping[str, object] | None, parameters: Mapping[str, object]) -> dict[str, str]:
    values = {**(define or {}), **parameters}
    return {str(name): value_text(str(name), value) for name, value in values.items()}
