"""`netc export`: a network with its weights in another tool's format."""

from __future__ import annotations

import argparse
from pathlib import Path

from netc.api.figures import bytes_text, count
from netc.api.machine import load_cluster
from netc.cli.arguments import spare
from netc.cli.files import load_network
from netc.cli.output import json_line, say
from netc.cli.session import find_weights, open_session, teller
from netc.errors import Diagnostic, UsageError
from netc.interchange.names import torch_names
from netc.interchange.to_onnx import to_onnx, weights
from netc.ir.optimizers import AVERAGE
from netc.ir.types import line_mesh
from netc.passes.build_graph import build_graph
from netc.passes.options import Options
from netc.passes.pipeline import compile_network
from netc.syntax import Network, with_defaults
from netc_runtime.choose import BackendChoice
from netc_runtime.io import onnx_file, tensors
from netc_runtime.io.weights import Tensors, read_weights

SUFFIXES = {".onnx": "onnx", ".safetensors": "safetensors"}
"""Formats, by the suffix of the file."""


def run(options: argparse.Namespace) -> int:
    """Write FILE.onnx or FILE.safetensors."""
    path = Path(options.output)
    form = options.format or SUFFIXES.get(path.suffix)
    _check(options, path, form)
    network = load_network(options)
    values = _values(options, network)
    if form == "onnx":
        onnx_file.write(path, to_onnx(network, options.batch), values)
    else:
        names = torch_names(network) if options.names != "netc" else {}
        named = {names.get(name, name): value for name, value in values.items()}
        tensors.write(path, named, {"network": network.name})
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
    if form == "onnx" and options.names is not None:
        problems.append("'--names' is for '--format safetensors'; ONNX files have netc's names.")
    if form == "safetensors" and options.batch is not None:
        problems.append("'--batch' is for '--format onnx'; weights have no batch.")
    if options.weights is None and (options.allow_missing or options.allow_unexpected):
        problems.append("'--allow-missing' and '--allow-unexpected' need '--weights'.")
    if problems:
        raise UsageError(*(Diagnostic("E051", problem) for problem in problems))


def _values(options: argparse.Namespace, network: Network) -> Tensors:
    """Every weight and running statistic by source name: from the file, else initial ones."""
    graph = build_graph(network, 1, mode="eval")
    wanted = {node.name: node.type.shape for node in weights(graph)}
    given: Tensors = {}
    if options.weights is not None:
        file = find_weights(options.weights, Path())
        spare(options.output, file)
        averages = () if network.recipe.ema is None else {name + AVERAGE for name in wanted}
        given = read_weights(
            file, wanted, torch_names(network), options.allow_missing, options.allow_unexpected,
            teller(options), averages,
        )  # fmt: skip
    fresh = {} if wanted.keys() <= given.keys() else _initial(options, network)
    known = {**fresh, **given}
    return {name: known.get(name + AVERAGE, known[name]) for name in wanted}


def _initial(options: argparse.Namespace, network: Network) -> Tensors:
    """What the network's own program of initial values makes."""
    chosen = Options(line_mesh(1), 1, load_cluster(None, "cpu"), strategy="single")
    bundle, _ = compile_network(network, chosen)
    session = open_session(BackendChoice("cpu", "initial values"), bundle, None, training=False)
    seed = with_defaults(network.recipe).seed if options.seed is None else options.seed
    session.initialize(seed)
    return session.state()
