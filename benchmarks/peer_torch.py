"""PyTorch's side of cpu.py: mode `eager` (NCHW), `channels_last`, or `compile` (channels_last)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bench_networks
import torch
import torch._inductor.config
from serve import DECAY, MOMENTUM, RATE, Case, serve
from torch import Tensor, nn
from torch_model import build


def prepare(case: Case) -> Callable[[], object]:
    torch.set_num_threads(case.threads)
    model = build(bench_networks.layers(case.network)).train(not case.forward)
    case.check(sum(p.numel() for p in model.parameters()))
    images = torch.randn(case.batch, 3, *[bench_networks.side(case.network)] * 2)
    if case.mode != "eager":
        model = model.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    run = torch.compile(model) if case.mode == "compile" else model
    return scored(run, images) if case.forward else trained(model, run, images)


def scored(run: Callable[..., Any], images: Tensor) -> Callable[[], object]:
    # Weights are constants, so the compiler may fold and reorder them.
    torch._inductor.config.freezing = True

    @torch.inference_mode()
    def step() -> object:
        return run(images)

    return step


def trained(model: nn.Module, run: Callable[..., Any], images: Tensor) -> Callable[[], object]:
    labels, criterion = torch.randint(bench_networks.CLASSES, (len(images),)), nn.CrossEntropyLoss()
    # The default is a loop over the weights, which takes four times as long.
    optimizer = torch.optim.SGD(model.parameters(), RATE, MOMENTUM, weight_decay=DECAY, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        loss = criterion(run(images), labels)
        loss.backward()
        optimizer.step()
        loss.item()

    return step


serve(prepare, torch=torch.__version__)
