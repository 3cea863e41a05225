"""The passes as data, the one loop that runs them, and the programs they make of one network."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

from netc.errors import Diagnostic, UsageError
from netc.ir import facts
from netc.ir.classes import DeviceClass, device_classes
from netc.ir.facts import REPLICATED, SHARDED, Facts, Setting
from netc.ir.graph import Graph
from netc.ir.plan import Plan, Split
from netc.ir.program import Bundle, Program
from netc.ir.programs import EVAL, INIT, PART, PROGRAMS, STEPS, TRAIN
from netc.ir.text import graph_text, plan_text, program_text
from netc.ir.types import Mesh
from netc.ir.verify import verify_graph, verify_plan
from netc.ir.verify_program import Known, verify_program, verify_state
from netc.passes.assign_formats import Target, assign_formats
from netc.passes.assign_kernels import assign_kernels
from netc.passes.assign_streams import assign_streams
from netc.passes.average_weights import average_weights
from netc.passes.build_graph import build_graph, check_groups
from netc.passes.choose_splits import choose_splits
from netc.passes.compile_cost import compile_cost
from netc.passes.differentiate import differentiate
from netc.passes.exchange_in_line import exchange_in_line
from netc.passes.fuse import fuse
from netc.passes.fuse_convolutions import fuse_convolutions
from netc.passes.fuse_pooling import fuse_pooling
from netc.passes.fuse_statistics import fuse_statistics
from netc.passes.fuse_updates import fuse_updates
from netc.passes.init_graph import init_plan
from netc.passes.insert_comm import insert_comm
from netc.passes.insert_waits import insert_waits
from netc.passes.note_places import note_places
from netc.passes.options import Options, digest
from netc.passes.plan_memory import Layout, persistent_layout, plan_memory
from netc.passes.recompute import named_layers, recompute, recomputed_layers, repeated_region
from netc.passes.scheme import scheme_of
from netc.passes.shard_updates import place_weights, shard_updates
from netc.passes.split_groups import split_groups
from netc.passes.split_rounds import split_rounds
from netc.passes.sum_statistics import sum_statistics
from netc.syntax import Call, Network, with_defaults


@dataclass(frozen=True, slots=True)
class Compiled:
    """The values on the way to the program that is planned for, and what there is to say."""

    graph: Graph
    """Its graph before rounds were made of it."""
    splits: Mapping[str, Split]
    """Of all layers, those that only training has among them where it is compiled."""
    plan: Plan
    program: Program
    scheme: str
    """The exchange scheme in force; empty where nothing is exchanged in rounds."""
    notes: tuple[str, ...] = ()
    recomputed: tuple[str, ...] = ()
    """Layers of which the backward pass computes something again, in the graph's order."""
    part: Program | None = None
    """The step that moves no weight, where there is one and all was compiled."""

    def __repr__(self) -> str:
        """One line."""
        return f"<Compiled {self.graph.name}: graph, plan, program>"


@dataclass(frozen=True, slots=True)
class SplitGraph:
    """A graph, the split of every layer, and how their exchanges go."""

    graph: Graph
    splits: Mapping[str, Split]
    scheme: str
    """a, b or c; empty where nothing is exchanged in rounds."""
    fc_update: str
    notes: tuple[str, ...] = ()


class Compilation:
    """The values of a network's programs on their way through the passes."""

    def __init__(self, network: Network, options: Options, programs: Sequence[str]) -> None:
        self.network, self.options, self.programs = network, options, tuple(programs)
        self.values: dict[str, Any] = {}
        """By program what the last pass made of it."""
        self.known = Known()
        """What verifiers of programs have found right so far."""
        self.forms: dict[tuple[str, str], Any] = {}
        """By program and form ("Graph", "Splits", "Plan", "Program") the last value of that form
        before it became another.
        """

    def last(self, program: str, form: str) -> Any:
        """The last value that a program had in a form."""
        return self.forms[program, form]

    @cached_property
    def training(self) -> Graph:
        """What training begins with, also where it is not compiled."""
        options = self.options
        return build_graph(self.network, options.batch, options.precision, TRAIN)

    @cached_property
    def classes(self) -> tuple[DeviceClass, ...]:
        """The classes of the devices, the same for all programs."""
        plans = [self.last(program, "Plan") for program in self.programs]
        return device_classes(plans, self.options.apart)

    def layout(self, program: str) -> Layout:
        """Where state is, the same in all programs; what inference has comes first, and is all that
        it keeps where nothing is trained.
        """
        inference = self.options.goal != TRAIN and program == self.options.goal
        return self.layouts[not inference]

    @cached_property
    def layouts(self) -> tuple[Layout, Layout]:
        """Of the state of inference, where that is what is planned for, and of all state."""
        alignment, goal = self.options.target.alignment_bytes, self.options.goal
        programs = [self.values[program] for program in self.programs]
        if goal == TRAIN:
            return (persistent_layout(programs, alignment),) * 2
        first = persistent_layout(programs, alignment, only=self.values[goal])
        return first, persistent_layout(programs, alignment, before=first)


@dataclass(frozen=True, slots=True)
class Pass:
    """One step of compilation, for some of the programs."""

    name: str
    source: str
    """The form that it takes: Network, Graph, Splits, Plan or Program."""
    target: str
    """The form that it gives."""
    run: Callable[[Compilation, str], Any]
    """From the values so far and the program's name to its next value."""
    verify: Callable[[Compilation, Any], None]
    text: Callable[[Any], str]
    programs: tuple[str, ...] = (TRAIN, PART, EVAL)
    """Which it is for."""


@dataclass(frozen=True, slots=True)
class PassReport:
    """What a pass did to a program."""

    name: str
    """The pass."""
    program: str
    text: Callable[[], str]
    """Prints the result."""
    seconds: float
    """Of the pass."""
    verify_seconds: float
    """Of the verifier after it."""


class Observer:
    """Told what compilation is at; this one does not care."""

    def begins(self, name: str, program: str) -> None:
        """A pass begins, for a program."""

    def ended(self, step: PassReport) -> None:
        """A pass has ended, and its result is verified."""


def run_passes(
    compilation: Compilation, passes: Iterable[Pass], observer: Observer, verified: bool = True
) -> None:
    """The one loop: run, verify, tell. Raises NetError for what the user has to change."""
    for each in passes:
        for program in compilation.programs:
            if program not in each.programs:
                continue
            observer.begins(each.name, program)
            start = time.perf_counter()
            value = each.run(compilation, program)
            made = time.perf_counter()
            if verified and value is not compilation.values.get(program):
                each.verify(compilation, value)
            ended = time.perf_counter()
            compilation.values[program] = compilation.forms[program, each.target] = value
            text = partial(each.text, value)
            observer.ended(PassReport(each.name, program, text, made - start, ended - made))


def _built(c: Compilation, program: str) -> Graph:
    options = c.options
    mode = TRAIN if program in STEPS else program
    graph = build_graph(c.network, options.batch, options.precision, mode)
    if options.goal == TRAIN:
        check_groups(graph)
    return graph


def _averaged(c: Compilation, program: str) -> Graph:
    return average_weights(c.values[program], c.options.optimizer)


def _differentiated(c: Compilation, program: str) -> Graph:
    """A step that moves no weight puts out what it has of what is asked for."""
    updates, asked = program == TRAIN, c.options.fetch
    graph = differentiate(c.values[program], c.options.optimizer, updates)
    asked = asked if updates else tuple(name for name in asked if name in graph.index)
    return replace(graph, outputs=graph.outputs + _fetched(graph, asked))


def _chosen(c: Compilation, program: str) -> SplitGraph:
    """The training program's choice is the others' too, where it is compiled."""
    graph, options = c.values[program], c.options
    if program != TRAIN and TRAIN in c.programs:
        trained: SplitGraph = c.last(TRAIN, "Splits")
        scheme = trained.scheme if program == PART else ""
        return SplitGraph(graph, _restricted(trained.splits, graph), scheme, "step")
    # Strategies and pins are of training's layers, of which others have some.
    layers = graph if program == TRAIN else c.training
    chosen = choose_splits(layers, options.mesh, options.strategy, options.pins)
    splits = _restricted(chosen, graph)
    scheme, notes = scheme_of(graph, splits, options)
    return SplitGraph(graph, splits, scheme, options.fc_update, notes)


def _restricted(splits: Mapping[str, Split], graph: Graph) -> dict[str, Split]:
    return {layer: splits[layer] for layer in graph.layers if layer in splits}


def _with_splits(
    run: Callable[[Graph, Mapping[str, Split], Mesh], Graph],
) -> Callable[[Compilation, str], SplitGraph]:
    """A pass that writes a graph anew for the splits that were chosen."""

    def made(c: Compilation, program: str) -> SplitGraph:
        chosen: SplitGraph = c.values[program]
        return replace(chosen, graph=run(chosen.graph, chosen.splits, c.options.mesh))

    return made


def _recomputing(c: Compilation, program: str) -> SplitGraph:
    chosen: SplitGraph = c.values[program]
    layers = named_layers(chosen.graph, c.options.recompute)
    region = repeated_region(chosen.graph, chosen.splits, chosen.scheme)
    return replace(chosen, graph=recompute(chosen.graph, layers, region))


def _in_rounds(c: Compilation, program: str) -> SplitGraph:
    chosen: SplitGraph = c.values[program]
    scheme, mesh = chosen.scheme or "a", c.options.mesh
    graph = split_rounds(chosen.graph, chosen.splits, mesh, scheme, chosen.fc_update)
    return replace(chosen, graph=graph)


def _in_shards(c: Compilation, program: str) -> SplitGraph:
    """The training program's weights are the others' too."""
    chosen: SplitGraph = c.values[program]
    if c.options.updates != SHARDED:
        return chosen
    if program != TRAIN:
        return replace(chosen, graph=place_weights(chosen.graph, _trained(c)))
    graph, notes = shard_updates(chosen.graph, chosen.splits, c.options.mesh), chosen.notes
    if graph is chosen.graph:
        notes += ("sharded updates have nothing to do: no gradients of weights are summed over "
                  "devices, or none of them is for updates alone.",)  # fmt: skip
    return replace(chosen, graph=graph, notes=notes)


def _trained(c: Compilation) -> Graph:
    """The training graph with the splits of its weights, also where it is not compiled."""
    if TRAIN in c.programs:
        graph: Graph = c.last(TRAIN, "Splits").graph
        return graph
    options = c.options
    splits = choose_splits(c.training, options.mesh, options.strategy, options.pins)
    return shard_updates(differentiate(c.training, options.optimizer), splits, options.mesh)


def _communicating(c: Compilation, program: str) -> Plan:
    chosen: SplitGraph = c.values[program]
    return insert_comm(chosen.graph, chosen.splits, c.options.mesh)


def _on_streams(c: Compilation, program: str) -> Program:
    plan, name = c.values[program], f"{c.network.name}.{program}"
    if program == c.options.goal:
        c.options.afford(compile_cost(plan, len(c.classes)))
    return assign_streams(plan, c.options.cluster, name, c.classes)


def _in_memory(c: Compilation, program: str) -> Program:
    return plan_memory(c.values[program], c.layout(program), c.options.target.alignment_bytes)


def _with_kernels(c: Compilation, program: str) -> Program:
    options = c.options
    return assign_kernels(c.values[program], options.target, options.cluster, options.setting)


def _plain(run: Callable[[Any], Any]) -> Callable[[Compilation, str], Any]:
    """A pass that asks for nothing besides its value."""
    return lambda c, program: run(c.values[program])


def _for_target(run: Callable[[Any, Target], Any]) -> Callable[[Compilation, str], Any]:
    """A pass that asks what the device likes, or has kernels for."""
    return lambda c, program: run(c.values[program], c.options.target)


def _graph(c: Compilation, graph: Graph) -> None:
    verify_graph(graph)


def _splits(c: Compilation, chosen: SplitGraph) -> None:
    verify_graph(chosen.graph)


def _plan(c: Compilation, plan: Plan) -> None:
    verify_plan(plan)


def _unordered(c: Compilation, program: Program) -> None:
    verify_program(program, waits=False, known=c.known)


def _program(c: Compilation, program: Program) -> None:
    verify_program(program, known=c.known)


def splits_text(chosen: SplitGraph) -> str:
    """One layer a line."""
    return "".join(f"{layer} = {','.join(split)}\n" for layer, split in chosen.splits.items())


def split_graph_text(chosen: SplitGraph) -> str:
    """The graph alone, one node a line."""
    return graph_text(chosen.graph)


PASSES = (
    Pass("build-graph", "Network", "Graph", _built, _graph, graph_text),
    Pass("average-weights", "Graph", "Graph", _averaged, _graph, graph_text, (EVAL,)),
    Pass("differentiate", "Graph", "Graph", _differentiated, _graph, graph_text, STEPS),
    Pass("choose-splits", "Graph", "Splits", _chosen, _splits, splits_text),
    Pass("note-places", "Splits", "Splits", _with_splits(note_places), _splits,
         split_graph_text, STEPS),
    Pass("split-groups", "Splits", "Splits", _with_splits(split_groups), _splits,
         split_graph_text),
    Pass("recompute", "Splits", "Splits", _recomputing, _splits, split_graph_text, STEPS),
    Pass("split-rounds", "Splits", "Splits", _in_rounds, _splits, split_graph_text, STEPS),
    Pass("shard-updates", "Splits", "Splits", _in_shards, _splits, split_graph_text),
    Pass("sum-statistics", "Splits", "Splits", _with_splits(sum_statistics), _splits,
         split_graph_text, STEPS),
    Pass("insert-comm", "Splits", "Plan", _communicating, _plan, plan_text),
    Pass("fuse", "Plan", "Plan", _plain(fuse), _plan, plan_text),
    Pass("assign-formats", "Plan", "Plan", _for_target(assign_formats), _plan, plan_text),
    Pass("init-graph", "Plan", "Plan", lambda c, _: init_plan(c.last(TRAIN, "Plan")), _plan,
         plan_text, (INIT,)),
    Pass("assign-streams", "Plan", "Program", _on_streams, _unordered, program_text, PROGRAMS),
    Pass("fuse-convolutions", "Program", "Program", _for_target(fuse_convolutions), _unordered,
         program_text),
    Pass("fuse-statistics", "Program", "Program", _for_target(fuse_statistics), _unordered,
         program_text),
    Pass("fuse-updates", "Program", "Program", _for_target(fuse_updates), _unordered,
         program_text),
    Pass("fuse-pooling", "Program", "Program", _for_target(fuse_pooling), _unordered,
         program_text),
    Pass("assign-kernels", "Program", "Program", _with_kernels, _unordered,
         program_text),
    Pass("exchange-in-line", "Program", "Program", _plain(exchange_in_line), _unordered,
         program_text),
    Pass("insert-waits", "Program", "Program", _plain(insert_waits), _program, program_text,
         PROGRAMS),
    Pass("plan-memory", "Program", "Program", _in_memory, _program, program_text, PROGRAMS),
)  # fmt: skip
"""The passes in order; `--print-after` names them."""


def compile_network(
    network: Network, options: Options, observer: Observer | None = None
) -> tuple[Bundle, Compiled]:
    """All programs of a network, with the values behind the one that is planned for.

    Raises NetError for what the user has to change.
    """
    added = options.optimizer.accumulate > 1
    programs = [name for name in PROGRAMS if added or name != PART]
    compilation = Compilation(network, options, programs)
    run_passes(compilation, PASSES, observer or Observer())
    init, train, evaluate = (compilation.values[program] for program in (INIT, TRAIN, EVAL))
    part = compilation.values.get(PART)
    compiled = replace(_compiled(compilation), part=part if options.goal == TRAIN else None)
    graph, scheme = compilation.last(EVAL, "Graph"), compilation.last(TRAIN, "Splits").scheme
    bundle = Bundle(init, train, evaluate, _facts(network, options, graph, scheme), part)
    verify_state(bundle)
    return bundle, compiled


def _facts(network: Network, options: Options, graph: Graph, scheme: str) -> Facts:
    """What the network, its evaluation graph and the options fix."""
    recipe, target, scores = with_defaults(network.recipe), options.target, graph.outputs[2]
    optimizer, schedule = recipe.optimizer, recipe.schedule
    told = dict(optimizer.kwargs)
    if recipe.weights:
        told["weights"] = "; ".join(map(str, options.optimizer.rules))
    channels, height, width = network.inputs[0].shape
    return Facts(
        accumulate=options.optimizer.accumulate,
        augment=tuple(_call(each) for each in recipe.augment),
        batch=options.batch,
        blas_threads=target.blas_threads,
        classes=graph[scores].type.shape[1],
        clip=options.optimizer.clip,
        data=_call(recipe.data) if recipe.data else None,
        ema=options.optimizer.ema,
        epochs=recipe.epochs,
        fc_update=options.fc_update,
        goal=options.goal,
        image=(channels, height, width),
        kernels=target.kernels,
        lr=told.pop("lr"),
        mesh=options.mesh.shape,
        network=network.name,
        optimizer=Setting(optimizer.name, told),
        parameters=(),
        pins=tuple(f"{p.pattern}={p.split}" for p in options.pins),
        precision=options.precision,
        rate_batch=recipe.rate_batch,
        schedule=Setting(schedule.name, dict(schedule.kwargs)),
        scheme=scheme,
        scores=scores,
        seed=recipe.seed,
        strategy=options.strategy,
        taken="",
        target=target.name,
        text=digest(network),
        threads=target.threads,
        torch_names={},
        updates=options.updates or REPLICATED,
    )


def _call(call: Call) -> facts.RecipeCall:
    return facts.RecipeCall(call.name, call.args, dict(call.kwargs))


def lower_network(
    network: Network, options: Options, observer: Observer | None = None, verified: bool = True,
    training: Graph | None = None,
) -> Compiled:  # fmt: skip
    """The program that is planned for, up to insert-waits; without `verified` only to be priced:
    whoever runs it compiles it again. `training` is what training begins with, where it is known.
    """
    compilation = Compilation(network, options, (options.goal,))
    if training is not None:
        compilation.training = training
    run_passes(compilation, PASSES[:-1], observer or Observer(), verified)
    return _compiled(compilation)


def _compiled(c: Compilation) -> Compiled:
    goal = c.options.goal
    chosen: SplitGraph = c.last(goal, "Splits")
    splits = c.last(TRAIN, "Splits").splits if TRAIN in c.programs else chosen.splits
    graph, plan, program = (c.last(goal, form) for form in ("Graph", "Plan", "Program"))
    again = recomputed_layers(chosen.graph)
    asked = c.options.recompute and goal == TRAIN
    notes = chosen.notes + (_recomputed_note(again) if asked else ())
    return Compiled(graph, splits, plan, program, chosen.scheme, notes, again)


def _recomputed_note(layers: Sequence[str]) -> tuple[str, ...]:
    if layers:
        many = f"{len(layers)} layers are" if len(layers) > 1 else f"'{layers[0]}' is"
        return (f"{many} computed again for the backward pass.",)
    why = "what was named is not kept for the backward pass, or for one round only"
    return (f"nothing is computed again: {why}.",)


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
