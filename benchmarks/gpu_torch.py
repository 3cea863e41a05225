"""PyTorch's side of gpu.py: NETWORK BATCH PRECISION MODE DEVICES.

Modes: eager, compile, autocast (float32 weights). With several devices, one process each under
DistributedDataParallel, BATCH images over all of them. Prints images/s of bursts of steps as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import bench_networks
import torch
from torch import nn
from torch_model import build

WARM_UP, STEPS, BURSTS = 8, 20, 7
DTYPES = {"bf16": torch.bfloat16, "tf32": torch.float32, "fp32": torch.float32}


def main(rank: int, network: str, batch: int, precision: str, mode: str, devices: int) -> None:
    torch.cuda.set_device(rank)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    stored = torch.float32 if mode == "autocast" else DTYPES[precision]
    model: Any = build(bench_networks.layers(network)).to(
        "cuda", dtype=stored, memory_format=torch.channels_last
    )
    if devices > 1:
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29511"}
        torch.distributed.init_process_group("nccl", rank=rank, world_size=devices)
        model = nn.parallel.DistributedDataParallel(
            model, device_ids=[rank], gradient_as_bucket_view=True
        )
    forward = torch.compile(model) if mode == "compile" else model
    side, own = bench_networks.side(network), batch // devices
    images = torch.randn(own, 3, side, side, device="cuda", dtype=stored)
    images = images.to(memory_format=torch.channels_last)
    labels = torch.randint(bench_networks.CLASSES, (own,), device="cuda")
    optimizer = torch.optim.SGD(
        model.parameters(), 1e-3, momentum=0.9, weight_decay=5e-4, fused=True
    )
    criterion = nn.CrossEntropyLoss()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16, enabled=mode == "autocast"):
            loss = criterion(forward(images), labels)
        loss.backward()
        optimizer.step()

    for _ in range(WARM_UP):
        step()
    found = [burst(step) for _ in range(BURSTS)]
    if rank == 0:
        speeds = [STEPS * batch / seconds for seconds in found]
        print(json.dumps({"torch": torch.__version__, "images_per_second": speeds}), flush=True)
    if devices > 1:
        torch.distributed.destroy_process_group()


def burst(step: Any) -> float:
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(STEPS):
        step()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) / 1e3


if __name__ == "__main__":
    network, batch, precision, mode, devices = sys.argv[1:]
    asked = (network, int(batch), precision, mode, int(devices))
    if int(devices) == 1:
        main(0, *asked)
    else:
        torch.multiprocessing.spawn(main, asked, nprocs=int(devices))
