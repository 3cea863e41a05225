"""Several vectors of an array, `step` elements from one to the next, and runs of elements."""

from typing import Any

from netc_kernels.cpu.vector import (
    LANES,
    inline,
    load,
    load_first,
    piece,
    splat,
    store,
    store_first,
)


@inline
def put_two(array: Any, at: int, step: int, values: Any) -> None:
    """Write two vectors."""
    store(array, at, values[0])
    store(array, at + step, values[1])


@inline
def put_three(array: Any, at: int, step: int, values: Any) -> None:
    """Write three vectors."""
    store(array, at, values[0])
    store(array, at + step, values[1])
    store(array, at + 2 * step, values[2])


@inline
def put_four(array: Any, at: int, step: int, values: Any) -> None:
    """Write four vectors."""
    put_three(array, at, step, values)
    store(array, at + 3 * step, values[3])


@inline
def put_five(array: Any, at: int, step: int, values: Any) -> None:
    """Write five vectors."""
    put_three(array, at, step, values)
    put_two(array, at + 3 * step, step, values[3:])


@inline
def put_six(array: Any, at: int, step: int, values: Any) -> None:
    """Write six vectors."""
    put_three(array, at, step, values)
    put_three(array, at + 3 * step, step, values[3:])


@inline
def two(array: Any, at: int, step: int) -> Any:
    """Read two vectors."""
    return load(array, at), load(array, at + step)


@inline
def three(array: Any, at: int, step: int) -> Any:
    """Read three vectors."""
    return load(array, at), load(array, at + step), load(array, at + 2 * step)


@inline
def four(array: Any, at: int, step: int) -> Any:
    """Read four vectors."""
    return (*three(array, at, step), load(array, at + 3 * step))


@inline
def five(array: Any, at: int, step: int) -> Any:
    """Read five vectors."""
    return three(array, at, step) + two(array, at + 3 * step, step)


@inline
def six(array: Any, at: int, step: int) -> Any:
    """Read six vectors."""
    return three(array, at, step) + three(array, at + 3 * step, step)


@piece
def copy_run(out: Any, to: int, array: Any, at: int, count: int) -> None:
    """Copy elements that follow each other."""
    for i in range(0, count, LANES):
        store_first(out, to + i, load_first(array, at + i, count - i), count - i)


@piece
def clear_run(out: Any, to: int, count: int) -> None:
    """Write zeros."""
    for i in range(0, count, LANES):
        store_first(out, to + i, splat(0.0), count - i)
