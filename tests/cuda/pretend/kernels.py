"""Kernels of a GPU that is none, by the reference."""

from __future__ import annotations

import ctypes
import re
import time
from collections.abc import Callable
from dataclasses import fields, replace
from math import prod
from typing import Any

import numpy as np

from netc.ir import codec
from netc.ir.joined import JOINED, Joined
from netc_kernels.cuda.tensor import Tensor
from netc_kernels.reference import KERNELS as REFERENCE
from pretend.memory import Array, array_of, read, store, widened
from pretend.streams import WORLD


def kernel(name: str) -> Callable[..., None]:
    """An operation's CUDA kernel, by the reference."""

    def start(out: Tensor, *inputs: Tensor, stream: int, **told: Any) -> None:
        def work() -> bool:
            if out.elements:
                store(array_of(out), _computed(name, out, inputs, dict(told)))
            return True

        WORLD.put(stream, work)

    return start


def _computed(name: str, out: Tensor, inputs: tuple[Tensor, ...], told: dict[str, Any]) -> Any:
    for extra in ("work", "precision"):
        told.pop(extra, None)
    bias, other = (told.pop(key, None) for key in ("bias", "other"))
    positive = told.pop("positive", None)
    relu = None if name == "maxpool_places" else told.pop("relu", None)
    values = [read(block) for block in inputs]
    whole = {"i64": np.int64, "u8": np.uint8}.get(out.dtype)
    result = np.empty(out.shape, whole or (np.float64 if out.dtype == "f64" else np.float32))
    result.fill(99 if whole else np.nan)
    REFERENCE[name](result, *values, **told)
    if bias is not None:
        result = result + read(bias).reshape(1, -1, *[1] * (result.ndim - 2))
    if other is not None:
        result = result + read(other)
    if relu:
        slope = name in ("maxpool_dx", "lrn_dx")
        result = np.where(values[0] > 0, result, 0) if slope else np.maximum(result, 0)
    return result if positive is None else np.where(read(positive) > 0, result, 0)


def update(declared: Joined) -> Callable[..., None]:
    """All operations of an optimizer, one after the other."""

    def start(*blocks: Tensor, stream: int, **told: Any) -> None:
        results, operands = blocks[: declared.results], blocks[declared.results :]

        def work() -> bool:
            values, made = [read(block) for block in operands], list[Any]()
            for part in declared.parts:
                op = codec.kernels()[part.operation]
                own = {f.name: told[f.name] for f in fields(op) if f.name not in op.hidden}
                out = np.empty(results[part.result].shape, np.float32)
                inputs = (values[a] if a >= 0 else made[a] for a in part.operands)
                REFERENCE[part.operation](out, *inputs, **own)
                made.append(out)
            for block, value in zip(results, made, strict=True):
                store(array_of(block), value)
            return True

        WORLD.put(stream, work)

    return start


def bn_moments(mean: Tensor, var: Tensor, x: Tensor, *, work: Any, stream: int) -> None:
    count = x.elements // x.shape[1]
    kernel("bn_mean")(mean, x, stream=stream, count=count)
    kernel("bn_var")(var, x, mean, stream=stream, count=count)


def sums_moments(mean: Tensor, var: Tensor, sums: Tensor, *, stream: int) -> None:
    kernel("sums_mean")(mean, sums, stream=stream)
    kernel("sums_var")(var, sums, stream=stream)


def bn_slopes(
    dgamma: Tensor, dbeta: Tensor, x: Tensor, mean: Tensor, var: Tensor, dy: Tensor, *, work: Any,
    stream: int, eps: float,
) -> None:  # fmt: skip
    kernel("bn_dgamma")(dgamma, x, mean, var, dy, stream=stream, eps=eps)
    kernel("bias_db")(dbeta, dy, stream=stream)


def add_relu_slopes(
    d: Tensor, dgamma: Tensor, dbeta: Tensor, a: Tensor, b: Tensor, y: Tensor, x: Tensor,
    mean: Tensor, var: Tensor, **told: Any,
) -> None:  # fmt: skip
    kernel("add")(d, a, b, positive=y, stream=told["stream"])
    bn_slopes(dgamma, dbeta, x, mean, var, d, **told)


def add_relu_two_slopes(d: Tensor, *blocks: Tensor, **told: Any) -> None:
    made, gradients, norms = blocks[:4], blocks[4:7], blocks[7:]
    OWN["add_relu_slopes"](d, *made[:2], *gradients, *norms[:3], **told)
    OWN["bn_slopes"](*made[2:], *norms[3:], d, **told)


def slice_relu_slopes(
    d: Tensor, dgamma: Tensor, dbeta: Tensor, whole: Tensor, y: Tensor, x: Tensor, mean: Tensor,
    var: Tensor, *, dim: int, start: int, **told: Any,
) -> None:  # fmt: skip
    kernel("slice")(d, whole, dim=dim, start=start, stream=told["stream"])
    kernel("relu_dx")(d, y, d, stream=told["stream"])
    bn_slopes(dgamma, dbeta, x, mean, var, d, **told)


def bn_norms_add_relu(out: Tensor, *inputs: Tensor, stream: int, eps: float) -> None:
    def work() -> bool:
        first, second = (
            _computed("bn_norm", replace(out, dtype="f32"), inputs[at : at + 5], {"eps": eps})
            for at in (0, 5)
        )
        store(array_of(out), np.maximum(first + second, 0))
        return True

    WORLD.put(stream, work)


def grouped_moments(
    mean: Tensor, var: Tensor, x: Tensor, *, work: Any, stream: int, group: int, before: int
) -> None:
    told = {"group": group, "before": before, "count": group * (x.elements // prod(x.shape[:2]))}
    kernel("grouped_mean")(mean, x, stream=stream, **told)
    kernel("grouped_var")(var, x, mean, stream=stream, **told)


def grouped_slopes(
    dgamma: Tensor, dbeta: Tensor, x: Tensor, mean: Tensor, var: Tensor, dy: Tensor, *, work: Any,
    stream: int, eps: float, **groups: int,
) -> None:  # fmt: skip
    kernel("grouped_dgamma")(dgamma, x, mean, var, dy, stream=stream, eps=eps, **groups)
    kernel("grouped_dbeta")(dbeta, dy, stream=stream, **groups)


def _pointwise(op: str, out: Tensor, a: Tensor, w: Tensor, stream: int) -> None:
    filters = w.shape[0]
    told = {"stride": (1, 1), "pad": (0,) * 4, "groups": 1, "filters": filters, "first_filter": 0}
    kernel(op)(out, a, w, stream=stream, **told)


def conv_moments(
    out: Tensor, mean: Tensor, var: Tensor, x: Tensor, w: Tensor, *, work: Any, stream: int
) -> None:
    _pointwise("conv", out, x, w, stream)
    bn_moments(mean, var, out, work=work, stream=stream)


def conv_sums(
    out: Tensor, sums: Tensor, x: Tensor, w: Tensor, *, count: int, work: Any, stream: int
) -> None:
    _pointwise("conv", out, x, w, stream)
    kernel("bn_sums")(sums, out, stream=stream, count=count)


def conv_dx_slopes(
    out: Tensor, dgamma: Tensor, dbeta: Tensor, dy: Tensor, w: Tensor, y: Tensor, x: Tensor,
    mean: Tensor, var: Tensor, **told: Any,
) -> None:  # fmt: skip
    _pointwise("conv_dx", out, dy, w, told["stream"])
    kernel("relu_dx")(out, y, out, stream=told["stream"])
    bn_slopes(dgamma, dbeta, x, mean, var, out, **told)


def conv_dx_add_slopes(
    out: Tensor, dgamma: Tensor, dbeta: Tensor, dy: Tensor, w: Tensor, added: Tensor,
    *others: Tensor, work: Any, stream: int, eps: float,
) -> None:  # fmt: skip
    _pointwise("conv_dx", out, dy, w, stream)
    add_relu_slopes(out, dgamma, dbeta, added, out, *others, work=work, stream=stream, eps=eps)


def mark(out: Tensor, *, value: int, stream: int) -> None:
    """Its block is in the host's memory."""
    word = ctypes.c_int32.from_address(out.pointer)

    def work() -> bool:
        word.value = value
        return True

    WORLD.put(stream, work)


def stamp(out: Tensor, *, stream: int) -> None:
    """Its block is in the host's memory."""
    word = ctypes.c_int64.from_address(out.pointer)

    def work() -> bool:
        word.value = time.perf_counter_ns()
        return True

    WORLD.put(stream, work)


OWN: dict[str, Callable[..., None]] = {
    **{name: update(each) for name, each in JOINED.items() if each.overwritten},
    "bn_moments": bn_moments, "sums_moments": sums_moments, "bn_slopes": bn_slopes,
    "conv_moments": conv_moments, "conv_sums": conv_sums, "conv_dx_slopes": conv_dx_slopes,
    "conv_dx_add_slopes": conv_dx_add_slopes,
    "add_relu_slopes": add_relu_slopes, "add_relu_two_slopes": add_relu_two_slopes,
    "slice_relu_slopes": slice_relu_slopes, "bn_norms_add_relu": bn_norms_add_relu,
    "grouped_moments": grouped_moments, "grouped_slopes": grouped_slopes, "mark": mark,
    "stamp": stamp,
}  # fmt: skip


class ElementwiseKernel:
    """A reduction of several arrays into several."""

    def __init__(self, reads: str, writes: str, code: str, name: str, preamble: str) -> None:
        found = re.fullmatch(r"netc_(\w+?)_(\w+?)_(\d+)_(\d+)", name)
        assert found is not None
        self.op, dtype, terms, _ = map(str, found.groups())
        self.terms, self.narrow = int(terms), dtype == "bf16"

    def __call__(self, *arrays: Array) -> None:
        combine = {"sum": np.add, "max": np.maximum, "min": np.minimum}[self.op]
        sources, targets = arrays[: self.terms], arrays[self.terms :]

        def work() -> bool:
            total = widened(sources[0].held).copy()
            for source in sources[1:]:
                total = combine(total, widened(source.held))
            for target in targets:
                store(target.held, total)
            return True

        WORLD.put(WORLD.current, work)
