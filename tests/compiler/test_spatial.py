"""Height and width: windows that reach over the edges of shards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import mutations
import pytest
from harness import compiled, difference, options, single, total_traffic, train

from netc.ir.comm import HaloExchange
from netc.ir.graph import Node
from netc.ir.load import read_bundle
from netc.ir.plain import TextError
from netc.ir.plan import Plan
from netc.ir.program import Collective, Instruction, Launch, Program, View
from netc.ir.step import Attributes, Step
from netc.ir.text import bundle_text
from netc.ir.types import Halo, Mesh, WindowReach, local_block, windowed
from netc.ir.verify import VerifyError, verify_plan
from netc.ir.verify_program import verify_program
from netc.passes.choose_splits import Pin
from netc.syntax import Network, parse_text

BATCH = 3
LAYERS = {
    "first of AlexNet": "conv 11x11 6 /4 pad=2 | relu | maxpool 3x3 /2",
    "asymmetric, of Inception": "conv 1x7 4 pad=same | conv 7x1 4 pad=same | avgpool 3x3 /1 pad=1",
    "pooling of ResNet": "conv 7x7 4 /2 pad=3 | bn | relu | maxpool 3x3 /2 pad=1",
    "shortcut of ResNet": "conv 3x3 6 pad=1 | add { conv 1x1 4 /2 ; conv 3x3 4 /2 pad=1 } | relu",
    "groups": "conv 3x3 8 pad=1 | conv 3x3 8 pad=1 groups=4 | relu | conv 3x3 8 groups=8",
    "partial windows": "conv 3x3 3 | maxpool 3x3 /2 ceil=true | avgpool 2x2 /2 ceil=true",
    "windows apart": "conv 2x2 4 /3 | maxpool 1x1 /2 | conv 1x1 4 /2",
    "windows larger than shards": "conv 9x9 3 pad=4 | maxpool 5x5 /1 pad=2 | lrn 3",
    "padding on one side": "conv 4x4 3 /2 pad=same | maxpool 2x2 /1",
    "joined": "concat { conv 3x3 4 pad=1 ; conv 1x1 2 } | relu | maxpool 2x2",
    "normalized": "conv 3x3 6 pad=1 | bn | relu | lrn 5 | dropout 0.3",
}
MESHES = [
    ((2,), "h"), ((3,), "h"), ((8,), "h"), ((3,), "w"), ((2, 2), "h,w"), ((2, 2), "n,h"),
    ((2, 2), "h,k"), ((2, 3), "h,h"), ((3, 2), "w,h"),
]  # fmt: skip


def network(layers: str, side: int = 22) -> Network:
    return parse_text(f"net n\ninput image 3x{side}x{side - 3}\n{layers}\nfc 5\nsoftmax_loss\n")


def spatial(given: Network, split: str) -> tuple[Pin, ...]:
    """Layers of images split so as far as they can be, the others by the batch or everywhere."""
    axes = split.split(",")
    found = [Pin("*", _without(axes, "hwk")), Pin("image", _without(axes, "k"))]
    for layer in given.layers:
        if layer.kind in ("fc", "flatten", "softmax_loss"):
            break
        found.append(Pin(layer.name, _without(axes, "k" if layer.kind == "concat" else "")))
    return tuple(found)


def _without(axes: list[str], labels: str) -> str:
    return ",".join("r" if label in labels else label for label in axes)


def windows_of(plan: Plan) -> Iterator[tuple[int, Halo]]:
    """By the number of a node, what windows read of it."""
    for number, places in enumerate(plan.placements):
        for windows, _ in windowed(places).values():
            yield number, windows


@pytest.mark.parametrize(("shape", "split"), MESHES)
@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS)
def test_is_as_on_one_device(layers: str, shape: tuple[int, ...], split: str) -> None:
    given, mesh = network(layers), Mesh(shape, ("a", "b")[: len(shape)])
    bundle, made = compiled(given, options(given, mesh, BATCH, pins=spatial(given, split)))
    assert any(isinstance(n.op, HaloExchange) for n in made.plan.graph.nodes)
    assert difference(train(given, bundle, 7), single(given, BATCH, 7)) < 1e-10


@pytest.mark.parametrize(("devices", "missing"), [(2, 1), (3, 2), (4, 3)])
def test_only_missing_rows_travel(devices: int, missing: int) -> None:
    """Windows of 3 rows lack one on each side of every edge between two shards, forward and
    backward: of the images of 3 channels, and of the gradient, whose 4 ask for no others.
    """
    given = network("conv 3x3 4 pad=1", 12)
    plan = compiled(given, options(given, devices, BATCH, pins=spatial(given, "h")))[1].plan
    row, item = BATCH * 9, 8
    halos = total_traffic(plan, lambda node: isinstance(node.op, HaloExchange))
    images = 2 * missing * 3 * row * item
    assert [sum(each) for each in zip(*halos, strict=True)] == [images, images]


def test_own_rows_are_copied_at_the_speed_of_memory() -> None:
    """An exchange of borders makes a block with them: what a device has is moved there too."""
    given = network("conv 3x3 4 pad=1", 1000)
    asked = options(given, 2, BATCH, pins=spatial(given, "h"))
    fast = replace(asked.cluster, memory_bytes_per_second=1e30)
    found = [
        {each.node: each.seconds for each in bundle.train.instructions
         if isinstance(each, Collective) and each.kind == "halo_exchange"}
        for bundle, _ in (compiled(given, replace(asked, cluster=c)) for c in (asked.cluster, fast))
    ]  # fmt: skip
    own = {"image": BATCH * 3 * 500 * 997 * 8, "conv1.grad": BATCH * 4 * 500 * 997 * 8}
    assert len(found[0]) == 1
    for name, seconds in found[0].items():
        copied = 2 * own[name.split(".halo")[0]] / asked.cluster.memory_bytes_per_second
        assert seconds - found[1][name] == pytest.approx(copied)


@pytest.mark.parametrize("split", ["h,w", "h,h"])
def test_corners_travel_once(split: str) -> None:
    """What a device gets is what its windows read and it has not."""
    given, mesh = network("conv 3x3 4 pad=1 | conv 5x5 2 pad=2", 12), Mesh((2, 2), ("a", "b"))
    plan = compiled(given, options(given, mesh, BATCH, pins=spatial(given, split)))[1].plan
    halos = total_traffic(plan, lambda node: isinstance(node.op, HaloExchange))
    expected = [0] * mesh.size
    for node in plan.graph.nodes:
        users = [plan.graph[name] for name in plan.graph.users[node.name]]
        if not isinstance(node.op, HaloExchange) or any(
            u.op.kernel == node.op.kernel for u in users
        ):
            continue
        for device in range(mesh.size):
            has, wants = (
                local_block(node.type, plan.placement[name], mesh, device)
                for name in (exchanged(plan, node), node.name)
            )
            assert has is not None and wants is not None
            expected[device] += 8 * (wants.elements - has.elements)
    assert sum(expected) > 0
    assert [received for _, received in halos] == expected


def exchanged(plan: Plan, node: Node) -> str:
    """The value that exchanges along one axis after the other begin with."""
    while isinstance(node.op, HaloExchange):
        node = plan.graph[node.inputs[0]]
    return node.name


def shorter(reach: WindowReach) -> Iterator[WindowReach]:
    """One row less at either end."""
    yield replace(reach, first=reach.first + reach.down)
    yield replace(reach, last=reach.last - reach.down)


@pytest.mark.parametrize(("shape", "split"), [((3,), "h"), ((2, 2), "h,w"), ((2, 2), "h,h")])
@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS)
def test_a_plan_with_a_row_too_few_is_refused(
    layers: str, shape: tuple[int, ...], split: str
) -> None:
    given, mesh = network(layers), Mesh(shape, ("a", "b")[: len(shape)])
    plan = compiled(given, options(given, mesh, BATCH, pins=spatial(given, split)))[1].plan
    for number, windows in windows_of(plan):
        for reach in shorter(windows.reach):
            less = replace(windows, reach=reach)
            places = tuple(less if p == windows else p for p in plan.placements[number])
            changed = mutations.with_placement(plan, number, places)
            if blocks(changed, number) != blocks(plan, number):
                with pytest.raises(VerifyError, match="P"):
                    verify_plan(changed)


def blocks(plan: Plan, number: int) -> list[object]:
    type_, places = plan.graph.nodes[number].type, plan.placements[number]
    return [local_block(type_, places, plan.mesh, d) for d in range(plan.mesh.size)]


def with_less(program: Program, buffer: str, dim: int, front: bool) -> Iterator[Program]:
    """A buffer without its first or last row, in what writes and reads it; with the padding as it
    was, and with more so that the result has its shape.
    """

    def less(view: View | None) -> View | None:
        if view is None or view.buffer != buffer:
            return view
        first, rows = view.where[dim], view.shape[dim]
        if front:
            first = first + 1 if isinstance(first, int) else replace(first, base=first.base + 1)
        where = (*view.where[:dim], first, *view.where[dim + 1 :])
        shape = (*view.shape[:dim], rows - 1, *view.shape[dim + 1 :])
        return replace(view, where=where, shape=shape)

    for padded in (False, True):
        instructions: list[Instruction] = []
        for each in program.instructions:
            if isinstance(each, Launch):
                reads = tuple(v for v in map(less, each.reads) if v is not None)
                side = 2 * (dim - 2) + (not front)
                more = padded and reads != each.reads
                steps = tuple(_padded(step, side) if more else step for step in each.steps)
                instructions.append(replace(each, reads=reads, steps=steps))
                continue
            parts = [replace(p, targets=tuple(map(less, p.targets))) for p in each.parts]
            instructions.append(replace(each, parts=tuple(parts)))
        yield replace(program, instructions=tuple(instructions))


def _padded(step: Step, side: int) -> Step:
    pad = step.attributes.get("pad")
    if not isinstance(pad, tuple):
        return step
    more = tuple(p + (i == side) for i, p in enumerate(pad))
    return replace(step, attributes=Attributes.of({**step.attributes, "pad": more}))


@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS)
def test_a_program_with_a_row_too_few_is_refused(layers: str) -> None:
    """Wherever a kernel is told of it; also where the padding makes up for the row."""
    given = network(layers)
    program = compiled(given, options(given, 3, BATCH, pins=spatial(given, "h")))[0].train
    read = {
        view.buffer: view.shape
        for each in program.instructions
        if isinstance(each, Launch) for view in each.reads if ".halo_exchange" in view.buffer
    }  # fmt: skip
    assert read
    for buffer, shape in read.items():
        for front in (True, False):
            for changed in with_less(program, buffer, 2, front) if shape[2] > 1 else ():
                with pytest.raises(VerifyError, match="M"):
                    verify_program(changed)


def test_a_file_with_a_row_too_few_is_refused() -> None:
    given = network(LAYERS["first of AlexNet"])
    bundle, _ = compiled(given, options(given, 3, BATCH, pins=spatial(given, "h")))
    assert read_bundle(bundle_text(bundle).encode()).train == bundle.train
    buffer = next(b.name for b in bundle.train.buffers if ".halo_exchange" in b.name)
    for changed in with_less(bundle.train, buffer, 2, front=False):
        with pytest.raises(TextError, match="M"):
            read_bundle(bundle_text(replace(bundle, train=changed)).encode())


@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS)
def test_every_wait_is_needed(layers: str) -> None:
    given = network(layers)
    program = compiled(given, options(given, 3, BATCH, pins=spatial(given, "h")))[0].train
    for number, wait in mutations.waits(program):
        with pytest.raises(VerifyError):
            verify_program(
                mutations.without_wait(program, number, wait),
                classes=mutations.shared_classes(program, number, wait),
            )


@pytest.mark.parametrize(
    ("groups", "filters", "alone"), [(8, 8, True), (4, 16, True), (2, 8, False)]
)
def test_whole_groups_take_their_own_channels(groups: int, filters: int, alone: bool) -> None:
    """On four devices: of eight groups, or four; two groups are not whole there."""
    given = network(f"conv 3x3 8 pad=1 | conv 3x3 {filters} groups={groups} bias=false", 12)
    pins = tuple(Pin(pattern, split) for pattern, split in (("*", "n"), ("conv*", "k")))
    bundle, made = compiled(given, options(given, 4, BATCH, pins=pins))
    moved = total_traffic(made.plan, lambda node: node.name.startswith("conv1."))
    assert (moved == [(0, 0)] * 4) == alone
    assert difference(train(given, bundle, 7), single(given, BATCH, 7)) < 1e-10
