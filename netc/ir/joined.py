"""Joined launches: what one launch does at once though it is no chain, each declared once.

The steps of a chain change one result in place. What else a launch may do at once is declared here:
its operations in order, what each reads and where its result goes. Passes make such launches of
those of single operations, the verifier holds them to their parts, backends look for a kernel, and
where there is none the parts run one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from netc.ir import codec
from netc.ir.optimizers import GRADIENT, OPTIMIZERS, Optimizer
from netc.ir.program import Launch, View
from netc.ir.step import Attributes, Step

NOWHERE = -1
"""Where the result of a step goes that is in no memory."""
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class JoinedPart:
    """One operation of a joined launch."""

    operation: str
    operands: tuple[int, ...]
    """As a step's: positions among what the launch reads, or from -1 down results before."""
    result: int = NOWHERE
    """Its place among the launch's results."""
    optional: bool = False
    """Whether a launch may lack it."""


@dataclass(frozen=True, slots=True)
class Joined:
    """A kind of launch that does several operations at once."""

    name: str
    """What it is called, and its kernel if that is its own."""
    parts: tuple[JoinedPart, ...]
    numbers: tuple[str, ...] = ()
    """What kernels of the CPU call the last operands, which are numbers."""
    own: bool = True
    """Whether it has kernels of its own; else the first operation's do the others as well."""
    in_place: tuple[int, ...] = ()
    """Operands whose bytes its first result may take over."""
    unasked: tuple[str, ...] = ()
    """Attributes that its kernels are not given, since `rule` leaves no choice."""
    rule: Callable[[Sequence[Step], Sequence[Shape]], bool] = lambda steps, reads: True
    """What its kernels take for granted besides what the operations say, from the steps and the
    shapes of what is read."""

    @property
    def results(self) -> int:
        """How many it has."""
        return sum(part.result != NOWHERE for part in self.parts)

    @property
    def operands(self) -> int:
        """How many it reads at most."""
        return 1 + max(a for part in self.parts for a in part.operands)

    @property
    def overwritten(self) -> tuple[int, ...]:
        """Operands that results take over."""
        kinds = [(codec.kernels()[part.operation].alias, part) for part in self.parts]
        return tuple(part.operands[alias] for alias, part in kinds if alias is not None)

    def parts_of(self, steps: Sequence[Step]) -> tuple[JoinedPart, ...]:
        """The part that each step is; none where they are not its parts in order."""
        found: list[JoinedPart] = []
        for part in self.parts:
            at = len(found)
            if at < len(steps) and steps[at].operation == part.operation:
                found.append(part)
            elif not part.optional:
                return ()
        return tuple(found) if len(found) == len(steps) else ()

    def attributes(self, steps: Sequence[Step]) -> dict[str, Any]:
        """Those of all parts, which a kernel of its own is given."""
        pairs = (pair for step in steps for pair in step.attributes.pairs)
        return {name: value for name, value in pairs if name not in self.unasked}

    def agrees(self, steps: Sequence[Step], reads: Sequence[Shape]) -> bool:
        """Whether attributes of one name have one value, and `rule` holds."""
        alike = not self.own or all(
            self.attributes(steps).get(name, value) == value
            for step in steps for name, value in step.attributes.pairs
        )  # fmt: skip
        return alike and self.rule(steps, reads)


def _of_all(steps: Sequence[Step], reads: Sequence[Shape]) -> bool:
    """Whether the mean and the variance are those of all that is read."""
    (x,) = reads
    count = prod(x) // max(1, x[1]) if len(x) > 1 else 0
    return count > 0 and all(step.attributes.pairs == (("count", count),) for step in steps)


def _of_result(steps: Sequence[Step], reads: Sequence[Shape]) -> bool:
    """Whether the mean and the variance are those of all that the first step makes."""
    conv, *moments = steps
    return _of_all(moments, [conv.result])


def _of_groups(steps: Sequence[Step], reads: Sequence[Shape]) -> bool:
    """Whether the mean and the variance are those of whole groups that are read."""
    (x,) = reads
    told = steps[0].attributes
    group, count = (told.get(name, 0) for name in ("group", "count"))
    whole = len(x) > 1 and group > 0 and x[0] > 0 and x[0] % group == 0
    return bool(whole and told["before"] == 0 and count == group * prod(x[2:]) > 0)


def _of_channels(steps: Sequence[Step], reads: Sequence[Shape]) -> bool:
    """Whether what is sliced are channels."""
    return bool(steps[0].attributes["dim"] == 1)


def _by_two(steps: Sequence[Step], reads: Sequence[Shape]) -> bool:
    """Whether windows of 2x2 lie next to each other, and places know of the relu before them."""
    *before, pool, places = steps
    windows = {"size": (2, 2), "stride": (2, 2), "pad": (0, 0, 0, 0)}
    relu = before[-1].operation == "relu"
    noted = Attributes.of({**pool.attributes, "relu": relu})
    return dict(pool.asked) == windows and places.attributes == noted


def _updates() -> Iterator[Joined]:
    """All moves of an optimizer: of the gradient, states, the weight and numbers. What begins with
    fc_dw_ has the operands of a fully connected layer's gradient in place of it.
    """
    for word, optimizer in OPTIMIZERS.items():
        if optimizer.joined == word:
            yield _update(word, optimizer, (), (GRADIENT,))
            yield _update(f"fc_dw_{word}", optimizer, (JoinedPart("fc_dw", (0, 1)),), ("x", "dy"))


def _update(
    name: str, optimizer: Optimizer, before: tuple[JoinedPart, ...], source: tuple[str, ...]
) -> Joined:
    """One of them, whose gradient is there, or made by what comes before."""
    tensors = (*source, *(move.makes for move in optimizer.moves))
    known, made, parts = (*tensors, *optimizer.numbers), [GRADIENT for _ in before], list(before)
    for result, move in enumerate(optimizer.moves):
        operands = (
            made.index(word) - len(made) if word in made else known.index(word)
            for word in move.operands
        )
        parts.append(JoinedPart(move.op.kernel, tuple(operands), result))
        made.append(f"{move.makes}'")
    return Joined(name, tuple(parts), numbers=optimizer.numbers)


_ADD_RELU = (JoinedPart("add", (0, 1)), JoinedPart("relu_dx", (2, -1), result=0))


def _slopes(x: int, made: int, result: int) -> tuple[JoinedPart, ...]:
    """The gradients of scale and shift, of an image and its statistics from operand `x` up and the
    gradient that was made so many parts before.
    """
    return (
        JoinedPart("bn_dgamma", (x, x + 1, x + 2, -made), result),
        JoinedPart("bias_db", (-made - 1,), result + 1),
    )


_CONV = (
    JoinedPart("conv", (0, 1)),
    JoinedPart("bias", (-1, 2), optional=True),
    JoinedPart("relu", (-1,), optional=True),
    JoinedPart("maxpool", (-1,), result=0),
)
JOINED: Mapping[str, Joined] = {
    each.name: each
    for each in (
        Joined("bn_moments", (
            JoinedPart("bn_mean", (0,), result=0), JoinedPart("bn_var", (0, -1), result=1),
        ), unasked=("count",), rule=_of_all),
        Joined("bn_slopes", (
            JoinedPart("bn_dgamma", (0, 1, 2, 3), result=0), JoinedPart("bias_db", (3,), result=1),
        )),
        Joined("add_relu_slopes", (*_ADD_RELU, *_slopes(3, 1, 1)), in_place=(0, 1)),
        Joined("add_relu_two_slopes", (
            *_ADD_RELU, *_slopes(3, 1, 1), *_slopes(6, 3, 3),
        ), in_place=(0, 1)),
        Joined("slice_relu_slopes", (
            JoinedPart("slice", (0,)), JoinedPart("relu_dx", (1, -1), result=0), *_slopes(2, 1, 1),
        ), rule=_of_channels),
        Joined("bn_norms_add_relu", (
            JoinedPart("bn_norm", (0, 1, 2, 3, 4)), JoinedPart("bn_norm", (5, 6, 7, 8, 9)),
            JoinedPart("add", (-1, -2)), JoinedPart("relu", (-1,), result=0),
        ), in_place=(0, 5)),
        Joined("grouped_moments", (
            JoinedPart("grouped_mean", (0,), result=0),
            JoinedPart("grouped_var", (0, -1), result=1),
        ), unasked=("count",), rule=_of_groups),
        Joined("grouped_slopes", (
            JoinedPart("grouped_dgamma", (0, 1, 2, 3), result=0),
            JoinedPart("grouped_dbeta", (3,), result=1),
        )),
        Joined("sums_moments", (
            JoinedPart("sums_mean", (0,), result=0), JoinedPart("sums_var", (0,), result=1),
        )),
        Joined("conv_moments", (
            JoinedPart("conv", (0, 1), result=0), JoinedPart("bn_mean", (-1,), result=1),
            JoinedPart("bn_var", (-2, -1), result=2),
        ), unasked=("count",), rule=_of_result),
        Joined("conv_sums", (
            JoinedPart("conv", (0, 1), result=0), JoinedPart("bn_sums", (-1,), result=1),
        )),
        Joined("conv_dx_slopes", (
            JoinedPart("conv_dx", (0, 1)), JoinedPart("relu_dx", (2, -1), result=0),
            *_slopes(3, 1, 1),
        )),
        Joined("conv_dx_add_slopes", (
            JoinedPart("conv_dx", (0, 1)), JoinedPart("add", (2, -1)),
            JoinedPart("relu_dx", (3, -1), result=0), *_slopes(4, 1, 1),
        )),
        *_updates(),
        Joined("conv_maxpool", _CONV, own=False),
        Joined("conv_maxpool_places", (
            *_CONV, JoinedPart("maxpool_places", (-2, -1), result=1),
        ), own=False, rule=_by_two),
    )
}  # fmt: skip
"""Every kind by its name."""


def own_of(launch: Launch) -> Joined | None:
    """What a launch is declared to be, if that has kernels of its own."""
    declared = JOINED.get(launch.joined)
    return declared if declared is not None and declared.own else None


def results_of(launch: Launch) -> int:
    """How many results a launch has; what it writes after them is its workspace."""
    return JOINED[launch.joined].results if launch.joined else 1


def targets_of(launch: Launch) -> tuple[int, ...]:
    """Where each step's result goes: its place among what is written, or `NOWHERE`."""
    if launch.joined:
        return tuple(part.result for part in JOINED[launch.joined].parts_of(launch.steps))
    return (*(NOWHERE for _ in launch.steps[1:]), 0)


def overwritten(launch: Launch) -> list[tuple[View | None, View]]:
    """State that a launch takes over: what it was, None where nobody reads it, and what it is."""
    found: list[tuple[View | None, View]] = []
    for step, target in zip(launch.steps, targets_of(launch), strict=True):
        op = codec.kernels().get(step.operation)
        if op is not None and op.alias is not None and target != NOWHERE:
            old = None if op.alias in op.unread else launch.reads[step.operands[op.alias]]
            found.append((old, launch.writes[target]))
    return found


def join(name: str, launches: Sequence[Launch], place: Launch) -> Launch | None:
    """Launches as one joined launch of that name, in the place of one of them; None where they are
    not its parts, in order, of the operands that it wants.
    """
    declared = JOINED[name]
    steps = [step for launch in launches for step in launch.steps]
    parts = declared.parts_of(steps)
    reads = _common(launches, parts) if parts else None
    if reads is None or not declared.agrees(steps, [view.shape for view in reads]):
        return None
    made = tuple(launch.writes[0] for launch in launches)
    joined = (replace(step, operands=p.operands) for step, p in zip(steps, parts, strict=True))
    # The last parts are those that have results.
    writes = made[-declared.results :]
    in_place = tuple(i for i in declared.in_place if reads[i].shape == writes[0].shape)
    return replace(
        place, joined=name, steps=tuple(joined), reads=reads, writes=writes, in_place=in_place
    )


def _common(launches: Sequence[Launch], parts: Sequence[JoinedPart]) -> tuple[View, ...] | None:
    """What launches read together, where each reads what its parts do."""
    found: dict[int, View] = {}
    made: list[View | None] = []
    for launch in launches:
        for step in launch.steps:
            part = parts[len(made)]
            if len(step.operands) != len(part.operands):
                return None
            for has, wanted in zip(step.operands, part.operands, strict=True):
                view = None if has < 0 else launch.reads[has]
                if wanted < 0:
                    right = has == wanted if view is None else _is(made[wanted], view)
                else:
                    right = view is not None and found.setdefault(wanted, view) == view
                if not right:
                    return None
            made.append(None)
        made[-1] = launch.writes[0]
    return tuple(found[position] for position in range(len(found)))


def _is(made: View | None, view: View) -> bool:
    """Whether a view is all of what was made, whatever part of a tensor that is for its reader."""
    return made is not None and replace(view, where=made.where) == made
