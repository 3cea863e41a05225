"""The networks of cpu.py, once, as plain tuples that every peer interprets.

    conv            channels, filters, size, stride, pad, groups, bias
    fc              inputs, outputs
    maxpool         size, stride, pad
    bn              channels
    lrn             size, alpha, beta, k: x / (k + alpha * sum of squares) ** beta
    dropout         rate
    residual        layers, layers (none: the identity); their sum, then relu
    relu, flatten, global_average

netc has its own copies in models/*.net; cpu.py compares the numbers of parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

Layer = tuple[object, ...]
Layers = tuple[Layer, ...]

RELU = ("relu",)
DROPOUT = ("dropout", 0.5)
LRN = ("lrn", 5, 1e-4, 0.75, 2.0)
CLASSES = 1000
SIDES = {"alexnet": 227}
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
    yield from (*normalized(3, 64, 7, 2), RELU, maxpool(3, 2, 1))
    channels = 64
    for width, depth in ((64, 3), (128, 4), (256, 6), (512, 3)):
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


NETWORKS: dict[str, Callable[[], Iterator[Layer]]] = {
    "vgg16": vgg16, "alexnet": alexnet, "alexnet_owt": alexnet_owt, "resnet50": resnet50,
}  # fmt: skip
