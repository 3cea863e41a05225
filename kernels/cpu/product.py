"""The inner loop of every convolution: a small matrix product held in registers.

    out[i, j] (+)= sum over o, t of  a[i, o, t] * b[o, t, j]

for a few rows i and the `PANEL` columns j of two vectors. The sum has two levels, so that it can
run along the taps of a window, or along the rows and columns of an image, where they lie. On
its way it reads two vectors of b and one number of a for each row, and touches no other memory;
this is the register blocking of Goto and van de Geijn 2008, "Anatomy of high-performance matrix
multiplication". Nothing is packed: whoever makes the operands stores them in panels at once.
"""

from typing import Any

from llvmlite import ir
from numba import types

from netc_kernels.cpu.vector import (
    LANES,
    VECTOR,
    WIDE,
    build,
    data,
    emit_fetch,
    function,
    intrinsic,
    kernel,
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


def _product(rows: int) -> Any:
    """Make the product with a number of rows."""

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
        a_inner: Any,
        b: Any,
        b_at: Any,
        b_outer: Any,
        b_inner: Any,
        outer: Any,
        inner: Any,
        add: Any,
    ) -> Any:
        n = types.intp
        of_a, of_b = (a, n, n, n, n), (b, n, n, n)
        signature = types.void(out, n, n, *of_a, *of_b, n, n, types.boolean)

        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pointers = [
                builder.gep(data(context, builder, signature.args[i], args[i]), [args[i + 1]])
                for i in (0, 3, 8)
            ]
            _emit(builder, rows, pointers, args)
            return context.get_dummy_value()

        return signature, emit

    return product


def _emit(builder: Any, rows: int, pointers: list[Any], args: Any) -> None:
    """Emit the sums in registers, which are added to what `out` holds, or take its place."""
    to, a, b = pointers
    targets = [
        builder.bitcast(_at(builder, to, (args[2], row), (1, column)), VECTOR.as_pointer())
        for row in range(rows)
        for column in (0, LANES)
    ]
    sums = [build.alloca_once(builder, VECTOR) for _ in targets]
    zero = ir.Constant(VECTOR, [0.0] * LANES)
    for total in sums:
        builder.store(zero, total)
    # what the sums are added to is there when they are complete
    for target in targets:
        emit_fetch(builder, target)
    with build.for_range(builder, args[12]) as outer:
        a_line = _at(builder, a, (args[6], outer.index))
        b_line = _at(builder, b, (args[10], outer.index))
        with build.for_range(builder, args[13]) as inner:
            a_now = _at(builder, a_line, (args[7], inner.index))
            _emit_step(builder, sums, a_now, args[5], _at(builder, b_line, (args[11], inner.index)))
    # the old value comes last: a long sum in pieces has smaller errors than in one
    for total, target in zip(sums, targets, strict=True):
        old = builder.select(args[14], builder.load(target, align=4), zero)
        builder.store(builder.fadd(builder.load(total), old), target, align=4)


def _emit_step(builder: Any, sums: list[Any], a: Any, a_row: Any, b: Any) -> None:
    """Emit one term of every sum."""
    multiply_add = function(builder, f"llvm.fma.v{LANES}f32", VECTOR, [VECTOR] * 3)
    columns = [
        builder.load(builder.bitcast(_at(builder, b, (1, at)), VECTOR.as_pointer()), align=4)
        for at in (0, LANES)
    ]
    for index, total in enumerate(sums):
        row, half = divmod(index, 2)
        if not half:
            factor = spread(builder, builder.load(_at(builder, a, (a_row, row))))
        term = builder.call(multiply_add, [factor, columns[half], builder.load(total)])
        builder.store(term, total)


def _at(builder: Any, pointer: Any, *steps: tuple[Any, Any]) -> Any:
    """Emit a pointer moved by products of strides and indices, numbers or values."""
    for stride, index in steps:
        factors = [ir.IntType(64)(f) if isinstance(f, int) else f for f in (stride, index)]
        pointer = builder.gep(pointer, [builder.mul(*factors)])
    return pointer


_tall, _short, _single = _product(TALL), _product(SHORT), _product(1)


@kernel
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
) -> None:
    """Write `TALL` rows, or add to them: terms of an inner sum are consecutive, b is one panel."""
    step = inner * PANEL
    _tall(out, out_at, out_row, a, a_at, a_row, a_outer, 1, b, b_at, step, PANEL, outer, inner, add)


@kernel
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
) -> None:
    """Write `SHORT` rows, otherwise as `tall`."""
    step = inner * PANEL
    _short(
        out, out_at, out_row, a, a_at, a_row, a_outer, 1, b, b_at, step, PANEL, outer, inner, add
    )


@kernel
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
) -> None:
    """Write one row, otherwise as `tall`."""
    step = inner * PANEL
    _single(
        out, out_at, out_row, a, a_at, a_row, a_outer, 1, b, b_at, step, PANEL, outer, inner, add
    )


@kernel
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
    _short(
        out,
        out_at,
        out_row,
        a,
        a_at,
        1,
        a_outer,
        PANEL,
        b,
        b_at,
        b_outer,
        b_inner,
        outer,
        inner,
        add,
    )
