"""What the command line says of networks: their files, and parameters.

Verbs that only read a network import this module alone, which needs nothing that runs one.
"""

from __future__ import annotations

import argparse

from netc.api.networks import read_network
from netc.errors import Diagnostic, UsageError, clip
from netc.syntax import Network


def load_network(options: argparse.Namespace) -> Network:
    """The network that the command names, with its -D parameters and what --set says.

    Raise UsageError (E057) where it is a compiled program.
    """
    return read_network(options.network, defines(options.define), options.set, options.verb)


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
