"""Networks by a path or a shipped name, with their parameters, and what their recipes say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import netc_models
from netc.api.compiled import is_compiled, no_network
from netc.api.kinds import NETWORK, of_another_kind
from netc.api.shipped import find
from netc.errors import UsageError
from netc.ir.graph import Graph
from netc.ir.optimizers import WeightRule
from netc.passes.build_graph import build_graph
from netc.passes.differentiate import check_rules
from netc.syntax import Call, Network, Recipe, WholeRecipe, parse_file


def read_network(
    name: str, defines: Mapping[str, str], settings: Sequence[str], asked: str
) -> Network:
    """The network of a path or a shipped name, with parameters, and settings of its recipe
    (`train.NAME=VALUE` each); `asked` is what wants it, in a word.

    Raises as `parse_file`, and UsageError: E051 for an unknown name, E057 for a compiled program,
    or a file that is by its suffix something else.
    """
    path = find(name, netc_models, ".net")
    if is_compiled(path):
        raise UsageError(no_network(path, asked))
    if problem := of_another_kind(path, NETWORK):
        raise UsageError(problem)
    return parse_file(path, defines, settings)


def weight_rules(recipe: Recipe | WholeRecipe) -> tuple[WeightRule, ...]:
    """How a recipe moves some weights otherwise than the rest."""
    return tuple(_rule(each) for each in recipe.weights)


def _rule(call: Call) -> WeightRule:
    told: dict[str, Any] = dict(call.kwargs)
    return WeightRule(str(call.args[0]), **told, span=call.span)


def checked_graph(network: Network) -> Graph:
    """The graph of a network for one image. Raises NetError where shapes, or what its recipe says
    of weights, are wrong.
    """
    graph = build_graph(network, batch=1)
    check_rules(graph, weight_rules(network.recipe))
    return graph
