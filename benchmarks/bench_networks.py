"""The networks of cpu.py, once, as plain tuples that every peer interprets.

    conv            channels, filters, size, stride, pad, groups, bias; size and pad may be pairs
    fc              inputs, outputs
    maxpool         size, stride, pad, whether windows may end beyond the image (none: no)
    avgpool         size, stride, pad, which counts as zeros
    bn              channels, epsilon (none: 1e-5)
    lrn             size, alpha, beta, k: x / (k + alpha * sum of squares) ** beta
    dropout         rate
    residual        layers, layers (none: the identity); their sum, then relu
    concat          layers of each branch over one input, joined along the channels
    relu, flatten, global_average

netc has its own copies in models/*.net; tests/models compares the numbers of parameters. What a
peer does not interpret it says that it cannot run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

Layer = tuple[object, ...]
Layers = tuple[Layer, ...]

RELU = ("relu",)
DROPOUT = ("dropout", 0.5)
LRN = ("lrn", 5, 1e-4, 0.75, 2.0)
CLASSES = 1000
SIDES = {"alexnet": 227, "inception_v3": 299}
"""Of images; 224 for all others."""


def side(network: str) -> int:
    """Rows and columns of an image."""
    return SIDES.get(network, 224)


def layers(network: str) -> Layers:
    """The layers up to the class scores. Raises LookupError for a network that is not here."""
    if network not in NETWORKS:
        raise LookupError(f"no {network} in bench_networks.py")
    return tuple(NETWORKS[network]())


def conv(
    channels: int, filters: int, size: int, stride: int = 1, pad: int = 0, groups: int = 1
) -> Layer:
    return "conv", channels, filters, size, stride, pad, groups, True


def maxpool(size: int, stride: int, pad: int = 0) -> Layer:
    return "maxpool", size, stride, pad


def vgg16() -> Iterator[Layer]:
    channels = 3
    for depth, filters in ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)):
        for _ in range(depth):
            yield from (conv(channels, filters, 3, pad=1), RELU)
            channels = filters
        yield maxpool(2, 2)
    yield from (("flatten",), ("fc", 512 * 7 * 7, 4096), RELU, DROPOUT)
    yield from (("fc", 4096, 4096), RELU, DROPOUT, ("fc", 4096, CLASSES))


def alexnet() -> Iterator[Layer]:
    yield from (conv(3, 96, 11, 4), RELU, LRN, maxpool(3, 2))
    yield from (conv(96, 256, 5, pad=2, groups=2), RELU, LRN, maxpool(3, 2))
    yield from (conv(256, 384, 3, pad=1), RELU)
    yield from (conv(384, 384, 3, pad=1, groups=2), RELU)
    yield from (conv(384, 256, 3, pad=1, groups=2), RELU, maxpool(3, 2))
    yield from (("flatten",), ("fc", 256 * 6 * 6, 4096), RELU, DROPOUT)
    yield from (("fc", 4096, 4096), RELU, DROPOUT, ("fc", 4096, CLASSES))


def alexnet_owt() -> Iterator[Layer]:
    yield from (conv(3, 64, 11, 4, 2), RELU, maxpool(3, 2))
    yield from (conv(64, 192, 5, pad=2), RELU, maxpool(3, 2))
    yield from (conv(192, 384, 3, pad=1), RELU, conv(384, 256, 3, pad=1), RELU)
    yield from (conv(256, 256, 3, pad=1), RELU, maxpool(3, 2), ("flatten",))
    yield from (DROPOUT, ("fc", 256 * 6 * 6, 4096), RELU)
    yield from (DROPOUT, ("fc", 4096, 4096), RELU, ("fc", 4096, CLASSES))


def resnet50() -> Iterator[Layer]:
    return resnet(3, 4, 6, 3)


def resnet152() -> Iterator[Layer]:
    return resnet(3, 8, 36, 3)


def resnet(*depths: int) -> Iterator[Layer]:
    yield from (*normalized(3, 64, 7, 2), RELU, maxpool(3, 2, 1))
    channels = 64
    for width, depth in zip((64, 128, 256, 512), depths, strict=True):
        for block in range(depth):
            stride = 2 if width > 64 and not block else 1
            yield bottleneck(channels, width, stride)
            channels = 4 * width
    yield from (("global_average",), ("flatten",), ("fc", channels, CLASSES))


def bottleneck(channels: int, width: int, stride: int) -> Layer:
    out = 4 * width
    first, second = normalized(channels, width, 1), normalized(width, width, 3, stride)
    skip = () if channels == out else normalized(channels, out, 1, stride)
    return "residual", (*first, RELU, *second, RELU, *normalized(width, out, 1)), skip


def normalized(channels: int, filters: int, size: int, stride: int = 1) -> Layers:
    """A convolution without bias, normalized."""
    return ("conv", channels, filters, size, stride, size // 2, 1, False), ("bn", filters)


Size = int | tuple[int, int]


def basic(channels: int, filters: int, size: Size, stride: int = 1, pad: Size = 0) -> Layers:
    """Inception's convolution: without bias, normalized, rectified."""
    return ("conv", channels, filters, size, stride, pad, 1, False), ("bn", filters, 1e-3), RELU


def same(channels: int, filters: int, *sizes: Size) -> Layers:
    """Such convolutions in a row that keep height and width."""
    found: Layers = ()
    for size in sizes:
        tall, wide = (size, size) if isinstance(size, int) else size
        found += basic(channels, filters, size, 1, (tall // 2, wide // 2))
        channels = filters
    return found


def pooled(channels: int, filters: int) -> Layers:
    return ("avgpool", 3, 1, 1), *basic(channels, filters, 1)


def googlenet() -> Iterator[Layer]:
    """Of the paper, with BVLC's constants, without auxiliary classifiers."""
    lrn, smaller = ("lrn", 5, 2e-5, 0.75, 1.0), ("maxpool", 3, 2, 0, True)
    yield from (conv(3, 64, 7, 2, 3), RELU, smaller, lrn, conv(64, 64, 1), RELU)
    yield from (conv(64, 192, 3, pad=1), RELU, lrn, smaller)
    channels = 192
    blocks = (
        (64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64), (),
        (192, 96, 208, 16, 48, 64), (160, 112, 224, 24, 64, 64), (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64), (256, 160, 320, 32, 128, 128), (),
        (256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128),
    )  # fmt: skip
    for widths in blocks:
        if not widths:
            yield smaller
            continue
        one, before3, three, before5, five, pooled_ = widths
        yield (
            "concat", (conv(channels, one, 1), RELU),
            (conv(channels, before3, 1), RELU, conv(before3, three, 3, pad=1), RELU),
            (conv(channels, before5, 1), RELU, conv(before5, five, 5, pad=2), RELU),
            (maxpool(3, 1, 1), conv(channels, pooled_, 1), RELU),
        )  # fmt: skip
        channels = one + three + five + pooled_
    yield from (("global_average",), ("flatten",), ("dropout", 0.4), ("fc", channels, CLASSES))


def inception_v3() -> Iterator[Layer]:
    """In torchvision's layout, without the auxiliary classifier."""
    yield from (*basic(3, 32, 3, 2), *basic(32, 32, 3), *same(32, 64, 3), maxpool(3, 2))
    yield from (*basic(64, 80, 1), *basic(80, 192, 3), maxpool(3, 2))
    for channels, pool in ((192, 32), (256, 64), (288, 64)):
        yield (
            "concat", basic(channels, 64, 1), (*basic(channels, 48, 1), *same(48, 64, 5)),
            (*basic(channels, 64, 1), *same(64, 96, 3, 3)), pooled(channels, pool),
        )  # fmt: skip
    double = (*basic(288, 64, 1), *same(64, 96, 3), *basic(96, 96, 3, 2))
    yield "concat", basic(288, 384, 3, 2), double, (maxpool(3, 2),)
    for width in (128, 160, 160, 192):
        yield factored(768, width)
    long = (*basic(768, 192, 1), *same(192, 192, (1, 7), (7, 1)), *basic(192, 192, 3, 2))
    yield "concat", (*basic(768, 192, 1), *basic(192, 320, 3, 2)), long, (maxpool(3, 2),)
    for channels in (1280, 2048):
        yield widest(channels)
    yield from (("global_average",), ("flatten",), DROPOUT, ("fc", 2048, CLASSES))


def factored(channels: int, width: int) -> Layer:
    """Branches of 1 x 7 and 7 x 1 convolutions."""
    short = (*basic(channels, width, 1), *same(width, width, (1, 7)), *same(width, 192, (7, 1)))
    chain = same(width, width, (7, 1), (1, 7), (7, 1))
    return ("concat", basic(channels, 192, 1), short,
            (*basic(channels, width, 1), *chain, *same(width, 192, (1, 7))),
            pooled(channels, 192))  # fmt: skip


def widest(channels: int) -> Layer:
    """Branches that fork again, of 1 x 3 and 3 x 1 convolutions."""
    fork = ("concat", same(384, 384, (1, 3)), same(384, 384, (3, 1)))
    double = (*basic(channels, 448, 1), *same(448, 384, 3), fork)
    return ("concat", basic(channels, 320, 1), (*basic(channels, 384, 1), fork), double,
            pooled(channels, 192))  # fmt: skip


NETWORKS: dict[str, Callable[[], Iterator[Layer]]] = {
    "vgg16": vgg16, "alexnet": alexnet, "alexnet_owt": alexnet_owt, "resnet50": resnet50,
    "resnet152": resnet152, "googlenet": googlenet, "inception_v3": inception_v3,
}  # fmt: skip
