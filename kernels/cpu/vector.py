"""Vectors of float32 as values inside compiled kernels.

LLVM's vectorizer gives up on loops over many arrays, because it cannot prove that they do not
overlap. Here a kernel says itself what is done 16 (8 without AVX-512) channels at a time:
`load`, `store`, `+`, `-`, `*` and a few functions, which become one instruction each.

Compiled kernels are kept on disk (see `kept`).
"""

import operator
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from typing import Any, TypeVar, cast
from weakref import WeakValueDictionary

from llvmlite import binding, ir
from numba import extending, njit, types
from numba.core import cgutils
from numba.extending import models, overload, register_model

from netc_kernels.cpu.kept import KernelCache, described
from netc_kernels.cpu.pieces import KernelCompiler, PieceCompiler, hide
from netc_kernels.files import digest

WIDE = bool(binding.get_host_cpu_features().get("avx512f", False))
LANES = 16 if WIDE else 8
"""Elements of a vector."""

build: Any = cgutils
Function = TypeVar("Function", bound=Callable[..., Any])
OPTIONS: dict[str, Any] = {
    "nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True,
    "pipeline_class": KernelCompiler,
}  # fmt: skip
BY_ADDRESS: dict[str, Any] = OPTIONS | {"no_cpython_wrapper": True}
BY_KERNELS: dict[str, Any] = BY_ADDRESS | {"pipeline_class": PieceCompiler}


NAMED: MutableMapping[str, Any] = WeakValueDictionary()
"""What is compiled, by names that are the same in every process."""


def name_of(compiled: Any) -> str:
    """A name for what is compiled. Raises TypeError or ValueError where nothing tells it from
    others.
    """
    return described(compiled)


def entry(python: Function) -> Function:
    """Compile a function that Python calls. Like the others it runs without the interpreter's lock
    and is kept on disk.
    """
    return _kept(python, njit(**OPTIONS)(python))


def kernel(python: Function) -> Function:
    """Compile a function that pools share out: it is called by its address alone."""
    return _kept(python, njit(**BY_ADDRESS)(python))


def piece(python: Function) -> Function:
    """Compile a part of kernels, which these alone call; it neither raises nor prints."""
    return _piece(python, njit(**BY_KERNELS)(python))


def inline(python: Function) -> Function:
    """Compile a piece without the cost of a call."""
    return _piece(python, njit(**BY_KERNELS, forceinline=True)(python))


def _piece(python: Function, compiled: Any) -> Function:
    # with NUMBA_DISABLE_JIT it is the function itself
    if compiled is not python:
        _tell_apart(python)
        hide(compiled)
    return cast(Function, compiled)


def _kept(python: Function, compiled: Any) -> Function:
    if compiled is not python:
        _tell_apart(python)
        compiled._cache = KernelCache(python)
        with suppress(TypeError, ValueError):
            NAMED[name_of(compiled)] = compiled
        if compiled.targetoptions.get("no_cpython_wrapper"):
            hide(compiled)
    return cast(Function, compiled)


def _tell_apart(python: Any) -> None:
    """Give a function that differs from others by what is around it a name of its own: what was
    compiled in another process may have the same number.
    """
    if python.__closure__:
        with suppress(TypeError, ValueError):
            python.__qualname__ += f"_{digest(described(python))}"


def intrinsic(emitter: Callable[..., Any]) -> Any:
    """Make a function of kernels from one that emits it; its first argument is for typing."""
    return extending.intrinsic(emitter)


FLOAT = ir.FloatType()
INT32 = ir.IntType(32)
VECTOR = ir.VectorType(FLOAT, LANES)
BYTES = ir.VectorType(ir.IntType(8), LANES)
MASK = ir.VectorType(ir.IntType(1), LANES)


class VectorType(types.Type):
    """Numba's type of a vector of `LANES` float32."""

    def __init__(self) -> None:
        super().__init__(name=f"Vector{LANES}")


vector = VectorType()


@register_model(VectorType)
class VectorModel(models.PrimitiveModel):
    """A vector is one value of LLVM's."""

    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, VECTOR)  # type: ignore[no-untyped-call]


def spread(builder: Any, scalar: Any) -> Any:
    """Emit a vector whose lanes all hold one value."""
    kind = ir.VectorType(scalar.type, LANES)
    undefined = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(INT32, 0))
    zeros = ir.Constant(ir.VectorType(INT32, LANES), [0] * LANES)
    return builder.shuffle_vector(first, undefined, zeros)


def function(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    """Declare one of LLVM's own functions."""
    return build.get_or_insert_function(builder.module, ir.FunctionType(result, arguments), name)


def data(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    """Emit the pointer to an array's first element."""
    return context.make_array(kind)(context, builder, array).data


def _pointer(
    context: Any, builder: Any, signature: Any, array: Any, at: Any, kind: Any = VECTOR
) -> Any:
    element = builder.gep(data(context, builder, signature.args[0], array), [at])
    return builder.bitcast(element, kind.as_pointer())


def emit_fetch(builder: Any, pointer: Any) -> None:
    """Emit what brings the line of a pointer into the cache, to be read or written."""
    name, byte = "llvm.prefetch.p0i8", ir.IntType(8).as_pointer()
    begin = function(builder, name, ir.VoidType(), [byte, INT32, INT32, INT32])
    builder.call(begin, [builder.bitcast(pointer, byte), INT32(0), INT32(3), INT32(1)])


def _first(builder: Any, count: Any) -> Any:
    """Emit a mask of the first `count` lanes; none if it is negative."""
    lanes = ir.Constant(ir.VectorType(INT32, LANES), list(range(LANES)))
    return builder.icmp_signed("<", lanes, spread(builder, builder.trunc(count, INT32)))


def emit_load_first(builder: Any, pointer: Any, count: Any) -> Any:
    """Emit a read of the first `count` lanes, all others 0."""
    name = f"llvm.masked.load.v{LANES}f32.p0v{LANES}f32"
    read = function(builder, name, VECTOR, [pointer.type, INT32, MASK, VECTOR])
    zero = ir.Constant(VECTOR, [0.0] * LANES)
    return builder.call(read, [pointer, INT32(4), _first(builder, count), zero])


def emit_store_first(builder: Any, value: Any, pointer: Any, count: Any) -> None:
    """Emit a write of the first `count` lanes."""
    name = f"llvm.masked.store.v{LANES}f32.p0v{LANES}f32"
    write = function(builder, name, ir.VoidType(), [VECTOR, pointer.type, INT32, MASK])
    builder.call(write, [value, pointer, INT32(4), _first(builder, count)])


@intrinsic
def load(typing: Any, array: Any, at: Any) -> Any:
    """Read the vector at element `at` of an array."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(_pointer(context, builder, signature, *args), align=4)

    return vector(array, types.intp), emit


@intrinsic
def store(typing: Any, array: Any, at: Any, value: Any) -> Any:
    """Write a vector to element `at` of an array."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[2], _pointer(context, builder, signature, *args[:2]), align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), emit


@intrinsic
def load_bytes(typing: Any, array: Any, at: Any) -> Any:
    """Read `LANES` bytes as numbers."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, signature, args[0], args[1], BYTES)
        return builder.uitofp(builder.load(pointer, align=1), VECTOR)

    return vector(array, types.intp), emit


@intrinsic
def store_bytes(typing: Any, array: Any, at: Any, value: Any) -> Any:
    """Write lanes, whole numbers below 256, as bytes."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, signature, args[0], args[1], BYTES)
        builder.store(builder.fptoui(args[2], BYTES), pointer, align=1)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), emit


@intrinsic
def fetch(typing: Any, array: Any, at: Any) -> Any:
    """Begin to bring element `at` into the cache, wherever it is: it may lie beyond the array."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit_fetch(builder, _pointer(context, builder, signature, *args))
        return context.get_dummy_value()

    return types.void(array, types.intp), emit


@intrinsic
def distance(typing: Any, array: Any, other: Any) -> Any:
    """Bytes from the first element of the other array to that of an array."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        starts = [data(context, builder, signature.args[i], args[i]) for i in (0, 1)]
        return builder.sub(*(builder.ptrtoint(start, ir.IntType(64)) for start in starts))

    return types.intp(array, other), emit


@intrinsic
def lane_sum(typing: Any, value: Any) -> Any:
    """Add up all lanes."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        name = f"llvm.vector.reduce.fadd.v{LANES}f32"
        add = function(builder, name, FLOAT, [FLOAT, VECTOR])
        return builder.call(add, [FLOAT(0.0), args[0]], fastmath=("reassoc",))

    return types.float32(vector), emit


@intrinsic
def copy_element(typing: Any, out: Any, to: Any, array: Any, at: Any) -> Any:
    """Copy one element; unlike indexing it does not look for negative indices."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target, source = (data(context, builder, signature.args[i], args[i]) for i in (0, 2))
        value = builder.load(builder.gep(source, [args[3]]))
        builder.store(value, builder.gep(target, [args[1]]))
        return context.get_dummy_value()

    return types.void(out, types.intp, array, types.intp), emit


@intrinsic
def load_first(typing: Any, array: Any, at: Any, count: Any) -> Any:
    """Read the first `count` lanes, all others 0; nothing is touched beyond them."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return emit_load_first(builder, _pointer(context, builder, signature, *args[:2]), args[2])

    return vector(array, types.intp, types.intp), emit


@intrinsic
def store_first(typing: Any, array: Any, at: Any, value: Any, count: Any) -> Any:
    """Write the first `count` lanes; nothing is touched beyond them."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, signature, *args[:2])
        emit_store_first(builder, args[2], pointer, args[3])
        return context.get_dummy_value()

    return types.void(array, types.intp, vector, types.intp), emit


@intrinsic
def transpose(
    typing: Any, out: Any, to: Any, out_row: Any, wide: Any, array: Any, at: Any, row: Any,
    count: Any,
) -> Any:  # fmt: skip
    """Transpose a square of `LANES` vectors, `row` elements apart in array, `out_row` in out.

    Of each vector the first `count` lanes are read and the first `wide` lanes are written.
    """

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target = data(context, builder, signature.args[0], args[0])
        source = data(context, builder, signature.args[4], args[4])
        columns = [
            emit_load_first(builder, _line(builder, source, args[5], args[6], k), args[7])
            for k in range(LANES)
        ]
        for k, value in enumerate(_transposed(builder, columns)):
            emit_store_first(builder, value, _line(builder, target, args[1], args[2], k), args[3])
        return context.get_dummy_value()

    n = types.intp
    return types.void(out, n, n, n, array, n, n, n), emit


def _line(builder: Any, start: Any, at: Any, step: Any, index: int) -> Any:
    """Emit the pointer to a vector some steps from `at`."""
    element = builder.add(at, builder.mul(step, ir.IntType(64)(index)))
    return builder.bitcast(builder.gep(start, [element]), VECTOR.as_pointer())


def _transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """Emit the columns of a square: blocks off the diagonal change places, twice as large each."""
    step = 1
    while step < LANES:
        # lane j of a new row, as an index into two old rows one after the other
        low = [j if not j & step else LANES + j - step for j in range(LANES)]
        high = [j + step if not j & step else LANES + j for j in range(LANES)]
        for i in (i for i in range(LANES) if not i & step):
            a, b = rows[i], rows[i + step]
            for place, lanes in ((i, low), (i + step, high)):
                order = ir.Constant(ir.VectorType(INT32, LANES), lanes)
                rows[place] = builder.shuffle_vector(a, b, order)
        step *= 2
    return rows


def _lanewise(arity: int, emit: Callable[..., Any]) -> Any:
    """Make a function of vectors from what emits it."""

    def lower(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return emit(builder, *args)

    if arity == 1:
        return intrinsic(lambda typing, a: (vector(vector), lower))
    if arity == 2:
        return intrinsic(lambda typing, a, b: (vector(vector, vector), lower))
    if arity == 3:
        return intrinsic(lambda typing, a, b, c: (vector(vector, vector, vector), lower))
    return intrinsic(lambda typing, a, b, c, d: (vector(vector, vector, vector, vector), lower))


def _maximum(builder: Any, a: Any, b: Any) -> Any:
    # b unless it is smaller: a NaN in b stays
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


def _two_to(builder: Any, a: Any) -> Any:
    # the last bits of the sum are the number; an exponent's stand before 23 of the fraction
    whole = ir.VectorType(INT32, LANES)
    place = ir.Constant(whole, [23] * LANES)
    exponent = builder.shl(builder.bitcast(a, whole), place)
    one = ir.Constant(whole, [127 << 23] * LANES)
    return builder.bitcast(builder.add(exponent, one), VECTOR)


def _where_positive(builder: Any, a: Any, b: Any) -> Any:
    zero = ir.Constant(VECTOR, [0.0] * LANES)
    return builder.select(builder.fcmp_ordered(">", a, zero), b, zero)


def _where_equal(builder: Any, a: Any, b: Any, c: Any) -> Any:
    zero = ir.Constant(VECTOR, [0.0] * LANES)
    return builder.select(builder.fcmp_ordered("==", a, b), c, zero)


def _where_above(builder: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", a, b), c, d)


def _where_other(builder: Any, a: Any, b: Any, c: Any) -> Any:
    zero = ir.Constant(VECTOR, [0.0] * LANES)
    return builder.select(builder.fcmp_ordered("==", a, b), zero, c)


@intrinsic
def splat_at(typing: Any, array: Any, at: Any) -> Any:
    """Read element `at` into all lanes; unlike indexing it does not look for negative indices."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = builder.gep(data(context, builder, signature.args[0], args[0]), [args[1]])
        return spread(builder, builder.load(pointer))

    return vector(array, types.intp), emit


@intrinsic
def splat(typing: Any, value: Any) -> Any:
    """Fill all lanes with one float32."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return spread(builder, args[0])

    return vector(types.float32), emit


def _called(name: str) -> Callable[..., Any]:
    """Emit a call of one of LLVM's own functions of vectors."""

    def emit(builder: Any, *args: Any) -> Any:
        return builder.call(
            function(builder, f"llvm.{name}.v{LANES}f32", VECTOR, [VECTOR] * len(args)), args
        )

    return emit


# Never contracted to multiply-adds: which product would fuse depends on what a function was inlined
# into, and a process that compiles kernels would compute other bits than one that loads them.
_add = _lanewise(2, lambda builder, a, b: builder.fadd(a, b))
_sub = _lanewise(2, lambda builder, a, b: builder.fsub(a, b))
_mul = _lanewise(2, lambda builder, a, b: builder.fmul(a, b))
_div = _lanewise(2, lambda builder, a, b: builder.fdiv(a, b))
root = _lanewise(1, _called("sqrt"))
"""Square roots."""
multiply_add = _lanewise(3, _called("fma"))
"""a * b + c, rounded once."""
two_to = _lanewise(1, _two_to)
"""2 to the power of n, a whole number from -126 to 127, given as the sum n + 1.5 * 2^23."""
power = _lanewise(2, _called("pow"))
"""The first argument to the power of the second; slow."""
where_equal = _lanewise(3, _where_equal)
"""The third argument's lanes where the first and the second are equal, else 0."""
where_above = _lanewise(4, _where_above)
"""The third argument's lanes where the first is larger than the second, else the fourth's."""
where_other = _lanewise(3, _where_other)
"""The third argument's lanes where the first and the second are not equal, else 0."""
maximum = _lanewise(2, _maximum)
"""The larger of each two lanes; a NaN in the second argument stays."""
where_positive = _lanewise(2, _where_positive)
"""The second argument's lanes where the first one's are above 0, else 0."""


def _overload(sign: Callable[..., Any], of_vectors: Any) -> None:
    def two_vectors(a: Any, b: Any) -> Any:
        return of_vectors(a, b)

    def scaled(a: Any, b: Any) -> Any:
        return of_vectors(splat(a), b)

    # as in `_tell_apart`
    two_vectors.__qualname__ = f"{sign.__name__}_vectors"
    scaled.__qualname__ = f"{sign.__name__}_scaled"

    @overload(sign)
    def choose(a: Any, b: Any) -> Any:
        if b is not vector:
            return None
        return two_vectors if a is vector else scaled


for _sign, _of_vectors in (
    (operator.add, _add),
    (operator.sub, _sub),
    (operator.mul, _mul),
    (operator.truediv, _div),
):
    _overload(_sign, _of_vectors)
