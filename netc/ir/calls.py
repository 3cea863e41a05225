"""What a launch asks of a target's kernels, and the launch with the kernels that answer."""

from __future__ import annotations

from dataclasses import replace

from netc.ir import codec
from netc.ir.joined import own_of
from netc.ir.kernels import KernelCall, KernelChoice
from netc.ir.program import Launch, Program
from netc.ir.step import CHECKED, Attributes, Step
from netc.ir.types import index_at

_PLACE = ("before", "offset", "rows", "start", *CHECKED)
"""Attributes that say where a block lies; no choice depends on them."""


def calls_of(program: Program, launch: Launch) -> tuple[KernelCall, ...]:
    """One call a step; one for all of a joined launch that has kernels of its own."""
    kind = codec.kernels().get(launch.steps[0].operation)
    views = launch.reads if kind is not None and kind.wide else launch.writes
    dtype = program.buffer[views[0].buffer].dtype
    first = program.classes[launch.class_].first
    if (own := own_of(launch)) is not None:
        attributes = Attributes.of(own.attributes(launch.steps))
        reads = tuple(view.shape for view in launch.reads)
        args, result = tuple(range(len(reads))), launch.writes[0].shape
        return (KernelCall(own.name, dtype, _lasting(attributes, first), args, reads, result),)
    return tuple(
        KernelCall(
            step.operation, dtype, _lasting(step.attributes, first), step.operands, shapes,
            step.result,
        )
        for step, shapes in zip(launch.steps, launch.shapes, strict=True)
    )  # fmt: skip


def _lasting(
    attributes: Attributes, coordinates: tuple[int, ...]
) -> tuple[tuple[str, object], ...]:
    kept = {name: value for name, value in attributes.pairs if name not in _PLACE}
    if (first := kept.pop("first_filter", None)) is not None and kept["groups"] > 1:
        # Where a block's filters begin inside of a group decides what is computed: that is the same
        # on all devices of a class.
        kept["first_filter"] = index_at(first, coordinates) % (kept["filters"] // kept["groups"])
    return tuple(sorted(kept.items()))


def variants_of(launch: Launch) -> tuple[str | None, ...]:
    """The kernels of a launch, one for each of its calls: the inverse of `with_kernels`."""
    steps = launch.steps[:1] if own_of(launch) is not None else launch.steps
    return tuple(None if step.absorbed else step.variant for step in steps)


def with_kernels(launch: Launch, choice: KernelChoice) -> Launch:
    """The launch with a kernel for each step, and the seconds that were measured, if any were."""
    variants = choice.variants
    if own_of(launch) is not None:
        (variant,) = variants
        variants = (variant, *((None if variant else "") for _ in launch.steps[1:]))
    steps = tuple(_done_by(s, variant) for s, variant in zip(launch.steps, variants, strict=True))
    return replace(launch, steps=steps, seconds=choice.seconds or launch.seconds)


def _done_by(step: Step, variant: str | None) -> Step:
    return replace(step, absorbed=True) if variant is None else replace(step, variant=variant)
