"""The networks of the papers as PyTorch modules, under torchvision's names of weights.

Only `make_networks.py` and `compare.py` need this file, and PyTorch. Sources: VGG, Simonyan and
Zisserman 2014; AlexNet, Krizhevsky et al. 2012, in two towers, and Krizhevsky 2014, in one
(torchvision's alexnet); ResNet, He et al. 2015, strides in the 3x3 convolutions; GoogLeNet, Szegedy
et al. 2014, table 1, without auxiliary classifiers; Inception-v3, Szegedy et al. 2015, in
torchvision's layout, without the auxiliary classifier. torchvision has neither the grouped AlexNet
nor GoogLeNet without batch norm: there the names are those that netc derives.

Dropout multiplies by a mask that it is given, so that PyTorch can use netc's. Activations and
pooling are modules everywhere, so that they can be exchanged for smooth ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import torch
from torch import Tensor, nn

Chain: TypeAlias = "tuple[str | tuple[str, ...], ...]"
"""Modules one after the other; a tuple among them is a fork into modules whose results join."""


class Dropout(nn.Module):
    """Multiplies by `mask` while training; the identity else."""

    mask: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Drop and scale as the mask says, whatever its shape."""
        return x * self.mask.view_as(x) if self.training else x


def set_masks(model: nn.Module, masks: list[Tensor]) -> None:
    """Give every dropout its mask, in order."""
    dropouts = [module for module in model.modules() if isinstance(module, Dropout)]
    for dropout, mask in zip(dropouts, masks, strict=True):
        dropout.mask = mask


def make_smooth(model: nn.Module) -> None:
    """Put tanh for relu, and averages for maxima, everywhere."""
    for parent in list(model.modules()):
        for name, part in list(parent.named_children()):
            if isinstance(part, nn.ReLU):
                setattr(parent, name, nn.Tanh())
            elif isinstance(part, nn.MaxPool2d):
                told = (part.kernel_size, part.stride, part.padding, part.ceil_mode)
                setattr(parent, name, nn.AvgPool2d(*told))


class Plain(nn.Module):
    """Convolutions, then products."""

    def __init__(self, features: list[nn.Module], classifier: list[nn.Module]) -> None:
        super().__init__()
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(*classifier)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores."""
        scores: Tensor = self.classifier(self.features(x).flatten(1))
        return scores


def _conv(c: int, k: int, size: int, s: int = 1, p: int = 0, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(c, k, size, s, p, groups=groups)


def vgg(plan: str, inputs: int, bn: bool = False) -> Plain:
    """A number of `plan` is a convolution of so many filters, an M halves the size."""
    features: list[nn.Module] = []
    channels = 3
    for each in plan.split():
        if each == "M":
            features.append(nn.MaxPool2d(2))
            continue
        features.append(_conv(channels, int(each), 3, p=1))
        channels = int(each)
        features += [nn.BatchNorm2d(channels)] if bn else []
        features.append(nn.ReLU())
    return Plain(features, [
        nn.Linear(inputs, 4096), nn.ReLU(), Dropout(),
        nn.Linear(4096, 4096), nn.ReLU(), Dropout(), nn.Linear(4096, 1000),
    ])  # fmt: skip


def alexnet(inputs: int) -> Plain:
    """The two towers of 2012. PyTorch divides alpha by the window of 5."""

    def normalize() -> nn.Module:
        return nn.LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=2.0)

    features = [
        _conv(3, 96, 11, 4), nn.ReLU(), normalize(), nn.MaxPool2d(3, 2),
        _conv(96, 256, 5, p=2, groups=2), nn.ReLU(), normalize(), nn.MaxPool2d(3, 2),
        _conv(256, 384, 3, p=1), nn.ReLU(),
        _conv(384, 384, 3, p=1, groups=2), nn.ReLU(),
        _conv(384, 256, 3, p=1, groups=2), nn.ReLU(), nn.MaxPool2d(3, 2),
    ]  # fmt: skip
    return Plain(features, [
        nn.Linear(inputs, 4096), nn.ReLU(), Dropout(),
        nn.Linear(4096, 4096), nn.ReLU(), Dropout(), nn.Linear(4096, 1000),
    ])  # fmt: skip


def alexnet_owt(inputs: int) -> Plain:
    """The one tower of 2014, torchvision's alexnet."""
    features = [
        _conv(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
        _conv(64, 192, 5, p=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        _conv(192, 384, 3, p=1), nn.ReLU(),
        _conv(384, 256, 3, p=1), nn.ReLU(),
        _conv(256, 256, 3, p=1), nn.ReLU(), nn.MaxPool2d(3, 2),
    ]  # fmt: skip
    return Plain(features, [
        Dropout(), nn.Linear(inputs, 4096), nn.ReLU(),
        Dropout(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 1000),
    ])  # fmt: skip


class Residual(nn.Module):
    """A block of two 3x3 convolutions, or a bottleneck of 1x1, 3x3 and 1x1."""

    def __init__(self, channels: int, width: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        sizes = (1, 3, 1) if bottleneck else (3, 3)
        self.depth, strided = len(sizes), sizes.index(3) + 1
        inner = channels
        for i, size in enumerate(sizes, 1):
            outer = width * (4 if i == 3 else 1)
            s = stride if i == strided else 1
            self.add_module(f"conv{i}", nn.Conv2d(inner, outer, size, s, size // 2, bias=False))
            self.add_module(f"bn{i}", nn.BatchNorm2d(outer))
            inner = outer
        self.relu = nn.ReLU()
        self.downsample: nn.Sequential | None = None
        if stride > 1 or channels != inner:
            project = nn.Conv2d(channels, inner, 1, stride, bias=False)
            self.downsample = nn.Sequential(project, nn.BatchNorm2d(inner))

    def forward(self, x: Tensor) -> Tensor:
        """The block's result added to what came in."""
        y = x
        for i in range(1, self.depth + 1):
            y = self.get_submodule(f"bn{i}")(self.get_submodule(f"conv{i}")(y))
            y = self.relu(y) if i < self.depth else y
        total: Tensor = self.relu(y + (x if self.downsample is None else self.downsample(x)))
        return total


class ResNet(nn.Module):
    """Four stages of blocks."""

    def __init__(self, depths: tuple[int, ...], bottleneck: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels = 64
        for stage, depth in enumerate(depths):
            width, blocks = 64 << stage, []
            for i in range(depth):
                stride = 2 if stage and not i else 1
                blocks.append(Residual(channels, width, stride, bottleneck))
                channels = width * (4 if bottleneck else 1)
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(channels, 1000)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in range(1, 5):
            x = self.get_submodule(f"layer{stage}")(x)
        scores: Tensor = self.fc(x.mean((2, 3)))
        return scores


class Branches(nn.Module):
    """Chains of modules over one input, whose results are joined along the channels."""

    def __init__(self, modules: Mapping[str, nn.Module], chains: tuple[Chain, ...]) -> None:
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)
        self.chains = chains

    def forward(self, x: Tensor) -> Tensor:
        """All chains."""
        return torch.cat([self._chain(x, chain) for chain in self.chains], 1)

    def _chain(self, x: Tensor, chain: Chain) -> Tensor:
        for each in chain:
            if isinstance(each, str):
                x = self.get_submodule(each)(x)
            else:
                x = torch.cat([self.get_submodule(name)(x) for name in each], 1)
        return x


class Rectified(nn.Conv2d):
    """A convolution with relu; its weights are directly under its name."""

    def __init__(self, c: int, k: int, size: int, s: int = 1) -> None:
        super().__init__(c, k, size, s, size // 2)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Convolve and rectify."""
        y: Tensor = self.relu(super().forward(x))
        return y


def _inception(c: int, c1: int, r3: int, c3: int, r5: int, c5: int, cp: int) -> Branches:
    """One module of GoogLeNet, with the columns of table 1."""
    shapes = ((c, c1, 1), (c, r3, 1), (r3, c3, 3), (c, r5, 1), (r5, c5, 5), (c, cp, 1))
    modules: dict[str, nn.Module] = {
        f"conv{i}": Rectified(*shape) for i, shape in enumerate(shapes, 1)
    }
    modules["pool"] = nn.MaxPool2d(3, 1, 1)
    return Branches(modules, (("conv1",), ("conv2", "conv3"), ("conv4", "conv5"),
                              ("pool", "conv6")))  # fmt: skip


GOOGLENET = {
    "3a": (192, 64, 96, 128, 16, 32, 32), "3b": (256, 128, 128, 192, 32, 96, 64),
    "4a": (480, 192, 96, 208, 16, 48, 64), "4b": (512, 160, 112, 224, 24, 64, 64),
    "4c": (512, 128, 128, 256, 24, 64, 64), "4d": (512, 112, 144, 288, 32, 64, 64),
    "4e": (528, 256, 160, 320, 32, 128, 128), "5a": (832, 256, 160, 320, 32, 128, 128),
    "5b": (832, 384, 192, 384, 48, 128, 128),
}  # fmt: skip
"""Input channels of each module, and its row of table 1 of the paper."""


class GoogLeNet(nn.Module):
    """Table 1, with the response normalization of BVLC's release."""

    def __init__(self) -> None:
        super().__init__()
        parts: dict[str, nn.Module] = {
            "conv1": Rectified(3, 64, 7, 2),
            "pool1": _halve(),
            "lrn1": nn.LocalResponseNorm(5, 1e-4, 0.75, 1.0),
            "conv2": Rectified(64, 64, 1),
            "conv3": Rectified(64, 192, 3),
            "lrn2": nn.LocalResponseNorm(5, 1e-4, 0.75, 1.0),
            "pool2": _halve(),
        }
        for name, columns in GOOGLENET.items():
            parts[f"inception{name}"] = _inception(*columns)
            if name in ("3b", "4e"):
                parts[f"pool{name}"] = _halve()
        self.order = tuple(parts)
        for name, part in parts.items():
            self.add_module(name, part)
        self.dropout = Dropout()
        self.fc = nn.Linear(1024, 1000)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores."""
        for name in self.order:
            x = self.get_submodule(name)(x)
        scores: Tensor = self.fc(self.dropout(x.mean((2, 3))))
        return scores


def _halve() -> nn.Module:
    return nn.MaxPool2d(3, 2, ceil_mode=True)


class Normalized(nn.Module):
    """A convolution without bias, batch norm and relu."""

    def __init__(
        self, c: int, k: int, size: int | tuple[int, int], s: int = 1, same: bool = True
    ) -> None:
        super().__init__()
        sides = (size, size) if isinstance(size, int) else size
        pad = (sides[0] // 2, sides[1] // 2) if same else 0
        self.conv = nn.Conv2d(c, k, sides, s, pad, bias=False)
        self.bn = nn.BatchNorm2d(k, eps=0.001)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, normalize, rectify."""
        y: Tensor = self.relu(self.bn(self.conv(x)))
        return y


def _average() -> nn.Module:
    return nn.AvgPool2d(3, 1, 1)


def _inception_a(c: int, pooled: int) -> Branches:
    return Branches(
        {
            "branch1x1": Normalized(c, 64, 1),
            "branch5x5_1": Normalized(c, 48, 1),
            "branch5x5_2": Normalized(48, 64, 5),
            "branch3x3dbl_1": Normalized(c, 64, 1),
            "branch3x3dbl_2": Normalized(64, 96, 3),
            "branch3x3dbl_3": Normalized(96, 96, 3),
            "average": _average(),
            "branch_pool": Normalized(c, pooled, 1),
        },
        (
            ("branch1x1",),
            ("branch5x5_1", "branch5x5_2"),
            ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"),
            ("average", "branch_pool"),
        ),
    )


def _inception_b(c: int) -> Branches:
    return Branches(
        {
            "branch3x3": Normalized(c, 384, 3, 2, same=False),
            "branch3x3dbl_1": Normalized(c, 64, 1),
            "branch3x3dbl_2": Normalized(64, 96, 3),
            "branch3x3dbl_3": Normalized(96, 96, 3, 2, same=False),
            "maximum": nn.MaxPool2d(3, 2),
        },
        (
            ("branch3x3",),
            ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"),
            ("maximum",),
        ),
    )


def _inception_c(c: int, inner: int) -> Branches:
    flat, tall = (1, 7), (7, 1)
    return Branches(
        {
            "branch1x1": Normalized(c, 192, 1),
            "branch7x7_1": Normalized(c, inner, 1),
            "branch7x7_2": Normalized(inner, inner, flat),
            "branch7x7_3": Normalized(inner, 192, tall),
            "branch7x7dbl_1": Normalized(c, inner, 1),
            "branch7x7dbl_2": Normalized(inner, inner, tall),
            "branch7x7dbl_3": Normalized(inner, inner, flat),
            "branch7x7dbl_4": Normalized(inner, inner, tall),
            "branch7x7dbl_5": Normalized(inner, 192, flat),
            "average": _average(),
            "branch_pool": Normalized(c, 192, 1),
        },
        (
            ("branch1x1",),
            tuple(f"branch7x7_{i}" for i in range(1, 4)),
            tuple(f"branch7x7dbl_{i}" for i in range(1, 6)),
            ("average", "branch_pool"),
        ),
    )


def _inception_d(c: int) -> Branches:
    return Branches(
        {
            "branch3x3_1": Normalized(c, 192, 1),
            "branch3x3_2": Normalized(192, 320, 3, 2, same=False),
            "branch7x7x3_1": Normalized(c, 192, 1),
            "branch7x7x3_2": Normalized(192, 192, (1, 7)),
            "branch7x7x3_3": Normalized(192, 192, (7, 1)),
            "branch7x7x3_4": Normalized(192, 192, 3, 2, same=False),
            "maximum": nn.MaxPool2d(3, 2),
        },
        (
            ("branch3x3_1", "branch3x3_2"),
            tuple(f"branch7x7x3_{i}" for i in range(1, 5)),
            ("maximum",),
        ),
    )


def _inception_e(c: int) -> Branches:
    return Branches(
        {
            "branch1x1": Normalized(c, 320, 1),
            "branch3x3_1": Normalized(c, 384, 1),
            "branch3x3_2a": Normalized(384, 384, (1, 3)),
            "branch3x3_2b": Normalized(384, 384, (3, 1)),
            "branch3x3dbl_1": Normalized(c, 448, 1),
            "branch3x3dbl_2": Normalized(448, 384, 3),
            "branch3x3dbl_3a": Normalized(384, 384, (1, 3)),
            "branch3x3dbl_3b": Normalized(384, 384, (3, 1)),
            "average": _average(),
            "branch_pool": Normalized(c, 192, 1),
        },
        (
            ("branch1x1",),
            ("branch3x3_1", ("branch3x3_2a", "branch3x3_2b")),
            ("branch3x3dbl_1", "branch3x3dbl_2", ("branch3x3dbl_3a", "branch3x3dbl_3b")),
            ("average", "branch_pool"),
        ),
    )


class InceptionV3(nn.Module):
    """torchvision's inception_v3 without the auxiliary classifier."""

    def __init__(self) -> None:
        super().__init__()
        parts: dict[str, nn.Module] = {
            "Conv2d_1a_3x3": Normalized(3, 32, 3, 2, same=False),
            "Conv2d_2a_3x3": Normalized(32, 32, 3, same=False),
            "Conv2d_2b_3x3": Normalized(32, 64, 3),
            "pool1": nn.MaxPool2d(3, 2),
            "Conv2d_3b_1x1": Normalized(64, 80, 1),
            "Conv2d_4a_3x3": Normalized(80, 192, 3, same=False),
            "pool2": nn.MaxPool2d(3, 2),
            "Mixed_5b": _inception_a(192, 32),
            "Mixed_5c": _inception_a(256, 64),
            "Mixed_5d": _inception_a(288, 64),
            "Mixed_6a": _inception_b(288),
            "Mixed_6b": _inception_c(768, 128),
            "Mixed_6c": _inception_c(768, 160),
            "Mixed_6d": _inception_c(768, 160),
            "Mixed_6e": _inception_c(768, 192),
            "Mixed_7a": _inception_d(768),
            "Mixed_7b": _inception_e(1280),
            "Mixed_7c": _inception_e(2048),
        }
        self.order = tuple(parts)
        for name, part in parts.items():
            self.add_module(name, part)
        self.dropout = Dropout()
        self.fc = nn.Linear(2048, 1000)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores."""
        for name in self.order:
            x = self.get_submodule(name)(x)
        scores: Tensor = self.fc(self.dropout(x.mean((2, 3))))
        return scores


VGG = {
    "vgg11": "64 M 128 M 256 256 M 512 512 M 512 512 M",
    "vgg13": "64 64 M 128 128 M 256 256 M 512 512 M 512 512 M",
    "vgg16": "64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M",
    "vgg19": "64 64 M 128 128 M 256 256 256 256 M 512 512 512 512 M 512 512 512 512 M",
}
"""Configurations A, B, D and E of the paper."""
RESNET = {
    "resnet18": ((2, 2, 2, 2), False), "resnet34": ((3, 4, 6, 3), False),
    "resnet50": ((3, 4, 6, 3), True), "resnet101": ((3, 4, 23, 3), True),
    "resnet152": ((3, 8, 36, 3), True),
}  # fmt: skip


def build(model: str, bn: bool, inputs: int) -> nn.Module:
    """A network by netc's name; `inputs` is what the first product reads, where images decide."""
    if model in VGG:
        return vgg(VGG[model], inputs, bn)
    if model in RESNET:
        return ResNet(*RESNET[model])
    plain = {"alexnet": alexnet, "alexnet_owt": alexnet_owt}
    if model in plain:
        return plain[model](inputs)
    return {"googlenet": GoogLeNet, "inception_v3": InceptionV3}[model]()
