"""What the command line says of networks: their files, and parameters.

Verbs that only read a network import this module alone, which needs nothing that runs one.
"""

from __future__ import annotations

import argparse

from netc.api.networks import read_network
from netc.api.values import each_once, usage
from netc.errors import clip
from netc.syntax import Network


def load_network(options: argparse.Namespace) -> Network:
    """The network that the command names, with its -D parameters and what --set says.

    Raise UsageError (E057) where it is a compiled program.
    """
    return read_network(options.network, defines(options.define), options.set, options.verb)


def defines(items: list[str]) -> dict[str, str]:
    """-D NAME=VALUE, as a mapping."""
    return each_once(map(_parted, items))


def _parted(item: str) -> tuple[str, str]:
    name, equals, value = item.partition("=")
    if not equals or not name:
        raise usage(f"'-D {clip(item)}' is not of the form NAME=VALUE.")
    return name, value
