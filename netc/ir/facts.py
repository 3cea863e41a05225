"""The facts of a bundle: which there are, what each may be, and that the programs agree."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from netc.ir.plain import TextError
from netc.ir.program import Bundle, Port, Program

Test = Callable[[Any], bool]
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*")
"""A word of the language, which also names files."""
_PROGRAMS = ("init", "train", "eval")
_THREADS = 1024
"""Of one device, at most."""
_DTYPES = {"fp32": {"f32"}, "tf32": {"f32"}, "fp64": {"f64"}, "bf16": {"bf16", "f32"}}
"""Floating types of each precision."""
_TARGETS = {
    "cpu": (("fp32", "fp64"), ("fast", "reference")),
    "cuda": (("fp32", "tf32", "bf16"), ("auto", "native", "vendor")),
}
"""The precisions and the kinds of kernels of each target."""


def check_facts(bundle: Bundle) -> None:
    """Raise TextError where facts are missing, are not what they may be, or contradict the
    programs.
    """
    facts = dict(bundle.facts)
    if [name for name, _ in bundle.facts] != sorted(_FACTS):
        wrong = sorted(facts.keys() ^ _FACTS.keys()) or sorted(facts)
        raise TextError(f"the facts are not those of a program: {', '.join(wrong[:5])}")
    for name, test in _FACTS.items():
        if not test(facts[name]):
            raise TextError(f"the fact {name} cannot be {facts[name]!r}")
    precisions, kernels = _TARGETS[facts["target"]]
    if facts["precision"] not in precisions or facts["kernels"] not in kernels:
        about = f"precision {facts['precision']} and kernels {facts['kernels']}"
        raise TextError(f"{about} are not for target {facts['target']}")
    if facts["mesh"] != bundle.train.mesh.shape:
        raise TextError(f"the mesh of the programs is not {facts['mesh']}")
    if not facts["torch_names"].keys() <= {port.name for port in bundle.eval.state}:
        raise TextError("the fact torch_names names what is no weight")
    for name, program in zip(_PROGRAMS, (bundle.init, bundle.train, bundle.eval), strict=True):
        if program.name != f"{facts['network']}.{name}":
            raise TextError(f"{program.name} is not the program {name} of {facts['network']}")
        _check_types(program, _DTYPES[facts["precision"]])
        _check_inputs(program, facts, images=program is not bundle.init)
    scores = {facts["scores"]: (facts["batch"], facts["classes"])}
    _check_outputs(bundle.train, {"loss": ()})
    _check_outputs(bundle.eval, {"loss_sum": (), "correct": (), **scores})
    if "count" not in {port.name for port in bundle.eval.inputs}:
        raise TextError("evaluation is not told how many images count")


def _check_types(program: Program, floating: set[str]) -> None:
    for b in program.buffers:
        if b.dtype not in {"i64", "u8", *floating}:
            raise TextError(f"{program.name}: {b.name} is of {b.dtype}")


def _check_inputs(program: Program, facts: Mapping[str, Any], images: bool) -> None:
    """Every input is one that the runtime knows how to fill; with `images` they are among them."""
    batch = (facts["batch"],)
    known = {"seed": (), "step": (), "count": (), "lr": (), "labels": batch}
    found = [port for port in program.inputs if len(port.shape) == 4]
    for port in program.inputs:
        shape = (*batch, *port.shape[1:]) if port in found else known.get(port.name)
        whole = port.name in known and port.name != "lr"
        if port.shape != shape or (port.dtype == "i64") != whole:
            raise TextError(f"{program.name}: no input is {_shown(port)}")
    labelled = any(port.name == "labels" for port in program.inputs)
    # How many inputs are filled is for data sets to say.
    shapes = [port.shape[1:] for port in found]
    if (facts["image"] in shapes, bool(shapes), labelled) != (images, images, images):
        raise TextError(f"{program.name}: its images are {shapes}")


def _check_outputs(program: Program, wanted: Mapping[str, tuple[int, ...]]) -> None:
    ports = {port.name: port for port in program.outputs}
    for name, shape in wanted.items():
        if name not in ports:
            raise TextError(f"{program.name}: it does not put out {name}")
        if ports[name].shape != shape or ports[name].dtype == "i64":
            raise TextError(f"{program.name}: it puts out {_shown(ports[name])}")


def _shown(port: Port) -> str:
    return f"{port.name} {port.dtype}{list(port.shape)}"


def _word(*known: str) -> Test:
    return lambda value: type(value) is str and value in known


def _text(value: Any) -> bool:
    return type(value) is str and bool(value)


def _whole(least: int, most: int) -> Test:
    return lambda value: type(value) is int and least <= value <= most


def _several(each: Test, count: int | None = None) -> Test:
    def tells(value: Any) -> bool:
        return (
            type(value) is tuple and len(value) == (count or len(value)) and all(map(each, value))
        )

    return tells


def _named(value: Any) -> bool:
    return type(value) is dict and all(map(_scalar, value.values()))


def _scalar(value: Any) -> bool:
    return value is None or type(value) in (str, int, float, bool)


def _call(value: Any) -> bool:
    """A word with its arguments and its named arguments."""
    right = type(value) is tuple and len(value) == 3 and _text(value[0])
    return right and _several(_scalar)(value[1]) and _named(value[2])


def _schedule(value: Any) -> bool:
    return type(value) is tuple and len(value) == 2 and _text(value[0]) and _named(value[1])


def _names(value: Any) -> bool:
    return type(value) is dict and all(map(_text, value.values()))


_SIZE = _whole(1, 2**31 - 1)
_FACTS: Mapping[str, Test] = {
    "augment": _several(_call),
    "batch": _SIZE,
    "blas_threads": _whole(0, _THREADS),
    "classes": _SIZE,
    "data": lambda value: value is None or _call(value),
    "epochs": _SIZE,
    "fc_update": _word("step", "round"),
    "image": _several(_SIZE, 3),
    "kernels": _word("fast", "reference", "auto", "native", "vendor"),
    "lr": lambda value: type(value) in (int, float) and value >= 0,
    "mesh": _several(_SIZE),
    "network": lambda value: type(value) is str and _NAME.fullmatch(value) is not None,
    "optimizer": lambda value: _named(value) and _word("sgd", "adam", "adamw")(value.get("name")),
    "parameters": _several(_several(_text, 2)),
    "pins": _several(_text),
    "precision": _word(*_DTYPES),
    "schedule": _schedule,
    "scheme": _word("", "a", "b", "c"),
    "scores": _text,
    "seed": _whole(0, 2**63 - 1),
    "strategy": _text,
    "target": _word(*_TARGETS),
    "text": _text,
    "threads": _whole(0, _THREADS),
    "torch_names": _names,
}
"""Every fact, and what it may be."""
