"""Products that cuDNN computes, with their memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from netc_kernels.cuda.conv.ready import ReadyPlan, Vendor, WantedPlan
from netc_kernels.cuda.conv.space_to_depth import Folded, depth_to_space, space_to_depth
from netc_kernels.cuda.conv.vendor import (
    ROLES,
    Product,
    UnsupportedError,
    blocks_of,
    room_bytes,
)
from netc_kernels.cuda.source import compiles_only
from netc_kernels.cuda.tensor import Tensor


class Planned:
    """A product with its memory, which runs once its plan is chosen."""

    def __init__(
        self,
        product: Product,
        out: Tensor,
        operands: Sequence[Tensor],
        extra: Tensor | None,
        work: Tensor,
        known: str = "",
        near: Sequence[str] = (),
    ) -> None:
        """The names of plans are those of `WantedPlan`; `extra` is the bias, or the relu's output
        for its slope.

        Raises UnsupportedError where cuDNN has no plan for the product.
        """
        folded = product.folded
        if product.relu_dx and folded is not None:
            raise UnsupportedError("a relu's slope has no padded channels")
        if any(b.pointer % 16 for b in (out, *operands, *([extra] if extra else []))):
            raise UnsupportedError("cuDNN wants tensors that begin at multiples of 16 bytes")
        self.product = product
        self.before: list[Callable[[int], None]] = []
        self.after: list[Callable[[int], None]] = []
        self.work = work.pointer
        if folded is not None:
            out, *operands = self._fold(folded, [out, *operands])
        blocks = blocks_of(product, out, operands, extra)
        self.pack = {number: block.pointer for number, block in enumerate(blocks, 1)}
        types = tuple(replace(block, pointer=0) for block in blocks)
        self.wanted = WantedPlan(product, types, known, tuple(near))
        self.plan: ReadyPlan | None = None

    def choose(self, library: Vendor, timed_on: int | None = None) -> str:
        """Take the plan that is wanted, or the fastest as timed on a stream; its name.

        Raises UnsupportedError where cuDNN has none.
        """
        if timed_on is None or self.wanted.known:
            self.plan = library.plan(self.wanted)
        else:
            self.plan = library.timed(self.wanted, self.pack, self.work, timed_on)
        return self.plan.name

    def run(self, stream: int) -> None:
        """Start the product on a stream."""
        assert self.plan is not None, "it is chosen"
        for step in self.before:
            step(stream)
        if not compiles_only():
            self.plan.run(self.pack, self.work, stream)
        for step in self.after:
            step(stream)

    def _fold(self, folded: Folded, tensors: list[Tensor]) -> list[Tensor]:
        """Folded copies of image and filters in the front of the workspace."""
        image, filters, _ = ROLES[self.product.op]
        for position, shape in ((image, folded.image), (filters, folded.filters)):
            tensor = tensors[position]
            deep = Tensor(self.work, shape, tensor.dtype, True)
            self.work += room_bytes(shape, self.product)
            tensors[position] = deep
            if position == 0:
                self.after.append(_starter(depth_to_space, tensor, deep, folded.block))
                continue
            margin = folded.margin if position == image else (0, 0)
            self.before.append(_starter(space_to_depth, deep, tensor, folded.block, margin=margin))
        return tensors


def _starter(kernel: Callable[..., None], *blocks: Any, **attributes: Any) -> Callable[[int], None]:
    return lambda stream: kernel(*blocks, stream=stream, **attributes)
