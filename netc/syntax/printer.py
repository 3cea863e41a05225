"""`Network` to text: a flat `.net` file, one layer a line, everything named."""

from __future__ import annotations

from collections.abc import Iterator

from netc.syntax.evaluate import show
from netc.syntax.layers import COMBINING, KINDS
from netc.syntax.network import Call, Layer, NamedValues, Network, Recipe, Value
from netc.syntax.recipe import AUGMENTATIONS, DATA, OPTIMIZERS, SCHEDULES
from netc.syntax.signature import Signature


def network_text(network: Network) -> str:
    """Return a `.net` text without blocks and parameters that parses back to an equal network."""
    lines = [f"net {network.name}", ""]
    for spec in network.inputs:
        lines.append(f"input {spec.name} {show(spec.shape)}")
    lines.append("")
    lines += (_layer(layer) for layer in network.layers)
    recipe = list(recipe_lines(network.recipe))
    if recipe:
        lines += ["", "train {", *(f"    {each}" for each in recipe), "}"]
    return "\n".join(lines) + "\n"


def _layer(layer: Layer) -> str:
    branches = " ; ".join(f"${name}" for name in layer.inputs)
    if layer.kind in COMBINING:
        return f"{layer.name} := {layer.kind} {{ {branches} }}"
    words = " ".join((layer.kind, *_options(KINDS[layer.kind], layer.options)))
    return f"{layer.name} := {branches} | {words}"


def _options(signature: Signature, options: NamedValues) -> Iterator[str]:
    """Yield the options as words: those by position, then all that differ from their defaults."""
    for option in signature.options:
        value = options[option.name]
        if option.required and option.name in signature.form.names[: signature.positional]:
            yield show(value)
        elif option.name == "stride":
            yield from _stride(signature, options)
        elif value != option.default:
            yield f"{option.name}={_size(value)}"


def _stride(signature: Signature, options: NamedValues) -> Iterator[str]:
    usual = (1, 1) if signature.name == "conv" or options["size"] == "global" else options["size"]
    if options["stride"] != usual:
        yield f"/{_size(options['stride'])}"


def _size(value: Value) -> str:
    """Write a pair of equals as one number: a stride of 2 rather than 2x2."""
    if isinstance(value, tuple) and len(value) == 2 and value[0] == value[1]:
        return str(value[0])
    return show(value)


def recipe_lines(recipe: Recipe) -> Iterator[str]:
    """Yield the lines of a `train` block that says what `recipe` does."""
    if recipe.data is not None:
        yield f"data {_call(recipe.data, DATA)}"
    if recipe.batch is not None:
        yield f"batch {recipe.batch}"
    if recipe.rate_batch is not None:
        yield f"rate_batch {recipe.rate_batch}"
    if recipe.optimizer is not None:
        signature = OPTIMIZERS[recipe.optimizer.name]
        words = (f"{name}={show(value)}" for name, value in recipe.optimizer.kwargs.items())
        yield " ".join((signature.name, *words))
    for rule in recipe.weights:
        told = (f"{n}={show(value)}" for n, value in rule.kwargs.items() if value is not None)
        yield " ".join((rule.name, *map(show, rule.args), *told))
    if recipe.clip is not None:
        yield f"clip {show(recipe.clip)}"
    if recipe.ema is not None:
        yield f"ema {show(recipe.ema)}"
    if recipe.accumulate != 1:
        yield f"accumulate {recipe.accumulate}"
    if recipe.schedule is not None:
        yield f"schedule {_call(recipe.schedule, SCHEDULES)}"
    if recipe.epochs is not None:
        yield f"epochs {recipe.epochs}"
    if recipe.augment:
        yield "augment " + " ".join(_call(each, AUGMENTATIONS) for each in recipe.augment)
    if recipe.seed is not None:
        yield f"seed {recipe.seed}"


def _call(call: Call, known: dict[str, Signature]) -> str:
    assert call.name in known
    words = [show(value) for value in call.args]
    words += (f"{name}={show(value)}" for name, value in call.kwargs.items())
    return f"{call.name}({', '.join(words)})"
