"""Collectives between devices that share one GPU: copies between their arenas.

The order of summation is that of devices, as between threads; sums of bfloat16 are made in float32.
Bytes are counted for what is copied from one device's arena to another's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from netc.ir.program import GroupCollective, Part, View
from netc_kernels.cuda.source import stream_of
from netc_kernels.cuda.tensor import ITEM_BYTES, Tensor
from netc_runtime.comm.inprocess import flat, memory_order, shard, takes

Open = Callable[[int, View], Tensor]
DTYPES = {
    "f32": "float32", "bf16": "uint16", "f64": "float64", "i64": "int64", "u8": "uint8"
}  # fmt: skip
"""How CuPy holds the bytes; bfloat16 as bits."""
_PREAMBLE = """
template <typename T> __device__ T wide(T x) { return x; }
template <typename T> __device__ T narrow(T x) { return x; }
__device__ float wide_bf16(unsigned short x) { return __uint_as_float((unsigned)x << 16); }
__device__ unsigned short narrow_bf16(float x) {
  unsigned bits = __float_as_uint(x);
  if (x != x) return 0x7fff;
  return (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
}
"""
_COMBINE = {"sum": "a + b", "max": "(a > b ? a : b)", "min": "(a < b ? a : b)"}


def as_array(block: Tensor) -> Any:
    """A CuPy array over a block's memory, in its logical shape."""
    import cupy

    memory = cupy.cuda.UnownedMemory(block.pointer, max(block.nbytes, 1), None)
    pointer = cupy.cuda.MemoryPointer(memory, 0)
    if not block.nhwc:
        return cupy.ndarray(block.shape, DTYPES[block.dtype], pointer)
    n, c, h, w = block.shape
    return cupy.ndarray((n, h, w, c), DTYPES[block.dtype], pointer).transpose(0, 3, 1, 2)


@cache
def combiner(dtype: str, op: str, terms: int, results: int) -> Any:
    """A kernel that reduces so many arrays elementwise, in order, into so many; they may overlap
    where element stands on element.
    """
    import cupy

    item = DTYPES[dtype]
    suffix = "_bf16" if dtype == "bf16" else ""
    accumulator = "float" if dtype == "bf16" else item.replace("int64", "long long")
    accumulator = {"float32": "float", "float64": "double"}.get(accumulator, accumulator)
    combine = f"[](auto a, auto b) {{ return {_COMBINE[op]}; }}"
    lines = [f"{accumulator} sum = wide{suffix}(s0);"]
    lines += [f"sum = ({combine})(sum, wide{suffix}(s{i}));" for i in range(1, terms)]
    lines += [f"t{i} = narrow{suffix}(sum);" for i in range(results)]
    return cupy.ElementwiseKernel(
        ", ".join(f"{item} s{i}" for i in range(terms)),
        ", ".join(f"{item} t{i}" for i in range(results)),
        "\n".join(lines), f"netc_{op}_{dtype}_{terms}_{results}", preamble=_PREAMBLE,
    )  # fmt: skip


class SharedGpu:
    """One collective: called with a stream, it starts all its copies and sums there."""

    def __init__(self, collective: GroupCollective, open_: Open) -> None:
        self.collective = collective
        self.steps: list[Callable[[], None]] = []
        self.moved: list[tuple[int, int, int]] = []
        """Giver, taker and bytes of every copy between two devices' arenas."""
        for part in collective.parts:
            if collective.kind == "all_reduce":
                self._all_reduce(part, open_)
            else:
                self._fill(part, open_)

    def __call__(self, stream: int) -> None:
        """Start everything."""
        with stream_of(stream):
            for step in self.steps:
                step()

    def _all_reduce(self, part: Part, open_: Open) -> None:
        """Counted as what real devices would do: every shard goes to its owner, and back."""
        devices = self.collective.devices
        sources, targets = (
            [open_(d, v) for d, v in zip(devices, views, strict=True) if v is not None]
            for views in (part.sources, part.targets)
        )
        terms = [flat(as_array(block)) for block in sources]
        results = [flat(as_array(block)) for block in targets]
        dtype, workers = sources[0].dtype, len(terms)
        if not terms[0].size:
            return
        kernel = combiner(dtype, self.collective.op, workers, workers)
        self.steps.append(lambda: kernel(*terms, *results))
        for owner in range(workers):
            start, stop = shard(terms[0].size, owner, workers)
            nbytes = (stop - start) * ITEM_BYTES[dtype]
            for other in range(workers):
                if other != owner:
                    self.moved.append((devices[other], devices[owner], nbytes))
                    self.moved.append((devices[owner], devices[other], nbytes))

    def _fill(self, part: Part, open_: Open) -> None:
        """Every target gets what the sources have of it, or their reduction."""
        devices = self.collective.devices
        for taker, view in enumerate(part.targets):
            if view is None:
                continue
            block = open_(devices[taker], view)
            array, terms = as_array(block), []
            for giver, given, here, there in takes(part, taker):
                term = as_array(open_(devices[giver], given))[there]
                nbytes = term.size * ITEM_BYTES[block.dtype]
                self.moved.append((devices[giver], devices[taker], nbytes))
                if self.collective.op:
                    terms.append(term)
                else:
                    self.steps.append(copied(array[here], term))
            if terms:
                kernel = combiner(block.dtype, self.collective.op, len(terms), 1)
                self.steps.append(_reduce(kernel, terms, array))


def copied(target: Any, source: Any) -> Callable[[], None]:
    """What copies one array into another."""
    # CuPy's threads follow each other along the last dimension: it must be the one in memory.
    order = memory_order(target)
    target, source = target.transpose(order), source.transpose(order)

    def step() -> None:
        target[...] = source

    return step


def _reduce(kernel: Any, terms: Sequence[Any], target: Any) -> Callable[[], None]:
    return lambda: kernel(*terms, target)
