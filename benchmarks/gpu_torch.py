"""PyTorch's side of scaling.py: a network in several ways, in memory at once.

The first argument is JSON: network, batch (over all devices), precision, modes, devices. Modes are
eager and compile, whose weights are of that precision, and autocast, whose weights are float32;
graph is the latter recorded as a CUDA graph; channels last, fused optimizer. On several devices
there is a process for each under DistributedDataParallel, started by the first, which alone writes.
Says what it has, then answers a line "burst PLACE STEPS" with the seconds of a step. Without GPUs
it runs on the CPU.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import bench_networks
import torch
from torch import nn
from torch_model import build

WARM_UP = 8
DTYPES = {"bf16": torch.bfloat16, "tf32": torch.float32, "fp32": torch.float32}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
RANK, PORT = "TORCH_PEER_RANK", "TORCH_PEER_PORT"
"""What the first process tells the others, by environment variables."""


def main() -> None:
    """Start the others, warm up, answer."""
    case, rank = json.loads(sys.argv[1]), int(os.environ.get(RANK, "0"))
    devices, precision = case["devices"], case["precision"]
    others = start_others(devices) if not rank else []
    if DEVICE == "cuda":
        torch.cuda.set_device(rank)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    if devices > 1:
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": os.environ[PORT]}
        carrier = "nccl" if DEVICE == "cuda" else "gloo"
        torch.distributed.init_process_group(carrier, rank=rank, world_size=devices)
    steps = [prepare(case, mode, rank) for mode in case["modes"]]
    for step in steps:
        for _ in range(WARM_UP):
            step()
    synchronize()
    if not rank:
        programs = [{"strategy": mode} for mode in case["modes"]]
        print(json.dumps({"torch": torch.__version__, "programs": programs}), flush=True)
    for line in sys.stdin:
        for pipe in (other.stdin for other in others if other.stdin is not None):
            pipe.write(line)
            pipe.flush()
        _, place, count = line.split()
        seconds = burst(steps[int(place)], int(count))
        if not rank:
            print(json.dumps(seconds), flush=True)


def start_others(devices: int) -> list[subprocess.Popen[str]]:
    """The processes of the other devices, by this one's command; they read what it passes on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        os.environ[PORT] = str(free.getsockname()[1])
    return [
        subprocess.Popen(
            [sys.executable, *sys.argv], stdin=subprocess.PIPE, text=True,
            env={**os.environ, RANK: str(rank)},
        )
        for rank in range(1, devices)
    ]  # fmt: skip


def prepare(case: dict[str, Any], mode: str, rank: int) -> Callable[[], None]:
    """A training step on this device's part of the batch."""
    mixed = mode in ("autocast", "graph")
    stored = torch.float32 if mixed else DTYPES[case["precision"]]
    model: Any = build(bench_networks.layers(case["network"])).to(
        DEVICE, dtype=stored, memory_format=torch.channels_last
    )
    if case["devices"] > 1:
        own_devices = [rank] if DEVICE == "cuda" else None
        model = nn.parallel.DistributedDataParallel(
            model, device_ids=own_devices, gradient_as_bucket_view=True
        )
    forward = torch.compile(model) if mode == "compile" else model
    side, own = bench_networks.side(case["network"]), case["batch"] // case["devices"]
    images = torch.randn(own, 3, side, side, device=DEVICE, dtype=stored)
    images = images.to(memory_format=torch.channels_last)
    labels = torch.randint(bench_networks.CLASSES, (own,), device=DEVICE)
    optimizer = torch.optim.SGD(
        model.parameters(), 1e-3, momentum=0.9, weight_decay=5e-4, fused=True
    )
    criterion = nn.CrossEntropyLoss()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(DEVICE, torch.bfloat16, enabled=mixed):
            loss = criterion(forward(images), labels)
        loss.backward()
        optimizer.step()

    return recorded(step) if mode == "graph" else step


def recorded(step: Callable[[], None]) -> Callable[[], None]:
    """The step as a CUDA graph."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()

    def replay(_held: Callable[[], None] = step) -> None:
        """The graph reads images, labels and weights that nothing else holds."""
        graph.replay()

    return replay


def burst(step: Callable[[], None], steps: int) -> float:
    """Seconds of a step of that many."""
    synchronize()
    began = time.perf_counter()
    for _ in range(steps):
        step()
    synchronize()
    return (time.perf_counter() - began) / steps


def synchronize() -> None:
    if DEVICE == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
