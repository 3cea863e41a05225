"""Machines to plan for: devices, the links between them, and the files that describe them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from netc.cost.measured import (
    LaunchTable,
    Measured,
    MeasuredExchange,
    MeasuredPlan,
    parse_measured,
)
from netc.cost.nccl import ARCHITECTURES, CPUS, Nccl
from netc.errors import ERROR_LIMIT, Diagnostic, UsageError, clip, did_you_mean
from netc.numbers import (
    BELOW_ONE,
    COUNT,
    DEVICES,
    FACTOR,
    FRACTION,
    MEASURE,
    NATURAL,
    NON_NEGATIVE,
    POSITIVE,
    Number,
)
from netc.text import Toml, Unreadable, read_text, read_toml, shown_name

VERSION = 2
"""Of cluster files."""
KINDS_OF_KERNELS = ("conv", "fc", "other")
"""Kernels by what they reach of a machine's rates: convolutions and their gradients, products of
fully connected layers and theirs, all others."""
ALGORITHMS = ("direct", "ring", "tree", "doubling", "halving", "nccl", "cuda")
"""How an exchange may go (`netc.cost.exchange`)."""
OF_NCCL = ("nccl", "cuda")
"""Those that need to know what NCCL goes by."""


@dataclass(frozen=True, slots=True)
class Reached:
    """What kernels of a kind reach of a device's rates."""

    flops: float = 1.0
    """Part of the peak that long ones reach; above 1 where they spare arithmetic."""
    half_flops: float = 0.0
    """Operations at which a kernel reaches half of that, at the device's fastest rate: shorter ones
    do not fill the device."""
    bytes: float = 1.0
    """Part of the memory's bandwidth."""


@dataclass(frozen=True, slots=True)
class LinkLevel:
    """One level of what joins devices: these in groups, which the next level joins."""

    name: str
    devices: int | None
    """Neighbours in a group; None for the outermost level: as many as there are."""
    bytes_per_second: float
    """What one device sends over it, and at the same time receives."""
    latency_seconds: float
    """Time that any exchange over it takes at least."""
    shared_bytes_per_second: float | None = None
    """What all devices of a group of the level below send out of it together, and at the same time
    receive; None where they do not share anything."""


@dataclass(frozen=True, slots=True)
class Links:
    """How devices are joined: levels from the innermost outwards, and how exchanges go."""

    levels: tuple[LinkLevel, ...]
    algorithms: tuple[str, ...] = ("direct",)
    """The ways that an exchange may go; the fastest is taken."""
    measured: tuple[MeasuredExchange, ...] = ()
    """Exchanges over the innermost links that were measured: they take what they took."""
    nccl: Nccl | None = None
    """What NCCL goes by, where exchanges are its; those that the innermost links join are a node's.
    """

    @property
    def devices(self) -> int | None:
        """How many devices there are at most, if that is limited."""
        return self.levels[-1].devices

    def level(self, a: int, b: int) -> int:
        """The innermost level that joins two devices."""
        for number, link in enumerate(self.levels):
            if link.devices is None or a // link.devices == b // link.devices:
                return number
        raise AssertionError(f"nothing joins devices {a} and {b}")


@dataclass(frozen=True, slots=True)
class Cluster:
    """A machine to plan for: equal devices and the links between them."""

    name: str
    flops_per_second: Mapping[str, float]
    """Peak rate of a device, by data type."""
    memory_bytes_per_second: float
    """Bandwidth of a device's memory."""
    memory_bytes: float
    """Memory of one device."""
    launch_seconds: float
    """Time that any instruction takes at least."""
    links: Links
    source: str
    """Where the figures come from."""
    reached: Mapping[str, Reached] = field(default_factory=dict)
    """By kind of kernel; a kind that is not here reaches everything."""
    while_exchanging: float = 1.0
    """Part of its speed that a device keeps while it exchanges."""
    error: float = 0.05
    """How far predicted steps may be off, as a part of them."""
    cores: int | None = None
    """Processor cores that all devices share, with the memory; None where each has its own. Rates
    of arithmetic are then those of a core, those of memory the machine's (`at_devices`)."""
    machine: str = ""
    """The name of the machine that it was measured on; empty where it was not measured."""
    launches: Mapping[str, LaunchTable] = field(default_factory=dict)
    """Launches that were measured, by setting (`netc.cost.launch.setting`)."""
    plans: Mapping[str, tuple[MeasuredPlan, ...]] = field(default_factory=dict)
    """Whole steps that were measured, by what they compute (`netc.passes.options.task`)."""

    @property
    def fastest(self) -> float:
        """The highest of the rates."""
        return max(self.flops_per_second.values())

    def flops(self, dtype: str) -> float:
        """The peak rate for a data type; that of f32 where none is stated."""
        return self.flops_per_second.get(dtype, self.flops_per_second["f32"])


_NUMBERS: Mapping[str, Number] = {
    "memory_bytes_per_second": MEASURE,
    "memory_bytes": MEASURE,
    "launch_seconds": MEASURE,
}
_OPTIONAL: Mapping[str, Number] = {"while_exchanging": FRACTION, "error": BELOW_ONE, "cores": COUNT}
_TABLES = ("flops_per_second", "links")
_RATES = ("f32", "f64", "tf32", "bf16")
_REACHED: Mapping[str, Number] = {"flops": POSITIVE, "half_flops": NON_NEGATIVE, "bytes": FACTOR}
_LINK: Mapping[str, Number] = {"bytes_per_second": MEASURE, "latency_seconds": MEASURE}
_LINK_OPTIONAL: Mapping[str, Number] = {"devices": DEVICES, "shared_bytes_per_second": MEASURE}
_REMEDY = (
    "a file of version 2 begins with 'netc_cluster = 2'; its links are tables, such as "
    "[links.nvlink] with bytes_per_second, latency_seconds and devices."
)


def read_cluster(path: Path) -> Cluster:
    """Read a cluster file (TOML); raises UsageError with the place of everything wrong in it."""
    try:
        file = read_toml(path)
    except Unreadable as problem:
        message = f"cannot read the cluster file '{path}': {problem.reason}."
        raise UsageError(Diagnostic("E055", message, problem.span, help=problem.help)) from None
    problems = list(islice(_problems(file), ERROR_LIMIT))
    if problems:
        raise UsageError(*problems)
    measured = Measured()
    if "measured" in file.content:
        measured = _read_measured(file, path.parent / file.content["measured"])
    name = file.content.get("machine") or shown_name(path.with_suffix(""))
    return _cluster(name, file.content, measured)


def _read_measured(file: Toml, path: Path) -> Measured:
    try:
        return parse_measured(read_text(path))
    except (Unreadable, ValueError) as problem:
        reason = problem.reason if isinstance(problem, Unreadable) else clip(str(problem), 200)
        message = f"cannot read the measurements '{path}': {reason}."
        hint = "'netc calibrate' writes both files; they go together."
        raise UsageError(Diagnostic("E055", message, file.span("measured"), help=hint)) from None


def _cluster(name: str, content: Mapping[str, Any], measured: Measured) -> Cluster:
    links = (
        LinkLevel(
            name, link.get("devices"), float(link["bytes_per_second"]),
            float(link["latency_seconds"]), _real(link.get("shared_bytes_per_second")),
        )
        for name, link in content["links"].items()
    )  # fmt: skip
    algorithms = tuple(content.get("algorithms", ("direct",)))
    numbers: dict[str, Any] = {
        key: int(content[key]) if number.whole else float(content[key])
        for key, number in {**_NUMBERS, **_OPTIONAL}.items()
        if key in content
    }
    return Cluster(
        name,
        {dtype: float(rate) for dtype, rate in content["flops_per_second"].items()},
        links=Links(tuple(links), algorithms, measured.exchanges, _nccl_of(content)),
        launches=measured.launches,
        plans=measured.plans,
        machine=content.get("machine", ""),
        source=content["source"],
        reached={
            kind: Reached(**{key: float(value) for key, value in table.items()})
            for kind, table in content.get("reached", {}).items()
        },
        **numbers,
    )


def _nccl_of(content: Mapping[str, Any]) -> Nccl | None:
    return Nccl(**content["nccl"]) if "nccl" in content else None


def _real(value: int | float | None) -> float | None:
    return None if value is None else float(value)


def _problems(file: Toml) -> Iterator[Diagnostic]:
    found = file.content.get("netc_cluster")
    if type(found) is not int or found != VERSION:
        has = "has no 'netc_cluster'" if found is None else f"is not of version {VERSION}"
        message = f"the cluster file '{file.source.name}' {has}."
        yield Diagnostic("E055", message, file.span("netc_cluster"), help=_REMEDY)
        return
    wanted = ("netc_cluster", "source", *_NUMBERS, *_TABLES)
    known = (*wanted, *_OPTIONAL, "algorithms", "nccl", "reached", "machine", "measured")
    yield from _missing(file, (), wanted)
    for key, value in file.content.items():
        if key not in known:
            yield _unknown(file, (key,), known)
        elif (number := {**_NUMBERS, **_OPTIONAL}.get(key)) is not None:
            yield from _number(file, (key,), value, number)
        elif key in ("source", "machine", "measured") and not isinstance(value, str):
            yield Diagnostic("E055", f"'{key}' must be text.", file.span(key))
        elif key in _PARTS:
            yield from _PARTS[key](file, value)
    yield from _nccl_and_algorithms(file)


def _missing(file: Toml, table: tuple[str, ...], wanted: Iterable[str]) -> Iterator[Diagnostic]:
    content: Any = file.content
    for key in table:
        content = content[key]
    for key in wanted:
        if key not in content:
            here = f"'[{'.'.join(map(clip, table))}]'"
            where = here if table else f"the cluster file '{file.source.name}'"
            span = file.span(*table) if table else None
            yield Diagnostic("E055", f"{where} has no '{key}'.", span)


def _flops(file: Toml, value: Any) -> Iterator[Diagnostic]:
    key = "flops_per_second"
    if not (isinstance(value, dict) and {"f32", "f64"} <= set(value)):
        yield Diagnostic("E055", f"'{key}' must name f32 and f64.", file.span(key))
        return
    yield from _numbers(file, (key,), value, dict.fromkeys(_RATES, MEASURE))


def _reached(file: Toml, value: Any) -> Iterator[Diagnostic]:
    if not (isinstance(value, dict) and all(isinstance(v, dict) for v in value.values())):
        message = "'reached' must be tables, one for each kind of kernel."
        hint = f"kinds are: {', '.join(KINDS_OF_KERNELS)}."
        yield Diagnostic("E055", message, file.span("reached"), help=hint)
        return
    for kind, table in value.items():
        if kind not in KINDS_OF_KERNELS:
            yield _unknown(file, ("reached", kind), KINDS_OF_KERNELS)
        else:
            yield from _numbers(file, ("reached", kind), table, _REACHED)


def _links(file: Toml, value: Any) -> Iterator[Diagnostic]:
    tables = isinstance(value, dict) and value and all(isinstance(v, dict) for v in value.values())
    if not tables:
        message = "'links' must be tables, one for each level of links, the innermost first."
        yield Diagnostic("E055", message, file.span("links"), help=_REMEDY)
        return
    for name, link in value.items():
        yield from _missing(file, ("links", name), _LINK)
        yield from _numbers(file, ("links", name), link, {**_LINK, **_LINK_OPTIONAL})
    sizes = [(name, link.get("devices")) for name, link in value.items()]
    for (inner, size), (outer, larger) in pairwise(sizes):
        if not DEVICES.accepts(size):
            message = f"'links.{clip(inner)}' must say how many 'devices' it joins."
            yield Diagnostic("E055", message, file.span("links", inner))
        elif DEVICES.accepts(larger) and (larger <= size or larger % size):
            message = f"'links.{clip(outer)}' must join several groups of {size} devices."
            hint = "links stand from the innermost outwards, and each joins whole groups."
            yield Diagnostic("E055", message, file.span("links", outer, "devices"), help=hint)


def _algorithms(file: Toml, value: Any) -> Iterator[Diagnostic]:
    known = isinstance(value, list) and value and all(each in ALGORITHMS for each in value)
    if not known:
        message = "'algorithms' must be a list of ways that exchanges go."
        hint = f"ways are: {', '.join(ALGORITHMS)}."
        yield Diagnostic("E055", message, file.span("algorithms"), help=hint)


def _nccl(file: Toml, value: Any) -> Iterator[Diagnostic]:
    if not isinstance(value, dict):
        hint = "keys are: architecture, nvlinks, cpu."
        yield Diagnostic("E055", "'nccl' must be a table.", file.span("nccl"), help=hint)
        return
    yield from _missing(file, ("nccl",), ("architecture",))
    words = {"architecture": ARCHITECTURES, "cpu": CPUS}
    for key, each in value.items():
        if key == "nvlinks":
            yield from _number(file, ("nccl", key), each, NATURAL)
        elif key not in words:
            yield _unknown(file, ("nccl", key), (*words, "nvlinks"))
        elif each not in words[key]:
            message = f"'nccl.{key}' must be one of {', '.join(words[key])}."
            yield Diagnostic("E055", message, file.span("nccl", key))


def _nccl_and_algorithms(file: Toml) -> Iterator[Diagnostic]:
    """Ways that are NCCL's need its table, and others have no use for it."""
    ways = file.content.get("algorithms", ())
    needs = isinstance(ways, list) and any(way in OF_NCCL for way in ways)
    if needs and "nccl" not in file.content:
        message = "'algorithms' names ways of NCCL, and the file does not say what NCCL goes by."
        hint = 'add [nccl] with the GPUs\' architecture, such as "hopper", and their nvlinks.'
        yield Diagnostic("E055", message, file.span("algorithms"), help=hint)
    elif "nccl" in file.content and not needs:
        hint = f"add one of {', '.join(OF_NCCL)} to 'algorithms', or leave [nccl] out."
        message = "no way of exchange uses [nccl]."
        yield Diagnostic("E055", message, file.span("nccl"), help=hint)


_PARTS = {
    "flops_per_second": _flops, "reached": _reached, "links": _links, "algorithms": _algorithms,
    "nccl": _nccl,
}  # fmt: skip


def _numbers(
    file: Toml, keys: tuple[str, ...], table: Mapping[str, Any], known: Mapping[str, Number]
) -> Iterator[Diagnostic]:
    for key, value in table.items():
        if key in known:
            yield from _number(file, (*keys, key), value, known[key])
        else:
            yield _unknown(file, (*keys, key), known)


def _number(file: Toml, keys: tuple[str, ...], value: Any, kind: Number) -> Iterator[Diagnostic]:
    if not kind.accepts(value):
        message = f"'{'.'.join(map(clip, keys))}' must be {kind.description}."
        yield Diagnostic("E055", message, file.span(*keys))


def _unknown(file: Toml, keys: tuple[str, ...], known: Iterable[str]) -> Diagnostic:
    hint = did_you_mean(keys[-1], known) + f"keys are: {', '.join(known)}."
    return Diagnostic("E055", f"unknown key '{clip(keys[-1])}'.", file.span(*keys), help=hint)


def cluster_toml(cluster: Cluster, measured: str) -> str:
    """The text of a cluster file; `measured` names the file of its measurements beside it."""
    lines = [f"netc_cluster = {VERSION}", f"source = {json.dumps(cluster.source)}"]
    lines += [f"machine = {json.dumps(cluster.machine)}", f"measured = {json.dumps(measured)}"]
    for key in (*_NUMBERS, *_OPTIONAL):
        if (value := getattr(cluster, key)) is not None:
            lines.append(f"{key} = {_figure(value)}")
    lines.append(f"algorithms = {json.dumps(list(cluster.links.algorithms))}")
    if (nccl := cluster.links.nccl) is not None:
        lines += ["", "[nccl]", f"architecture = {json.dumps(nccl.architecture)}"]
        lines += [f"nvlinks = {nccl.nvlinks}", f"cpu = {json.dumps(nccl.cpu)}"]
    lines += ["", "[flops_per_second]"]
    lines += [f"{dtype} = {_figure(rate)}" for dtype, rate in cluster.flops_per_second.items()]
    for link in cluster.links.levels:
        keys = ("devices", *_LINK, "shared_bytes_per_second")
        values = ((key, getattr(link, key)) for key in keys)
        lines += ["", f"[links.{link.name}]"]
        lines += [f"{key} = {_figure(value)}" for key, value in values if value is not None]
    for kind, reached in cluster.reached.items():
        lines += ["", f"[reached.{kind}]"]
        lines += [f"{key} = {_figure(getattr(reached, key))}" for key in _REACHED]
    return "\n".join(lines) + "\n"


def _figure(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def at_devices(cluster: Cluster, devices: int) -> Cluster:
    """The machine as so many devices see it that share its cores and its memory."""
    if cluster.cores is None:
        return cluster
    # More devices than cores take turns.
    each = max(cluster.cores // devices, 1) * min(cluster.cores / devices, 1)
    return replace(
        cluster,
        flops_per_second={t: rate * each for t, rate in cluster.flops_per_second.items()},
        memory_bytes_per_second=cluster.memory_bytes_per_second / devices,
        memory_bytes=cluster.memory_bytes / devices,
    )


def at_precision(cluster: Cluster, precision: str) -> Cluster:
    """The machine as products of that precision see it: tf32's operands are stored as f32."""
    if precision != "tf32":
        return cluster
    rates = dict(cluster.flops_per_second)
    return replace(cluster, flops_per_second=rates | {"f32": rates.get("tf32", rates["f32"])})
