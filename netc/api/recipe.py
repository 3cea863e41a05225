"""The recipe of a network in force, with every default, as a `train` block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from inspect import signature
from textwrap import wrap

from netc.api.figures import count, rate_text
from netc.api.networks import checked_graph
from netc.errors import Source
from netc.ir.augmentations import AUGMENTATIONS
from netc.ir.datasets import DATA_SETS
from netc.ir.optimizers import OPTIMIZERS, RATE, Optimizer
from netc.ir.schedules import SCHEDULES, scaled_rate
from netc.syntax import Call, NamedValues, Network, Recipe, WholeRecipe, with_defaults
from netc.syntax.evaluate import show
from netc.syntax.formatter import COLUMNS, INDENT, format_source
from netc.syntax.printer import recipe_lines
from netc_runtime.train.datasets import DATASETS

_PATH = "path"
"""The argument of a data set that a recipe gives without its name."""
ABOUT = {
    "batch": "images of a step, over all devices; what is left of an epoch is dropped",
    "rate_batch": "the batch that lr is for: with another one the rate is lr batch / rate_batch",
    "weights": "otherwise for weights of such names; of several lines that match, the last counts",
    "clip": "the norm of all gradients together is limited to this before weights move",
    "ema": "e := ema e + (1 - ema) w after each update; the averages e are what is evaluated",
    "accumulate": "batches whose gradients are added up before weights move, by their mean",
    "epochs": "passes over the data; one has (training images // batch) steps: how many is known "
    "when the data are read",
    "seed": "the key of all random numbers: weights at first, order of images, dropout, augment",
}
"""What settings mean whose words have no table of their own."""


def recipe_text(network: Network) -> str:
    """The recipe of a network as a block. Raises NetError where what it says of weights is
    wrong.
    """
    if network.recipe.weights:
        checked_graph(network)
    return train_text(whole(network.recipe))


def whole(recipe: Recipe) -> WholeRecipe:
    """The recipe with every default, those of its data set too."""
    filled = with_defaults(recipe)
    return replace(filled, data=filled.data and _with_defaults(filled.data))


def _with_defaults(call: Call) -> Call:
    """The data set of a recipe with what it takes by default, where that can be said."""
    kind = DATASETS[call.name]
    parameters = list(signature(kind.make).parameters.values())[kind.fitted :]
    given = dict(zip((_PATH,), call.args, strict=False)) | dict(call.kwargs)
    both = {each.name: given.get(each.name, each.default) for each in parameters}
    told = {name: value for name, value in both.items() if value is not None}
    args = (told.pop(_PATH),) if _PATH in told else ()
    return replace(call, args=args, kwargs=NamedValues(tuple(told.items())))


def train_text(recipe: WholeRecipe) -> str:
    """The `train` block that says the recipe, with comments, in the layout of `netc fmt`."""
    lines = ["train {"]
    for word in ("data", "augment"):
        if not getattr(recipe, word):
            lines.append(f"# {word}: none")
    before = ""
    for line in recipe_lines(recipe):
        word = line.split()[0]
        comment = "" if word == before else " ".join(_comment(recipe, word)).replace("`", "")
        lines += (f"# {each}" for each in wrap(comment, COLUMNS - INDENT - len("# ")))
        lines.append(line)
        before = word
    return format_source(Source("train", "\n".join([*lines, "}"])))


def _comment(recipe: WholeRecipe, word: str) -> Iterator[str]:
    """Sentences on a line of the block."""
    if word in ABOUT:
        yield f"{ABOUT[word]}."
    elif word in OPTIMIZERS:
        yield from _of_optimizer(recipe, OPTIMIZERS[word])
    elif word == "schedule":
        yield from _of_schedule(recipe.schedule)
    elif word == "data" and recipe.data is not None:
        yield f"{DATA_SETS[recipe.data.name].about}."
    elif word == "augment":
        known = dict.fromkeys(each.name for each in recipe.augment)
        yield from (f"{name}: {AUGMENTATIONS[name].about}." for name in known)


def _of_optimizer(recipe: WholeRecipe, optimizer: Optimizer) -> Iterator[str]:
    yield f"{optimizer.about}."
    inside = next((each.makes for each in optimizer.moves[:-1] if RATE in each.operands), None)
    if inside is not None:
        yield (
            f"The rate is inside the {inside}: a gradient stays in it with the rate of its own "
            "step. PyTorch's rule has it outside, times all earlier gradients; both are the same "
            "as long as the rate is."
        )
    if recipe.rate_batch is None:
        yield "lr is for the whole batch, over all devices, whatever its size."
    else:
        yield f"lr is for {count(recipe.rate_batch)} images; in force is {_in_force(recipe)}."


def _of_schedule(call: Call) -> Iterator[str]:
    yield f"The rate is {SCHEDULES[call.name].about}."
    if call.kwargs.get("warmup"):
        epochs = show(call.kwargs["warmup"])
        yield f"It rises to that in equal parts, in the first {epochs} epochs (warmup)."


def _in_force(recipe: WholeRecipe) -> str:
    assert recipe.rate_batch is not None
    return rate_text(_given(recipe), recipe.batch, recipe.rate_batch)


def _given(recipe: WholeRecipe) -> float:
    rate = recipe.optimizer.kwargs[RATE]
    assert isinstance(rate, int | float)
    return rate


def base_rate(recipe: WholeRecipe) -> float:
    """The base rate in force."""
    return scaled_rate(_given(recipe), recipe.batch, recipe.rate_batch)
