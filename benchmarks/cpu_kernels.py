"""Time the CPU kernels of every convolution of some networks, beside PyTorch's.

    python benchmarks/cpu_kernels.py --peer /path/to/python/with/torch [--networks vgg16 ...]

For every layer and pass: each variant's milliseconds, the best one's GFLOP/s (counted directly, so
Winograd may pass the machine's peak), and PyTorch's best layout's time over it. Times are minima
over repeats; layers alternate between the two programs. `--threads 1 --clock thread_time` counts
the processor's time of one thread, which other programs disturb less.
"""

import argparse
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from netc_kernels.cpu.shape import ConvShape
from netc_kernels.cpu.table import IMPLEMENTATIONS
from netc_kernels.cpu.threads import Pool

PASSES = "conv", "conv_dx", "conv_dw"


def same(
    images: int, channels: int, filters: int, extent: int, size: int = 3, stride: int = 1
) -> ConvShape:
    pad = (size // 2,) * 4
    return ConvShape(images, channels, filters, (extent,) * 2, (size,) * 2, (stride,) * 2, pad)


def vgg16() -> Iterator[tuple[ConvShape, int]]:
    """Every convolution and how often it occurs."""
    large = (3, 64, 224, 1), (64, 64, 224, 1), (64, 128, 112, 1), (128, 128, 112, 1)
    small = (128, 256, 56, 1), (256, 256, 56, 2), (256, 512, 28, 1), (512, 512, 28, 2)
    for channels, filters, extent, times in (*large, *small, (512, 512, 14, 3)):
        yield same(8, channels, filters, extent), times


def alexnet() -> Iterator[tuple[ConvShape, int]]:
    yield ConvShape(16, 3, 96, (227, 227), (11, 11), (4, 4)), 1
    yield ConvShape(16, 96, 256, (27, 27), (5, 5), (1, 1), (2,) * 4, 2), 1
    yield same(16, 256, 384, 13), 1
    yield ConvShape(16, 384, 384, (13, 13), (3, 3), (1, 1), (1,) * 4, 2), 1
    yield ConvShape(16, 384, 256, (13, 13), (3, 3), (1, 1), (1,) * 4, 2), 1


def resnet50() -> Iterator[tuple[ConvShape, int]]:
    yield same(8, 3, 64, 224, 7, 2), 1
    wide, extent = 64, 56
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        stride = 1 if width == 64 else 2
        yield same(8, wide, width, extent, 1), 1
        yield same(8, wide, 4 * width, extent, 1, stride), 1
        yield same(8, width, width, extent, 3, stride), 1
        extent //= stride
        yield same(8, width, width, extent, 3), blocks - 1
        yield same(8, 4 * width, width, extent, 1), blocks - 1
        yield same(8, width, 4 * width, extent, 1), blocks
        wide = 4 * width


NETWORKS = {"vgg16": vgg16, "alexnet": alexnet, "resnet50": resnet50}


def aligned(*shape: int, fill: bool = True) -> Any:
    count = int(np.prod(shape))
    memory = np.zeros(4 * count + 64, np.uint8)
    start = -memory.ctypes.data % 64
    array = memory[start : start + 4 * count].view(np.float32).reshape(shape)
    if fill:
        array[...] = np.random.default_rng(0).random(shape, np.float32)
    return array


def best(function: Callable[[], None], clock: Callable[[], float], repeats: int) -> float:
    function()
    times = []
    for _ in range(repeats):
        start = clock()
        function()
        times.append(clock() - start)
    return 1e3 * min(times)


def measure(shape: ConvShape, pool: Pool, clock: Callable[[], float], repeats: int) -> Any:
    """Time every variant of every pass: {pass: {variant: milliseconds}}."""
    x = aligned(shape.images, *shape.image, shape.channels)
    dy = aligned(shape.images, *shape.outputs, shape.filters)
    w = aligned(shape.filters, shape.channels // shape.groups, *shape.size)
    bias, relu = aligned(shape.filters), True
    calls: dict[str, tuple[Any, ...]] = {
        "conv": (np.empty_like(dy), x, w),
        "conv_dx": (np.empty_like(x), dy, w),
        "conv_dw": (np.empty_like(w), x, dy),
    }
    extra: dict[str, tuple[Any, ...]] = {"conv": (bias, relu), "conv_dx": (), "conv_dw": ()}
    found: dict[str, dict[str, float]] = {name: {} for name in PASSES}
    for name in PASSES:
        for variant in IMPLEMENTATIONS[name]:
            if variant.applies(shape):
                work = aligned(variant.workspace_bytes(shape, pool.threads) // 4, fill=False)
                arguments = (*calls[name], shape, work, pool, *extra[name])
                run = partial(variant.run, *arguments)
                found[name][variant.name] = best(run, clock, repeats)
    return found


class Peer:
    """PyTorch in a process of its own, which answers one layer at a time."""

    def __init__(self, python: str, threads: int, clock: str, repeats: int) -> None:
        script = str(Path(__file__).with_name("peer_conv.py"))
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        environment["OMP_NUM_THREADS"] = str(threads)
        self.process = subprocess.Popen(
            [python, script, str(threads), clock, str(repeats)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        self.version = self._answer()["version"]

    def measure(self, shape: ConvShape) -> list[float]:
        """The better layout's milliseconds for each pass."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps(asdict(shape)) + "\n")
        self.process.stdin.flush()
        return [min(times) for times in zip(*self._answer().values(), strict=True)]

    def _answer(self) -> Any:
        assert self.process.stdout
        return json.loads(self.process.stdout.readline())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="*", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--peer", help="a Python interpreter with PyTorch")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=("perf_counter", "thread_time"), default="perf_counter")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    peer = options.peer and Peer(options.peer, options.threads, options.clock, options.repeats)
    clock = getattr(time, options.clock)
    print(
        f"threads {options.threads}, clock {options.clock}, minima of {options.repeats};", end=" "
    )
    print(f"PyTorch {peer.version}" if peer else "no peer")
    with threadpool_limits(1, "blas"), Pool(options.threads) as pool:
        for network in options.networks:
            run(network, pool, peer, clock, options.repeats)


def run(network: str, pool: Pool, peer: Peer | None, clock: Any, repeats: int) -> None:
    totals, theirs = [0.0] * 3, [0.0] * 3
    for shape, times in NETWORKS[network]():
        found = measure(shape, pool, clock, repeats)
        other = peer.measure(shape) if peer else [float("nan")] * 3
        rows, columns = shape.size
        print(
            f"{network} {shape.images}x{shape.image[0]:<3} {shape.channels:>4} ->"
            f" {shape.filters:<4} {rows}x{columns}/{shape.stride[0]} x{times}", end=""
        )  # fmt: skip
        for index, name in enumerate(PASSES):
            variant, mine = min(found[name].items(), key=lambda item: item[1])
            totals[index] += times * mine
            theirs[index] += times * other[index]
            others = " ".join(f"{k[0]}{v:.1f}" for k, v in found[name].items() if k != variant)
            rate = shape.flops / mine / 1e6
            print(
                f" | {variant[0]}{mine:.1f} {others} {rate:.0f}GF/s {other[index] / mine:.2f}x",
                end="",
            )
        print(flush=True)
    ratios = [b / a for a, b in zip(totals, theirs, strict=True)]
    print(network, "sum ms", *(f"{t:.0f}" for t in totals), "ratio", *(f"{r:.2f}" for r in ratios))


if __name__ == "__main__":
    main()
