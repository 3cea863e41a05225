"""Random networks, splits and meshes for Hypothesis."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

from hypothesis import settings
from hypothesis import strategies as st
from networks import Maker, ends_of

from netc.ir.facts import UPDATES
from netc.ir.kernels import KernelCall, KernelChoice
from netc.ir.ops import ACTIVATIONS, Parameter
from netc.ir.optimizers import OPTIMIZERS as REGISTERED
from netc.ir.optimizers import Chosen, Optimizer, WeightRule, choose_optimizer
from netc.ir.types import Mesh, line_mesh
from netc.passes.assign_formats import Target
from netc.passes.build_graph import build_graph
from netc.passes.choose_splits import Pin
from netc.strategies.labels import layer_letters
from netc.syntax.network import Call, NamedValues, Network, Recipe

T = TypeVar("T")
LINES = tuple(line_mesh(devices) for devices in range(1, 9))
GRIDS = tuple(Mesh(shape, ("a", "b")) for shape in ((2, 2), (2, 3), (3, 2), (1, 3), (2, 1)))


def pools_at_once(calls: tuple[KernelCall, ...]) -> KernelChoice | None:
    """The reference's kernels, and pooling joined to convolutions where it can be."""
    kernels = [call.kernel for call in calls]
    if kernels[0] == "maxpool_places_dx":
        return KernelChoice(("",) * len(calls))
    if kernels[0] != "conv" or "maxpool" not in kernels:
        return None
    pool = calls[kernels.index("maxpool")]
    told, (_, _, height, width) = dict(pool.attributes), pool.operands[0]
    windows = told["size"], told["stride"], told["pad"]
    fits = windows == ((2, 2), (2, 2), (0, 0, 0, 0)) and not height % 2 | width % 2
    return (
        KernelChoice(tuple(None if "maxpool" in name else "" for name in kernels)) if fits else None
    )


TARGETS = (
    Target("cpu"),
    Target("cpu", "nhwc"),
    Target("cpu", "nhwc", choose=pools_at_once),
    Target("cuda", "nhwc", "nhwc", 256),
)
"""The cpu backend runs programs for all."""
PACE = {"momentum": 0.9, "beta1": 0.8, "beta2": 0.9, "alpha": 0.9, "eps": 1e-3, "decay": 5e-3}
"""With a small eps Adam would make large steps of the rounding of gradients that are zero."""


def paced(optimizer: Optimizer) -> Chosen:
    """An optimizer with those of the options that it has."""
    known = {each.name for each in optimizer.arguments}
    return choose_optimizer(optimizer.word, **{k: value for k, value in PACE.items() if k in known})


OPTIMIZERS = tuple(map(paced, REGISTERED.values()))
SGD = OPTIMIZERS[0]
MIXING = Recipe(augment=(Call("mixup", (), NamedValues.of(alpha=0.2, p=1.0)),))
"""A recipe with which the loss has two labels an image."""
COLUMN_OR_NOT = "kkcr"
"""Labels that a random split prefers, besides those of the layer."""


class Draw:
    """Short forms of Hypothesis' draws."""

    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
        self.draw = draw

    def number(self, low: int, high: int) -> int:
        return int(self.draw(st.integers(low, high)))

    def choice(self, options: Sequence[T]) -> T:
        return cast(T, self.draw(st.sampled_from(options)))

    def flag(self) -> bool:
        return bool(self.draw(st.booleans()))


@dataclass(frozen=True)
class Case:
    """A network and how to run it on many devices."""

    network: Network
    mesh: Mesh
    batch: int
    splits: tuple[tuple[str, str], ...]
    scheme: str | None
    target: Target
    seed: int
    optimizer: Chosen
    updates: str

    @property
    def pins(self) -> tuple[Pin, ...]:
        return tuple(Pin(layer, split) for layer, split in self.splits)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """How Hypothesis shows it."""
        printer.text(repr(self))

    def __repr__(self) -> str:
        """The layers with their splits, one a line."""
        splits = dict(self.splits)
        shapes = [f"{i.name} {i.shape}  [{splits[i.name]}]" for i in self.network.inputs]
        layers = [
            f"{x.name}({', '.join(x.inputs)}) {dict(x.options)}  [{splits.pop(x.name, '')}]"
            for x in self.network.layers
        ]
        head = f"mesh={self.mesh.shape} batch={self.batch} scheme={self.scheme} seed={self.seed}"
        head += f" updates={self.updates}"
        head += f" {self.target.image_format} {self.target.choose.__name__} {self.optimizer}"
        return "\n".join([head, *shapes, *layers, f"other splits: {splits}"])


def cases(default: int) -> settings:
    """Settings for `default` random examples, more or fewer with `--cases`."""
    asked = int(os.environ.get("NETC_CASES", "300"))
    return settings(max_examples=max(1, default * asked // 300))


def _ruled(d: Draw, network: Network) -> Chosen:
    """An optimizer, which may clip, average or move weights at every other step, with rules for
    some at times: they stay as they are.
    """
    clip, ema = d.choice((None, None, 0.1, 100.0)), d.choice((None, 0.75))
    optimizer = replace(d.choice(OPTIMIZERS), clip=clip, ema=ema, accumulate=d.choice((1, 1, 2)))
    nodes = (n for n in build_graph(network, 1).nodes if isinstance(n.op, Parameter))
    weights = [node.name for node in nodes]
    if not weights or d.number(0, 2):
        return optimizer
    others = WeightRule(d.choice(weights), decay=0.0, rate=d.choice((0.5, 1.0, 2.0)))
    frozen = [WeightRule(name, frozen=True) for name in weights if d.number(0, 3) == 0]
    return replace(optimizer, rules=(others, *frozen))


@st.composite
def networks(draw: Any) -> Network:
    """A small network of any layers, with branches; images of 4 to 8 pixels."""
    d = Draw(draw)
    maker = Maker(d.number(1, 3), d.number(4, 8), d.number(4, 8))
    x = "image"
    for _ in range(d.number(1, 4)):
        x = _image_element(d, maker, x)
    if d.number(0, 3) == 0:
        x = maker.flatten(x)
    for _ in range(d.number(0, 4)):
        x = _row_element(d, maker, x)
    network = maker.loss(x, d.choice((0.0, 0.0, 0.2)))
    return replace(network, recipe=MIXING) if d.number(0, 3) == 0 else network


def _image_element(d: Draw, maker: Maker, x: str) -> str:
    """A layer, a few that often come together, or branches."""
    kinds = ["conv", "conv", "conv", "pool", "pooled", "keep", "bn", "global", "add", "concat"]
    kind = d.choice(kinds)
    if kind == "conv":
        return _keep(d, maker, _conv(d, maker, x))
    if kind == "pooled":
        made = maker.conv(x, d.number(1, 6), d.choice([1, 3]), pad="same", bias=d.flag())
        made = maker.unary("relu", made) if d.flag() else made
        return maker.pool(made, 2) if min(maker.shapes[x][1:]) > 1 else made
    if kind == "pool":
        return _pool(d, maker, x)
    if kind == "keep":
        return _keep(d, maker, x)
    if kind == "bn":
        return _keep(d, maker, maker.bn(_conv(d, maker, x, bias=False)))
    if kind == "global":
        return maker.pool(x, "global", "avgpool")
    branches = [_branch(d, maker, x, kind == "add") for _ in range(d.number(2, 3))]
    return maker.add(*branches) if kind == "add" else maker.concat(*branches)


def _conv(d: Draw, maker: Maker, x: str, bias: bool | None = None) -> str:
    channels, *image = maker.shapes[x]
    groups = d.choice([g for g in (1, 2, 3) if channels % g == 0])
    pad: Any = d.choice([0, 1, "same", "ends"])
    pad = tuple(d.number(0, 1) for _ in range(4)) if pad == "ends" else pad
    room = (0, 0) if pad == "same" else tuple(map(sum, ends_of(pad)))
    size = (d.number(1, min(3, image[0] + room[0])), d.number(1, min(3, image[1] + room[1])))
    filters = groups * d.number(1, 6 // groups)
    bias = d.flag() if bias is None else bias
    return maker.conv(
        x, filters, size, stride=d.number(1, 2), pad=pad, groups=groups, bias=bias, bias_value=0.1
    )


def _pool(d: Draw, maker: Maker, x: str) -> str:
    smallest = min(maker.shapes[x][1:])
    size = d.number(1, min(3, smallest))
    kind, ceil = d.choice(["maxpool", "avgpool"]), d.flag()
    pad: Any = d.number(0, size // 2)
    if d.number(0, 2) == 0:
        pad = tuple(d.number(0, size - 1) for _ in range(4))
    more = {"count_pad": d.flag()} if kind == "avgpool" else {}
    return maker.pool(x, size, kind, stride=d.number(1, 2), pad=pad, ceil=ceil, **more)


def _keep(d: Draw, maker: Maker, x: str) -> str:
    """Anything that keeps the shape, or nothing."""
    kind = d.choice(["relu", *ACTIVATIONS, "dropout", "lrn", "nothing"])
    if kind == "nothing":
        return x
    if kind == "dropout":
        return maker.dropout(x)
    if kind == "lrn":
        return maker.lrn(x, d.number(1, 5)) if len(maker.shapes[x]) == 3 else x
    return maker.unary(kind, x)


def _branch(d: Draw, maker: Maker, x: str, same: bool) -> str:
    """Layers that keep height and width, and for an add the channels; or the identity."""
    channels = maker.shapes[x][0]
    for _ in range(d.number(0, 2)):
        filters = channels if same else d.number(1, 4)
        x = _keep(d, maker, maker.conv(x, filters, d.choice([1, 3]), pad="same"))
    return x


def _row_element(d: Draw, maker: Maker, x: str) -> str:
    kind = d.choice(["fc", "fc", "fc", "keep", "bn", "add", "concat"])
    if kind == "fc" or len(maker.shapes[x]) == 3:
        return _keep(d, maker, maker.fc(x, d.number(1, 9), bias=d.flag(), bias_value=0.1))
    if kind == "keep":
        return _keep(d, maker, x)
    if kind == "bn":
        return maker.bn(x)
    width = maker.shapes[x][0] if kind == "add" else d.number(1, 5)
    branches = [x if d.flag() else maker.fc(x, width) for _ in range(d.number(2, 3))]
    return maker.add(*branches) if kind == "add" else maker.concat(*branches)


@st.composite
def free_cases(draw: Any, meshes: Sequence[Mesh] = LINES) -> Case:
    """Any layer split in any way it can be."""
    d = Draw(draw)
    network: Network = draw(networks())
    mesh, batch = d.choice(meshes), d.number(1, 12)
    network = _in_groups(d, network, batch)
    letters = layer_letters(build_graph(network, batch))
    splits = tuple(
        (layer, ",".join(_label(d, own, extent) for extent in mesh.shape))
        for layer, own in letters.items()
    )
    target, seed, optimizer = d.choice(TARGETS), d.number(0, 2**31), _ruled(d, network)
    return Case(network, mesh, batch, splits, None, target, seed, optimizer, d.choice(UPDATES))


@st.composite
def round_cases(draw: Any) -> Case:
    """A boundary somewhere: layers before it are split by the batch, those behind it are not."""
    d = Draw(draw)
    network: Network = draw(networks())
    scheme = d.choice(["a", "b", "b", "c", "c", None])
    devices = d.number(2, 4) if scheme == "c" else d.number(2, 8)
    divisible = scheme == "c" and d.number(0, 5) > 0
    batch = devices**2 * d.number(1, 2) if divisible else d.number(1, 12)
    network = _in_groups(d, network, batch)
    letters = layer_letters(build_graph(network, batch))
    boundary = d.number(2, len(letters) - 1)
    inputs = [_label(d, "nnn", devices) for _ in range(2)]
    before = ["n"] * (boundary - 2)
    behind = [_label(d, own.replace("n", ""), devices) for own in list(letters.values())[boundary:]]
    splits = tuple(zip(letters, [*inputs, *before, *behind], strict=True))
    mesh, seed = line_mesh(devices), d.number(0, 2**31)
    target, optimizer, updates = d.choice(TARGETS), _ruled(d, network), d.choice(UPDATES)
    return Case(network, mesh, batch, splits, scheme, target, seed, optimizer, updates)


def _in_groups(d: Draw, network: Network, batch: int) -> Network:
    """Some norms by groups of images."""
    sizes = [None, *(size for size in range(1, batch + 1) if batch % size == 0)]
    layers = (
        replace(layer, options=NamedValues.of(**{**layer.options, "group": d.choice(sizes)}))
        if layer.kind == "bn" else layer
        for layer in network.layers
    )  # fmt: skip
    return replace(network, layers=tuple(layers))


def _label(d: Draw, letters: str, extent: int) -> str:
    known = [c for c in COLUMN_OR_NOT if c in letters + "r"]
    return d.choice([*letters, *known, f"@{d.number(0, extent - 1)}"])
