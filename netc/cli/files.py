"""What the command line says of networks: their files, and parameters.

Verbs that only read a network import this module alone, which needs nothing that runs one.
"""

from __future__ import annotations

import argparse
from typing import Any

import netc_models
from netc.cli.compiled import is_compiled, no_network
from netc.cli.shipped import find
from netc.errors import Diagnostic, UsageError, clip
from netc.ir.optimizers import WeightRule
from netc.syntax import Call, Network, Recipe, WholeRecipe, parse_file


def load_network(options: argparse.Namespace) -> Network:
    """The network that the command names, with its -D parameters and what --set says.

    Raise UsageError (E057) where it is a compiled program.
    """
    path = find(options.network, netc_models, ".net")
    if is_compiled(path):
        raise UsageError(no_network(path, options.verb))
    return parse_file(path, defines(options.define), options.set)


def defines(items: list[str]) -> dict[str, str]:
    """-D NAME=VALUE, as a mapping."""
    found = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals or not name:
            message = f"'-D {clip(item)}' is not of the form NAME=VALUE."
            raise UsageError(Diagnostic("E051", message))
        found[name] = value
    return found


def weight_rules(recipe: Recipe | WholeRecipe) -> tuple[WeightRule, ...]:
    """How a recipe moves some weights otherwise than the rest."""
    return tuple(_rule(each) for each in recipe.weights)


def _rule(call: Call) -> WeightRule:
    told: dict[str, Any] = dict(call.kwargs)
    return WeightRule(str(call.args[0]), **told, span=call.span)
