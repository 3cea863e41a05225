"""The printed form of graphs, plans, programs and bundles, which parses back to equal values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any

from netc.ir.codec import dumps, encoder, loads, op_text, parse_op, without_blanks
from netc.ir.graph import Graph, Node
from netc.ir.plan import Plan
from netc.ir.program import Buffer, Bundle, Collective, Launch, Part, Port, Program, View
from netc.ir.types import Mesh, TensorType, parse_placement

BUNDLE_VERSION = 3
_NODE = re.compile(
    r"  (?P<name>\S+): (?P<type>\S+) = (?P<op>\S+)\((?P<inputs>[^)]*)\) "
    r"layer=(?P<layer>\S+) phase=(?P<phase>\S+)(?: rows=(?P<rows>\S+))?"
    r"(?: placed=(?P<placed>\S+))?(?: format=(?P<format>\S+))?(?: at .*)?"
)


def graph_text(graph: Graph) -> str:
    """One node a line, in topological order."""
    lines = [f"graph {graph.name} -> {', '.join(graph.outputs)}"]
    return "\n".join(lines + [_node_text(node) for node in graph.nodes]) + "\n"


def _node_text(node: Node, extra: str = "") -> str:
    rows = f" rows={dumps(node.rows)}" if node.rows else ""
    at = f" at {node.span.origin}" if node.span else ""
    return (
        f"  {node.name}: {node.type} = {op_text(node.op)}({', '.join(node.inputs)}) "
        f"layer={node.layer} phase={node.phase}{rows}{extra}{at}"
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
    )


def parse_type(text: str) -> TensorType:
    """The inverse of `str(type)`; units of one are left out there."""
    found = re.fullmatch(r"(\w+)\[([\d,]*)(?:/([\d,]+))?\]", text)
    assert found, f"not a type: {text}"
    return TensorType(found[1], _numbers(found[2]), _numbers(found[3] or ""))


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


def _positional(value: View | Part) -> list[Any]:
    """Views and parts without their class and field names."""
    return [getattr(value, f.name) for f in fields(value)]


_SHORT = encoder(_positional)


def parse_program(text: str) -> Program:
    """The inverse of `program_text`."""
    head, *lines = text.splitlines()
    _, name, mesh, axes = head.split(" ")
    found: dict[str, list[Any]] = {
        "buffer": [],
        "inputs": [],
        "outputs": [],
        "state": [],
        "run": [],
    }
    for line in lines:
        kind, _, rest = line.partition(" ")
        items = dict(item.split("=", 1) for item in rest.split(" "))
        _READERS[kind](found, {key: loads(value) for key, value in items.items()})
    return Program(
        name,
        Mesh(loads(mesh.removeprefix("mesh=")), loads(axes.removeprefix("axes="))),
        tuple(found["buffer"]),
        tuple(found["run"]),
        tuple(found["inputs"]),
        tuple(found["outputs"]),
        tuple(found["state"]),
    )


def _views(items: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(None if item is None else View(*item) for item in items)


def _port_reader(kind: str) -> Any:
    def read(found: dict[str, list[Any]], items: dict[str, Any]) -> None:
        found[kind].append(Port(**items | {"views": _views(items["views"])}))

    return read


def _read_launch(found: dict[str, list[Any]], items: dict[str, Any]) -> None:
    views = {key: _views(items[key]) for key in ("reads", "writes")}
    found["run"].append(Launch(**items | views))


def _read_collective(found: dict[str, list[Any]], items: dict[str, Any]) -> None:
    parts = tuple(Part(node, _views(s), _views(t)) for node, s, t in items["parts"])
    found["run"].append(Collective(**items | {"parts": parts}))


_READERS: dict[str, Any] = {
    "buffer": lambda found, items: found["buffer"].append(Buffer(**items)),
    "inputs": _port_reader("inputs"),
    "outputs": _port_reader("outputs"),
    "state": _port_reader("state"),
    "launch": _read_launch,
    "collective": _read_collective,
}


def bundle_text(bundle: Bundle) -> str:
    """The one file the runtime needs: facts, then the three programs."""
    lines = [f"netc bundle {BUNDLE_VERSION}"]
    lines += [f"fact {name} {dumps(value)}" for name, value in bundle.facts]
    programs = (program_text(p) for p in (bundle.init, bundle.train, bundle.eval))
    return "\n".join(lines) + "\n" + "".join(programs)


def parse_bundle(text: str) -> Bundle:
    """The inverse of `bundle_text`; raises ValueError where the text is not a whole bundle."""
    head, *sections = re.split(r"^(?=program )", text, flags=re.MULTILINE)
    lines = head.splitlines()
    if not lines or lines[0] != f"netc bundle {BUNDLE_VERSION}":
        raise ValueError(f"not a compiled program of version {BUNDLE_VERSION}")
    if len(sections) != 3:
        raise ValueError("the compiled program is incomplete")
    facts = []
    for line in lines[1:]:
        _, name, value = line.split(" ", 2)
        facts.append((name, loads(value)))
    init, train, evaluate = (parse_program(section) for section in sections)
    return Bundle(init, train, evaluate, tuple(facts))
