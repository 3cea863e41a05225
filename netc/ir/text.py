"""The printed form of graphs, plans, programs and bundles, which parses back to equal values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from math import prod
from typing import Any

from netc.ir import plain
from netc.ir.classes import DeviceClass
from netc.ir.codec import dumps, encoder, loads, op_text, parse_op, without_blanks
from netc.ir.facts import plain_facts, read_fact, read_facts
from netc.ir.graph import Graph, Node
from netc.ir.joined import JOINED
from netc.ir.plain import Reader, TextError
from netc.ir.plan import Plan
from netc.ir.program import (
    STREAMS,
    Buffer,
    Bundle,
    Collective,
    Instruction,
    Launch,
    Part,
    Port,
    Program,
    View,
)
from netc.ir.step import Attributes, Step
from netc.ir.types import ITEM_BYTES, Affine, Mesh, TensorType, parse_placement, units_of

BUNDLE_VERSION = 8
DEVICES = 4096
"""Of a mesh, at most."""
_DEVICE = re.compile("[0-9]{1,4}")
_NODE = re.compile(
    r"  (?P<name>\S+): (?P<type>\S+) = (?P<op>\S+)\((?P<inputs>[^)]*)\) "
    r"layer=(?P<layer>\S+) phase=(?P<phase>\S+)(?: rows=(?P<rows>\S+))?(?: split=(?P<split>\S+))?"
    r"(?: placed=(?P<placed>\S+))?(?: format=(?P<format>\S+))?(?: at .*)?"
)


def graph_text(graph: Graph) -> str:
    """One node a line, in topological order."""
    lines = [f"graph {graph.name} -> {', '.join(graph.outputs)}"]
    return "\n".join(lines + [_node_text(node) for node in graph.nodes]) + "\n"


def _node_text(node: Node, extra: str = "") -> str:
    rows = f" rows={dumps(node.rows)}" if node.rows else ""
    split = f" split={','.join(node.split)}" if node.split else ""
    at = f" at {node.span.origin}" if node.span else ""
    return (
        f"  {node.name}: {node.type} = {op_text(node.op)}({', '.join(node.inputs)}) "
        f"layer={node.layer} phase={node.phase}{rows}{split}{extra}{at}"
    )


def parse_graph(text: str) -> Graph:
    """The inverse of `graph_text`; places in the source are not restored."""
    head, *lines = text.splitlines()
    return _parse_graph(head, (_match(line) for line in lines))


def _parse_graph(head: str, lines: Iterable[dict[str, str]]) -> Graph:
    _, name, _, outputs = head.split(" ", 3)
    names = tuple(output for output in outputs.split(", ") if output)
    return Graph(name, tuple(_parse_node(line) for line in lines), names)


def _match(line: str) -> dict[str, str]:
    found = _NODE.fullmatch(line)
    assert found, f"not a node: {line}"
    return found.groupdict(default="")


def _parse_node(found: dict[str, str]) -> Node:
    return Node(
        found["name"],
        parse_op(found["op"]),
        tuple(i for i in found["inputs"].split(", ") if i),
        parse_type(found["type"]),
        found["layer"],
        found["phase"],
        loads(found["rows"]) if found["rows"] else (),
        tuple(found["split"].split(",")) if found["split"] else (),
    )


def parse_type(text: str) -> TensorType:
    """The inverse of `str(type)`; units of one are left out there."""
    found = re.fullmatch(r"(\w+)\[([\d,]*)(?:/([\d,]+))?\]", text)
    assert found, f"not a type: {text}"
    return TensorType(found[1], _numbers(found[2]), units_of(*_numbers(found[3] or "")))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(n) for n in text.split(",") if n)


def plan_text(plan: Plan) -> str:
    """The graph with the placement of every node, after the mesh and the splits."""
    axes = ",".join(f"{a}={n}" for a, n in zip(plan.mesh.axes, plan.mesh.shape, strict=True))
    lines = [
        f"plan {plan.graph.name} -> {', '.join(plan.graph.outputs)}",
        f"  mesh {axes}",
        f"  results {','.join(plan.results)}",
    ]
    lines += [f"  split {layer} {','.join(split)}" for layer, split in plan.splits]
    for node in plan.graph.nodes:
        placed = " placed=" + ",".join(str(p) for p in plan.placement[node.name])
        own = plan.format.get(node.name)
        lines.append(_node_text(node, placed + (f" format={own}" if own else "")))
    return "\n".join(lines) + "\n"


def parse_plan(text: str) -> Plan:
    """The inverse of `plan_text`."""
    head, mesh, results, *lines = text.splitlines()
    pairs = [item.split("=") for item in mesh.split()[1].split(",")]
    splits = [line.split() for line in lines if line.startswith("  split ")]
    found = [_match(line) for line in lines if not line.startswith("  split ")]
    return Plan(
        _parse_graph(head, found),
        Mesh(tuple(int(n) for _, n in pairs), tuple(a for a, _ in pairs)),
        tuple(tuple(parse_placement(p) for p in f["placed"].split(",")) for f in found),
        tuple((layer, tuple(split.split(","))) for _, layer, split in splits),
        tuple(name for name in results.removeprefix("  results ").split(",") if name),
        tuple((f["name"], f["format"]) for f in found if f["format"]),
    )


def program_text(program: Program) -> str:
    """One buffer, port or instruction a line; instructions are numbered from 0 in this order."""
    return "".join(line + "\n" for line in _program_lines(program))


def _program_lines(program: Program) -> Iterator[str]:
    yield f"program {program.name} mesh={dumps(program.mesh.shape)} axes={dumps(program.mesh.axes)}"
    for class_ in program.classes:
        yield f"class coordinates={dumps([_runs(each) for each in class_.coordinates])}"
    for buffer in program.buffers:
        yield "buffer " + _fields(buffer)
    for kind in ("inputs", "outputs", "state"):
        for port in getattr(program, kind):
            yield f"{kind} " + _fields(port)
    for instruction in program.instructions:
        yield ("launch " if isinstance(instruction, Launch) else "collective ") + _fields(
            instruction
        )


def _fields(value: Any) -> str:
    items = ((f.name, getattr(value, f.name)) for f in fields(value))
    return " ".join(f"{name}={without_blanks(_SHORT.encode(item))}" for name, item in items)


def _positional(value: View | Part | Step | Attributes | Affine) -> list[Any] | dict[str, Any]:
    """Views, parts and steps without their class and field names; what differs among devices as
    {"+": [base, step ...]}.
    """
    if isinstance(value, Attributes):
        return dict(value.pairs)
    if isinstance(value, Affine):
        return {plain.VARYING: [value.base, *value.steps]}
    return [getattr(value, f.name) for f in fields(value)]


def _runs(numbers: Sequence[int]) -> str:
    """Ascending numbers as 0-6.9."""
    runs: list[list[int]] = []
    for n in numbers:
        if runs and runs[-1][-1] == n - 1:
            runs[-1][1:] = [n]
        else:
            runs.append([n])
    return ".".join("-".join(map(str, run)) for run in runs)


_SHORT = encoder(_positional)


def parse_program(text: str) -> Program:
    """The inverse of `program_text`; raises TextError, which names the line, where it is none."""
    return _parse_program(text.splitlines(), 1)


def _parse_program(lines: Sequence[str], first: int) -> Program:
    """The program of some lines, the first of which has that number in the text."""
    name, mesh = _read_line(first, lines[0], lambda words: _head(words.split(" ")))
    found: dict[str, list[Any]] = {kind: [] for kind in _READERS}
    run: list[Instruction] = []
    for number, line in enumerate(lines[1:], first + 1):
        kind, _, rest = line.partition(" ")
        if kind not in _READERS:
            raise TextError(f"line {number} is of no known kind")
        value = _read_line(number, rest, _READERS[kind])
        (run if kind in ("launch", "collective") else found[kind]).append(value)
    values = (tuple(found[kind]) for kind in ("inputs", "outputs", "state"))
    axes = [len(each.coordinates) == len(mesh.shape) for each in found["class"]]
    if not axes or not all(axes):
        raise TextError("there are no classes of the devices")
    classes, buffers = tuple(found["class"]), tuple(found["buffer"])
    return Program(name, mesh, classes, buffers, tuple(run), *values)


def _read_line(number: int, line: str, read: Callable[[str], Any]) -> Any:
    try:
        return read(line)
    except TextError as problem:
        raise TextError(f"line {number}: {problem}") from None


def _head(words: Sequence[str]) -> tuple[str, Mesh]:
    if len(words) != 4 or words[0] != "program":
        raise TextError("no program begins like this")
    mesh, axes = _items(" ".join(words[2:]), _MESH)
    if not len(mesh) == len(axes) > 0 or not 0 < prod(mesh) <= DEVICES:
        raise TextError("this is no mesh of devices")
    return plain.name(words[1]), Mesh(mesh, axes)


def _items(line: str, readers: Mapping[str, Reader]) -> list[Any]:
    """The values of fields, which all must be there, in this order."""
    items = [item.partition("=") for item in line.split(" ")]
    if [name for name, _, _ in items] != list(readers):
        raise TextError(f"not the fields {', '.join(readers)}")
    values = plain.sequence(plain.loads(f"[{','.join([value for _, _, value in items])}]"))
    if len(values) != len(readers):
        raise TextError("a field has several values")
    pairs = zip(readers.items(), values, strict=True)
    return [_field(name, read, value) for (name, read), value in pairs]


def _field(name: str, read: Reader, value: Any) -> Any:
    try:
        return read(value)
    except TextError as problem:
        raise TextError(f"{name}: {problem}") from None


def _reader(make: Callable[..., Any], readers: Mapping[str, Reader]) -> Callable[[str], Any]:
    """Reads a dataclass whose fields these are."""
    return lambda line: make(*_items(line, readers))


def _view(item: Any) -> View:
    if len(plain.sequence(item)) != 5:
        raise TextError("not a view")
    buffer, start, shape, where, format_ = item
    shape, where = plain.extents(shape), plain.indices(where)
    if len(shape) != len(where) or format_ not in (("", "nhwc") if len(shape) == 4 else ("",)):
        raise TextError("not a view")
    return View(plain.name(buffer), plain.count(start), shape, where, format_)


def _views(items: Any) -> tuple[View, ...]:
    return tuple([_view(item) for item in plain.sequence(items)])


def _gaps(items: Any) -> tuple[View | None, ...]:
    return tuple([None if item is None else _view(item) for item in plain.sequence(items)])


def _parts(items: Any) -> tuple[Part, ...]:
    parts = []
    for item in plain.sequence(items):
        if len(plain.sequence(item)) != 3:
            raise TextError("not a part")
        parts.append(Part(plain.name(item[0]), _gaps(item[1]), _gaps(item[2])))
    return tuple(parts)


def _ports(items: Any) -> tuple[tuple[float, float], ...]:
    pairs = [plain.sequence(item) for item in plain.sequence(items)]
    if not all(len(pair) == 2 for pair in pairs):
        raise TextError("not what is sent and received")
    return tuple([(plain.share(out), plain.share(into)) for out, into in pairs])


def _shared(items: Any) -> tuple[tuple[str, float], ...]:
    pairs = [plain.sequence(item) for item in plain.sequence(items)]
    if not all(len(pair) == 2 for pair in pairs):
        raise TextError("not a link and its use")
    return tuple([(plain.name(link), plain.share(use)) for link, use in pairs])


def _steps(items: Any) -> tuple[Step, ...]:
    return tuple([_step(item) for item in plain.sequence(items)])


def _step(item: Any) -> Step:
    if len(plain.sequence(item)) != 6:
        raise TextError("not a step")
    operation, operands, attributes, result, variant, absorbed = item
    if type(attributes) is not dict or type(absorbed) is not bool:
        raise TextError("not a step")
    return Step(
        plain.name(operation), plain.operands(operands), Attributes.of(plain.plain(attributes)),
        plain.extents(result), plain.text(variant), absorbed,
    )  # fmt: skip


def _coordinates(items: Any) -> tuple[tuple[int, ...], ...]:
    found = []
    for item in plain.sequence(items):
        ends = [run.split("-") for run in plain.name(item).split(".")]
        if not all(len(e) in (1, 2) and all(map(_DEVICE.fullmatch, e)) for e in ends):
            raise TextError("no numbers of devices")
        found.append(tuple([n for e in ends for n in range(int(e[0]), int(e[-1]) + 1)][:DEVICES]))
    return tuple(found)


def _texts(items: Any) -> tuple[str, ...]:
    return tuple([plain.text(item) for item in plain.sequence(items)])


_MESH: Mapping[str, Reader] = {"mesh": plain.extents, "axes": _texts}
_ABOUT: Mapping[str, Reader] = {
    "layer": plain.name,
    "phase": plain.one_of("forward", "backward", "update"),
    "origin": plain.text,
    "seconds": plain.seconds,
}
_STREAM = plain.one_of(*STREAMS)
_DTYPE = plain.one_of(*ITEM_BYTES)
_PORT = _reader(
    Port, {"name": plain.name, "dtype": _DTYPE, "shape": plain.extents, "views": _views}
)
_READERS: Mapping[str, Callable[[str], Any]] = {
    "buffer": _reader(Buffer, {
        "name": plain.name, "class_": plain.count, "nbytes": plain.count, "dtype": _DTYPE,
        "storage": plain.name, "kind": plain.one_of("persistent", "input", "temporary"),
        "offset": plain.or_none,
    }),
    "class": _reader(DeviceClass, {"coordinates": _coordinates}),
    "inputs": _PORT,
    "outputs": _PORT,
    "state": _PORT,
    "launch": _reader(Launch, {
        "class_": plain.count, "stream": _STREAM, "node": plain.name,
        "joined": plain.one_of("", *JOINED), "steps": _steps, "reads": _views, "writes": _views,
        **_ABOUT, "in_place": plain.counts, "waits": plain.counts,
    }),
    "collective": _reader(Collective, {
        "classes": plain.counts, "axes": plain.counts, "stream": _STREAM, "kind": plain.text,
        "op": plain.text, "root": plain.or_none, "parts": _parts, **_ABOUT, "ports": _ports,
        "shared": _shared, "keeps": plain.share, "waits": plain.counts,
    }),
}  # fmt: skip


def bundle_text(bundle: Bundle) -> str:
    """The one file the runtime needs: facts, then the programs."""
    lines = [f"netc bundle {BUNDLE_VERSION}"]
    lines += [f"fact {name} {dumps(value)}" for name, value in plain_facts(bundle.facts).items()]
    programs = map(program_text, bundle.programs)
    return "\n".join(lines) + "\n" + "".join(programs)


def parse_bundle(text: str) -> Bundle:
    """The inverse of `bundle_text`; raises TextError where the text is not a whole bundle.

    What it says may still be wrong: `netc.ir.load` reads what nobody vouches for.
    """
    lines = text.split("\n")
    if lines[0] != f"netc bundle {BUNDLE_VERSION}":
        raise TextError(f"not a compiled program of version {BUNDLE_VERSION}")
    heads = [number for number, line in enumerate(lines) if line.startswith("program ")]
    if len(heads) not in (3, 4) or lines.pop():
        raise TextError("the compiled program is incomplete")
    facts = read_facts(_read_line(n + 1, lines[n], read_fact) for n in range(1, heads[0]))
    ends = (*heads[1:], len(lines))
    init, train, *part, evaluate = (
        _parse_program(lines[start:end], start + 1) for start, end in zip(heads, ends, strict=True)
    )
    return Bundle(init, train, evaluate, facts, *part)
