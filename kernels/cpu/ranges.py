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
from functools import cache
from types import FunctionType
from typing import Any

from llvmlite import ir
from numba import types

from netc_kernels.cpu.threads import CALLED, FUNCTION, IDLE, LINE, NEXT, STATE
from netc_kernels.cpu.vector import build, data, function, inline, intrinsic, kernel

COUNT, GRAIN, ARGUMENTS = FUNCTION + 1, FUNCTION + 2, FUNCTION + 3
"""What stands beside the function's address."""
PART_OF_MODULE: Any = None
"""The kernel that `shared_out` puts here, for each function that it makes."""
OPEN, NUMBER = 1 << 15, 16
"""The state: how many helpers take part, whether more may, and, from bit `NUMBER` on, the number
of times there was work."""
PATIENCE = 1 << 19
"""Looks at the state before a thread sleeps, some tens of milliseconds."""
BRIEF = 64
"""Looks after which the processor is offered to others that wait for it."""

INT64 = ir.IntType(64)
PART = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer(), INT64, INT64, INT64])
HAS_PAUSE = platform.machine() in ("x86_64", "AMD64")


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
        if HAS_PAUSE:
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
def describe(typing: Any, words: Any, part: Any, arguments: Any) -> Any:
    """Write down a kernel, and where its arguments are as long as the caller runs."""
    n = types.int64
    wanted = (*arguments.types, n, n, n)
    signature = part.get_call_type(typing, wanted, {})

    def emit(context: Any, builder: Any, told: Any, args: Any) -> Any:
        kept = build.alloca_once_value(builder, args[2])
        made = _called_with(context, builder, part.dispatcher, signature, arguments)
        start = data(context, builder, told.args[0], args[0])
        for at, value in ((FUNCTION, made), (ARGUMENTS, kept)):
            builder.store(builder.ptrtoint(value, INT64), builder.gep(start, [INT64(at)]))
        return context.get_dummy_value()

    return types.void(words, part, arguments), emit


def _called_with(
    context: Any, builder: Any, dispatcher: Any, signature: Any, arguments: Any
) -> Any:
    """Emit a function of (arguments in memory, thread, start, stop) that calls a kernel."""
    compiled = dispatcher.get_compile_result(signature)
    context.active_code_library.add_linking_library(compiled.library)
    name = f"{builder.function.name}.part"
    made = ir.Function(builder.module, PART, name)
    made.linkage = "internal"
    inside = ir.IRBuilder(made.append_basic_block())
    kind = context.get_value_type(arguments).as_pointer()
    values = inside.load(inside.bitcast(made.args[0], kind))
    told = [inside.extract_value(values, i) for i in range(len(arguments.types))]
    callee = context.declare_function(builder.module, compiled.fndesc)
    # kernels raise nothing, so nobody looks at what comes back
    context.call_conv.call_function(
        inside, callee, signature.return_type, signature.args, [*told, *made.args[1:]]
    )
    inside.ret_void()
    return made


@intrinsic
def call_part(typing: Any, words: Any, thread: Any, start: Any, stop: Any) -> Any:
    """Call what was described."""
    n = types.int64

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        first = data(context, builder, signature.args[0], args[0])
        address, place = (
            builder.load(builder.gep(first, [INT64(at)])) for at in (FUNCTION, ARGUMENTS)
        )
        part = builder.inttoptr(address, PART.as_pointer())
        builder.call(part, [builder.inttoptr(place, PART.args[0]), *args[1:]])
        return context.get_dummy_value()

    return types.void(words, n, n, n), emit


@inline
def rest(looks: int) -> int:
    """Wait a little, and count how often."""
    pause()
    if looks % BRIEF == BRIEF - 1:
        give_way()
    return looks + 1


@inline
def take_ranges(words: Any, thread: int) -> None:
    """Call the kernel for one range after another, until none is left."""
    count, grain = words[COUNT], words[GRAIN]
    start = add(words, NEXT, grain)
    while start < count:
        call_part(words, thread, start, min(start + grain, count))
        start = add(words, NEXT, grain)


@kernel
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


def _all_ranges(words: Any, count: int, grain: int, *arguments: Any) -> None:
    """Call a kernel for 0 ... `count` in ranges of `grain`, with the help of whoever waits."""
    describe(words, PART_OF_MODULE, arguments)
    words[COUNT], words[GRAIN] = count, grain
    tell(words, NEXT, 0)
    tell(words, STATE, ((look(words, STATE) >> NUMBER) + 1) << NUMBER | OPEN)
    take_ranges(words, 0)
    add(words, STATE, -OPEN)
    looks = 0
    while look(words, STATE) & (OPEN - 1):
        looks = rest(looks)


@cache
def shared_out(part: Any) -> Any:
    """Compile what shares out a kernel: (words, count, grain, *its arguments).

    Numba keeps on disk what a function of a file with a name of its own became, but not a closure;
    so each kernel has such a function, which finds it in its own globals.
    """
    of, name = part.py_func, f"{part.py_func.__name__}_ranges"
    code = _all_ranges.__code__.replace(
        co_name=name,
        co_qualname=name,
        co_filename=of.__code__.co_filename,
        co_firstlineno=of.__code__.co_firstlineno,
    )
    world = {**globals(), "__name__": of.__module__, "PART_OF_MODULE": part}
    return kernel(FunctionType(code, world, name))
