"""Ranges of a kernel, shared out among threads that wait inside compiled code.

A thread that sleeps needs a tenth of a millisecond or more to wake, as long as many kernels take,
and Python lets one thread at a time begin a call. So the threads of a pool watch a few words of
memory for a while, without the interpreter: there they find a function, its arguments, and the
ranges that no other thread has taken.

A kernel that can be shared out ends with (thread, start, stop); thread counts from 0 and tells
the scratch memory. Words are int64, 1-D.
"""

import platform
import sys
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

import numpy as np
from llvmlite import ir
from numba import typeof, types

from netc_kernels.cpu.vector import (
    build,
    data,
    entry,
    function,
    inline,
    intrinsic,
    kernel,
)
from netc_kernels.cpu.words import CALLED, FUNCTION, IDLE, LINE, NEXT, STATE

COUNT, GRAIN, ARGUMENTS, KERNEL = FUNCTION + 1, FUNCTION + 2, FUNCTION + 3, FUNCTION + 4
"""What stands beside the function's address."""
OPEN, NUMBER = 1 << 15, 16
"""The state: how many helpers take part, whether more may, and, from bit `NUMBER` on, the number
of times there was work."""
PATIENCE = 1 << 18
"""Looks at the state before a thread sleeps, some ten milliseconds."""
BRIEF = 64
"""Looks after which the processor is offered to others that wait for it."""
TAKEN = 1 << 16
"""Ticks after which it comes back if another took it."""

INT64 = ir.IntType(64)
PART = ir.FunctionType(ir.VoidType(), [INT64] * 5)
"""Of (where arguments are, the kernel's address, thread, start, stop)."""
IS_X86 = platform.machine() in ("x86_64", "AMD64")


def _word(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    return builder.gep(data(context, builder, signature.args[0], args[0]), [args[1]])


@intrinsic
def look(typing: Any, words: Any, at: Any) -> Any:
    """Read a word that others write."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _word(context, builder, signature, args)
        return builder.load_atomic(place, ordering="seq_cst", align=8)

    return types.int64(words, types.intp), emit


@intrinsic
def tell(typing: Any, words: Any, at: Any, value: Any) -> Any:
    """Write a word that others read; they find what was written before it."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _word(context, builder, signature, args)
        builder.store_atomic(args[2], place, ordering="seq_cst", align=8)
        return context.get_dummy_value()

    return types.void(words, types.intp, types.int64), emit


@intrinsic
def add(typing: Any, words: Any, at: Any, value: Any) -> Any:
    """Add to a word at once, and return what it was."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _word(context, builder, signature, args)
        return builder.atomic_rmw("add", place, args[2], ordering="seq_cst")

    return types.int64(words, types.intp, types.int64), emit


@intrinsic
def swap(typing: Any, words: Any, at: Any, old: Any, new: Any) -> Any:
    """Write a word if it still is `old`, and tell whether it was."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _word(context, builder, signature, args)
        found = builder.cmpxchg(place, args[2], args[3], ordering="seq_cst")
        return builder.extract_value(found, 1)

    return types.boolean(words, types.intp, types.int64, types.int64), emit


@intrinsic
def pause(typing: Any) -> Any:
    """Let the processor's other thread go ahead."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if IS_X86:
            builder.call(function(builder, "llvm.x86.sse2.pause", ir.VoidType(), []), [])
        return context.get_dummy_value()

    return types.void(), emit


@intrinsic
def give_way(typing: Any) -> Any:
    """Let another program have the processor, if one waits for it."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        name = "SwitchToThread" if sys.platform == "win32" else "sched_yield"
        builder.call(function(builder, name, ir.IntType(32), []), [])
        return context.get_dummy_value()

    return types.void(), emit


@intrinsic
def ticks(typing: Any) -> Any:
    """Read the processor's clock; 0 where programs may not."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if not IS_X86:
            return INT64(0)
        return builder.call(function(builder, "llvm.readcyclecounter", INT64, []), [])

    return types.int64(), emit


@intrinsic
def call_part(typing: Any, words: Any, thread: Any, start: Any, stop: Any) -> Any:
    """Call the kernel that the words tell."""
    n = types.int64

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        first = data(context, builder, signature.args[0], args[0])
        unpacking, *told = (
            builder.load(builder.gep(first, [INT64(at)])) for at in (FUNCTION, ARGUMENTS, KERNEL)
        )
        builder.call(builder.inttoptr(unpacking, PART.as_pointer()), [*told, *args[1:]])
        return context.get_dummy_value()

    return types.void(words, n, n, n), emit


@inline
def rest(looks: int) -> int:
    """Wait a little, and count how often; faster where others want the processor."""
    pause()
    if looks % BRIEF == BRIEF - 1:
        before = ticks()
        give_way()
        if ticks() - before > TAKEN:
            looks += PATIENCE // 4
    return looks + 1


@inline
def take_ranges(words: Any, thread: int) -> None:
    """Call the kernel for one range after another, until none is left."""
    count, grain = words[COUNT], words[GRAIN]
    start = add(words, NEXT, grain)
    while start < count:
        call_part(words, thread, start, min(start + grain, count))
        start = add(words, NEXT, grain)


@entry
def serve(words: Any, thread: int) -> None:
    """Take part in whatever work there is, until there has been none for a while or Python calls.

    A thread that falls asleep just as work begins misses that one.
    """
    number, looks = -1, 0
    while looks < PATIENCE and look(words, CALLED + LINE * thread) == 0:
        state = look(words, STATE)
        if state & OPEN and state >> NUMBER != number and swap(words, STATE, state, state + 1):
            number = state >> NUMBER
            take_ranges(words, thread)
            add(words, STATE, -1)
            looks = 0
        looks = rest(looks)
    tell(words, IDLE + LINE * thread, 1)


@kernel
def share(
    words: Any, known: Any, kind: int, unpacking: int, arguments: int, count: int, grain: int
) -> bool:
    """Call the kernel that `known` has for a kind of arguments for 0 ... `count` in ranges of
    `grain`, with the help of whoever waits. Where it has none nothing is done; the result is False.
    """
    address = 0
    for i in range(1, len(known), 2):
        if known[i] == kind:
            address = known[i + 1]
    if address == 0:
        return False
    words[FUNCTION], words[ARGUMENTS], words[KERNEL] = unpacking, arguments, address
    words[COUNT], words[GRAIN] = count, grain
    tell(words, NEXT, 0)
    tell(words, STATE, ((look(words, STATE) >> NUMBER) + 1) << NUMBER | OPEN)
    take_ranges(words, 0)
    add(words, STATE, -OPEN)
    looks = 0
    while look(words, STATE) & (OPEN - 1):
        looks = rest(looks)
    return True


@intrinsic
def hand_over(
    typing: Any, words: Any, known: Any, count: Any, grain: Any, arguments: Any
) -> Any:  # fmt: skip
    """Call `share`, whose address is the first number of `known`, with arguments of any types."""
    n, number = types.int64, _number(arguments.types)
    kinds = (words, known, n, n, n, n, n)

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        words, known, count, grain, given = args
        # they are here as long as `share` runs
        place = build.alloca_once_value(builder, given)
        unpacking = _unpacking(context, builder, arguments)
        told = [builder.ptrtoint(value, INT64) for value in (unpacking, place)]
        address = builder.load(data(context, builder, signature.args[1], known))
        made = context.call_conv.get_function_type(types.boolean, kinds).as_pointer()
        _, done = context.call_conv.call_function(
            builder, builder.inttoptr(address, made), types.boolean, kinds,
            [words, known, INT64(number), *told, count, grain],
        )  # fmt: skip
        return done

    return types.boolean(words, known, n, n, arguments), emit


def _number(kinds: Iterable[Any]) -> int:
    """A number for types of arguments, the same in every process."""
    text = ", ".join(map(str, kinds))
    return int.from_bytes(blake2b(text.encode(), digest_size=7).digest(), "little")


def _unpacking(context: Any, builder: Any, arguments: Any) -> Any:
    """Emit a function, a `PART`, that calls a kernel of arguments with such types."""
    made = ir.Function(builder.module, PART, f"{builder.function.name}.part")
    made.linkage = "internal"
    inside = ir.IRBuilder(made.append_basic_block())
    place, address, *ranges = made.args
    kept = context.get_value_type(arguments).as_pointer()
    values = inside.load(inside.inttoptr(place, kept))
    passed = [inside.extract_value(values, i) for i in range(len(arguments.types))]
    kinds, convention = (*arguments.types, *[types.int64] * 3), context.call_conv
    kernel_type = convention.get_function_type(types.none, kinds)
    callee = inside.inttoptr(address, kernel_type.as_pointer())
    # kernels raise nothing, so nobody looks at what comes back
    convention.call_function(inside, callee, types.none, kinds, [*passed, *ranges])
    inside.ret_void()
    return made


@entry
def share_out(words: Any, known: Any, count: int, grain: int, *arguments: Any) -> bool:
    """Have a kernel called for 0 ... `count` in ranges of `grain` (see `share`).

    This one is compiled for every kind of arguments, so it has as little as possible.
    """
    if len(known) == 0:
        return False
    done: bool = hand_over(words, known, count, grain, arguments)
    return done


_known: dict[Any, Any] = {}
"""What `share_out` gets to know of each kernel: the address of `share`, then pairs of numbers of
arguments' types and the kernel's address for these.
"""
_NOTHING = np.zeros(0, np.int64)


def run_kernel(words: Any, count: int, grain: int, part: Any, arguments: tuple[Any, ...]) -> None:
    """Share out a kernel among the threads of a pool; compile it first if need be."""
    known = _known.get(part, _NOTHING)
    if share_out(words, known, count, grain, *arguments):
        return
    kinds = tuple(map(typeof, arguments))
    before = known if len(known) else [_address(share, SHARE)]
    found = _number(kinds), _address(part, signatures(kinds)[0])
    known = np.array([*before, *found], np.int64)
    _known[part] = known
    done = share_out(words, known, count, grain, *arguments)
    assert done, f"{part} is not known for the types of its arguments"


_WORDS = types.Array(types.int64, 1, "C")
_tuple: Any = types.BaseTuple.from_types
SHARE = types.boolean(_WORDS, _WORDS, *[types.int64] * 5)
SERVE = _WORDS, types.int64
"""For what `share` and `serve` are compiled."""


def signatures(kinds: tuple[Any, ...]) -> tuple[Any, Any]:
    """For what a kernel and `share_out` are compiled where arguments are of such types."""
    shared = _WORDS, _WORDS, types.int64, types.int64, _tuple(kinds)
    return types.void(*kinds, *[types.int64] * 3), shared


def _address(compiled: Any, signature: Any) -> int:
    """Of a kernel's code for a signature."""
    found = compiled.get_compile_result(signature)
    return int(found.library.get_pointer_to_function(found.fndesc.llvm_func_name))
