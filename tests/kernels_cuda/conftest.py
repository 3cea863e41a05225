"""A GPU's memory for tests, and one check of an op against the reference in float64.

Outputs start as NaN, and bytes around every tensor must stay as they were. The seed of the random
data is printed; `NETC_SEED` sets it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from netc_kernels.cuda import available
from netc_kernels.cuda.tensor import ITEM_BYTES, Tensor
from netc_kernels.reference import KERNELS

Array = NDArray[Any]
GUARD_BYTES = 256
GUARD = 0xA5
POISON = 0xFF  # NaN in every floating type, -1 in whole numbers

TOLERANCE = {"f32": (3e-6, 3e-6), "bf16": (2.0**-8, 3e-6), "f64": (3e-6, 3e-6), "i64": (0.0, 0.0),
             "u8": (0.0, 0.0)}  # fmt: skip
"""Relative to each element, and to the largest element of a tensor, by the result's type; what is
in float64 is made of float32."""


def to_bf16(x: Array) -> Array:
    """The bits of bf16 numbers, rounded to nearest."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(x), 0x7FFF, rounded).astype(np.uint16)


def from_bf16(bits: Array) -> Array:
    """The numbers that bits of bf16 stand for."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


NUMPY = {"f32": np.float32, "bf16": np.uint16, "f64": np.float64, "i64": np.int64, "i32": np.int32,
         "u8": np.uint8}  # fmt: skip


def round_to(x: Array, dtype: str) -> Array:
    """Numbers as a type holds them, in float64."""
    if dtype == "bf16":
        return from_bf16(to_bf16(x)).astype(np.float64)
    kept = np.asarray(x, NUMPY[dtype])
    return kept.astype(np.float64) if kept.dtype.kind == "f" else kept


@dataclass
class Device:
    """Tensors in a GPU's memory, on one stream."""

    random: np.random.Generator
    memory: list[tuple[Any, Tensor]] = field(default_factory=list)

    def __post_init__(self) -> None:
        import cupy

        self.runtime = cupy.cuda.runtime
        self.alloc = cupy.cuda.alloc
        self.made = cupy.cuda.Stream(non_blocking=True)
        self.stream = int(self.made.ptr)

    def empty(
        self, shape: tuple[int, ...], dtype: str, nhwc: bool = False, shift: int = 0
    ) -> Tensor:
        """Poisoned memory that begins `shift` elements behind a multiple of 256 bytes."""
        offset = GUARD_BYTES + shift * ITEM_BYTES[dtype]
        block = Tensor(0, shape, dtype, nhwc and len(shape) == 4)
        raw = np.full(offset + block.nbytes + GUARD_BYTES, GUARD, np.uint8)
        raw[offset : offset + block.nbytes] = POISON
        held = self.alloc(len(raw))
        self._send(held.ptr, raw)
        block = Tensor(held.ptr + offset, shape, dtype, block.nhwc)
        self.memory.append((held, block))
        return block

    def put(self, x: Any, dtype: str, nhwc: bool = False, shift: int = 0) -> Tensor:
        """A tensor with these numbers."""
        x = np.asarray(x)
        block = self.empty(x.shape, dtype, nhwc, shift)
        stored = x.transpose(0, 2, 3, 1) if block.nhwc else x
        raw = to_bf16(stored) if dtype == "bf16" else np.asarray(stored, NUMPY[dtype])
        raw = np.ascontiguousarray(raw)
        self._send(block.pointer, raw)
        return block

    def _send(self, pointer: int, raw: Array) -> None:
        self.runtime.memcpy(pointer, raw.ctypes.data, raw.nbytes, 1)
        # a copy from ordinary memory may return before it has arrived
        self.runtime.deviceSynchronize()

    def get(self, block: Tensor) -> Array:
        """The numbers of a tensor, logical order, in float64 or as whole numbers."""
        self.made.synchronize()
        dims = tuple(block.shape[i] for i in (0, 2, 3, 1)) if block.nhwc else block.shape
        raw = np.empty(dims, NUMPY[block.dtype])
        self.runtime.memcpy(raw.ctypes.data, block.pointer, raw.nbytes, 2)
        x = from_bf16(raw) if block.dtype == "bf16" else raw
        x = x.transpose(0, 3, 1, 2) if block.nhwc else x
        return x.astype(np.float64) if x.dtype.kind == "f" else x

    def check_guards(self) -> None:
        """Nothing was written around any tensor."""
        self.made.synchronize()
        for held, block in self.memory:
            before, size = block.pointer - held.ptr, block.nbytes
            raw = np.empty(before + size + GUARD_BYTES, np.uint8)
            self.runtime.memcpy(raw.ctypes.data, held.ptr, len(raw), 2)
            outside = np.concatenate([raw[:before], raw[before + size :]])
            assert (outside == GUARD).all(), f"bytes around {block} were written"

    def normal(self, *shape: int) -> Array:
        """Normal numbers."""
        return np.asarray(self.random.standard_normal(shape))

    def check(
        self,
        kernel: Callable[..., None],
        op: str | Callable[..., None],
        out_shape: tuple[int, ...],
        *inputs: Any,
        dtype: str,
        nhwc: bool = True,
        out_dtype: str = "",
        shift: int = 0,
        scale: float = 0.0,
        told: dict[str, Any] | None = None,
        joined: dict[str, Any] | None = None,
        work: int | None = None,
        over: int | None = None,
        then: Callable[[Array], Array] | None = None,
    ) -> Tensor:
        """Run a kernel and the reference on the same numbers; return the kernel's result.

        Matrices and images have the type `dtype`, other floats f32. `told` are the op's attributes,
        `joined` the kernel's own; `then` follows the reference. With `over` the result overwrites
        that operand.
        """
        told, blocks, wanted_inputs = told or {}, [], []
        for x in inputs:
            x = np.asarray(x)
            kind = "i64" if x.dtype.kind == "i" else dtype if x.ndim in (2, 4) else "f32"
            blocks.append(self.put(x, kind, nhwc, shift))
            wanted_inputs.append(round_to(x, kind))
        out_kind = out_dtype or (dtype if len(out_shape) in (2, 4) else "f32")
        out = self.empty(out_shape, out_kind, nhwc, shift) if over is None else blocks[over]
        # Programs have no workspace of no bytes.
        more = {} if work is None else {"work": self.empty((work,), "f32") if work else None}
        kernel(out, *blocks, stream=self.stream, **told, **more, **(joined or {}))
        wanted = np.full(out_shape, -77 if out_kind == "i64" else np.nan, NUMPY_WANTED[out_kind])
        (KERNELS[op] if isinstance(op, str) else op)(wanted, *wanted_inputs, **told)
        self.assert_near(out, then(wanted) if then else wanted, scale)
        self.check_guards()
        return out

    def assert_near(self, block: Tensor, wanted: Array, scale: float = 0.0) -> None:
        """A tensor is within the table of tolerances."""
        relative, absolute = TOLERANCE[block.dtype]
        finite = np.abs(wanted[np.isfinite(wanted)])
        largest = max(scale, float(finite.max(initial=1e-3)))
        np.testing.assert_allclose(
            self.get(block), wanted, rtol=relative, atol=absolute * largest, err_msg=str(block)
        )


NUMPY_WANTED = {"f32": np.float64, "bf16": np.float64, "i64": np.int64}


@pytest.fixture
def device() -> Device:
    """A GPU; skips where there is none."""
    if reason := available():
        pytest.skip(reason)
    seed = int(os.environ.get("NETC_SEED", 0)) or int.from_bytes(os.urandom(4), "little")
    print(f"NETC_SEED={seed}")
    return Device(np.random.default_rng(seed))
