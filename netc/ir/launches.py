"""Launches held to their operations, step by step."""

from __future__ import annotations

from netc.ir.joined import JOINED, NOWHERE, results_of, targets_of
from netc.ir.ops.base import ShapeError
from netc.ir.program import Launch, Program, View
from netc.ir.rules import Applied, Value, check_step, class_of
from netc.ir.types import TensorType, numbers


def check_launch(program: Program, launch: Launch) -> None:
    """Raise ShapeError where a launch's blocks or attributes are not what its kernels take.

    So no kernel is called outside of what its operation allows.
    """
    check_kernels(launch)
    reads = tuple(_value(program, view) for view in launch.reads)
    writes = [_value(program, view) for view in launch.writes[: results_of(launch)]]
    check = _check_joined if launch.joined else _check_chain
    check(launch)
    for applied in _applied(launch, reads, writes):
        check_step(applied)
    if not set(launch.in_place) <= set(_overwritable(launch)):
        about = f"the bytes of its operands {launch.in_place}"
        raise ShapeError(f"{launch.name} cannot take over {about}")


def _value(program: Program, view: View) -> Value:
    type_ = TensorType(program.buffer[view.buffer].dtype, view.shape)
    return Value(type_, numbers(view.where))


def check_kernels(launch: Launch) -> None:
    """Raise ShapeError where not every step has a kernel, or that of the step before, and where
    more is written than results and a workspace.
    """
    results = results_of(launch)
    if len(launch.writes) not in (results, results + 1):
        raise ShapeError(f"{launch.name} has {results} results")
    if len(launch.writes) > results:
        plain = launch.writes[-1].where == (0,) and any(step.variant for step in launch.steps)
        if not plain:
            raise ShapeError("what is written last is no workspace of its kernels")
    if not launch.steps or launch.steps[0].absorbed:
        raise ShapeError("it begins with no kernel")
    for step in launch.steps:
        if step.absorbed and step.variant:
            raise ShapeError(f"{step.operation} has two kernels")


def _check_joined(launch: Launch) -> None:
    """The steps are the parts of what is declared, and read what those do."""
    declared = JOINED[launch.joined]
    parts = declared.parts_of(launch.steps)
    wanted = {a for part in parts for a in part.operands if a >= 0}
    right = [step.operands for step in launch.steps] == [part.operands for part in parts]
    if not right or wanted != set(range(len(launch.reads))):
        raise ShapeError(f"its steps are not those of {launch.joined}")
    if not declared.agrees(launch.steps, [view.shape for view in launch.reads]):
        raise ShapeError(f"its attributes are not those of {launch.joined}")


def _check_chain(launch: Launch) -> None:
    """The first step makes the result, the others change it in place."""
    result = launch.writes[0].shape
    for number, step in enumerate(launch.steps):
        before = [a for a in step.operands if a < 0]
        if before != [-1] * int(number > 0) or step.result != result:
            raise ShapeError(f"{step.operation} does not go on with what was made before")
        if number and step.operands.index(-1) not in class_of(step.operation).inplace:
            at = step.operands.index(-1)
            raise ShapeError(f"{step.operation} cannot change operand {at} in place")


def _applied(
    launch: Launch, reads: tuple[Value, ...], writes: list[Value]
) -> list[Applied]:  # fmt: skip
    """Every step with its blocks. What is in no memory lies where the first result does."""
    found: list[Applied] = []
    for step, target in zip(launch.steps, targets_of(launch), strict=True):
        if not all(-len(found) <= a < len(reads) for a in step.operands):
            raise ShapeError(f"{step.operation} reads what is not there")
        operands = tuple(reads[a] if a >= 0 else found[a].result for a in step.operands)
        result = writes[max(target, 0)]
        if target == NOWHERE and len(step.result) == len(result.where):
            result = _before(step.result, result)
        if result.type.shape != step.result:
            raise ShapeError(f"{step.operation} does not make what is written")
        found.append(Applied(step.operation, step.attributes, operands, result))
    return found


def _before(shape: tuple[int, ...], result: Value) -> Value:
    """A block of that shape that becomes the result: as it is, or under windows side by side."""
    wide = (n // max(m, 1) for n, m in zip(shape, result.type.shape, strict=True))
    where = (w * each for w, each in zip(result.where, wide, strict=True))
    return Value(TensorType(result.type.dtype, shape), tuple(where))


def _overwritable(launch: Launch) -> tuple[int, ...]:
    """Operands whose bytes the first result may take over."""
    if launch.joined:
        return JOINED[launch.joined].in_place
    first, *rest = launch.steps
    later = {a for step in rest for a in step.operands}
    return tuple(
        first.operands[place] for place in class_of(first.operation).inplace
        if place < len(first.operands) and first.operands[place] not in later
    )  # fmt: skip
