"""What each GPU of a collective takes from where, as pieces of memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod

from netc.ir.program import GroupCollective, Part, View
from netc.ir.types import ITEM_BYTES
from netc_kernels.cuda.exchange import CELLS, Piece, StridedAddress, cells
from netc_kernels.cuda.tensor import Tensor
from netc_runtime.comm.inprocess import shard, takes

Open = Callable[[int, View], Tensor]
"""The memory behind a device's view."""
OWN_BYTES = 2**18
"""An exchange leaves most of a GPU to others; its own parts larger than this are copied apart."""
Phase = list[list[Piece]]
"""By position in the group, what a GPU takes."""


def phases(collective: GroupCollective, open_: Open) -> list[Phase]:
    """What every GPU takes from where: all parts of a collective, in one phase or two."""
    if collective.kind == "all_reduce":
        return _in_shards(collective, open_)
    made: Phase = [[] for _ in collective.devices]
    for part in collective.parts:
        for taker, pieces in enumerate(made):
            pieces += _wanted(collective, part, taker, open_)
    return [made]


def _in_shards(collective: GroupCollective, open_: Open) -> list[Phase]:
    """Each GPU reduces a shard, and takes the others' from them."""
    group = range(len(collective.devices))
    reduced: Phase = [[] for _ in group]
    copied: Phase = [[] for _ in group]
    for part in collective.parts:
        sources, targets = (
            [open_(d, v) for d, v in zip(collective.devices, views, strict=True) if v is not None]
            for views in (part.sources, part.targets)
        )
        for owner in group:
            made = targets[owner]
            reduced[owner] += _shard(made, dict(enumerate(sources)), owner, len(group))
            for taker in group:
                if taker != owner:
                    copied[taker] += _shard(targets[taker], {owner: made}, owner, len(group))
    return [reduced, copied]


def is_small(collective: GroupCollective, open_: Open) -> bool:
    """Whether a collective, of tensors of one type, is a sum that fits a box."""
    if collective.kind != "all_reduce":
        return False
    blocks = (_any_target(part, collective.devices, open_) for part in collective.parts)
    return 0 < sum(cells(block.elements, block.dtype) for block in blocks) <= CELLS


def own_pieces(collective: GroupCollective, me: int, open_: Open) -> Iterator[Piece]:
    """What a GPU has itself of what it wants, where that is much."""
    for part in collective.parts if not collective.op else ():
        for piece in _copies(collective, part, me, open_):
            if _is_own(piece, me, dtype_of(part, collective.devices, open_)):
                yield piece


def _wanted(collective: GroupCollective, part: Part, taker: int, open_: Open) -> Iterator[Piece]:
    """What a GPU takes of a part, but for its own where that is much: a reduction, or copies."""
    wanted, devices = part.targets[taker], collective.devices
    if wanted is None:
        return
    if not collective.op:
        for piece in _copies(collective, part, taker, open_):
            if not _is_own(piece, taker, dtype_of(part, devices, open_)):
                yield piece
        return
    target = open_(devices[taker], wanted)
    terms = {
        giver: _place(open_(devices[giver], given), there, target.nhwc)
        for giver, given, _, there in takes(part, taker)
    }
    if terms:
        whole = tuple(slice(0, size) for size in target.shape)
        place, sizes = _place(target, whole, target.nhwc), _ordered(target.shape, target.nhwc)
        yield Piece(sizes, place, tuple(terms.values()), tuple(terms))


def _copies(collective: GroupCollective, part: Part, taker: int, open_: Open) -> Iterator[Piece]:
    """What a GPU copies of a part: all that is not there already."""
    wanted, devices = part.targets[taker], collective.devices
    if wanted is None:
        return
    target = open_(devices[taker], wanted)
    for giver, given, here, there in takes(part, taker):
        source = open_(devices[giver], given)
        assert source.dtype == target.dtype
        place, term = _place(target, here, target.nhwc), _place(source, there, target.nhwc)
        if place != term:
            sizes = tuple(each.stop - each.start for each in here)
            yield Piece(_ordered(sizes, target.nhwc), place, (term,), (giver,))


def _is_own(piece: Piece, taker: int, dtype: str) -> bool:
    """Whether a piece is one's own, and so large that a launch of its own copies it."""
    return piece.givers == (taker,) and prod(piece.sizes) * ITEM_BYTES[dtype] > OWN_BYTES


def _shard(
    target: Tensor, sources: Mapping[int, Tensor], owner: int, owners: int
) -> Iterator[Piece]:
    """An owner's shard of a target, from the blocks of some givers."""
    start, stop = shard(target.elements, owner, owners)
    if start < stop:
        item = ITEM_BYTES[target.dtype]
        places = (
            StridedAddress(b.pointer + start * item, (item,)) for b in (target, *sources.values())
        )
        first, *terms = places
        yield Piece((stop - start,), first, tuple(terms), tuple(sources))


def _place(block: Tensor, box: Sequence[slice], nhwc: bool) -> StridedAddress:
    """Where a box of a block begins; steps in the order of memory that `nhwc` tells."""
    item = ITEM_BYTES[block.dtype]
    dims = _ordered(tuple(range(len(block.shape))), block.nhwc)
    steps, step = [0] * len(dims), item
    for dim in reversed(dims):
        steps[dim], step = step, step * block.shape[dim]
    address = block.pointer + sum(each.start * s for each, s in zip(box, steps, strict=True))
    return StridedAddress(address, _ordered(tuple(steps), nhwc))


def _ordered(values: tuple[int, ...], nhwc: bool) -> tuple[int, ...]:
    """Values by dimension in the order of memory."""
    return tuple(values[i] for i in (0, 2, 3, 1)) if nhwc else values


def dtype_of(part: Part, devices: Sequence[int], open_: Open) -> str:
    """The type of the elements of a part."""
    return _any_target(part, devices, open_).dtype


def _any_target(part: Part, devices: Sequence[int], open_: Open) -> Tensor:
    """What a part goes to, on some device that gets it."""
    targets = zip(devices, part.targets, strict=True)
    return next(open_(device, view) for device, view in targets if view is not None)
