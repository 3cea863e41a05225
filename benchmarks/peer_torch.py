"""PyTorch's side of cpu.py: NETWORK BATCH MODE; a step for every line of standard input."""

import json
import os
import resource
import sys
import time

import torch
from torch import nn

VGG16 = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M")


def vgg16():
    layers, channels = [], 3
    for filters in VGG16:
        if filters == "M":
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU(inplace=True)]
            channels = filters
    return nn.Sequential(*layers, *head(512 * 7 * 7))


def head(features):
    return (
        nn.Flatten(), nn.Linear(features, 4096), nn.ReLU(inplace=True), nn.Dropout(),
        nn.Linear(4096, 4096), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(4096, 1000),
    )  # fmt: skip


def alexnet(lrn=True):
    def norm():
        return (nn.LocalResponseNorm(5, 5e-4, 0.75, 2.0),) if lrn else ()

    def conv(*args, **more):
        return nn.Conv2d(*args, **more), nn.ReLU(inplace=True)

    return nn.Sequential(
        *conv(3, 96, 11, stride=4), *norm(), nn.MaxPool2d(3, 2),
        *conv(96, 256, 5, padding=2, groups=2), *norm(), nn.MaxPool2d(3, 2),
        *conv(256, 384, 3, padding=1), *conv(384, 384, 3, padding=1, groups=2),
        *conv(384, 256, 3, padding=1, groups=2), nn.MaxPool2d(3, 2), *head(256 * 6 * 6),
    )  # fmt: skip


def alexnet_owt():
    def conv(*args, **more):
        return nn.Conv2d(*args, **more), nn.ReLU(inplace=True)

    return nn.Sequential(
        *conv(3, 64, 11, stride=4, padding=2), nn.MaxPool2d(3, 2),
        *conv(64, 192, 5, padding=2), nn.MaxPool2d(3, 2), *conv(192, 384, 3, padding=1),
        *conv(384, 256, 3, padding=1), *conv(256, 256, 3, padding=1), nn.MaxPool2d(3, 2),
        *head(256 * 6 * 6),
    )  # fmt: skip


class Bottleneck(nn.Module):
    def __init__(self, channels, width, stride):
        super().__init__()
        out = 4 * width
        sizes = ((channels, width, 1, 1), (width, width, 3, stride), (width, out, 1, 1))
        parts = []
        for a, b, size, s in sizes:
            parts += [nn.Conv2d(a, b, size, s, size // 2, bias=False), nn.BatchNorm2d(b),
                      nn.ReLU(inplace=True)]  # fmt: skip
        self.body = nn.Sequential(*parts[:-1])
        self.skip = nn.Sequential()
        if stride > 1 or channels != out:
            project = nn.Conv2d(channels, out, 1, stride, bias=False)
            self.skip = nn.Sequential(project, nn.BatchNorm2d(out))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(self.body(x) + self.skip(x))


def resnet50():
    layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True),
              nn.MaxPool2d(3, 2, 1)]  # fmt: skip
    channels = 64
    for stage, depth in enumerate((3, 4, 6, 3)):
        for block in range(depth):
            stride = 2 if stage and not block else 1
            layers.append(Bottleneck(channels, 64 << stage, stride))
            channels = 256 << stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000))


SIDES = {"alexnet": 227}
NETWORKS = {
    "vgg16": vgg16,
    "alexnet": alexnet,
    "alexnet_owt": alexnet_owt,
    "resnet50": resnet50,
}


def main():
    network, batch, mode = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    torch.set_num_threads(os.cpu_count())
    model, side = NETWORKS[network](), SIDES.get(network, 224)
    images, labels = torch.randn(batch, 3, side, side), torch.randint(0, 1000, (batch,))
    if mode != "eager":
        model = model.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4)
    forward = torch.compile(model) if mode == "compile" else model
    criterion = nn.CrossEntropyLoss()

    def step():
        optimizer.zero_grad()
        criterion(forward(images), labels).backward()
        optimizer.step()

    for _ in range(2):
        step()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"torch": torch.__version__, "peak_bytes": peak}), flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        step()
        print(time.perf_counter() - began, flush=True)


main()
