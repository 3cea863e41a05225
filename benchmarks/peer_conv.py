"""Time PyTorch's convolutions; run by cpu_kernels.py in the interpreter that has PyTorch.

Reads one layer a line from standard input, as JSON (images, channels, filters, image, size, stride,
pad), and answers each with {format: [forward, dx, dw]} in milliseconds, as soon as it is read.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}


def best(function: Callable[[], object], clock: Callable[[], float], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = clock()
        function()
        times.append(clock() - start)
    return 1e3 * min(times)


def measure(
    layer: dict[str, Any], fmt: torch.memory_format, clock: Callable[[], float], repeats: int
) -> list[float]:
    n, c, k = layer["images"], layer["channels"], layer["filters"]
    stride, pad = layer["stride"], layer["pad"][::2]
    x = torch.rand(n, c, *layer["image"]).contiguous(memory_format=fmt)
    w = torch.randn(k, c // layer["groups"], *layer["size"]).contiguous(memory_format=fmt)
    bias, groups = torch.zeros(k), layer["groups"]

    def forward() -> torch.Tensor:
        y = torch.conv2d(x, w, bias, stride, pad, 1, groups)
        return torch.relu_(y)

    def backward(mask: tuple[bool, bool, bool]) -> object:
        return torch.ops.aten.convolution_backward(
            dy, x, w, None, stride, pad, (1, 1), False, (0, 0), groups, mask
        )

    with torch.no_grad():
        dy = torch.rand_like(forward())
        passes = (
            forward,
            lambda: backward((True, False, False)),
            lambda: backward((False, True, False)),
        )
        return [best(run, clock, repeats) for run in passes]


def main() -> None:
    threads, clock_name, repeats = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    torch.set_num_threads(threads)
    clock = getattr(time, clock_name)
    print(json.dumps({"version": torch.__version__}), flush=True)
    for line in sys.stdin:
        layer = json.loads(line)
        answer = {name: measure(layer, fmt, clock, repeats) for name, fmt in FORMATS.items()}
        print(json.dumps(answer), flush=True)


main()
