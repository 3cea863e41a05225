"""The terms of a product held in registers, in AVX-512's own words.

LLVM computes the addresses of rows anew in every term, and where terms are unrolled it moves loads
up until the sums do not fit the registers any more. Of 62 instructions a term with 28
multiplications, 44 or fewer remain.

A multiplication may spread a number over the lanes itself. That saves an instruction where its
address is a pointer and a constant, and costs a read: so only every fourth row does it.
"""

from typing import Any

from llvmlite import binding, ir

from netc_kernels.cpu.vector import VECTOR

UNROLLED = 4
"""Terms between two jumps; up to as many have addresses."""
_REACH = 4
"""Rows that are reached from one pointer; the first of them needs no distance."""

# without it LLVM prints what it assembles, but cannot read it
binding.initialize_native_asmparser()


def emit_terms(
    builder: Any, sums: list[Any], a: tuple[Any, Any, int | None], b: tuple[Any, Any], terms: int
) -> None:
    """Emit some terms of every sum; there are two sums of a vector each for a row.

    a is a pointer, and the elements from one row to the next, whose terms follow each other; or,
    if rows do, the elements from one term to the next. b is a pointer and the elements from one
    term to the next.
    """
    inputs = _inputs(builder, a, b, len(sums) // 2)
    kept = len(sums) + 3
    names = {name: f"${kept + len(sums) + i}" for i, name in enumerate(inputs)}
    text = "\n".join(line for term in range(terms) for line in _term(len(sums), term, a[2])).format(
        **names
    )
    before = [builder.load(total) for total in sums]
    constraints = ["=&v"] * kept + [str(i) for i in range(len(sums))] + ["r"] * len(inputs)
    kind = ir.FunctionType(
        ir.LiteralStructType([VECTOR] * kept),
        [value.type for value in (*before, *inputs.values())],
    )
    after = builder.asm(
        kind, text, ",".join((*constraints, "~{memory}")), [*before, *inputs.values()], False
    )
    for i, total in enumerate(sums):
        builder.store(builder.extract_value(after, i), total)


def _inputs(builder: Any, a: Any, b: Any, rows: int) -> dict[str, Any]:
    """Emit what addresses are made of: pointers, and distances in bytes."""
    found = {"b": b[0]} | _multiples(builder, "b", b[1])
    if a[2] is not None:
        return found | {"a0": a[0]}
    for first in range(0, rows, _REACH):
        found[f"a{first}"] = builder.gep(a[0], [builder.mul(a[1], a[1].type(first))])
    return found | (_multiples(builder, "a", a[1]) if rows > 1 else {})


def _multiples(builder: Any, name: str, step: Any) -> dict[str, Any]:
    """Emit the distances, in bytes, that `_step` has names for."""
    return {
        f"{name}_{times}": builder.mul(step, step.type(4 * count))
        for times, count in (("one", 1), ("three", 3))
    }


def _term(sums: int, term: int, packed: int | None) -> list[str]:
    """One term of every sum, with operands by name but for sums and scratch registers."""
    first, second, spread = (f"${sums + i}" for i in range(3))
    place = f"({{b}}{_step('b', term)})"
    lines = [f"vmovups {place}, {first}", f"vmovups 64{place}, {second}"]
    for row in range(sums // 2):
        if packed is None:
            number = f"{4 * term}({{a{row // _REACH * _REACH}}}{_step('a', row % _REACH)})"
        else:
            number = f"{4 * (term * packed + row)}({{a0}})"
        spreads = row % _REACH == 0
        factor = f"{number}{{{{1to16}}}}" if spreads else spread
        if not spreads:
            lines.append(f"vbroadcastss {number}, {spread}")
        lines += [
            f"vfmadd231ps {factor}, {column}, ${2 * row + half}"
            for half, column in enumerate((first, second))
        ]
    return lines


def _step(name: str, times: int) -> str:
    """A multiple of a distance as a processor takes it in an address."""
    return ("", f",{{{name}_one}}", f",{{{name}_one}},2", f",{{{name}_three}}")[times]
