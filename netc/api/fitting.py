"""Weights that are to be a network's: of a file or in memory, held against its shapes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from netc.api.choices import wrong
from netc.api.held import blas_kept
from netc.api.listener import Told
from netc.api.machine import load_cluster
from netc.api.running import find_weights, open_session
from netc.api.values import path_text, usage
from netc.api.weights import checked_weights, whose_arrays
from netc.errors import DataError
from netc.interchange.names import torch_names
from netc.interchange.to_onnx import weights as weight_nodes
from netc.ir.optimizers import AVERAGE
from netc.ir.types import line_mesh
from netc.passes.build_graph import build_graph
from netc.passes.options import Options
from netc.passes.pipeline import compile_network
from netc.syntax import Network, with_defaults
from netc_runtime.choose import BackendChoice
from netc_runtime.io.weights import Tensors, lacking, matches, optional_of, own_names, read_weights


def fitting(
    network: Network,
    weights: object,
    allow_missing: Sequence[str] = (),
    allow_unexpected: Sequence[str] = (),
    told: Told = lambda _: None,
) -> Tensors:
    """Weights and statistics of a network by its own names, from arrays by name, a file, or a
    folder for its newest checkpoint; names are the network's own, or PyTorch's. What a file has
    otherwise than is allowed is told.

    Raises DataError: as `read_weights`, E080 for names that are not there, E081 for unknown ones,
    E082 for other shapes, E086 for numbers that are not finite; UsageError (E051) for what is no
    weights.
    """
    wanted, names = weight_shapes(network), torch_names(network)
    averages = () if network.recipe.ema is None else {name + AVERAGE for name in wanted}
    if isinstance(weights, str | os.PathLike):
        file = find_weights(path_text("weights", weights), Path())
        return read_weights(file, wanted, names, allow_missing, allow_unexpected, told, averages)
    if not isinstance(weights, Mapping):
        raise wrong("weights", "arrays by name, or a file of them", weights, whose_arrays(weights))
    shapes = {**wanted, **{name: wanted[name.removesuffix(AVERAGE)] for name in averages}}
    own = {name: name for name in wanted}
    optional = optional_of({name: (name, names[name]) for name in wanted}, allow_missing)
    known = {
        name: value
        for name, value in own_names(weights, names).items()
        if name in shapes or not matches((name,), allow_unexpected)
    }
    found = checked_weights(known, shapes)
    problems = list(lacking("'weights'", found, own, optional))
    if problems:
        raise DataError(*problems)
    return found


def weight_shapes(network: Network) -> dict[str, tuple[int, ...]]:
    """By name what weights and running statistics a network has."""
    nodes = weight_nodes(build_graph(network, 1, mode="eval"))
    return {node.name: node.type.shape for node in nodes}


def network_weights(network: Network, given: Tensors, seed: int | None = None) -> Tensors:
    """Every weight and running statistic, copied: those given, averages in place of weights, else
    initial ones, of the recipe's seed where none is given. Raises UsageError (E051) for the seed of
    weights that are all given.
    """
    wanted = weight_shapes(network)
    if seed is not None and wanted.keys() <= given.keys():
        raise usage("'--seed' is of initial values, and all weights are given.", "leave it out.")
    fresh = {} if wanted.keys() <= given.keys() else _initial(network, seed)
    known = {**fresh, **given}
    return {name: known.get(name + AVERAGE, known[name]).copy() for name in wanted}


def _initial(network: Network, seed: int | None) -> Tensors:
    """What the network's own program of initial values makes."""
    chosen = Options(line_mesh(1), 1, load_cluster(None, "cpu"), strategy="single")
    bundle, _ = compile_network(network, chosen)
    choice = BackendChoice("cpu", "initial values", watched=False)
    with blas_kept(), closing(open_session(choice, bundle, None, training=False)) as session:
        session.initialize(with_defaults(network.recipe).seed if seed is None else seed)
        return session.state()
