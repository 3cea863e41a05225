"""The list of passes, and the three programs they make of one network."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from netc.cost import Cluster
from netc.errors import Diagnostic, PlanError, UsageError
from netc.ir import facts
from netc.ir.facts import Facts, Setting
from netc.ir.graph import Graph
from netc.ir.plan import Plan, Split
from netc.ir.program import Bundle, Program
from netc.ir.text import graph_text, plan_text, program_text
from netc.ir.types import Mesh
from netc.ir.verify import verify_bundle, verify_graph, verify_plan
from netc.passes.assign_formats import Target, assign_formats
from netc.passes.assign_kernels import assign_kernels
from netc.passes.assign_streams import assign_streams
from netc.passes.build_graph import build_graph
from netc.passes.choose_splits import Pin, choose_splits
from netc.passes.compile_cost import CompileCost, compile_cost
from netc.passes.differentiate import Optimizer, Sgd, differentiate
from netc.passes.fuse import fuse
from netc.passes.fuse_pooling import fuse_pooling
from netc.passes.fuse_statistics import fuse_statistics
from netc.passes.fuse_updates import fuse_updates
from netc.passes.init_graph import init_plan
from netc.passes.insert_comm import insert_comm
from netc.passes.insert_waits import insert_waits
from netc.passes.plan_memory import persistent_layout, plan_memory
from netc.passes.split_rounds import has_boundary, split_rounds, why_not_rounds
from netc.syntax import Call, Network, Recipe, network_text
from netc.syntax import Options as Settings

PASSES = (
    "build-graph",
    "differentiate",
    "choose-splits",
    "split-rounds",
    "insert-comm",
    "fuse",
    "assign-formats",
    "assign-streams",
    "fuse-statistics",
    "fuse-updates",
    "fuse-pooling",
    "assign-kernels",
    "insert-waits",
    "plan-memory",
)
"""The passes in order; `--print-after` names them."""

NO_RECIPE = Call("sgd", (), Settings.of(lr=0.01, momentum=0.9, decay=0.0))
"""The optimizer of a network whose file names none."""
Observer = Callable[[str, Callable[[], str]], None]
"""Called with a pass's name and what prints its result."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is fixed at compile time besides the network."""

    mesh: Mesh
    batch: int
    """Images of a step, over all devices."""
    cluster: Cluster
    """The machine to plan for."""
    strategy: str = "hybrid"
    pins: tuple[Pin, ...] = ()
    scheme: str | None = None
    """a, b or c; None takes b where it can be honoured, else a, and says so."""
    fc_update: str = "step"
    precision: str = "fp32"
    optimizer: Optimizer = field(default_factory=Sgd)
    target: Target = field(default_factory=lambda: Target("cpu"))
    afford: Callable[[CompileCost], None] = lambda cost: None
    """Called before a training plan becomes a program; raises what forbids it."""
    fetch: tuple[str, ...] = ()
    """More values to put out of a training step, such as "conv1.weight.grad"."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """The values on the way to a program, and what there is to say about them."""

    graph: Graph
    """The training graph before rounds were made of it, or the forward graph of the inference
    program."""
    splits: Mapping[str, Split]
    plan: Plan
    program: Program
    """Without memory."""
    scheme: str
    """The exchange scheme in force; empty where nothing is exchanged in rounds."""
    notes: tuple[str, ...] = ()


def compile_network(
    network: Network, options: Options, observe: Observer = lambda name, printed: None
) -> tuple[Bundle, Compiled]:
    """All programs of a network, with the values behind the training program.

    Every pass is followed by its verifier. Raises NetError for what the user has to change.
    """
    trained = lower_training(network, options, observe)
    graph = build_graph(network, options.batch, options.precision, "eval")
    splits = {layer: trained.splits[layer] for layer in graph.layers if layer in trained.splits}
    evaluated = _lower(graph, splits, replace(options, scheme="a", fc_update="step"), "eval")
    init = insert_waits(
        assign_streams(init_plan(trained.plan), options.cluster, f"{network.name}.init")
    )
    programs = (init, trained.program, evaluated.program)
    alignment = options.target.alignment_bytes
    layout = persistent_layout(programs, options.mesh.size, alignment)
    init, train, evaluate = (plan_memory(p, layout, alignment) for p in programs)
    observe("plan-memory", lambda: program_text(train))
    bundle = Bundle(init, train, evaluate, _facts(network, options, graph, trained.scheme))
    verify_bundle(bundle)
    return bundle, replace(trained, program=train)


def _facts(network: Network, options: Options, graph: Graph, scheme: str) -> Facts:
    """What the network, its evaluation graph and the options fix."""
    recipe, target, scores = network.recipe, options.target, graph.outputs[2]
    optimizer = recipe.optimizer or NO_RECIPE
    told = dict(optimizer.kwargs)
    schedule = recipe.schedule or Call("constant")
    channels, height, width = network.inputs[0].shape
    return Facts(
        augment=tuple(_call(each) for each in recipe.augment),
        batch=options.batch,
        blas_threads=target.blas_threads,
        classes=graph[scores].type.shape[1],
        data=_call(recipe.data) if recipe.data else None,
        epochs=recipe.epochs or 1,
        fc_update=options.fc_update,
        image=(channels, height, width),
        kernels=target.kernels,
        lr=told.pop("lr"),
        mesh=options.mesh.shape,
        network=network.name,
        optimizer=Setting(optimizer.name, told),
        parameters=(),
        pins=tuple(f"{p.pattern}={p.split}" for p in options.pins),
        precision=options.precision,
        schedule=Setting(schedule.name, dict(schedule.kwargs)),
        scheme=scheme,
        scores=scores,
        seed=recipe.seed,
        strategy=options.strategy,
        target=target.name,
        text=_digest(network),
        threads=target.threads,
        torch_names={},
    )


def _call(call: Call) -> facts.Call:
    return facts.Call(call.name, call.args, dict(call.kwargs))


def _digest(network: Network) -> str:
    """What tells networks apart: a hash of the layers as text, whatever the recipe."""
    text = network_text(replace(network, recipe=Recipe()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def lower_training(
    network: Network, options: Options, observe: Observer = lambda name, printed: None
) -> Compiled:
    """The training program of a network, up to insert-waits."""
    graph = build_graph(network, options.batch, options.precision)
    verify_graph(graph)
    observe("build-graph", lambda: graph_text(graph))
    graph = differentiate(graph, options.optimizer)
    graph = replace(graph, outputs=graph.outputs + _fetched(graph, options.fetch))
    verify_graph(graph)
    observe("differentiate", lambda: graph_text(graph))
    splits = choose_splits(graph, options.mesh, options.strategy, options.pins)
    observe("choose-splits", lambda: splits_text(splits))
    return _lower(graph, splits, options, "train", observe)


def splits_text(splits: Mapping[str, Split]) -> str:
    """One layer a line."""
    return "".join(f"{layer} = {','.join(split)}\n" for layer, split in splits.items())


def _fetched(graph: Graph, names: Sequence[str]) -> tuple[str, ...]:
    overwritten = {n.inputs[n.op.alias] for n in graph.nodes if n.op.alias is not None}
    problems = []
    for name in names:
        if name not in graph.index:
            hint = "'netc compile --emit graph' lists all values."
            problems.append(Diagnostic("E044", f"no value '{name}' to fetch.", help=hint))
        elif name in overwritten:
            message = f"'{name}' cannot be fetched: the step overwrites it."
            problems.append(Diagnostic("E044", message, help="its new value is in the state."))
    if problems:
        raise UsageError(*problems)
    return tuple(dict.fromkeys(name for name in names if name not in graph.outputs))


def _lower(
    graph: Graph,
    splits: Mapping[str, Split],
    options: Options,
    name: str,
    observe: Observer = lambda name, printed: None,
) -> Compiled:
    """From a graph with splits to a program with waits."""
    scheme, notes = _scheme(graph, splits, options)
    repeated = split_rounds(graph, splits, options.mesh, scheme or "a", options.fc_update)
    verify_graph(repeated)
    observe("split-rounds", lambda: graph_text(repeated))
    plan = insert_comm(repeated, splits, options.mesh)
    verify_plan(plan)
    observe("insert-comm", lambda: plan_text(plan))
    plan = fuse(plan)
    verify_plan(plan)
    observe("fuse", lambda: plan_text(plan))
    plan = assign_formats(plan, options.target)
    verify_plan(plan)
    observe("assign-formats", lambda: plan_text(plan))
    if name == "train":
        options.afford(compile_cost(plan))
    program = assign_streams(plan, options.cluster, f"{graph.name}.{name}")
    observe("assign-streams", lambda: program_text(program))
    program = fuse_statistics(program, options.target)
    observe("fuse-statistics", lambda: program_text(program))
    program = fuse_updates(program, options.target)
    observe("fuse-updates", lambda: program_text(program))
    program = fuse_pooling(program, options.target)
    observe("fuse-pooling", lambda: program_text(program))
    program = assign_kernels(program, options.target)
    observe("assign-kernels", lambda: program_text(program))
    program = insert_waits(program)
    observe("insert-waits", lambda: program_text(program))
    return Compiled(graph, splits, plan, program, scheme, notes)


def _scheme(
    graph: Graph, splits: Mapping[str, Split], options: Options
) -> tuple[str, tuple[str, ...]]:
    """The scheme in force, with a note where there is nothing to exchange or b is not possible."""
    if options.mesh.size == 1 or not has_boundary(graph, splits):
        if options.fc_update == "round":
            message = "'--fc-update round' needs layers split by the batch that feed others."
            hint = "take '--strategy hybrid' on more than one device."
            raise PlanError(Diagnostic("E043", message, help=hint))
        if options.mesh.size == 1 and options.scheme is None:
            return "", ()
        where = "no layer split by the batch feeds one split otherwise"
        return "", (f"scheme {options.scheme or 'b'} has nothing to do: {where}.",)
    if options.scheme is not None:
        return options.scheme, ()
    if options.target.scheme == "a" and options.fc_update != "round":
        return "a", ()
    problem = why_not_rounds(graph, splits, options.mesh)
    if problem is None or options.fc_update == "round":
        return "b", ()
    return "a", (f"scheme a is used, since scheme b is not possible: {problem.message}.",)
