"""The data set of a network that is not compiled yet."""

from __future__ import annotations

from netc.api.data import open_named
from netc.api.train_choices import Data
from netc.ir.facts import RecipeCall
from netc.ir.programs import EVAL
from netc.passes.build_graph import build_graph
from netc.syntax import InputSpec, Network
from netc_runtime.train.datasets import Dataset
from netc_runtime.train.images import Shape


def network_data(given: Data | None, network: Network) -> tuple[Dataset, dict[str, Shape]]:
    """What is given, or else the network's recipe; and what that fills, (C, H, W) by name.

    Raises DataError as `open_named`.
    """
    graph = build_graph(network, batch=1, mode=EVAL)
    data, inputs = network.recipe.data, {each.name: _shape(each) for each in network.inputs}
    recipe = None if data is None else RecipeCall(data.name, data.args, dict(data.kwargs))
    classes = graph[graph.outputs[2]].type.shape[1]
    return open_named(given, recipe, _shape(network.inputs[0]), classes, inputs), inputs


def _shape(spec: InputSpec) -> Shape:
    channels, height, width = spec.shape
    return channels, height, width
