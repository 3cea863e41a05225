"""A network and what is asked of its plan as one value: choices, strategy file, recipe."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from netc.api.afford import afford
from netc.api.choices import AUTO, INFERENCE, PlanChoices
from netc.api.figures import count
from netc.api.listener import Listener
from netc.api.machine import is_here, load_cluster
from netc.api.networks import weight_rules
from netc.api.predicted import LOCAL
from netc.api.search import notes, search, title
from netc.api.targets import target_name, target_of
from netc.cost import Cluster, at_devices, at_precision
from netc.errors import Diagnostic, PlanError, UsageError, clip, did_you_mean
from netc.ir.facts import SHARDED
from netc.ir.optimizers import Chosen, choose_optimizer
from netc.ir.programs import EVAL, TRAIN
from netc.ir.types import Mesh, line_mesh, named_mesh
from netc.numbers import DEVICES, MOST_DEVICES, memory_text
from netc.passes.choose_splits import Pin
from netc.passes.options import Options
from netc.planner.auto import chosen_options
from netc.planner.choice import Found
from netc.planner.compare import LARGEST_BATCH
from netc.planner.fit import largest_batch
from netc.planner.recompute import ALL, NONE, WORDS, resolved
from netc.strategies.file import MESH_AXES, StrategyFile, read_strategy
from netc.strategies.fixed import FIXED
from netc.syntax import Network, WholeRecipe, with_defaults

ALONE = "single"
"""The strategy of one device."""
BASE_STRATEGY = "hybrid"
"""Of layers that a strategy file does not name; where rounds or `--batch auto` are asked for."""
Parameters = tuple[tuple[str, str], ...]
"""What a network was given, by name, sorted."""


@dataclass(frozen=True, slots=True)
class Request:
    """A network, and everything asked for it."""

    network: Network
    options: Options
    strategy: str
    """The strategy, or its file, as it was named."""
    parameters: Parameters
    cluster: str | None = None
    """The machine, as it was named."""
    found: Found | None = None
    """What a search found, where there was one."""

    def __repr__(self) -> str:
        """One line."""
        return f"<Request {self.network.name}: strategy {self.strategy}>"

    @property
    def taken(self) -> str:
        """The plan that a search took, in words; empty where there was none."""
        return "" if self.found is None else title(self.found.best)


def request(
    network: Network,
    parameters: Parameters,
    choices: PlanChoices,
    listener: Listener,
    images: int | None = None,
    most: Callable[[], int | None] = lambda: None,
) -> Request:
    """Put choices, the strategy file and the recipe together.

    Where there are only so many `images`, the batch is no larger unless it is chosen; the largest
    that fits is no larger than `most` says. The listener hears of a search that was asked for.
    """
    file = _strategy_file(choices.strategy)
    mesh = _mesh(choices, file)
    cluster = load_cluster(choices.cluster, target_name(choices, mesh.size))
    _check_devices(mesh.size, cluster)
    named = choices.strategy or _usual_strategy(choices, mesh.size)
    _check_search(choices, named)
    _check_goal(choices)
    if choices.share_gpus and mesh.size == 1:
        listener.note("'--share-gpus' has nothing to do: there is one device.")
    chosen = _options(network, choices, file, mesh, _seen(choices, cluster, mesh), named)
    recipe = with_defaults(network.recipe)
    asked = None if choices.batch == AUTO else choices.batch
    batch = min(recipe.batch, images or recipe.batch) if asked is None else int(asked)
    chosen = replace(chosen, batch=batch, afford=partial(afford, listener.note))
    chosen = replace(chosen, target=target_of(choices, network, chosen))
    if choices.batch == AUTO:
        chosen = _largest(network, chosen, most(), listener)
    found = None
    if named == AUTO:
        found = search(network, chosen, choices, listener)
        chosen = chosen_options(chosen, found.best)
        # Who asked for no search is not told of it: the plan says what was taken.
        for text in () if choices.strategy is None else (*notes(found), *_rough(chosen, found)):
            listener.note(text)
    chosen = _recomputing(network, chosen, listener)
    return Request(network, chosen, named, parameters, choices.cluster, found)


def _check_search(choices: PlanChoices, named: str) -> None:
    """Refuse what a search has no use for, or cannot do."""
    searched = named == AUTO
    asked = {"--search-labels": choices.search_labels is not None, "--no-share": choices.no_share,
             "--exact-memory": choices.exact_memory}  # fmt: skip
    given = next((name for name, is_given in asked.items() if is_given), None)
    if given and not searched:
        message = f"'{given}' says what a search may do, and there is none."
        raise UsageError(Diagnostic("E051", message, help="ask for '--strategy auto'."))
    if choices.batch == AUTO and searched:
        message = (
            "'--batch auto' is for a plan that is given, '--strategy auto' for a batch that is."
        )
        raise UsageError(Diagnostic("E051", message, help="give one of them."))


def _check_goal(choices: PlanChoices) -> None:
    """Refuse what is of a training where inference is planned for."""
    given = {
        f"--scheme {choices.scheme}": choices.scheme is not None,
        "--updates sharded": choices.updates == SHARDED,
        "--fc-update round": choices.fc_update == "round",
        f"--recompute {choices.recompute}": choices.recompute not in (None, NONE),
    }
    for name, is_given in given.items() if choices.goal == INFERENCE else ():
        if is_given:
            message = f"'{name}' is of a training, and inference has neither updates nor gradients."
            raise UsageError(Diagnostic("E051", message, help="leave it out."))


def _options(
    network: Network,
    choices: PlanChoices,
    file: StrategyFile | None,
    mesh: Mesh,
    cluster: Cluster,
    named: str,
) -> Options:
    """What is fixed before batch and kernels are chosen."""
    recipe = with_defaults(network.recipe)
    return Options(
        mesh=mesh,
        batch=recipe.batch,
        cluster=cluster,
        strategy=BASE_STRATEGY if named == AUTO or file is not None else named,
        pins=(*_file_pins(file), *map(_pin, choices.pin)),
        scheme=choices.scheme or (file.scheme if file else None) or None,
        fc_update=choices.fc_update or (file.fc_update if file else None) or "step",
        goal=EVAL if choices.goal == INFERENCE else TRAIN,
        updates=choices.updates or (file.updates if file else None),
        recompute=_recompute(choices.recompute, file),
        precision=choices.precision or "fp32",
        optimizer=_optimizer(recipe),
    )


def _usual_strategy(choices: PlanChoices, devices: int) -> str:
    """What is taken where none is named."""
    if devices == 1:
        return ALONE
    # A search is for a given batch, and is free not to have any rounds.
    rounds = choices.scheme is not None or choices.fc_update is not None
    return BASE_STRATEGY if rounds or choices.batch == AUTO else AUTO


def _rough(chosen: Options, found: Found) -> tuple[str, ...]:
    """What there is to say of a choice by prices that nobody measured, or that decide nothing."""
    cluster = chosen.cluster
    if not cluster.machine and cluster.name == LOCAL:
        return ("prices of this machine are rough defaults, and so is the choice: 'netc calibrate' "
                "measures it.",)  # fmt: skip
    undecided = found.best is not found.candidates[0] and found.candidates[0].fits is not False
    if undecided and is_here(cluster, chosen.target.name):
        asked = f"--batch {chosen.batch} --devices {chosen.mesh.size}"
        return (f"'netc calibrate NET {asked}' measures which is the fastest.",)
    return ()


def _seen(choices: PlanChoices, cluster: Cluster, mesh: Mesh) -> Cluster:
    """The machine as so many devices see it, in a precision, with the memory that they may use."""
    seen = at_precision(at_devices(cluster, mesh.size), choices.precision or "fp32")
    return seen if choices.memory is None else replace(seen, memory_bytes=choices.memory)


def _recompute(text: str | None, file: StrategyFile | None) -> tuple[str, ...]:
    """The layers of `--recompute relu*,bn*`, or its word; else those of the strategy file."""
    given = (file.recompute if file else ()) if text is None else text.split(",")
    layers = tuple(part.strip() for part in given)
    if not all(layers) or (len(layers) > 1 and not WORDS.isdisjoint(layers)):
        message = f"'--recompute {clip(','.join(layers))}' is not of the form relu*,bn*."
        hint = "or it is one word: none, all or auto."
        raise UsageError(Diagnostic("E051", message, help=hint))
    return layers


def _recomputing(network: Network, chosen: Options, listener: Listener) -> Options:
    """The same with layers where a word says which to compute again."""
    found = resolved(network, chosen)
    if chosen.recompute and not found.recompute and chosen.recompute != (NONE,):
        room = f"the plan fits {memory_text(chosen.cluster.memory_bytes)}"
        why = "none of it would lower the peak" if chosen.recompute == (ALL,) else room
        listener.note(f"nothing is computed again: {why}.")
    return found


def _largest(network: Network, chosen: Options, most: int | None, listener: Listener) -> Options:
    """The same with the largest batch that fits, of at `most` so many images."""
    bound = LARGEST_BATCH if most is None else min(most, LARGEST_BATCH)
    batch = largest_batch(network, chosen, bound)
    room = memory_text(chosen.cluster.memory_bytes)
    if not batch:
        message = f"not even one image a device fits {room}."
        hint = "take more devices, or a strategy that splits what is largest."
        raise PlanError(Diagnostic("E052", message, help=hint))
    limit = (
        "the most that is tried"
        if bound == LARGEST_BATCH
        else "the most that the training images make"
    )
    bounded = batch + chosen.mesh.size > bound
    why = limit if bounded else "the largest, by whole images a device"
    listener.note(f"batch {count(batch)}: {why}, that fits {room}.")
    return replace(chosen, batch=batch)


def _optimizer(recipe: WholeRecipe) -> Chosen:
    call = recipe.optimizer
    options = {name: value for name, value in call.kwargs.items() if name != "lr"}
    rules = weight_rules(recipe)
    chosen = choose_optimizer(call.name, **options)
    return replace(
        chosen, rules=rules, clip=recipe.clip, ema=recipe.ema, accumulate=recipe.accumulate
    )


def _strategy_file(name: str | None) -> StrategyFile | None:
    if name is None or name == AUTO or name in FIXED:
        return None
    if Path(name).suffix != ".toml" and not Path(name).exists():
        message = f"'{name}' is neither a strategy nor a strategy file."
        known = (*FIXED, AUTO)
        hint = did_you_mean(name, known) + f"strategies are: {', '.join(known)}."
        raise UsageError(Diagnostic("E051", message, help=hint))
    return read_strategy(Path(name))


def _mesh(choices: PlanChoices, file: StrategyFile | None) -> Mesh:
    if choices.mesh is not None:
        mesh = _mesh_of(choices.mesh)
        if choices.devices not in (None, mesh.size):
            message = f"'--devices {choices.devices}' and '--mesh {choices.mesh}' disagree."
            hint = f"'--mesh' alone says that there are {mesh.size}."
            raise UsageError(Diagnostic("E051", message, help=hint))
    elif choices.devices is not None or file is None or file.mesh is None:
        mesh = line_mesh(choices.devices or 1)
    else:
        mesh = named_mesh(file.mesh)
    if file is not None and file.mesh not in (None, mesh.shape):
        theirs, mine = ("x".join(map(str, shape)) for shape in (file.mesh or (), mesh.shape))
        message = f"the strategy file is for a mesh of {theirs}, not {mine}."
        given = "--devices" if choices.mesh is None else "--mesh"
        hint = f"leave '{given}' out, or edit the file."
        raise UsageError(Diagnostic("E042", message, help=hint))
    return mesh


def _check_devices(devices: int, cluster: Cluster) -> None:
    """Refuse more devices than a machine has."""
    most = cluster.links.devices
    if most is not None and devices > most:
        message = f"'{cluster.name}' has {most} devices, not {devices}."
        hint = (
            f"take at most {most}, or describe a larger machine: 'devices' of the last of its "
            "links says how many it has."
        )
        raise PlanError(Diagnostic("E055", message, help=hint))


def _mesh_of(text: str) -> Mesh:
    try:
        shape = tuple(int(DEVICES.read(part)) for part in text.split("x"))
    except ValueError:
        shape = ()
    if not 1 <= len(shape) <= MESH_AXES or not DEVICES.accepts(math.prod(shape)):
        message = f"'--mesh {clip(text)}' is not of the form 2x2."
        hint = f"one to {MESH_AXES} axes, {MOST_DEVICES:,} devices in all."
        raise UsageError(Diagnostic("E051", message, help=hint))
    return named_mesh(shape)


def _pin(text: str) -> Pin:
    pattern, equals, split = text.rpartition("=")
    if not equals or not pattern:
        message = f"'--pin {text}' is not of the form PATTERN=SPLIT."
        raise UsageError(Diagnostic("E051", message, help="for example --pin 'fc*=k'."))
    return Pin(pattern, split)


def _file_pins(file: StrategyFile | None) -> tuple[Pin, ...]:
    return tuple(Pin(*item) for item in file.splits) if file else ()
