"""The verifier of programs. A failure names the property: our mistake, or a file's.

What a program says for a class of devices is affine in their coordinates, so that it holds on all
of them where it holds on those at the corners.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import accumulate
from math import prod

from netc.ir.classes import DeviceClass
from netc.ir.collectives import disjoint, problem_of
from netc.ir.joined import results_of
from netc.ir.launches import check_kernels, check_launch
from netc.ir.ops.base import ShapeError
from netc.ir.program import (
    STREAMS,
    Buffer,
    Bundle,
    Collective,
    Instruction,
    Launch,
    Port,
    Program,
    View,
    accesses,
)
from netc.ir.types import ITEM_BYTES, Affine, numbers
from netc.ir.verify import VerifyError, require
from netc.ir.verify_memory import verify_memory

ALIGNMENT_BYTES = 256
"""Between two buffers no more than this is left free."""


class Known:
    """Instructions that were found right: passes leave most of them as they are."""

    def __init__(self) -> None:
        self.kept: dict[tuple[int, ...], tuple[object, ...]] = {}

    def add(self, *parts: object) -> bool:
        """Whether these very parts are new; they are kept, so that no others get their place."""
        key = tuple(map(id, parts))
        if key in self.kept:
            return False
        self.kept[key] = parts
        return True


def verify_program(
    program: Program,
    *,
    waits: bool = True,
    classes: Iterable[int] | None = None,
    known: Known | None = None,
) -> None:
    """M1 every temporary buffer is written once, all of it, state and inputs only through an alias;
    M2 every read comes after the write of its buffer; M3 accesses to shared bytes are ordered, or
    one element after the other in place; M4 views and buffers lie inside what they are cut from,
    and are read as they were made; M5 waits point backward, all ranks see one order, and classes
    are all devices; M6 the program can follow itself: nothing but state shares bytes with state,
    and each state has one last value; M7 a collective takes and gives what its kind says; M8 so
    does a launch; M9 a port is covered by its views.

    Without `waits`, for a program that has neither these nor memory yet, M1 to M3 are of each
    device going through its instructions in their order. Where no memory is planned yet, each
    storage has bytes of its own. M1, M2, M3 and M6 hold of every class by itself; `classes` names
    those to check alone, without M8 and M9 (all). M7 and M8 are not looked at again of what is
    `known`.
    """
    known = Known() if known is None else known
    _verify_classes(program)
    if waits and all(b.offset < 0 for b in program.buffers):
        program = _apart(program)
    _verify_buffers(program, planned=waits)
    made = _made(program)
    for number, instruction in enumerate(program.instructions):
        _verify_instruction(program, number, instruction)
        for class_ in instruction.classes:
            reads, writes = accesses(instruction, class_)
            for view in (*reads, *writes):
                _verify_view(program, class_, view, made)
        if isinstance(instruction, Collective):
            if known.add(instruction.parts, instruction.kind, instruction.op):
                _verify_collective(program, instruction)
            continue
        for view in (*instruction.reads, *instruction.writes):
            # Only exchanges take some rows of what was made, those of a round.
            if not _is_whole(view, made.get(view.buffer, view)):
                raise VerifyError(f"M4: {instruction.node} accesses a part of {view.buffer}")
    if classes is None:
        for launch in program.instructions:
            if isinstance(launch, Launch):
                _verify_launch(program, launch, known)
        for ports in (program.inputs, program.outputs, program.state):
            _verify_ports(program, ports, made, known)
    if not waits:
        _verify_line(program)
        return
    for class_ in range(len(program.classes)) if classes is None else classes:
        verify_memory(program, class_)


def _verify_classes(program: Program) -> None:
    mesh = program.mesh
    right = all(
        len(each.coordinates) == len(mesh.shape)
        and all(
            own and sorted(set(own)) == list(own) and own[0] >= 0 and own[-1] < extent
            for own, extent in zip(each.coordinates, mesh.shape, strict=True)
        )
        for each in program.classes
    )
    require(right, "M5", "a class of devices that there are not")
    devices = [d for each in program.classes for d in each.devices(mesh)]
    all_once = sorted(devices) == list(range(mesh.size))
    require(all_once, "M5", "the classes are not all devices, each once")


def _apart(program: Program) -> Program:
    """The program where every storage has bytes of its own."""
    sizes: dict[tuple[int, str], int] = {}
    for b in program.buffers:
        key = b.class_, b.storage
        sizes[key] = max(sizes.get(key, 0), -(-b.nbytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES)
    starts = dict(zip(sizes, accumulate(sizes.values(), initial=0), strict=False))
    buffers = (replace(b, offset=starts[b.class_, b.storage]) for b in program.buffers)
    return replace(program, buffers=tuple(buffers))


def _verify_line(program: Program) -> None:
    """M1, M2 and M3 of instructions one after the other, where each storage has its own bytes."""
    given = (v for port in (*program.inputs, *program.state) for v in port.views)
    newest = {_place(program.buffer[v.buffer]): v.buffer for v in given}
    written = set(newest.values())
    for instruction in program.instructions:
        for view in instruction.reads:
            b = program.buffer[view.buffer]
            if b.nbytes and b.name not in written:
                raise VerifyError(f"M2: {b.name} is read before it is written")
            if b.nbytes and newest[_place(b)] != b.name:
                raise VerifyError(f"M3: {b.name} is read after {newest[_place(b)]} took its bytes")
        for view in instruction.writes:
            b = program.buffer[view.buffer]
            if b.name in written or prod(view.shape) * ITEM_BYTES[b.dtype] != b.nbytes:
                raise VerifyError(f"M1: {b.name} is not written once, and whole")
            written.add(b.name)
            newest[_place(b)] = b.name
    for b in program.buffers:
        require(not b.nbytes or b.name in written, "M1", f"{b.name} is written 0 times")


def _place(b: Buffer) -> tuple[int, str]:
    return b.class_, b.storage


def _verify_buffers(program: Program, planned: bool) -> None:
    require(len(program.buffer) == len(program.buffers), "M4", "two buffers of one name")
    for b in program.buffers:
        placed = b.offset >= 0 and b.offset % ITEM_BYTES[b.dtype] == 0 if planned else b.offset < 0
        if not placed or not 0 <= b.class_ < len(program.classes):
            raise VerifyError(f"M4: {b.name} is at byte {b.offset} of class {b.class_}")


def _made(program: Program) -> dict[str, View]:
    """How the contents of buffers were made: by what writes them, or as inputs or state."""
    views = [view for port in (*program.inputs, *program.state) for view in port.views]
    views += [view for instruction in program.instructions for view in instruction.writes]
    return {view.buffer: view for view in views}


def _verify_instruction(program: Program, number: int, instruction: Instruction) -> None:
    classes = instruction.classes
    known = sorted(set(classes)) == list(classes) and min(classes, default=-1) >= 0
    if not known or classes[-1] >= len(program.classes):
        raise VerifyError(f"M5: {instruction.node} is of classes {classes}")
    for wait in instruction.waits:
        if wait >= number or set(classes).isdisjoint(program.instructions[wait].classes):
            raise VerifyError(f"M5: {instruction.node} waits for instruction {wait}")
    for view in (*instruction.reads, *instruction.writes):
        if view.buffer not in program.buffer:
            raise VerifyError(f"M4: {instruction.node} accesses {view.buffer}, which is no buffer")
    if isinstance(instruction, Launch):
        if instruction.stream != STREAMS[0]:
            raise VerifyError(f"M5: {instruction.node} does not compute")
        return
    named = {len(views) for p in instruction.parts for views in (p.sources, p.targets)}
    axes, known_axes = instruction.axes, range(len(program.mesh.shape))
    right = bool(axes) and sorted(set(axes)) == list(axes) and set(axes) <= set(known_axes)
    if named | {len(instruction.ports)} != {len(classes)} or not right:
        raise VerifyError(f"M7: {instruction.node} is not what its classes do")


def _verify_collective(program: Program, collective: Collective) -> None:
    """Each group of devices takes and gives what the kind says; equal groups are looked at once."""
    seen: set[tuple[int, ...]] = set()
    varies = any(view.varies for view in (*collective.reads, *collective.writes))
    for group in program.mesh.groups(collective.axes):
        classes = tuple([program.class_of[d] for d in group])
        here = set(classes).intersection(collective.classes)
        if not here or (classes in seen and not varies):
            continue
        seen.add(classes)
        if here != set(classes):
            raise VerifyError(f"M7: {collective.node} is done by a part of a group")
        if problem := problem_of(program, program.in_group(collective, group)):
            raise VerifyError(f"M7: {problem}")


def _corners(program: Program, class_: int, *views: View) -> list[tuple[int, ...]]:
    """Where to look at views of a class: on one device where they are the same on all."""
    own: DeviceClass = program.classes[class_]
    return own.corners if any(view.varies for view in views) else [own.first]


def _verify_view(program: Program, class_: int, view: View, made: Mapping[str, View]) -> None:
    buffer, first = program.buffer[view.buffer], made.get(view.buffer)
    end = (view.start + prod(view.shape)) * ITEM_BYTES[buffer.dtype]
    if buffer.class_ != class_ or view.start < 0 or end > buffer.nbytes:
        raise VerifyError(f"M4: {view} is not inside of {view.buffer} on class {class_}")
    if first is None or view is first:
        return
    for corner in _corners(program, class_, view, first):
        seen, as_made = view.at(corner), first.at(corner)
        # What is given comes in no rounds, but may be read in some.
        same = buffer.kind != "input" or seen.where[:1] in ((0,), as_made.where[:1])
        if not _seen_as_made(seen, as_made) or not (same or not _is_whole(seen, as_made)):
            raise VerifyError(f"M4: {view.buffer} is read as {view}, and made as {first}")


def _seen_as_made(view: View, made: View) -> bool:
    """Whether a view is some rows of what was made, all of each, as images or flat."""
    row, whole = prod(view.shape[1:]), prod(made.shape[1:])
    if len(view.shape) == len(made.shape):
        alike = (view.shape[1:], view.where[1:], view.format) == (
            made.shape[1:], made.where[1:], made.format)  # fmt: skip
    else:
        flat = {_flat(view), _flat(made)}
        alike = len(flat) == 1 and None not in flat
    # A round of some rows counts them from its own first one.
    return alike and row == whole and view.start % max(row, 1) == 0


def _is_whole(view: View, made: View) -> bool:
    """Whether a view is all rows of what was made."""
    return view.start == 0 and view.shape[:1] == made.shape[:1]


def _flat(view: View) -> int | None:
    """Where the rows of a block begin, seen as rows of numbers; None where they are no such."""
    where = numbers(view.where)
    if len(view.shape) == 2:
        return where[1]
    if len(view.shape) != 4:
        return None
    pixels = view.shape[2] * view.shape[3]
    whole = not any(where[2:]) and (view.format == "" or pixels == 1)
    return where[1] * pixels if whole else None


def _told(launch: Launch) -> Iterator[object]:
    """What a launch is verified by, whatever kernels do it."""
    yield from (launch.joined, launch.in_place, *launch.reads)
    yield from launch.writes[: results_of(launch)]
    for step in launch.steps:
        yield from (step.operation, step.operands, step.attributes, step.result)


def _verify_launch(program: Program, launch: Launch, known: Known) -> None:
    try:
        check_kernels(launch)
        if not known.add(*_told(launch)):
            return
        _check_groups(launch, program.classes[launch.class_])
        for corner in _corners(program, launch.class_, *launch.reads, *launch.writes):
            check_launch(program, launch.at(corner))
    except (ShapeError, IndexError) as problem:
        raise VerifyError(f"M8: {launch.node} on class {launch.class_}: {problem}") from None


def _check_groups(launch: Launch, devices: DeviceClass) -> None:
    """The filters of all devices of a class begin at the same place inside of a group."""
    for step in launch.steps:
        first, groups = (step.attributes.get(name) for name in ("first_filter", "groups"))
        if not isinstance(first, Affine) or type(groups) is not int or groups < 2:
            continue
        filters = step.attributes.get("filters")
        each = max(filters // groups, 1) if type(filters) is int else 0
        pairs = zip(first.steps, devices.coordinates, strict=False)
        if not each or any(s * (c - own[0]) % each for s, own in pairs for c in own):
            raise ShapeError(f"{step.operation} of groups that devices have other parts of")


def _verify_ports(
    program: Program, ports: tuple[Port, ...], made: Mapping[str, View], known: Known
) -> None:
    require(len({port.name for port in ports}) == len(ports), "M9", "two ports of one name")
    for port in ports:
        require(bool(port.views), "M9", f"{port.name} is nowhere")
        for view in port.views:
            there = view.buffer in program.buffer
            require(there, "M9", f"{port.name} is in {view.buffer}, which is no buffer")
        if not known.add(port, *(made.get(view.buffer) for view in port.views)):
            continue
        for view in port.views:
            class_ = program.buffer[view.buffer].class_
            _verify_view(program, class_, view, made)
            for corner in _corners(program, class_, view):
                if not _is_block(program.buffer[view.buffer], view.at(corner), port):
                    raise VerifyError(f"M9: {view} is no block of {port.name}")
        require(_covers(program, port), "M9", f"{port.name} is not covered by its blocks")
    for kind, lasting in (("input", program.inputs), ("persistent", program.state)):
        if lasting is ports:
            _verify_given(program, kind, [view for port in ports for view in port.views])


def _is_block(buffer: Buffer, view: View, port: Port) -> bool:
    where = numbers(view.where)
    return (
        buffer.dtype == port.dtype
        and len(view.shape) == len(port.shape)
        and all(0 <= w <= e - n for w, n, e in zip(where, view.shape, port.shape, strict=True))
    )


def _verify_given(program: Program, kind: str, views: list[View]) -> None:
    """What is there when a step begins is of that kind, and each in a whole buffer of its own."""
    names = {view.buffer for view in views}
    require(len(names) == len(views), "M9", "two ports in one buffer")
    for view in views:
        b = program.buffer[view.buffer]
        whole = prod(view.shape) * ITEM_BYTES[b.dtype] == b.nbytes
        require(b.kind == kind and whole, "M9", f"{view.buffer} is not the memory of {kind}")


def _covers(program: Program, port: Port) -> bool:
    """Whether every element of a port is in exactly one of its different blocks."""
    blocks = {}
    for view in port.views:
        own = program.classes[program.buffer[view.buffer].class_]
        devices = own.devices(program.mesh) if view.varies else []
        everywhere = map(program.mesh.coordinates, devices) if devices else [own.first]
        for here in (view.at(each) for each in everywhere) if 0 not in view.shape else ():
            blocks[here.where, here.shape] = here
    return disjoint(list(blocks.values())) and prod(port.shape) == sum(
        prod(shape) for _, shape in blocks
    )


def verify_bundle(bundle: Bundle) -> None:
    """B1 every program is sound; and what `verify_state` says."""
    for program in bundle.programs:
        verify_program(program)
    verify_state(bundle)


def verify_state(bundle: Bundle) -> None:
    """B1 programs are for the same classes of devices; B2 all have the same state at the same
    bytes, those that do not move weights some of it; B3 `init` fills all of it; B4 no memory is
    reserved that nothing is in.
    """
    programs = bundle.programs
    state = {port.name: port for port in bundle.train.state}
    places: dict[str, int] = {}
    for program in programs:
        same_devices = (program.mesh, program.classes) == (bundle.train.mesh, bundle.train.classes)
        require(same_devices, "B1", "programs of several meshes")
        for port in program.state:
            require(state.get(port.name) == port, "B2", f"{port.name} is not the same state")
            for view in port.views:
                offset = places.setdefault(view.buffer, program.buffer[view.buffer].offset)
                same = offset == program.buffer[view.buffer].offset
                require(same, "B2", f"{view.buffer} is at two places")
    require(bundle.init.state == bundle.train.state, "B3", "not all state is filled")
    filled = {v.buffer for i in bundle.init.instructions for v in i.writes}
    filled_storages = {(b.class_, b.storage) for b in bundle.init.buffers if b.name in filled}
    for b in bundle.init.buffers:
        right = not b.nbytes or b.kind != "persistent" or (b.class_, b.storage) in filled_storages
        require(right, "B3", f"{b.name} is not filled")
    buffers = [b for program in programs for b in program.buffers]
    needed = [max(each) for each in zip(*(p.arena_bytes for p in programs), strict=True)]
    room = [0] * len(needed)
    for b in buffers:
        room[b.class_] += b.nbytes + ALIGNMENT_BYTES
    for class_, (wanted, most) in enumerate(zip(needed, room, strict=True)):
        require(wanted <= most, "B4", f"class {class_} reserves {wanted} bytes for {most}")
