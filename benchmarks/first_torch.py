"""PyTorch's side of first_step.py: NETWORK BATCH PRECISION MODE, one training step and out.

On the GPU where there is one, unless CUDA_VISIBLE_DEVICES is empty; modes: eager, compile.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import bench_networks

BEGAN = time.perf_counter()
import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch_model import build  # noqa: E402


def main(network: str, batch: int, precision: str, mode: str) -> None:
    """One step of SGD, as gpu_torch.py and peer_torch.py time many."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    torch.backends.cudnn.benchmark = device == "cuda"
    imported = time.perf_counter()
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
    given = time.perf_counter()
    loss = nn.CrossEntropyLoss()(forward(images), labels)
    loss.backward()
    optimizer.step()
    stages = {"import": imported - BEGAN, "weights": given - imported}
    said = {"torch": torch.__version__, "loss": loss.item()}
    print(json.dumps({**said, "stages": stages}), flush=True)


if __name__ == "__main__":
    name, images_of_a_step, *rest = sys.argv[1:]
    main(name, int(images_of_a_step), *rest)
