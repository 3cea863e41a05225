"""`netc render`: the recipe in force, with every default, as a `train` block."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from netc.api.data import named_data
from netc.api.recipe import base_rate, recipe_text, whole
from netc.cli.files import load_network
from netc.cli.output import json_line
from netc.errors import Diagnostic, UsageError, clip
from netc.syntax.evaluate import show


def run(options: argparse.Namespace) -> int:
    """Print the block, and nothing else."""
    asked = argparse.Namespace(**{**vars(options), "set": [*options.set, *_named(options)]})
    network = load_network(asked)
    text = recipe_text(network)
    if options.json:
        json_line(
            event="result", network=network.name, train=text, lr=base_rate(whole(network.recipe))
        )
    else:
        print(text, end="")
    return 0


def _named(options: argparse.Namespace) -> Iterator[str]:
    """What the options of `netc run` say, as `--set` does."""
    for name in ("batch", "epochs", "seed"):
        if (value := getattr(options, name)) is not None:
            yield f"train.{name}={value}"
    if options.lr is not None:
        yield f"train.optimizer.lr={options.lr!r}"
    if options.data is not None:
        name, args, kwargs = named_data(options.data)
        values = [*map(_written, args), *(f"{key}={_written(v)}" for key, v in kwargs.items())]
        yield f"train.data={name}({', '.join(values)})"


def _written(value: object) -> str:
    """A value as a recipe has it; raise UsageError (E051) for a path that no string can hold."""
    if isinstance(value, str) and ('"' in value or not value.isprintable()):
        message = f"'{clip(value)}' cannot stand in a recipe: its strings have no escapes."
        raise UsageError(Diagnostic("E051", message))
    return show(value)
