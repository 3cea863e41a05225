"""Several operations launched as one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from netc.ir.ops.base import Op, Site
from netc.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class Step:
    """One operation inside a fused one."""

    op: Op
    args: tuple[int, ...]
    """Operands of the fused operation by position; -1 is the previous step's result."""
    layer: str
    """The layer it came from."""


@dataclass(frozen=True, slots=True)
class Fused(Op):
    """A chain: the first step writes the result, the others change it in place."""

    kernel: ClassVar[str] = "fused"
    steps: tuple[Step, ...]
    """In order; every step but the first is elementwise in the chained operand."""

    def infer(self, *operands: TensorType) -> TensorType:
        """The type of the last step."""
        result = operands[0]
        for step in self.steps:
            result = step.op.infer(*(result if a < 0 else operands[a] for a in step.args))
        return result

    def attributes(self) -> dict[str, Any]:
        """Local attributes carry everything."""
        return {}

    def local(self, site: Site) -> dict[str, Any]:
        """Kernel, operands and attributes of every step."""
        return {"steps": tuple(self._step(step, site) for step in self.steps)}

    def _step(self, step: Step, site: Site) -> tuple[str, tuple[int, ...], dict[str, Any]]:
        inner = Site(
            tuple(site.result if a < 0 else site.operands[a] for a in step.args),
            tuple(site.type if a < 0 else site.operand_types[a] for a in step.args),
            site.result,
            site.type,
            site.rows,
        )
        return step.op.kernel, step.args, {**step.op.attributes(), **step.op.local(inner)}

    def overwritable(self) -> tuple[int, ...]:
        """What the first step may overwrite, unless a later step still reads it."""
        first, later = self.steps[0], {a for step in self.steps[1:] for a in step.args}
        operands = (first.args[i] for i in first.op.overwritable())
        return tuple(a for a in operands if a not in later)

    def flops(self, operands: tuple[tuple[int, ...], ...], result: tuple[int, ...]) -> int:
        """The sum over the steps."""
        return sum(
            step.op.flops(tuple(result if a < 0 else operands[a] for a in step.args), result)
            for step in self.steps
        )

    def __str__(self) -> str:
        return "fused{" + " + ".join(str(step.op) for step in self.steps) + "}"
