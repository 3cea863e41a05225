"""How tensors are cut into packs, threads and blocks: what the launchers of this package share."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

from netc_kernels.cuda.tensor import ITEM_BYTES, Tensor

THREADS = 256
"""Threads of a block, at most."""
PACK_BYTES = 16
"""Bytes that a thread reads at once."""
_CHANNELS_LAST = (0, 2, 3, 1)


def ceil_div(number: int, unit: int) -> int:
    """How many units hold a number."""
    return -(-number // unit)


def macros(tensor: Tensor, lanes: int) -> dict[str, int]:
    """The macros of `vector.cuh` for activations of a tensor's type."""
    assert tensor.dtype in ("f32", "bf16"), f"no kernel for elements of type {tensor.dtype}"
    return {"BF16": int(tensor.dtype == "bf16"), "LANES": lanes}


def lanes(width: int, *tensors: Tensor, most: int = 0) -> int:
    """How many elements a thread takes side by side: a pack where it fits, else one.

    Every tensor must begin at a multiple of the pack's bytes (or of 16), and `width`, the elements
    after which a new pack must begin, be a multiple of the pack. `most` replaces the number of
    elements of the first tensor in 16 bytes.
    """
    wanted = most or PACK_BYTES // ITEM_BYTES[tensors[0].dtype]
    aligned = all(
        tensor.pointer % min(PACK_BYTES, wanted * ITEM_BYTES[tensor.dtype]) == 0
        for tensor in tensors
    )
    return wanted if aligned and width % wanted == 0 else 1


def memory_dims(tensor: Tensor) -> tuple[int, ...]:
    """The logical dims of a tensor from the outermost to the innermost in memory."""
    return _CHANNELS_LAST if tensor.nhwc else tuple(range(len(tensor.shape)))


def alike(*tensors: Tensor) -> bool:
    """Whether tensors have one shape and one order in memory."""
    shape = tensors[0].shape
    orders = {tensor.nhwc for tensor in tensors}
    flat = len(shape) == 4 and (shape[1] == 1 or shape[2] * shape[3] == 1)
    return all(tensor.shape == shape for tensor in tensors) and (len(orders) == 1 or flat)


class Columns(NamedTuple):
    """Blocks of threads over `rows` x `channels` elements, channels innermost."""

    rows: int
    channels: int
    lanes: int
    block: tuple[int, int]
    """Threads along channels and along rows."""
    chunks: int
    """Blocks along channels."""

    def tiles(self, rows: int) -> int:
        """Blocks along rows if a thread takes that many."""
        return ceil_div(self.rows, rows * self.block[1])


def columns(*tensors: Tensor, most: int = THREADS) -> Columns:
    """Cut tensors (N, C) or (N, C, H, W) stored N H W C; `most` threads along channels."""
    shape = tensors[0].shape
    assert alike(*tensors) and (tensors[0].nhwc or prod(shape[2:]) == 1), "want channels innermost"
    return cut(prod(shape) // max(1, shape[1]), shape[1], lanes(shape[1], *tensors), most)


def cut(rows: int, channels: int, packed: int, most: int = THREADS) -> Columns:
    """Cut `rows` runs of `channels` elements into blocks of threads."""
    packs = ceil_div(channels, packed)
    chunks = ceil_div(packs, most)
    across = ceil_div(packs, max(1, chunks))
    down = max(1, min(THREADS // max(1, across), rows))
    return Columns(rows, channels, packed, (across, down), chunks)


def strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Row-major strides in elements."""
    return tuple(prod(shape[dim + 1 :]) for dim in range(len(shape)))
