"""The fast kernels of the CPU behind a program's names, as functions of arrays.

A launch names `conv.winograd`, a fused one the kernels of its steps. A step named `relu.joined` is
done by the kernel before it. A name without a variant, or whose variant cannot run here, is the
reference's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.ir import codec
from netc.ir.kernels import JOINED
from netc.ir.launches import POOLED, UPDATES, Update, plain_name
from netc_kernels import cpu
from netc_kernels.reference import KERNELS
from netc_kernels.reference.pool import maxpool_places, maxpool_places_dx
from netc_runtime.cpu.kernels import conv_shape, implementation
from netc_runtime.io.problems import data_error

Array = NDArray[Any]
Attributes = dict[str, Any]
Step = tuple[str, tuple[int, ...], Attributes]
"""A kernel's name, its operands (-1: the result so far) and what it is told."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What a kernel is called on: arrays, scratch memory, threads."""

    out: Array
    inputs: Sequence[Array]
    attributes: Attributes
    joined: tuple[str, ...]
    """Kernels of the steps done in one with it."""
    extra: Sequence[Array]
    """The operands of those steps, without the result itself."""
    work: Array
    pool: Any
    """A netc_kernels.cpu.threads.Pool."""


Binder = Callable[[str, Bound], Callable[[], None]]
"""Makes a function of a kernel's variant and its arrays."""


def bind(
    kernel: str, attributes: Attributes, writes: Sequence[Array], inputs: Sequence[Array], pool: Any
) -> Callable[[], None]:
    """A launch as a function: its kernel with its arrays, or those of a fused launch in turn.

    `writes` has the results, most often one, and then the workspace if there is one.
    """
    name = plain_name(kernel)
    if name in UPDATES:
        return _update(kernel, attributes, writes, inputs, pool)
    if name in _STATISTICS:
        return _STATISTICS[name](kernel.partition(".")[2], attributes, writes, inputs, pool)
    if name in POOLED:
        return _conv_maxpool(POOLED[name], attributes, writes, inputs, pool)
    out, work = writes[0], (*writes, _NO_WORK)[1]
    steps: list[Step] = [(kernel, tuple(range(len(inputs))), attributes)]
    if kernel == "fused":
        steps = list(attributes["steps"])
    return _in_turn([_bind_group(g, out, inputs, work, pool) for g in groups_of(steps)])


def _in_turn(calls: Sequence[Callable[[], None]]) -> Callable[[], None]:
    if len(calls) == 1:
        return calls[0]

    def run() -> None:
        for call in calls:
            call()

    return run


def groups_of(steps: Sequence[Step]) -> list[list[Step]]:
    """Every kernel with the steps that are joined to it."""
    groups: list[list[Step]] = []
    for step in steps:
        if step[0].endswith("." + JOINED):
            groups[-1].append(step)
        else:
            groups.append([step])
    return groups


def _bind_group(
    group: list[Step], out: Array, inputs: Sequence[Array], work: Array, pool: Any
) -> Callable[..., None]:
    def arrays(args: Sequence[int]) -> list[Array]:
        return [out if a < 0 else inputs[a] for a in args]

    (name, args, told), *joined = group
    kernel, _, variant = name.partition(".")
    operands = arrays(args)
    if not variant or cpu.available() or any(not a.size for a in (out, *operands)):
        return _in_turn(
            [partial(_REFERENCE[plain_name(n)], out, *arrays(a), **t) for n, a, t in group]
        )
    names = tuple(plain_name(name) for name, _, _ in joined)
    extra = [inputs[a] for _, args, _ in joined for a in args if a >= 0]
    bound = Bound(out, operands, told, names, extra, work, pool)
    call = _CALLS.get(kernel) or _plain(kernel)
    return call(variant, bound)


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
    if "bias" in b.joined:
        call = partial(call, bias=b.extra[0])
    return partial(call, relu="relu" in b.joined)


def _conv_dx(variant: str, b: Bound) -> Callable[[], None]:
    dy, w = b.inputs
    shape = _bound_shape(b, b.out, w)
    call = partial(_run("conv_dx", variant), _dense(b.out), _dense(dy), w, shape, b.work, b.pool)
    return partial(call, positive=_dense(b.extra[0])) if b.joined else call


def _conv_dw(variant: str, b: Bound) -> Callable[[], None]:
    x, dy = b.inputs
    shape = _bound_shape(b, x, b.out)
    return partial(_run("conv_dw", variant), b.out, _dense(x), _dense(dy), shape, b.work, b.pool)


def _bound_shape(b: Bound, image: Array, filters: Array) -> Any:
    _contiguous(filters, "filters lie row-major, K C R S")
    return conv_shape(image.shape, filters.shape, b.attributes)


def _pool(kernel: str, relu: bool = False) -> Binder:
    """Kernels over windows; with `relu`, those that a relu's slope may be joined to."""

    def call(variant: str, b: Bound) -> Callable[[], None]:
        from netc_kernels.cpu.pool import windows

        image, pooled = (b.out, b.inputs[-1]) if kernel.endswith("_dx") else (b.inputs[0], b.out)
        told = b.attributes
        over = windows(_dense(image), _dense(pooled), told["size"], told["stride"], told["pad"])
        more = {"relu": bool(b.joined)} if relu else {}
        return partial(_run(kernel, variant), *_all_dense(b), over, b.pool, **more)

    return call


def _plain(kernel: str, work: bool = False, told: bool = False, relu: str = "") -> Binder:
    """Kernels of dense arrays: with a workspace, told their attributes as the reference's are, with
    a relu that may be joined under the name `relu`.
    """

    def call(variant: str, b: Bound) -> Callable[[], None]:
        more = (b.attributes if told else {}) | ({relu: bool(b.joined)} if relu else {})
        scratch = [b.work] if work else []
        return partial(_run(kernel, variant), *_all_dense(b), *scratch, b.pool, **more)

    return call


def _add(variant: str, b: Bound) -> Callable[[], None]:
    call = partial(_run("add", variant), *_all_dense(b), pool=b.pool, then_relu="relu" in b.joined)
    return partial(call, positive=_dense(b.extra[0])) if "relu_dx" in b.joined else call


def _concat(variant: str, b: Bound) -> Callable[[], None]:
    return partial(_run("concat", variant), *_all_dense(b), pool=b.pool)


def _slice(variant: str, b: Bound) -> Callable[[], None]:
    if not _is_dense(b.inputs[0]):
        # Filters, whose channels are not innermost, are cut where devices take parts of them.
        return partial(KERNELS["slice"], b.out, *b.inputs, **b.attributes)
    call = partial(_run("slice", variant), *_all_dense(b), b.pool, b.attributes["start"])
    return partial(call, positive=_dense(b.extra[0])) if b.joined else call


def _bn_norm(variant: str, b: Bound) -> Callable[[], None]:
    call = partial(_run("bn_norm", variant), *_all_dense(b), b.pool, **b.attributes)
    call = partial(call, relu="relu" in b.joined)
    return partial(call, other=_dense(b.extra[0])) if "add" in b.joined else call


def _all_dense(b: Bound) -> list[Array]:
    return [_dense(array) for array in (b.out, *b.inputs)]


def _dropout(variant: str, b: Bound) -> Callable[[], None]:
    x, seed, step = b.inputs
    told = b.attributes
    if b.out.shape[2:] != told["shape"][2:]:
        # A part of the height or width has its elements in more pieces than the kernel knows.
        return partial(KERNELS["dropout"], b.out, *b.inputs, **told)
    first, run, stride = _runs(b.out, told["shape"], told["offset"], told["rows"])
    call = partial(
        _run("dropout", variant), _dense(b.out), _dense(x), first, b.pool,
        run=run, step=stride, key=told["key"], rate=told["rate"],
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


def _update(
    name: str, told: Attributes, writes: Sequence[Array], inputs: Sequence[Array], pool: Any
) -> Callable[[], None]:
    """From (g, state ..., w, numbers ...): the optimizer's state and the weight, all in place. An
    update that begins with fc_dw_ has (x, dy) of a fully connected layer in place of g.
    """
    kernel, _, variant = name.partition(".")
    update, products = UPDATES[kernel], 2 if kernel.startswith("fc_dw_") else 1
    results = len(update.state) + 1
    source, old = inputs[:products], inputs[products : products + results]
    new, work, numbers = writes[:results], writes[results:], inputs[products + results :]
    if cpu.available() or not all(array.size for array in (*source, *old)):
        return _reference_update(update, told, new, source, old, numbers)
    for array in (*new, *source):
        _contiguous(array, "weights and what updates them lie row-major")
    *state, weight = new
    call = partial(_run(kernel, variant), weight, *state, *source, *work, pool, **told)
    return lambda: call(**{k: x.item() for k, x in zip(update.numbers, numbers, strict=True)})


def _reference_update(
    update: Update, told: Attributes, new: Sequence[Array], source: Sequence[Array],
    old: Sequence[Array], numbers: Sequence[Array],
) -> Callable[[], None]:  # fmt: skip
    """The operations of an update one after the other."""
    *state, w = old
    calls, g = [], source[0]
    if len(source) == 2:
        g = np.empty_like(w)
        calls.append(partial(KERNELS["fc_dw"], g, *source))
    early, late = numbers[: update.early], numbers[update.early :]
    for kernel, out, before in zip(update.state, new, state, strict=False):
        calls.append(partial(KERNELS[kernel], out, before, w, g, *early, **_own(kernel, told)))
    apply = KERNELS[update.apply]
    calls.append(partial(apply, new[-1], w, *new[:-1], *late, **_own(update.apply, told)))
    return _in_turn(calls)


def _own(kernel: str, told: Attributes) -> Attributes:
    """The attributes of one of the operations of a joined launch."""
    op = codec.kernels()[kernel]
    return {f.name: told[f.name] for f in fields(op) if f.name not in op.hidden}


def _bn_moments(
    variant: str, told: Attributes, writes: Sequence[Array], inputs: Sequence[Array], pool: Any
) -> Callable[[], None]:
    """From (x,): mean and variance, of a whole batch."""
    (x,), (mean, var, *work) = inputs, writes
    if cpu.available() or not variant:
        count = x.size // x.shape[1]
        return _in_turn([
            partial(KERNELS["bn_mean"], mean, x, count=count),
            partial(KERNELS["bn_var"], var, x, mean, count=count),
        ])  # fmt: skip
    return partial(_run("bn_moments", variant), mean, var, _dense(x), *work, pool)


def _bn_slopes(
    variant: str, told: Attributes, writes: Sequence[Array], inputs: Sequence[Array], pool: Any
) -> Callable[[], None]:
    """From (x, mean, var, dy): the gradients of scale and shift."""
    (x, mean, var, dy), (dgamma, dbeta, *work) = inputs, writes
    if cpu.available() or not variant:
        return _in_turn([
            partial(KERNELS["bn_dgamma"], dgamma, x, mean, var, dy, **told),
            partial(KERNELS["bias_db"], dbeta, dy),
        ])  # fmt: skip
    call = partial(_run("bn_slopes", variant), dgamma, dbeta, _dense(x), mean, var, _dense(dy))
    return partial(call, *work, pool, **told)


def _conv_maxpool(
    results: int, told: Attributes, writes: Sequence[Array], inputs: Sequence[Array], pool: Any
) -> Callable[[], None]:
    """From a convolution's operands: the maxima of windows over its result, and their places."""
    (out, *places), work = writes[:results], (*writes[results:], _NO_WORK)[0]
    *steps, (_, _, windows) = told["steps"]
    if not cpu.available() and "." in steps[0][0]:
        (group,) = groups_of(steps)
        call = partial(_bind_group(group, out, inputs, work, pool), pooled=True)
        return partial(call, places=_dense(places[0])) if places else call

    def run() -> None:
        image = np.empty(told["image"], out.dtype)
        _bind_group(steps, image, inputs, work, pool)()
        KERNELS["maxpool"](out, image, **windows)
        for each in places:
            maxpool_places(each, image, out, relu=plain_name(steps[-1][0]) == "relu")

    return run


_NO_WORK = np.empty(0, np.float32)
_STATISTICS = {"bn_moments": _bn_moments, "bn_slopes": _bn_slopes}
"""Kernels with two results, sums over the same images."""
_REFERENCE = {**KERNELS, "maxpool_places_dx": maxpool_places_dx}

_CALLS: Mapping[str, Binder] = {
    "conv": _conv,
    "conv_dx": _conv_dx,
    "conv_dw": _conv_dw,
    "maxpool": _pool("maxpool"),
    "maxpool_dx": _pool("maxpool_dx", relu=True),
    "avgpool": _pool("avgpool"),
    "avgpool_dx": _pool("avgpool_dx"),
    "bias": _plain("bias", relu="then_relu"),
    "bias_db": _plain("bias_db", work=True),
    "add": _add,
    "concat": _concat,
    "slice": _slice,
    "lrn": _plain("lrn", work=True, told=True),
    "lrn_dx": _plain("lrn_dx", work=True, told=True, relu="relu"),
    "bn_mean": _plain("bn_mean", work=True, told=True),
    "bn_var": _plain("bn_var", work=True, told=True),
    "bn_dgamma": _plain("bn_dgamma", work=True, told=True),
    "bn_norm": _bn_norm,
    "bn_dx": _plain("bn_dx", told=True),
    "dropout": _dropout,
}
"""How kernels are called that are told more than their arrays."""
