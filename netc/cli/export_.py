"""`netc export`: a network with its weights in another tool's format."""

from __future__ import annotations

import argparse
from pathlib import Path

from netc.api.figures import bytes_text, count
from netc.api.fitting import fitting, network_weights
from netc.api.onnx import write_onnx
from netc.api.running import find_weights
from netc.api.train_choices import unused_patterns
from netc.api.values import wrong_use
from netc.api.written import form_problems, renamed, write_weights
from netc.cli.arguments import spare
from netc.cli.files import load_network
from netc.cli.output import json_line, say
from netc.cli.session import teller, weight_choices
from netc.errors import UsageError
from netc.interchange.names import torch_names
from netc.syntax import Network
from netc_runtime.io.weights import Tensors

SUFFIXES = {".onnx": "onnx", ".safetensors": "safetensors"}
"""Formats, by the suffix of the file."""


def run(options: argparse.Namespace) -> int:
    """Write FILE.onnx or FILE.safetensors."""
    path = Path(options.output)
    form = options.format or SUFFIXES.get(path.suffix.lower())
    _check(options, path, form)
    network = load_network(options)
    values = network_weights(network, _given(options, network), options.seed)
    if form == "onnx":
        write_onnx(path, network, values, options.batch)
    else:
        names = {} if options.names == "netc" else torch_names(network)
        write_weights(path, network.name, renamed(values, names))
    numbers = sum(value.size for value in values.values())
    if options.json:
        json_line(event="result", written=str(path), format=form, bytes=path.stat().st_size,
                  tensors=len(values), numbers=numbers)  # fmt: skip
        return 0
    whose = "initial values" if options.weights is None else f"weights of {options.weights}"
    size = bytes_text(path.stat().st_size)
    say(f"wrote {path}: {len(values)} tensors, {count(numbers)} numbers, {size}, {whose}")
    return 0


def _check(options: argparse.Namespace, path: Path, form: str | None) -> None:
    """Options that are wrong whatever the network."""
    problems = []
    if form is None:
        problems.append(f"'{path}' has no suffix that names a format: take .onnx or .safetensors.")
    else:
        problems += form_problems(f".{form}", options.names, options.batch)
    found = [*map(wrong_use, problems), *unused_patterns(weight_choices(options))]
    if found:
        raise UsageError(*found)


def _given(options: argparse.Namespace, network: Network) -> Tensors:
    """The weights of the file that the command names, if it does."""
    if options.weights is None:
        return {}
    spare(options.output, find_weights(options.weights, Path()))
    allowed = options.allow_missing, options.allow_unexpected
    return fitting(network, options.weights, *allowed, teller(options))
