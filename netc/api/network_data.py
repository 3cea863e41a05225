"""The data set of a network that is not compiled yet."""

from __future__ import annotations

from netc.api.data import image_shape, open_named
from netc.api.train_choices import Data
from netc.errors import DataError
from netc.ir.facts import RecipeCall
from netc.ir.programs import EVAL
from netc.passes.build_graph import build_graph
from netc.syntax import Network
from netc_runtime.train.datasets import Dataset
from netc_runtime.train.images import Shape


def training_images(given: Data | None, network: Network) -> int | None:
    """How many training images there are of what is given, or else of the network's recipe; None
    where that cannot be said: the reason is an error later, where it matters.
    """
    try:
        return network_data(given, network)[0].train_size
    except DataError:
        return None


def network_data(given: Data | None, network: Network) -> tuple[Dataset, dict[str, Shape]]:
    """What is given, or else the network's recipe; and what that fills, (C, H, W) by name.

    Raises DataError as `open_named`.
    """
    graph = build_graph(network, batch=1, mode=EVAL)
    data, inputs = network.recipe.data, {i.name: image_shape(i.shape) for i in network.inputs}
    recipe = None if data is None else RecipeCall(data.name, data.args, dict(data.kwargs))
    classes = graph[graph.outputs[2]].type.shape[1]
    first = next(iter(inputs.values()))
    return open_named(given, recipe, first, classes, inputs), inputs
