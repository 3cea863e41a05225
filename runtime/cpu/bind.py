"""The fast kernels of the CPU that a program names, as functions of arrays.

A step without a variant, or whose variant cannot run here, has the reference's kernel; the parts of
a joined launch then run one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.ir.joined import JOINED, NOWHERE, Joined
from netc.ir.step import Attributes, Step, kernels_of
from netc_kernels import cpu
from netc_kernels.reference import KERNELS
from netc_runtime.cpu.kernels import conv_shape, implementation
from netc_runtime.io.problems import data_error

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Bound:
    """What a kernel is called on: arrays, scratch memory, threads."""

    out: Array
    inputs: Sequence[Array]
    attributes: Attributes
    absorbed: tuple[str, ...]
    """Operations of the steps that it does as well."""
    extra: Sequence[Array]
    """The operands of those steps, without the result itself."""
    work: Array
    pool: Any
    """A netc_kernels.cpu.threads.Pool."""


Binder = Callable[[str, Bound], Callable[[], None]]
"""Makes a function of a kernel's variant and its arrays."""


def bind(
    steps: Sequence[Step], joined: str, writes: Sequence[Array], inputs: Sequence[Array], pool: Any
) -> Callable[[], None]:
    """A launch as a function: its kernel with its arrays, or those of its steps in turn.

    `writes` has the results, most often one, and then the workspace if there is one.
    """
    if not joined:
        out, work = writes[0], (*writes, _NO_WORK)[1]
        return _in_turn([_bind_group(g, out, inputs, work, pool) for g in kernels_of(steps)])
    declared = JOINED[joined]
    if not steps[0].variant or cpu.available() or not all(array.size for array in inputs):
        return _by_parts(declared, steps, writes, inputs)
    bind_it = _own if declared.own else _conv_maxpool
    return bind_it(declared, steps, writes, inputs, pool)


def _in_turn(calls: Sequence[Callable[[], None]]) -> Callable[[], None]:
    if len(calls) == 1:
        return calls[0]

    def run() -> None:
        for call in calls:
            call()

    return run


def _bind_group(
    group: Sequence[Step], out: Array, inputs: Sequence[Array], work: Array, pool: Any
) -> Callable[..., None]:
    def arrays(step: Step) -> list[Array]:
        return [out if a < 0 else inputs[a] for a in step.operands]

    head, *absorbed = group
    operands = arrays(head)
    if not head.variant or cpu.available() or any(not a.size for a in (out, *operands)):
        return _in_turn([_reference(step, out, arrays(step), pool) for step in group])
    names = tuple(step.operation for step in absorbed)
    extra = [inputs[a] for step in absorbed for a in step.operands if a >= 0]
    bound = Bound(out, operands, head.asked, names, extra, work, pool)
    call = _CALLS.get(head.operation) or _plain(head.operation)
    return call(head.variant, bound)


def _reference(step: Step, out: Array, operands: Sequence[Array], pool: Any) -> Callable[[], None]:
    """The reference's kernel. Of initial weights, of which a network has many, each thread makes
    some rows: a number depends on its place in the whole alone.
    """
    kernel, asked = KERNELS[step.operation], step.asked
    if step.operation != "init_normal" or not out.size:
        return partial(kernel, out, *operands, **asked)
    first, *others = asked["offset"]

    def rows(thread: int, start: int, stop: int) -> None:
        kernel(out[start:stop], *operands, **{**asked, "offset": (first + start, *others)})

    return lambda: pool.split(len(out), rows)


def _dense(array: Array) -> Array:
    """An image as it lies in memory, (N, H, W, C); everything else as it is."""
    array = _channels_last(array)
    return _contiguous(array, "fast kernels want dense arrays, channels innermost")


def _contiguous(array: Array, wanted: str) -> Array:
    if not array.flags.c_contiguous:
        raise data_error("E073", f"the program names kernels for memory of another form: {wanted}.",
                         "compile it again with this version of netc.")  # fmt: skip
    return array


def _is_dense(array: Array) -> bool:
    return _channels_last(array).flags.c_contiguous


def _channels_last(array: Array) -> Array:
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 else array


def _run(kernel: str, variant: str) -> Callable[..., None]:
    run: Callable[..., None] = implementation(kernel, variant).run
    return run


def _conv(variant: str, b: Bound) -> Callable[[], None]:
    x, w = b.inputs
    shape = _bound_shape(b, x, w)
    call = partial(_run("conv", variant), _dense(b.out), _dense(x), w, shape, b.work, b.pool)
    if "bias" in b.absorbed:
        call = partial(call, bias=b.extra[0])
    return partial(call, relu="relu" in b.absorbed)


def _conv_dx(variant: str, b: Bound) -> Callable[[], None]:
    dy, w = b.inputs
    shape = _bound_shape(b, b.out, w)
    call = partial(_run("conv_dx", variant), _dense(b.out), _dense(dy), w, shape, b.work, b.pool)
    return partial(call, positive=_dense(b.extra[0])) if b.absorbed else call


def _conv_dw(variant: str, b: Bound) -> Callable[[], None]:
    x, dy = b.inputs
    shape = _bound_shape(b, x, b.out)
    return partial(_run("conv_dw", variant), b.out, _dense(x), _dense(dy), shape, b.work, b.pool)


def _bound_shape(b: Bound, image: Array, filters: Array) -> Any:
    _contiguous(filters, "filters lie row-major, K C R S")
    return conv_shape(image.shape, filters.shape, b.attributes)


def _pool(kernel: str, relu: bool = False) -> Binder:
    """Kernels over windows; with `relu`, those that may do a relu's slope as well."""

    def call(variant: str, b: Bound) -> Callable[[], None]:
        from netc_kernels.cpu.pool import windows

        image, pooled = (b.out, b.inputs[-1]) if kernel.endswith("_dx") else (b.inputs[0], b.out)
        at = b.attributes
        over = windows(_dense(image), _dense(pooled), at["size"], at["stride"], at["pad"])
        more = {"relu": bool(b.absorbed)} if relu else {}
        more |= {"relu": at["relu"]} if "relu" in at else {}
        return partial(_run(kernel, variant), *_all_dense(b), over, b.pool, **more)

    return call


def _plain(
    kernel: str, work: bool = False, attributes: bool = False, relu: str = "", unasked: str = ""
) -> Binder:
    """Kernels of dense arrays: with a workspace, given their attributes as the reference's are but
    for one, with a relu that they may do under the name `relu`.
    """

    def call(variant: str, b: Bound) -> Callable[[], None]:
        told = {k: v for k, v in b.attributes.pairs if k != unasked} if attributes else {}
        more = told | ({relu: bool(b.absorbed)} if relu else {})
        scratch = [b.work] if work else []
        return partial(_run(kernel, variant), *_all_dense(b), *scratch, b.pool, **more)

    return call


def _add(variant: str, b: Bound) -> Callable[[], None]:
    call = partial(
        _run("add", variant), *_all_dense(b), pool=b.pool, then_relu="relu" in b.absorbed
    )
    return partial(call, positive=_dense(b.extra[0])) if "relu_dx" in b.absorbed else call


def _concat(variant: str, b: Bound) -> Callable[[], None]:
    return partial(_run("concat", variant), *_all_dense(b), pool=b.pool)


def _slice(variant: str, b: Bound) -> Callable[[], None]:
    if not _is_dense(b.inputs[0]):
        # Filters, whose channels are not innermost, are cut where devices take parts of them.
        return partial(KERNELS["slice"], b.out, *b.inputs, **b.attributes)
    call = partial(_run("slice", variant), *_all_dense(b), b.pool, b.attributes["start"])
    return partial(call, positive=_dense(b.extra[0])) if b.absorbed else call


def _norm(kernel: str) -> Binder:
    """Kernels that add another image, and do a relu, as well."""

    def call(variant: str, b: Bound) -> Callable[[], None]:
        call = partial(_run(kernel, variant), *_all_dense(b), b.pool, **b.attributes)
        call = partial(call, relu="relu" in b.absorbed)
        return partial(call, other=_dense(b.extra[0])) if "add" in b.absorbed else call

    return call


def _all_dense(b: Bound) -> list[Array]:
    return [_dense(array) for array in (b.out, *b.inputs)]


def _dropout(variant: str, b: Bound) -> Callable[[], None]:
    x, seed, step = b.inputs
    at = b.attributes
    if b.out.shape[2:] != at["shape"][2:]:
        # A part of the height or width has its elements in more pieces than the kernel knows.
        return partial(KERNELS["dropout"], b.out, *b.inputs, **at)
    first, run, stride = _runs(b.out, at["shape"], at["offset"], at["rows"])
    call = partial(
        _run("dropout", variant), _dense(b.out), _dense(x), first, b.pool,
        run=run, step=stride, key=at["key"], rate=at["rate"],
    )  # fmt: skip
    return lambda: call(seed=int(seed), counter=int(step))


def _runs(
    out: Array, shape: tuple[int, ...], offset: tuple[int, ...], rows: tuple[tuple[int, int], ...]
) -> tuple[Array, int, int]:
    """Global indices of the first elements of runs, elements in a run, and their distance."""
    own = np.arange(offset[0], offset[0] + len(out))
    if rows:
        own = np.concatenate([np.arange(start, start + count) for start, count in rows])
    plane = prod(out.shape[2:])
    starts = own.astype(np.int64) * prod(shape[1:])
    if out.ndim == 2:
        return starts + offset[1], out.shape[1], 1
    channels = np.arange(offset[1], offset[1] + out.shape[1], dtype=np.int64) * plane
    return (starts[:, None] + channels).reshape(-1), plane, out.shape[1]


def _gradients(kernel: str) -> Binder:
    """Kernels of gradients and weights, which lie row-major, whatever images do."""

    def call(variant: str, b: Bound) -> Callable[[], None]:
        arrays = map(_row_major, (b.out, *b.inputs))
        return partial(_run(kernel, variant), *arrays, b.pool, **b.attributes)

    return call


def _own(
    declared: Joined, steps: Sequence[Step], writes: Sequence[Array], inputs: Sequence[Array],
    pool: Any,
) -> Callable[[], None]:  # fmt: skip
    """A kernel of the launch's own: from (results, operands, workspace, pool), given the
    attributes and the numbers. What results take over is no operand: it is there already.
    """
    results, work = writes[: declared.results], writes[declared.results :]
    first = len(inputs) - len(declared.numbers)
    lies = _row_major if declared.overwritten else _dense
    new = [*results, *(inputs[i] for i in range(first) if i not in declared.overwritten)]
    run = _run(declared.name, steps[0].variant)
    call = partial(run, *map(lies, new), *work, pool, **declared.attributes(steps))
    if not declared.numbers:
        return call
    numbers = list(zip(declared.numbers, inputs[first:], strict=True))
    return lambda: call(**{name: x.item() for name, x in numbers})


def _row_major(array: Array) -> Array:
    return _contiguous(array, "weights and what updates them lie row-major")


def _conv_maxpool(
    declared: Joined, steps: Sequence[Step], writes: Sequence[Array], inputs: Sequence[Array],
    pool: Any,
) -> Callable[[], None]:  # fmt: skip
    """From a convolution's operands: the maxima of windows over its result, and their places."""
    out, *places = writes[: declared.results]
    work = (*writes[declared.results :], _NO_WORK)[0]
    convolving = [step for step in steps if not step.operation.startswith("maxpool")]
    call = partial(_bind_group(convolving, out, inputs, work, pool), pooled=True)
    return partial(call, places=_dense(places[0])) if places else call


def _by_parts(
    declared: Joined, steps: Sequence[Step], writes: Sequence[Array], inputs: Sequence[Array]
) -> Callable[[], None]:
    """The reference's kernels, one after the other."""
    parts = declared.parts_of(steps)

    def run() -> None:
        made: list[Array] = []
        for step, part in zip(steps, parts, strict=True):
            nowhere = part.result == NOWHERE
            out = np.empty(step.result, writes[0].dtype) if nowhere else writes[part.result]
            operands = (inputs[a] if a >= 0 else made[a] for a in step.operands)
            KERNELS[step.operation](out, *operands, **step.asked)
            made.append(out)

    return run


_NO_WORK = np.empty(0, np.float32)

_CALLS: Mapping[str, Binder] = {
    "conv": _conv,
    "conv_dx": _conv_dx,
    "conv_dw": _conv_dw,
    "maxpool": _pool("maxpool"),
    "maxpool_dx": _pool("maxpool_dx", relu=True),
    "maxpool_places": _pool("maxpool_places"),
    "maxpool_places_dx": _pool("maxpool_places_dx"),
    "avgpool": _pool("avgpool"),
    "avgpool_dx": _pool("avgpool_dx"),
    "bias": _plain("bias", relu="then_relu"),
    "bias_db": _plain("bias_db", work=True),
    "add": _add,
    "concat": _concat,
    "slice": _slice,
    "lrn": _plain("lrn", work=True, attributes=True, unasked="inside"),
    "lrn_dx": _plain("lrn_dx", work=True, attributes=True, relu="relu", unasked="inside"),
    "bn_mean": _plain("bn_mean", work=True, attributes=True),
    "bn_var": _plain("bn_var", work=True, attributes=True),
    "bn_sums": _plain("bn_sums", work=True, attributes=True),
    "bn_dgamma": _plain("bn_dgamma", work=True, attributes=True),
    "bn_norm": _norm("bn_norm"),
    "bn_dx": _plain("bn_dx", attributes=True),
    "grouped_mean": _plain("grouped_mean", work=True, attributes=True),
    "grouped_var": _plain("grouped_var", work=True, attributes=True),
    "grouped_sums": _plain("grouped_sums", work=True, attributes=True),
    "grouped_dgamma": _plain("grouped_dgamma", work=True, attributes=True),
    "grouped_dbeta": _plain("grouped_dbeta", work=True, attributes=True),
    "grouped_norm": _norm("grouped_norm"),
    "grouped_dx": _plain("grouped_dx", attributes=True),
    "dropout": _dropout,
    "accumulate": _gradients("accumulate"),
    "square_sum": _gradients("square_sum"),
    "clipped": _gradients("clipped"),
    "average": _gradients("average"),
}
"""How kernels are called that are told more than their arrays."""
