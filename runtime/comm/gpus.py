"""Collectives between processes, one a GPU.

GPUs that reach each other's memory take what they need from there; what is large or goes between
machines is NCCL's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from netc.ir.carriers import is_large
from netc.ir.program import GroupCollective, View
from netc_kernels.cuda.tensor import Tensor
from netc_runtime.comm.nccl import NcclCollective, NcclGroups
from netc_runtime.comm.reach import Reach, ReachCollective
from netc_runtime.launch.ranks import Ranks


class GpuGroups:
    """The groups of GPUs of a run that this process takes part in."""

    def __init__(self, ranks: Ranks, arena: int) -> None:
        """To be made by all processes together; `arena` is this one's memory."""
        self.reach, self.nccl = Reach(ranks, arena), NcclGroups(ranks)
        self.arenas = self.reach.arenas()
        """Of other processes, where this one has them."""

    def prepare(self, collectives: Sequence[GroupCollective]) -> None:
        """Make ready for collectives, all ranks together."""
        near = [self._is_near(each) for each in collectives]
        self.reach.prepare([c for c, is_near in zip(collectives, near, strict=True) if is_near])
        self.nccl.prepare([c for c, is_near in zip(collectives, near, strict=True) if not is_near])

    def collective(
        self, collective: GroupCollective, open_: Callable[[int, View], Tensor]
    ) -> ReachCollective | NcclCollective:
        """A collective that this process takes part in."""
        made = self.reach if self._is_near(collective) else self.nccl
        return made.collective(collective, open_)

    def close(self) -> None:
        """Leave all groups; nothing is under way any more."""
        self.nccl.close()
        self.reach.close()

    def _is_near(self, collective: GroupCollective) -> bool:
        return self.reach.has(collective.devices) and not _is_large(collective)


def _is_large(collective: GroupCollective) -> bool:
    views = (view for part in collective.parts for view in part.targets[:1] if view is not None)
    return is_large(collective.kind, sum(prod(view.shape) for view in views))
