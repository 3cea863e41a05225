"""The `.net` language: text to `Network`, and back."""

from netc.syntax.load import parse_file, parse_text
from netc.syntax.network import (
    Call,
    InputSpec,
    Layer,
    NamedValues,
    Network,
    Recipe,
    WholeRecipe,
    with_defaults,
)
from netc.syntax.printer import network_text
from netc.syntax.verify import verify_network

__all__ = [
    "Call",
    "InputSpec",
    "Layer",
    "NamedValues",
    "Network",
    "Recipe",
    "WholeRecipe",
    "network_text",
    "parse_file",
    "parse_text",
    "verify_network",
    "with_defaults",
]
