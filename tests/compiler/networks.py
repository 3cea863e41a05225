"""Networks for the tests of the compiler, made by hand without the parser."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from netc.syntax.network import InputSpec, Layer, NamedValues, Network

Shape = tuple[int, ...]


class Maker:
    """Adds layer after layer and keeps their shapes (of one example); returns names."""

    def __init__(self, *shape: int, name: str = "net") -> None:
        self.name = name
        self.layers: list[Layer] = []
        self.shapes: dict[str, Shape] = {"image": shape}
        self.counts: Counter[str] = Counter()

    def add_layer(self, kind: str, inputs: tuple[str, ...], shape: Shape, **options: Any) -> str:
        self.counts[kind] += 1
        name = f"{kind}{self.counts[kind]}"
        self.layers.append(Layer(name, kind, NamedValues.of(**options), inputs))
        self.shapes[name] = shape
        return name

    def conv(
        self, x: str, filters: int, size: int | tuple[int, int] = 3, *, stride: int = 1,
        pad: Any = 0, groups: int = 1, bias: bool = True, std: float | None = None,
        bias_value: float = 0.0,
    ) -> str:  # fmt: skip
        size = (size, size) if isinstance(size, int) else size
        pads = pad if pad == "same" else said_pad(pad)
        extents = windows(self.shapes[x][1:], size, stride, pad)
        return self.add_layer(
            "conv", (x,), (filters, *extents), size=size, filters=filters, stride=(stride, stride),
            pad=pads, groups=groups, bias=bias, std=std, bias_value=bias_value,
        )  # fmt: skip

    def fc(self, x: str, filters: int, *, bias: bool = True, bias_value: float = 0.0) -> str:
        return self.add_layer(
            "fc", (x,), (filters,), filters=filters, bias=bias, std=None, bias_value=bias_value
        )

    def pool(
        self, x: str, size: int | str, kind: str = "maxpool", *, stride: int | None = None,
        pad: int | tuple[int, ...] = 0, ceil: bool = False, **more: Any,
    ) -> str:  # fmt: skip
        """`more`: of an average, whether it counts the padding."""
        more = {"count_pad": True} | more if kind == "avgpool" else {}
        c, *image = self.shapes[x]
        if isinstance(size, str):
            options = {"size": size, "stride": (1, 1), "pad": (0, 0), "ceil": False}
            return self.add_layer(kind, (x,), (c, 1, 1), **options, **more)
        stride = stride or size
        extents = windows(image, (size, size), stride, pad, ceil)
        return self.add_layer(
            kind, (x,), (c, *extents), size=(size, size), stride=(stride, stride),
            pad=said_pad(pad), ceil=ceil, **more,
        )  # fmt: skip

    def unary(self, kind: str, x: str) -> str:
        """An activation."""
        return self.add_layer(kind, (x,), self.shapes[x])

    def relu(self, x: str) -> str:
        return self.unary("relu", x)

    def dropout(self, x: str, rate: float = 0.4) -> str:
        return self.add_layer("dropout", (x,), self.shapes[x], rate=rate)

    def lrn(self, x: str, size: int = 3) -> str:
        options = {"size": size, "alpha": 0.3, "beta": 0.75, "k": 2.0}
        return self.add_layer("lrn", (x,), self.shapes[x], **options)

    def bn(self, x: str, group: int | None = None) -> str:
        return self.add_layer("bn", (x,), self.shapes[x], eps=1e-2, momentum=0.1, group=group)

    def flatten(self, x: str) -> str:
        return self.add_layer("flatten", (x,), (math.prod(self.shapes[x]),))

    def add(self, *xs: str) -> str:
        return self.add_layer("add", xs, self.shapes[xs[0]])

    def concat(self, *xs: str) -> str:
        channels = sum(self.shapes[x][0] for x in xs)
        return self.add_layer("concat", xs, (channels, *self.shapes[xs[0]][1:]))

    def loss(self, x: str, smoothing: float = 0.0) -> Network:
        """End the network; as many classes as `x` has features."""
        self.add_layer("softmax_loss", (x,), (), smoothing=smoothing)
        return Network(self.name, (InputSpec("image", self.shapes["image"]),), tuple(self.layers))


def windows(
    image: Any, size: tuple[int, int], stride: int, pad: Any, ceil: bool = False
) -> tuple[int, ...]:
    """Height and width after a convolution or pooling, as PyTorch counts them."""
    if pad == "same":
        return tuple(-(-extent // stride) for extent in image)
    each = zip(image, size, ends_of(pad), strict=True)
    return tuple(window_count(n, s, stride, ends, ceil) for n, s, ends in each)


def said_pad(pad: int | tuple[int, ...]) -> tuple[int, ...]:
    """The option: two numbers where the ends of each dimension are alike."""
    (top, bottom), (left, right) = ends_of(pad)
    return (top, left) if (top, left) == (bottom, right) else (top, bottom, left, right)


def ends_of(pad: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    """Padding before and behind height and width: of one number, of two, or of four."""
    pad = (pad, pad) if isinstance(pad, int) else pad
    top, bottom, left, right = pad if len(pad) == 4 else (pad[0], pad[0], pad[1], pad[1])
    return (top, bottom), (left, right)


def window_count(extent: int, size: int, stride: int, ends: tuple[int, int], ceil: bool) -> int:
    before, behind = ends
    room = extent + before + behind - size
    count = (-(-room // stride) if ceil else room // stride) + 1
    return count - 1 if ceil and (count - 1) * stride >= extent + before else count
