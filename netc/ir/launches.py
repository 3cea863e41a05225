"""Launches taken apart into operations, those that they join too, to be verified step by step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from netc.ir import codec
from netc.ir.ops.base import ShapeError
from netc.ir.program import Launch, Program, View
from netc.ir.steps import (
    Step,
    Told,
    Value,
    check_count,
    check_places,
    check_step,
    class_of,
    names_of,
)
from netc.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class Update:
    """An optimizer's operations, done in one launch: from (g, state ..., w, numbers ...) to the
    state and the weight. One that begins with fc_dw_ has (x, dy) of the layer in place of g.
    """

    state: tuple[str, ...]
    """Kernels of its state, which read (state, w, g, numbers ...)."""
    apply: str
    """That of the weight, which reads (w, state ..., numbers ...)."""
    numbers: tuple[str, ...]
    early: int
    """How many of the numbers the state's kernels read; the last one reads the others."""


_SGD = Update(("sgd_velocity",), "sgd_apply", ("lr",), early=1)
_ADAM = Update(("adam_moment1", "adam_moment2"), "adam_apply", ("lr", "step"), early=0)
UPDATES: Mapping[str, Update] = {
    "sgd": _SGD, "fc_dw_sgd": _SGD, "adam": _ADAM, "fc_dw_adam": _ADAM,
}  # fmt: skip
"""Launches that overwrite an optimizer's state and the weight."""
POOLED: Mapping[str, int] = {"conv_maxpool": 1, "conv_maxpool_places": 2}
"""Convolutions that pool what they make, and how many results they have."""


def check_launch(program: Program, launch: Launch) -> None:
    """Raise ShapeError where a launch's blocks or attributes are not what its kernel takes.

    So no kernel is called outside of what its operation allows.
    """
    reads = tuple(_value(program, view) for view in launch.reads)
    writes = [_value(program, view) for view in launch.writes]
    kernel, told = plain_name(launch.kernel), dict(launch.attributes)
    results = results_of(kernel)
    if len(writes) not in (results, results + 1):
        raise ShapeError(f"{kernel} has {results} results")
    if len(writes) > results:
        _check_workspace(launch, writes.pop())
    for step in _steps(kernel, told, reads, writes):
        check_step(step)
    if not set(launch.in_place) <= set(_overwritable(kernel, told, len(reads))):
        raise ShapeError(f"{kernel} cannot take over the bytes of its operands {launch.in_place}")


def plain_name(name: str) -> str:
    """The operation of a kernel's variant."""
    return name.partition(".")[0]


def overwritten(launch: Launch) -> list[tuple[View | None, View]]:
    """State that a launch takes over: what it was, None where nobody reads it, and what it is."""
    kernel = plain_name(launch.kernel)
    if kernel in UPDATES:
        given = len(launch.reads) - len(UPDATES[kernel].numbers) - results_of(kernel)
        return list(zip(launch.reads[given:], launch.writes[: results_of(kernel)], strict=False))
    op = codec.kernels().get(kernel)
    if op is None or op.alias is None:
        return []
    old = None if op.alias in op.unread else launch.reads[op.alias]
    return [(old, launch.writes[0])]


def _value(program: Program, view: View) -> Value:
    return Value(TensorType(program.buffer[view.buffer].dtype, view.shape), view.where)


def results_of(kernel: str) -> int:
    """How many results a launch of a kernel has; what it writes after them is its workspace."""
    if kernel in UPDATES:
        return len(UPDATES[kernel].state) + 1
    return POOLED.get(kernel, 2 if kernel in ("bn_moments", "bn_slopes") else 1)


def _check_workspace(launch: Launch, work: Value) -> None:
    names = (launch.kernel, *(name for name, _, _ in _told_steps(dict(launch.attributes))))
    if work.where != (0,) or not any("." in name for name in names):
        raise ShapeError("what is written last is no workspace of its kernels")


def _steps(kernel: str, told: Told, reads: tuple[Value, ...], writes: list[Value]) -> list[Step]:
    """The operations of a launch, in order."""
    if kernel in UPDATES:
        return _update(kernel, told, reads, writes)
    if kernel in POOLED:
        return _pooled(told, reads, writes)
    if kernel == "fused":
        return _chain(told, ("steps",), reads, writes[0])
    if kernel == "bn_moments":
        return _moments(told, reads, writes)
    if kernel == "bn_slopes":
        check_count(kernel, reads, 4)
        return [Step("bn_dgamma", told, reads, writes[0]),
                Step("bias_db", {}, reads[3:], writes[1])]  # fmt: skip
    return [Step(kernel, told, reads, writes[0])]


def _told_steps(told: Told) -> tuple[Any, ...]:
    """The steps that a launch is told; none where it is no launch of several."""
    steps: tuple[Any, ...] = told.get("steps", ())
    right = isinstance(steps, tuple) and all(
        isinstance(step, tuple)
        and tuple(map(type, step)) == (str, tuple, dict)
        and all(type(a) is int for a in step[1])
        for step in steps
    )
    if not right:
        raise ShapeError("its steps are none")
    return steps


def _chain(
    told: Told, names: tuple[str, ...], reads: tuple[Value, ...], result: Value
) -> list[Step]:  # fmt: skip
    """Steps of which the first writes the result and the others change it in place."""
    found = _told_steps(told)
    if tuple(sorted(told)) != names or not found:
        raise ShapeError(f"it is told {', '.join(told)}, not {', '.join(names)} alone")
    steps = []
    for position, (name, args, own) in enumerate(found):
        if not all(-1 <= a < len(reads) for a in args) or args.count(-1) != int(position > 0):
            raise ShapeError(f"{name} does not go on with what was made before")
        operands = tuple(result if a < 0 else reads[a] for a in args)
        steps.append(Step(plain_name(name), own, operands, result))
        pools = name == "maxpool.joined" and position == len(found) - 1 and "image" in names
        if position and not pools and args.index(-1) not in class_of(steps[-1].kernel).inplace:
            raise ShapeError(f"{name} cannot change operand {args.index(-1)} in place")
    return steps


def _pooled(told: Told, reads: tuple[Value, ...], writes: list[Value]) -> list[Step]:
    out, shape = writes[0], told.get("image", ())
    if not (isinstance(shape, tuple) and len(shape) == len(out.where) == 4):
        raise ShapeError("what is pooled is no image")
    if not all(type(n) is int and n > 0 for n in shape):
        raise ShapeError("what is pooled is empty")
    image = Value(TensorType(out.type.dtype, shape), (*out.where[:2], 0, 0))
    *steps, last = _chain(told, ("image", "steps"), reads, image)
    if not steps or steps[0].kernel != "conv" or last.kernel != "maxpool":
        raise ShapeError("it does not convolve first and pool last")
    if len(writes) > 1:
        check_places(last.told, writes[1], out, image)
    return [*steps, Step("maxpool", last.told, (image,), out)]


def _moments(told: Told, reads: tuple[Value, ...], writes: list[Value]) -> list[Step]:
    check_count("bn_moments", reads, 1)
    shape = reads[0].type.shape
    if told or not all(shape) or len(shape) < 2:
        raise ShapeError("it has no mean")
    whole = {"count": prod(shape) // shape[1]}
    return [Step("bn_mean", whole, reads, writes[0]),
            Step("bn_var", whole, (reads[0], writes[0]), writes[1])]  # fmt: skip


def _update(kernel: str, told: Told, reads: tuple[Value, ...], writes: list[Value]) -> list[Step]:
    update, given = UPDATES[kernel], 2 if kernel.startswith("fc_dw_") else 1
    check_count(kernel, reads, given + len(writes) + len(update.numbers))
    source, old = reads[:given], reads[given : given + len(writes)]
    numbers, weight, steps = reads[given + len(writes) :], old[-1], []
    gradient = source[0]
    if given == 2:
        gradient = Value(TensorType(source[0].type.dtype, weight.type.shape), weight.where)
        steps.append(Step("fc_dw", {}, source, gradient))
    early, late = numbers[: update.early], numbers[update.early :]
    for name, before, after in zip(update.state, old, writes, strict=False):
        operands = (before, weight, gradient, *early)
        steps.append(Step(name, _own(name, told), operands, after))
    operands = (weight, *writes[:-1], *late)
    steps.append(Step(update.apply, _own(update.apply, told), operands, writes[-1]))
    if set(told) != {name for step in steps for name in step.told}:
        raise ShapeError(f"{kernel} is told {', '.join(told)}")
    return steps


def _own(kernel: str, told: Told) -> Told:
    """The attributes of one of the operations of a joined launch."""
    return {name: told[name] for name in names_of(class_of(kernel)) if name in told}


def _overwritable(kernel: str, told: Told, operands: int) -> tuple[int, ...]:
    """Operands whose bytes the result may take over in the same launch."""
    if kernel == "fused":
        (first, args, _), *rest = _told_steps(told)
        later = {a for _, more, _ in rest for a in more}
        places = class_of(plain_name(first)).inplace
        return tuple(args[i] for i in places if i < len(args) and args[i] not in later)
    known = kernel in codec.kernels()
    return tuple(i for i in class_of(kernel).inplace if i < operands) if known else ()
