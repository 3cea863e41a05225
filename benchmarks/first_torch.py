"""PyTorch's side of first_step.py: NETWORK BATCH PRECISION MODE, one training step and out.

On the GPU where there is one, unless CUDA_VISIBLE_DEVICES is empty; modes: eager, compile.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import bench_networks
import torch
from torch import nn
from torch_model import build


def main(network: str, batch: int, precision: str, mode: str) -> None:
    """One step of SGD, as gpu_torch.py and peer_torch.py time many."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    torch.backends.cudnn.benchmark = device == "cuda"
    model: Any = build(bench_networks.layers(network)).to(
        device, dtype=dtype, memory_format=torch.channels_last
    )
    forward = torch.compile(model) if mode == "compile" else model
    side = bench_networks.side(network)
    images = torch.randn(batch, 3, side, side, device=device, dtype=dtype)
    images = images.to(memory_format=torch.channels_last)
    labels = torch.randint(bench_networks.CLASSES, (batch,), device=device)
    optimizer = torch.optim.SGD(
        model.parameters(), 1e-3, momentum=0.9, weight_decay=5e-4, fused=True
    )
    loss = nn.CrossEntropyLoss()(forward(images), labels)
    loss.backward()
    optimizer.step()
    print(json.dumps({"torch": torch.__version__, "loss": loss.item()}), flush=True)


if __name__ == "__main__":
    name, images_of_a_step, *rest = sys.argv[1:]
    main(name, int(images_of_a_step), *rest)
