"""Every operation on shards, put together as the placements say, is the operation on the whole.

This is what labels promise. The operations are those of a network with every kind of layer,
training under every optimizer and evaluating, and a few that passes add; so whatever is registered
is here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from netc.ir import ops
from netc.ir.codec import kernels
from netc.ir.comm import Comm
from netc.ir.derive import placements_of
from netc.ir.graph import Graph, GraphBuilder, Node
from netc.ir.ops import (
    BnVar,
    Fused,
    GroupedVar,
    Op,
    RoundMerge,
    RoundSlice,
    Site,
    SourceOp,
)
from netc.ir.ops.base import parse_labels
from netc.ir.optimizers import OPTIMIZERS, choose_optimizer
from netc.ir.types import (
    Partial,
    Placements,
    Replicate,
    Shard,
    TensorPart,
    TensorType,
    line_mesh,
    local_block,
    numbers,
)
from netc.passes.build_graph import build_graph
from netc.passes.differentiate import differentiate
from netc.passes.sum_statistics import of_sums
from netc.syntax import parse_text
from netc_kernels.reference import KERNELS

Array = NDArray[Any]
Values = Mapping[str, Array]
DTYPES = {"f64": np.float64, "f32": np.float32, "i64": np.int64, "u8": np.uint8}
BATCH, CLASSES = 5, 7
ACTIVATIONS = "\n".join(ops.ACTIVATIONS)
TEXT = f"""net t
input image 4x10x9
stem := conv 3x3 6 pad=1 | bn
conv 3x3 6 /2 pad=1 groups=2 bias=false
{ACTIVATIONS}
maxpool 2x2 /1
lrn 3 | avgpool 2x2 /1 pad=1 | avgpool 3x2 /2 pad=2x1x0x1 count_pad=false | dropout 0.3
trunk := conv 1x1 5 pad=1
add {{ conv 1x1 5 ; identity ; $trunk }}
concat {{ $trunk | conv 3x3 4 pad=1 ; identity }}
fc 6 | bn
fc {CLASSES}
softmax_loss
"""
NOT_SPLIT = {
    Comm: "it changes placements itself",
    Fused: "its steps are operations of their own",
    RoundMerge: "a round is placed by its scheme",
    RoundSlice: "a round is placed by its scheme",
    SourceOp: "nothing is computed",
}
"""Operations without this law, and why."""


@dataclass(frozen=True)
class Example:
    """An operation of a graph, with all values of that."""

    graph: Graph
    node: Node
    values: Values

    def __str__(self) -> str:
        return f"{self.node.op} {self.labels}"

    @property
    def labels(self) -> str:
        return self.node.op.labels(self.graph.operand_types(self.node))

    @property
    def letters(self) -> str:
        """Those by which it can be split."""
        operands, result = parse_labels(self.labels)
        return "".join(sorted(c for c in {*"".join(operands), *result} if c.islower()))


def value_of(node: Node, rng: np.random.Generator) -> Array:
    """Something for what exists before a step."""
    shape = node.type.shape
    if node.type.dtype == "i64":
        return np.asarray(rng.integers(0, 4, shape))
    drawn = np.asarray(rng.standard_normal(shape))
    return drawn if shape and node.op.kernel == "input" else abs(drawn) + 0.5


def compute(node: Node, site: Site, inputs: list[Array]) -> Array:
    """The result of an operation on a part of its operands."""
    if node.op.view:
        return inputs[0].reshape(site.result.shape)
    out = np.zeros(site.result.shape, DTYPES[node.type.dtype])
    (step,) = node.op.steps(site)
    asked = dict(step.asked.pairs)
    KERNELS[node.op.kernel](out, *inputs, **asked)
    return out


def part(value: Array, block: TensorPart) -> Array:
    return value[region(block)]


def region(block: TensorPart) -> tuple[slice, ...]:
    return tuple(slice(w, w + n) for w, n in zip(numbers(block.where), block.shape, strict=True))


def on_shards(
    example: Example, where: tuple[Placements, ...], gives: Placements, count: int
) -> list[tuple[TensorPart, Array]]:
    """What each of so many devices computes."""
    graph, node, mesh = example.graph, example.node, line_mesh(count)
    read = [i for i in range(len(node.inputs)) if i not in node.op.unread]
    types = tuple(graph[node.inputs[i]].type for i in read)
    found = []
    for device in range(count):
        blocks = [local_block(t, where[i], mesh, device) for i, t in zip(read, types, strict=True)]
        result = local_block(node.type, gives, mesh, device)
        assert result is not None
        operands = tuple(b for b in blocks if b is not None)
        site = Site(operands, types, result, node.type, ())
        inputs = [
            part(example.values[node.inputs[i]], b) for i, b in zip(read, operands, strict=True)
        ]
        found.append((result, compute(node, site, inputs)))
    return found


def whole_of(example: Example, gives: Placements, parts: list[tuple[TensorPart, Array]]) -> Array:
    """The tensor that the devices hold together."""
    (placement,) = gives
    if isinstance(placement, Shard):
        whole = np.full_like(example.values[example.node.name], 99)
        for block, value in parts:
            whole[region(block)] = value
        return whole
    values = [value for _, value in parts]
    if isinstance(placement, Partial):
        reduce = {"sum": np.add, "max": np.maximum, "min": np.minimum}[placement.op]
        return np.asarray(reduce.reduce(values))
    assert placement == Replicate()
    for value in values[1:]:
        np.testing.assert_array_equal(value, values[0])
    return values[0]


def check(example: Example, letter: str, count: int) -> None:
    where, gives = placements_of(example.graph, example.node, (letter,), line_mesh(count))
    found = whole_of(example, gives, on_shards(example, where, gives, count))
    np.testing.assert_allclose(found, example.values[example.node.name], 1e-11, 1e-11)


def evaluated(graph: Graph) -> Values:
    """All values of a graph, by the reference's kernels."""
    rng, values = np.random.default_rng(5), dict[str, Array]()
    for node in graph.nodes:
        if isinstance(node.op, SourceOp):
            values[node.name] = value_of(node, rng)
            continue
        read = [n for i, n in enumerate(node.inputs) if i not in node.op.unread]
        whole = [TensorPart((0,) * values[n].ndim, values[n].shape) for n in read]
        types = tuple(graph[n].type for n in read)
        result = TensorPart((0,) * node.type.rank, node.type.shape)
        site = Site(tuple(whole), types, result, node.type, ())
        values[node.name] = compute(node, site, [values[n] for n in read])
    return values


def graphs() -> Iterator[Graph]:
    network = parse_text(TEXT)
    for word in OPTIMIZERS:
        yield differentiate(build_graph(network, BATCH, "fp64"), choose_optimizer(word, decay=0.01))
    smoothed = parse_text(TEXT.replace("softmax_loss", "softmax_loss smoothing=0.2"))
    clips = replace(choose_optimizer("sgd"), clip=0.5, ema=0.75, accumulate=2)
    yield differentiate(build_graph(smoothed, BATCH, "fp64"), clips)
    mixed = parse_text(f"{TEXT} train {{ augment mixup() }}".replace("loss", "loss smoothing=0.2"))
    yield differentiate(build_graph(mixed, BATCH, "fp64"), choose_optimizer("sgd"))
    yield build_graph(network, BATCH, "fp64", "eval")
    for graph in (
        differentiate(build_graph(network, BATCH, "fp64"), choose_optimizer("sgd")),
        grouped(2, True), grouped(3, False),
    ):  # fmt: skip
        yield graph
        yield of_sums(graph, [n for n in graph.nodes if isinstance(n.op, BnVar | GroupedVar)])
    yield added()


def grouped(group: int, apart: bool) -> Graph:
    """Norms by groups of images, of which 2 and 3 shards of the batch have whole ones, or not."""
    network = parse_text(TEXT.replace("| bn", f"| bn group={group}"))
    graph = differentiate(build_graph(network, 12, "fp64"), choose_optimizer("sgd"))
    nodes = (
        replace(n, op=replace(n.op, apart=apart)) if isinstance(n.op, ops.OF_GROUPS) else n
        for n in graph.nodes
    )
    return Graph(graph.name, tuple(nodes), graph.outputs)


def added() -> Graph:
    """What passes add."""
    builder, type_ = GraphBuilder("added"), TensorType("f64", (5, 4, 3, 2))
    w, x = (
        builder.add(Node(name, ops.Parameter("kc.."), (), type_, "layer")) for name in ("w", "x")
    )
    seed = builder.add(Node("seed", ops.Scalar(), (), TensorType("i64", ()), "layer"))
    for name, op, inputs in (
        ("accumulated", ops.Accumulate("kc.."), (w.name, x.name)),
        ("cast", ops.Cast("kc..", "f64"), (w.name,)),
        ("copied", ops.Copy(), (x.name,)),
        ("drawn", ops.InitNormal("kc..", type_, 0.5, 7), (w.name, seed.name)),
        ("filled", ops.InitConstant("kc..", type_, 0.5), (w.name,)),
        ("recut", ops.Recut((2, 1, 1, 1)), (x.name,)),
    ):
        builder.emit(name, op, inputs, w)
    by_two: dict[str, Any] = {"size": (2, 2), "stride": (2, 2), "pad": (0, 0, 0, 0)}
    image = builder.add(
        Node("image", ops.Input("n.hw"), (), TensorType("f64", (5, 4, 6, 2)), "layer")
    )
    pooled = builder.emit("pooled", ops.MaxPool(**by_two, ceil=False), (image.name,), image)
    pair = (image.name, pooled.name)
    places = builder.emit("places", ops.MaxPoolPlaces(**by_two, relu=False), pair, image)
    builder.emit(
        "spread", ops.MaxPoolPlacesDx(**by_two, extent=(6, 2)), (places.name, pooled.name), image
    )
    return builder.build(())


def examples() -> dict[str, Example]:
    """One of every operation and its labels."""
    found: dict[str, Example] = {}
    for graph in graphs():
        values = evaluated(graph)
        for node in graph.nodes:
            if not isinstance(node.op, tuple(NOT_SPLIT)):
                example = Example(graph, node, values)
                found.setdefault(f"{type(node.op).__name__} {example.labels}", example)
    return found


EXAMPLES = examples()
CASES = [(name, letter) for name, each in EXAMPLES.items() for letter in each.letters]


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize(("name", "letter"), CASES, ids=[f"{n} by {c}" for n, c in CASES])
def test_shards_make_the_whole(name: str, letter: str, count: int) -> None:
    check(EXAMPLES[name], letter, count)


def test_every_operation_is_here() -> None:
    here = {type(each.node.op) for each in EXAMPLES.values()}
    lawless = {op for op in kernels().values() if issubclass(op, tuple(NOT_SPLIT))}
    assert here | lawless == set(kernels().values())


WRONG = {
    ops.Conv: ("nc..,kc..->nkh.", "h"),
    ops.Lrn: ("nkhw->nkhw", "k"),
    ops.ConvDw: ("n...,nk..->kc..", "c"),
    ops.RowSumExp: ("nk,n->k", "k"),
}
"""Labels that promise too much, and by which of them."""


@pytest.mark.parametrize("op", WRONG, ids=lambda op: op.kernel)
def test_wrong_labels_are_found(op: type[Op], monkeypatch: pytest.MonkeyPatch) -> None:
    labels, letter = WRONG[op]
    example = next(e for e in EXAMPLES.values() if type(e.node.op) is op)
    check(example, letter if letter in example.letters else "n", 2)
    monkeypatch.setattr(op, "labels", lambda self, operands: labels)
    with pytest.raises((AssertionError, ValueError)):
        check(example, letter, 2)
