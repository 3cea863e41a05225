"""Several operations launched as one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from netc.ir.ops.base import Op, Site
from netc.ir.step import Step
from netc.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class Link:
    """One operation inside a fused one."""

    op: Op
    args: tuple[int, ...]
    """Operands of the fused operation by position; -1 is the previous link's result."""
    layer: str
    """The layer it came from."""


@dataclass(frozen=True, slots=True)
class Fused(Op):
    """A chain: the first link writes the result, the others change it in place."""

    kernel: ClassVar[str] = "fused"
    links: tuple[Link, ...]
    """In order; all but the first are elementwise in the chained operand."""

    def infer(self, *operands: TensorType) -> TensorType:
        """The type of the last link."""
        result = operands[0]
        for link in self.links:
            result = link.op.infer(*(result if a < 0 else operands[a] for a in link.args))
        return result

    def steps(self, site: Site) -> tuple[Step, ...]:
        """One for each link."""
        return tuple(self._step(link, site) for link in self.links)

    def _step(self, link: Link, site: Site) -> Step:
        inner = Site(
            tuple(site.result if a < 0 else site.operands[a] for a in link.args),
            tuple(site.type if a < 0 else site.operand_types[a] for a in link.args),
            site.result,
            site.type,
            site.rows,
        )
        (step,) = link.op.steps(inner)
        return replace(step, operands=link.args)

    def overwritable(self) -> tuple[int, ...]:
        """What the first link may overwrite, unless a later one still reads it."""
        first, later = self.links[0], {a for link in self.links[1:] for a in link.args}
        operands = (first.args[i] for i in first.op.overwritable())
        return tuple(a for a in operands if a not in later)

    def flops(self, operands: tuple[tuple[int, ...], ...], result: tuple[int, ...]) -> int:
        """The sum over the links."""
        return sum(
            link.op.flops(tuple(result if a < 0 else operands[a] for a in link.args), result)
            for link in self.links
        )

    def __str__(self) -> str:
        return "fused{" + " + ".join(str(link.op) for link in self.links) + "}"
