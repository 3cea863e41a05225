"""The inner loop of every convolution: a small matrix product held in registers.

    out[i, j] (+)= sum over o, t of  a[i, o, t] * b[o, t, j]

for a few rows i and the `PANEL` columns j of two vectors. The sum has two levels, so that it can
run along the taps of a window, or along the rows and columns of an image, where they lie. On
its way it reads two vectors of b and one number of a for each row, and writes nothing;
this is the register blocking of Goto and van de Geijn 2008, "Anatomy of high-performance matrix
multiplication". Nothing is packed: whoever makes the operands stores them in panels at once.
"""

from typing import Any

from llvmlite import ir
from numba import types

from netc_kernels.cpu.assembly import UNROLLED, emit_terms
from netc_kernels.cpu.vector import (
    LANES,
    VECTOR,
    WIDE,
    build,
    data,
    emit_fetch,
    function,
    intrinsic,
    piece,
    spread,
)

PANEL = 2 * LANES
"""Columns of a product."""
TALL = 14 if WIDE else 6
"""Rows of the large product; with two vectors each they fill the registers."""
SHORT = 8 if WIDE else 4
"""Rows of the small product; a divisor of `PANEL`."""
DEPTH = 128
"""Terms to sum at a time: a panel of so many fits the first cache, and errors stay small."""


def _product(rows: int, packed: int | None = None) -> Any:
    """Make the product with a number of rows, terms next to each other or, if packed, rows."""

    @intrinsic
    def product(
        typing: Any,
        out: Any,
        out_at: Any,
        out_row: Any,
        a: Any,
        a_at: Any,
        a_row: Any,
        a_outer: Any,
        b: Any,
        b_at: Any,
        b_outer: Any,
        b_inner: Any,
        outer: Any,
        inner: Any,
        add: Any,
        near: Any,
        near_at: Any,
        near_row: Any,
        other: Any,
    ) -> Any:
        n = types.intp
        of_a, of_b, fetched = (a, n, n, n), (b, n, n, n), (near, n, n, n)
        signature = types.void(out, n, n, *of_a, *of_b, n, n, types.boolean, *fetched)

        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pointers = [
                builder.gep(data(context, builder, signature.args[i], args[i]), [args[i + 1]])
                for i in (0, 3, 7, 14)
            ]
            _emit(builder, rows, packed, pointers, args)
            return context.get_dummy_value()

        return signature, emit

    return product


def _emit(builder: Any, rows: int, packed: int | None, pointers: list[Any], args: Any) -> None:
    """Emit the sums in registers, which are added to what `out` holds, or take its place."""
    to, a, b, near = pointers
    out_row, a_row, a_outer, b_outer, b_inner, outer, inner, add, near_row, other = (
        args[i] for i in (2, 5, 6, 9, 10, 11, 12, 13, 16, 17)
    )
    targets = [
        builder.bitcast(_at(builder, to, (out_row, row), (1, column)), VECTOR.as_pointer())
        for row in range(rows)
        for column in (0, LANES)
    ]
    sums = [build.alloca_once(builder, VECTOR) for _ in targets]
    zero = ir.Constant(VECTOR, [0.0] * LANES)
    for total in sums:
        builder.store(zero, total)
    if packed is not None or not WIDE:
        # what the sums are added to is there when they are complete
        for target in targets:
            emit_fetch(builder, target)
    multiply = _assembled if WIDE else _portable
    with build.for_range(builder, outer) as line:
        multiply(
            builder,
            sums,
            packed,
            (_at(builder, a, (a_outer, line.index)), a_row),
            (_at(builder, b, (b_outer, line.index)), b_inner),
            inner,
            (near, near_row, other),
        )
    # the old value comes last: a long sum in pieces has smaller errors than in one
    for total, target in zip(sums, targets, strict=True):
        old = builder.select(add, builder.load(target, align=4), zero)
        builder.store(builder.fadd(builder.load(total), old), target, align=4)


def _assembled(
    builder: Any, sums: list[Any], packed: int | None, a: Any, b: Any, inner: Any, near: Any
) -> None:
    """Emit an inner sum in AVX-512's own words, some terms at a time."""
    step = 1 if packed is None else packed
    whole = builder.sdiv(inner, inner.type(UNROLLED))
    done = builder.mul(whole, inner.type(UNROLLED))
    with build.for_range(builder, whole) as some:
        if packed is None:
            _emit_fetches(builder, _at(builder, near[0], (near[1], some.index)), near[2])
        term = builder.mul(some.index, inner.type(UNROLLED))
        first, second = _at(builder, a[0], (step, term)), _at(builder, b[0], (b[1], term))
        emit_terms(builder, sums, (first, a[1], packed), (second, b[1]), UNROLLED)
    with build.for_range(builder, builder.sub(inner, done)) as rest:
        term = builder.add(done, rest.index)
        first, second = _at(builder, a[0], (step, term)), _at(builder, b[0], (b[1], term))
        emit_terms(builder, sums, (first, a[1], packed), (second, b[1]), 1)


def _portable(
    builder: Any, sums: list[Any], packed: int | None, a: Any, b: Any, inner: Any, near: Any
) -> None:
    """Emit an inner sum for any processor."""
    step, row = (1, a[1]) if packed is None else (packed, 1)
    multiply_add = function(builder, f"llvm.fma.v{LANES}f32", VECTOR, [VECTOR] * 3)
    with build.for_range(builder, inner) as term:
        a_now, b_now = (
            _at(builder, a[0], (step, term.index)),
            _at(builder, b[0], (b[1], term.index)),
        )
        columns = [
            builder.load(
                builder.bitcast(_at(builder, b_now, (1, at)), VECTOR.as_pointer()), align=4
            )
            for at in (0, LANES)
        ]
        for index, total in enumerate(sums):
            line, half = divmod(index, 2)
            if not half:
                factor = spread(builder, builder.load(_at(builder, a_now, (row, line))))
            builder.store(
                builder.call(multiply_add, [factor, columns[half], builder.load(total)]), total
            )


def _emit_fetches(builder: Any, place: Any, other: Any) -> None:
    """Emit what brings two vectors into the cache, and two that lie `other` bytes from them."""
    beside = builder.gep(builder.bitcast(place, ir.IntType(8).as_pointer()), [other])
    for start in (place, builder.bitcast(beside, place.type)):
        for column in (0, LANES):
            emit_fetch(builder, _at(builder, start, (1, column)))


def _at(builder: Any, pointer: Any, *steps: tuple[Any, Any]) -> Any:
    """Emit a pointer moved by products of strides and indices, numbers or values."""
    for stride, index in steps:
        factors = [ir.IntType(64)(f) if isinstance(f, int) else f for f in (stride, index)]
        pointer = builder.gep(pointer, [builder.mul(*factors)])
    return pointer


_tall, _short, _single = _product(TALL), _product(SHORT), _product(1)
_crossed = _product(SHORT, PANEL)
_crossed_tall, _crossed_short = _product(TALL, TALL), _product(SHORT, TALL)


@piece
def tall(
    out: Any,
    out_at: int,
    out_row: int,
    a: Any,
    a_at: int,
    a_row: int,
    a_outer: int,
    b: Any,
    b_at: int,
    outer: int,
    inner: int,
    add: bool,
    near: Any,
    near_at: int,
    near_row: int,
    other: int,
) -> None:
    """Write `TALL` rows, or add to them: terms of an inner sum are consecutive, b is one panel.

    On the way it brings pixels of `near` into the cache, which are `near_row` apart, and what
    lies `other` bytes from them.
    """
    _tall(
        out, out_at, out_row, a, a_at, a_row, a_outer, b, b_at, inner * PANEL, PANEL, outer, inner,
        add, near, near_at, near_row, other,
    )  # fmt: skip


@piece
def short(
    out: Any,
    out_at: int,
    out_row: int,
    a: Any,
    a_at: int,
    a_row: int,
    a_outer: int,
    b: Any,
    b_at: int,
    outer: int,
    inner: int,
    add: bool,
    near: Any,
    near_at: int,
    near_row: int,
    other: int,
) -> None:
    """Write `SHORT` rows, otherwise as `tall`."""
    _short(
        out, out_at, out_row, a, a_at, a_row, a_outer, b, b_at, inner * PANEL, PANEL, outer, inner,
        add, near, near_at, near_row, other,
    )  # fmt: skip


@piece
def single(
    out: Any,
    out_at: int,
    out_row: int,
    a: Any,
    a_at: int,
    a_row: int,
    a_outer: int,
    b: Any,
    b_at: int,
    outer: int,
    inner: int,
    add: bool,
    near: Any,
    near_at: int,
    near_row: int,
    other: int,
) -> None:
    """Write one row, otherwise as `tall`."""
    _single(
        out, out_at, out_row, a, a_at, a_row, a_outer, b, b_at, inner * PANEL, PANEL, outer, inner,
        add, near, near_at, near_row, other,
    )  # fmt: skip


@piece
def crossed(
    out: Any,
    out_at: int,
    out_row: int,
    a: Any,
    a_at: int,
    a_outer: int,
    b: Any,
    b_at: int,
    b_outer: int,
    b_inner: int,
    outer: int,
    inner: int,
    add: bool,
) -> None:
    """Multiply the transpose of a panel: `SHORT` consecutive numbers of a panel a, and panel b.

    a's terms are `PANEL` apart in an inner sum, b's `b_inner`. With `add` it adds to `out`.
    """
    _crossed(
        out, out_at, out_row, a, a_at, 1, a_outer, b, b_at, b_outer, b_inner, outer, inner, add,
        out, out_at, out_row, 0,
    )  # fmt: skip


@piece
def crossed_packed(
    out: Any,
    out_at: int,
    out_row: int,
    a: Any,
    a_at: int,
    a_outer: int,
    b: Any,
    b_at: int,
    b_outer: int,
    b_inner: int,
    outer: int,
    inner: int,
    add: bool,
    few: bool,
) -> None:
    """As `crossed`, for panels of `TALL` numbers: all of them, or the first `SHORT` if `few`."""
    if few:
        _crossed_short(
            out, out_at, out_row, a, a_at, 1, a_outer, b, b_at, b_outer, b_inner, outer, inner, add,
            out, out_at, out_row, 0,
        )  # fmt: skip
    else:
        _crossed_tall(
            out, out_at, out_row, a, a_at, 1, a_outer, b, b_at, b_outer, b_inner, outer, inner, add,
            out, out_at, out_row, 0,
        )  # fmt: skip
