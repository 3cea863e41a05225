"""What several verbs need: options as values, plans and programs."""

from __future__ import annotations

import argparse
import math
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from netc.api.networks import weight_rules
from netc.cli.arguments import AUTO_BATCH, spare
from netc.cli.auto import AUTO, notes, search, tell, title
from netc.cli.files import defines, load_network
from netc.cli.machine import is_here, load_cluster
from netc.cli.network_data import network_data
from netc.cli.output import count, note
from netc.cli.passes import CompileProgress
from netc.cli.predicted import LOCAL, is_priced
from netc.cost import Cluster, at_devices, at_precision
from netc.errors import DataError, Diagnostic, PlanError, UsageError, clip, did_you_mean
from netc.interchange.names import torch_names
from netc.ir.clock import simulate
from netc.ir.facts import REPLICATED, SHARDED
from netc.ir.optimizers import Chosen, choose_optimizer
from netc.ir.program import Bundle
from netc.ir.programs import EVAL, TRAIN
from netc.ir.types import Mesh, line_mesh, named_mesh
from netc.numbers import DEVICES, MOST_DEVICES, memory_text
from netc.passes.assign_formats import Target
from netc.passes.build_graph import build_graph
from netc.passes.choose_splits import Pin
from netc.passes.compile_cost import CompileCost
from netc.passes.options import Options
from netc.passes.pipeline import Compiled, compile_network
from netc.planner.auto import chosen_options
from netc.planner.choice import Found
from netc.planner.compare import LARGEST_BATCH, faster
from netc.planner.fit import largest_batch
from netc.planner.recompute import ALL, NONE, WORDS, resolved
from netc.report import MemoryUse, layer_facts, memory_use
from netc.strategies.file import MESH_AXES, StrategyFile, read_strategy, write_strategy
from netc.strategies.fixed import FIXED
from netc.syntax import Network, WholeRecipe, with_defaults
from netc_kernels import cpu
from netc_runtime.choose import CUDA_ONLY, check_precision, choose_backend
from netc_runtime.cores import cores
from netc_runtime.cpu.kernels import CpuKernels
from netc_runtime.launch.mpi import started_ranks
from netc_runtime.measure.tuning import load_times
from netc_runtime.memory import available_bytes

INFERENCE = "inference"
"""In place of training, what is planned for."""
ALONE = "single"
"""The strategy of one device."""
BASE_STRATEGY = "hybrid"
"""Of layers that a strategy file does not name; where rounds or `--batch auto` are asked for."""
SMALL_STEP = 50_000_000
"""Multiply-adds forward, below which NumPy's kernels take some milliseconds."""
CUDA_ALIGNMENT_BYTES = 256
TOLD_SECONDS = 90.0
"""Compiling that takes as long is announced."""


@dataclass(frozen=True, slots=True)
class Request:
    """A network, and everything asked for it."""

    network: Network
    options: Options
    strategy: str
    """The strategy, or its file, as it was named."""
    parameters: tuple[tuple[str, str], ...]
    """What -D says, by name, sorted."""
    taken: str = ""
    """The plan that a search took, in words."""


def request(options: argparse.Namespace, images: int | None = None, quiet: bool = False) -> Request:
    """Put the command's options, the strategy file and the recipe together.

    Where there are only so many `images`, the batch is no larger unless the command says so. Of a
    search that was asked for is told what came of it, but where it is to be `quiet`.
    """
    output = getattr(options, "save_strategy", None)
    spare(output, options.network, options.strategy, options.cluster)
    network = load_network(options)
    file = _strategy_file(options.strategy)
    mesh = _mesh(options, file)
    cluster = load_cluster(options.cluster, target_name(options, mesh.size))
    _check_devices(mesh.size, cluster)
    recipe = with_defaults(network.recipe)
    batch = min(recipe.batch, images or recipe.batch)
    sized = options.batch == AUTO_BATCH
    if options.batch is not None and not sized:
        batch = options.batch
    named = options.strategy or _usual_strategy(options, mesh.size)
    searched = named == AUTO
    if (options.search_labels is not None or options.no_share) and not searched:
        given = "--no-share" if options.no_share else "--search-labels"
        message = f"'{given}' says what a search may do, and there is none."
        raise UsageError(Diagnostic("E051", message, help="ask for '--strategy auto'."))
    if sized and searched:
        message = (
            "'--batch auto' is for a plan that is given, '--strategy auto' for a batch that is."
        )
        raise UsageError(Diagnostic("E051", message, help="give one of them."))
    chosen = Options(
        mesh=mesh,
        batch=batch,
        cluster=_seen(options, cluster, mesh),
        strategy=BASE_STRATEGY if searched or file is not None else named,
        pins=(*_file_pins(file), *map(_pin, options.pin)),
        scheme=options.scheme or (file.scheme if file else None) or None,
        fc_update=options.fc_update or (file.fc_update if file else None) or "step",
        goal=EVAL if options.goal == INFERENCE else TRAIN,
        updates=options.updates or (file.updates if file else None),
        recompute=_recompute(options.recompute, file),
        precision=options.precision or "fp32",
        optimizer=_optimizer(recipe),
        afford=partial(_afford, quiet=options.json),
    )
    chosen = replace(chosen, target=_target(options, network, chosen))
    if sized:
        chosen = _largest(options, network, chosen)
    parameters = tuple(sorted(defines(options.define).items()))
    taken = ""
    if searched:
        found = search(network, chosen, options)
        taken = title(found.best)
        chosen = chosen_options(chosen, found.best)
        # Who asked for no search is not told of it: the plan says what was taken.
        if options.strategy is not None and not quiet:
            _tell(options, chosen, found)
    chosen = _recomputing(network, chosen, options.json or quiet)
    return Request(network, chosen, named, parameters, taken)


def _tell(options: argparse.Namespace, chosen: Options, found: Found) -> None:
    if options.json:
        tell(found)
    for text in () if options.json else (*notes(found), *_rough(chosen, found)):
        note(text)


def _usual_strategy(options: argparse.Namespace, devices: int) -> str:
    """What is taken where none is named."""
    if devices == 1:
        return ALONE
    # A search is for a given batch, and is free not to have any rounds.
    rounds = options.scheme is not None or options.fc_update is not None
    return BASE_STRATEGY if rounds or options.batch == AUTO_BATCH else AUTO


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


def _seen(options: argparse.Namespace, cluster: Cluster, mesh: Mesh) -> Cluster:
    """The machine as so many devices see it, in a precision, with the memory that they may use."""
    seen = at_precision(at_devices(cluster, mesh.size), options.precision or "fp32")
    return seen if options.memory is None else replace(seen, memory_bytes=options.memory)


def _recompute(text: str | None, file: StrategyFile | None) -> tuple[str, ...]:
    """The layers of `--recompute relu*,bn*`, or its word; else those of the strategy file."""
    given = (file.recompute if file else ()) if text is None else text.split(",")
    layers = tuple(part.strip() for part in given)
    if not all(layers) or (len(layers) > 1 and not WORDS.isdisjoint(layers)):
        message = f"'--recompute {clip(','.join(layers))}' is not of the form relu*,bn*."
        hint = "or it is one word: none, all or auto."
        raise UsageError(Diagnostic("E051", message, help=hint))
    return layers


def _recomputing(network: Network, chosen: Options, quiet: bool) -> Options:
    """The same with layers where a word says which to compute again."""
    found = resolved(network, chosen)
    if chosen.recompute and not found.recompute and chosen.recompute != (NONE,) and not quiet:
        room = f"the plan fits {memory_text(chosen.cluster.memory_bytes)}"
        why = "none of it would lower the peak" if chosen.recompute == (ALL,) else room
        note(f"nothing is computed again: {why}.")
    return found


def _largest(options: argparse.Namespace, network: Network, chosen: Options) -> Options:
    """The same with the largest batch that fits, and of which a training has one at least."""
    images = None
    if options.verb == "run":
        with suppress(DataError):  # which is said later, where it matters
            images = network_data(options, network)[0].train_size
    bound = LARGEST_BATCH if images is None else min(images, LARGEST_BATCH)
    batch = largest_batch(network, chosen, bound)
    room = memory_text(chosen.cluster.memory_bytes)
    if not batch:
        message = f"not even one image a device fits {room}."
        hint = "take more devices, or a strategy that splits what is largest."
        raise PlanError(Diagnostic("E052", message, help=hint))
    if not options.json:
        most = (
            "the most that is tried"
            if bound == LARGEST_BATCH
            else "the most that the training images make"
        )
        bounded = batch + chosen.mesh.size > bound
        why = most if bounded else "the largest, by whole images a device"
        note(f"batch {count(batch)}: {why}, that fits {room}.")
    return replace(chosen, batch=batch)


def _optimizer(recipe: WholeRecipe) -> Chosen:
    call = recipe.optimizer
    options = {name: value for name, value in call.kwargs.items() if name != "lr"}
    rules = weight_rules(recipe)
    chosen = choose_optimizer(call.name, **options)
    return replace(
        chosen, rules=rules, clip=recipe.clip, ema=recipe.ema, accumulate=recipe.accumulate
    )


def _target(options: argparse.Namespace, network: Network, chosen: Options) -> Target:
    """What the program is compiled for."""
    name = target_name(options, chosen.mesh.size)
    if not options.runs:
        check_precision(name, chosen.precision)
    if name == "cuda":
        # Imported here: programs for the CPU need none of it.
        from netc_runtime.cuda.kernels import CudaKernels

        kernels = _kernels(options, ("auto", "native", "vendor"), "cuda")
        choose = CudaKernels(chosen.precision, kernels).choose
        return Target(
            "cuda", "nhwc", "nhwc", CUDA_ALIGNMENT_BYTES, choose, kernels=kernels, blas_threads=0
        )
    _kernels(options, ("auto", "fast", "reference"), "cpu")
    fast = _wants_fast(options, network, chosen)
    # Ranks may be bound to cores of their own, and this one knows of its own alone.
    machine = cores() if started_ranks() <= 1 else os.cpu_count() or 1
    each = max(1, machine // chosen.mesh.size)
    threads = each if fast and not cpu.available() else 0
    # Fast kernels call BLAS from each of their threads. Products that take less than a millisecond
    # are a tenth of NumPy's time; two threads that meet at each of them halve that at best, and
    # where others want the processor each waits most of the time for the other.
    blas = 1 if threads or _is_small(network, chosen.batch) else each
    plain = Target("cpu", kernels="fast" if fast else "reference", blas_threads=blas)
    if not threads:
        return plain
    choose = CpuKernels(threads, load_times(threads)).choose
    return replace(plain, image_format="nhwc", choose=choose, threads=threads)


def target_name(options: argparse.Namespace, devices: int) -> str:
    """The backend to compile for: the one asked for, or in verbs that run the one that will be."""
    precision, asked = options.precision or "fp32", options.backend
    if asked == "null" or (asked is None and not options.runs):
        return "cuda" if precision in CUDA_ONLY else "cpu"
    if not options.runs:
        return str(asked)
    return choose_backend(asked, devices, precision, options.share_gpus).name


def _kernels(options: argparse.Namespace, known: tuple[str, ...], target: str) -> str:
    kernels = options.kernels or "auto"
    if kernels not in known:
        message = f"'--kernels {kernels}' is not for the {target} backend."
        hint = f"it has {', '.join(known)}."
        raise UsageError(Diagnostic("E051", message, help=hint))
    return kernels


def _wants_fast(options: argparse.Namespace, network: Network, chosen: Options) -> bool:
    """Whether fast kernels are to run, if this machine has them.

    Other machines than the one at hand have kernels of their own.
    """
    elsewhere = not is_here(chosen.cluster, "cpu")
    if elsewhere or options.kernels == "reference" or chosen.precision != "fp32":
        return False
    return options.kernels == "fast" or not _is_small(network, chosen.batch)


def _is_small(network: Network, batch: int) -> bool:
    """Whether a step is so short that compiling fast kernels for it, once, is not worth it."""
    facts = layer_facts(network, build_graph(network, batch=1))
    return batch * sum(f.multiply_adds for f in facts) < SMALL_STEP


def build(
    asked: Request,
    options: argparse.Namespace,
    observer: CompileProgress | None = None,
) -> tuple[Bundle, Compiled]:
    """Compile, refuse what does not fit the machine, and write the strategy if asked to."""
    watched = observer or CompileProgress()
    try:
        bundle, compiled = compile_network(asked.network, asked.options, watched)
    finally:
        watched.close()
    names = torch_names(asked.network)
    facts = replace(
        bundle.facts, strategy=asked.strategy, parameters=asked.parameters, torch_names=names
    )
    bundle = replace(bundle, facts=facts)
    check_memory(memory_use(compiled.program), asked.options)
    if getattr(options, "save_strategy", None):
        save_strategy(Path(options.save_strategy), asked, compiled)
    return bundle, compiled


def advice(asked: Request, compiled: Compiled, options: argparse.Namespace) -> tuple[str, ...]:
    """A word on a faster plan, where a fixed strategy was taken unasked or by its name, and prices
    are those of a measured machine or one that was named.
    """
    chosen = asked.options
    priced = is_priced(chosen.target.name, options.cluster)
    if chosen.mesh.size == 1 or asked.strategy not in FIXED or not priced:
        return ()
    plan = faster(asked.network, chosen, compiled)
    if plan is None:
        return ()
    now = simulate(compiled.program).seconds
    asks = f"--strategy {plan.strategy}" + (f" --scheme {plan.scheme}" if plan.scheme else "")
    gain = 100 * (1 - plan.seconds / now)
    return (f"'{asks}' is predicted to take {gain:.1f} % less time; 'netc compare' shows all.",)


def save_strategy(path: Path, asked: Request, compiled: Compiled) -> None:
    """Write the splits of a plan as a strategy file."""
    chosen = asked.options
    try:
        write_strategy(
            path, asked.network.name, chosen.mesh.shape, compiled.splits, compiled.scheme,
            chosen.fc_update, chosen.updates or REPLICATED,
            chosen.recompute,
        )  # fmt: skip
    except OSError as error:
        raise unwritable(path, error) from None


def unwritable(path: Path, error: OSError) -> UsageError:
    """The error for a file that cannot be written."""
    return UsageError(Diagnostic("E054", f"cannot write '{path}': {error.strerror}."))


def check_memory(uses: list[MemoryUse], options: Options) -> None:
    """Refuse a plan that needs more memory than a device has, with a table and advice."""
    limit = options.cluster.memory_bytes
    worst = max(range(len(uses)), key=lambda d: uses[d].peak)
    use = uses[worst]
    if use.peak <= limit:
        return
    parts = (("weights and state", use.persistent), ("inputs", use.inputs),
             ("activations", use.temporary))  # fmt: skip
    shown = ", ".join(f"{name} {memory_text(size)}" for name, size in parts)
    sizes = f"{memory_text(use.peak)} of {memory_text(limit)}"
    message = f"the plan does not fit: device {worst} peaks at {sizes}"
    room, moving = limit - use.persistent, use.inputs + use.temporary
    fits = math.floor(options.batch * room / moving) if room > 0 else 0
    if options.updates == SHARDED:
        # Gathered weights are no activations: how much is left for those is not told by this.
        advice = "'--batch auto' finds the largest batch that fits, if any; or use more devices."
    elif fits:
        advice = f"a batch of about {fits} fits; or use more devices."
    elif room > 0:
        advice = (
            "one image alone is too large: share it among more devices, by '--strategy spatial' "
            "and a small '--batch'."
        )
    else:
        share = "take '--updates sharded', " if options.mesh.size > 1 else ""
        advice = (
            f"the weights alone are too large: {share}split the largest layers by k, or use more "
            "devices."
        )
    raise PlanError(Diagnostic("E052", f"{message} ({shown}).", help=advice))


def _afford(cost: CompileCost, quiet: bool) -> None:
    """Refuse what this machine has not the memory to compile; say before what takes minutes."""
    room = available_bytes()
    classes = f"{cost.classes} classes of devices" if cost.classes > 1 else "equal devices"
    many = f"{count(cost.instructions)} instructions for {classes}"
    if cost.memory_bytes > room:
        need, have = memory_text(cost.memory_bytes), memory_text(room)
        message = f"compiling {many} takes about {need}, of {have} free."
        hint = "take fewer devices, '--scheme a' (which has no rounds), or a shorter network."
        raise PlanError(Diagnostic("E053", message, help=hint))
    if cost.seconds >= TOLD_SECONDS and not quiet:
        minutes = f"{count(cost.seconds / 60)} minutes and {memory_text(cost.memory_bytes)}"
        note(f"compiling about {many} takes some {minutes}.")


def _strategy_file(name: str | None) -> StrategyFile | None:
    if name is None or name == AUTO or name in FIXED:
        return None
    if Path(name).suffix != ".toml" and not Path(name).exists():
        message = f"'{name}' is neither a strategy nor a strategy file."
        known = (*FIXED, AUTO)
        hint = did_you_mean(name, known) + f"strategies are: {', '.join(known)}."
        raise UsageError(Diagnostic("E051", message, help=hint))
    return read_strategy(Path(name))


def _mesh(options: argparse.Namespace, file: StrategyFile | None) -> Mesh:
    if options.mesh is not None:
        mesh = _mesh_of(options.mesh)
        if options.devices not in (None, mesh.size):
            message = f"'--devices {options.devices}' and '--mesh {options.mesh}' disagree."
            raise UsageError(Diagnostic("E051", message))
    elif options.devices is not None or file is None or file.mesh is None:
        mesh = line_mesh(options.devices or 1)
    else:
        mesh = named_mesh(file.mesh)
    if file is not None and file.mesh not in (None, mesh.shape):
        theirs, mine = ("x".join(map(str, shape)) for shape in (file.mesh or (), mesh.shape))
        message = f"the strategy file is for a mesh of {theirs}, not {mine}."
        hint = "leave '--devices' out, or edit the file."
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
