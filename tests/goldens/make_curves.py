"""Write `curves.json`: how PyTorch's loss falls over fifty steps of small trainings, in float64.

Made with PyTorch 2.13.0 on a CPU. In an environment that has torch beside netc's dependencies, from
the root of the repository, with netc installed or on the PYTHONPATH:

    python tests/goldens/make_curves.py

Weights and images are netc's (`curve_cases.py`). Clipping, smoothing and averages are PyTorch's,
and updates but for `sgd`, whose rate is inside the velocity. Rates are written out here; those of
PyTorch's schedulers are in `schedules.json`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from curve_cases import (
    BATCH,
    CLASSES,
    CURVES,
    EPOCH,
    FILE,
    OPTIMIZERS,
    STEPS,
    Curve,
    batch,
    found,
    given,
)
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

MODULES = {"conv1": "0", "bn1": "1", "fc1": "5", "fc2": "7"}
"""Where netc's layers are in the model."""


def model() -> Any:
    """The network, with the weights that both begin with."""
    layers = (
        torch.nn.Conv2d(2, 4, 3, padding=1, bias=False), torch.nn.BatchNorm2d(4), torch.nn.ReLU(),
        torch.nn.MaxPool2d(2), torch.nn.Flatten(), torch.nn.Linear(36, 6), torch.nn.Tanh(),
        torch.nn.Linear(6, CLASSES),
    )  # fmt: skip
    made = torch.nn.Sequential(*layers).double()
    known = dict(made.named_parameters())
    with torch.no_grad():
        for name, value in given().items():
            known[there(name)].copy_(torch.from_numpy(value))
    return made


def there(name: str) -> str:
    layer, role = name.split(".")
    return f"{MODULES[layer]}.{role}"


def own_sgd(parameters: list[Any], momentum: float, decay: float) -> Callable[[float], None]:
    """v := momentum v - lr (g + decay w); w := w + v."""
    velocities = [torch.zeros_like(w) for w in parameters]

    def step(rate: float) -> None:
        with torch.no_grad():
            for w, v in zip(parameters, velocities, strict=True):
                v.mul_(momentum).sub_(rate * (w.grad + decay * w))
                w.add_(v)

    return step


def stepper(curve: Curve, parameters: list[Any]) -> Callable[[float], None]:
    """An update at a rate."""
    o = OPTIMIZERS[curve.optimizer]
    if curve.optimizer == "sgd":
        return own_sgd(parameters, o["momentum"], o["decay"])
    if curve.optimizer == "adamw":
        betas = o["beta1"], o["beta2"]
        made: Any = torch.optim.AdamW(parameters, o["lr"], betas, o["eps"], o["decay"])
    else:
        told = o["lr"], o["alpha"], o["eps"], o["decay"], o["momentum"]
        made = torch.optim.RMSprop(parameters, *told)

    def step(rate: float) -> None:
        made.param_groups[0]["lr"] = rate
        made.step()

    return step


def rate(curve: Curve, step: int) -> float:
    """A rise in equal parts, then a fall by a cosine, or none."""
    base, rise = OPTIMIZERS[curve.optimizer]["lr"], curve.warmup * EPOCH
    if step < rise:
        return base * (step + 1) / rise
    if curve.schedule == "constant":
        return base
    return base * (1 + math.cos(math.pi * (step - rise) / (STEPS - rise))) / 2


def run_torch(curve: Curve) -> dict[str, Any]:
    net = model()
    parameters = list(net.parameters())
    loss_of = torch.nn.CrossEntropyLoss(label_smoothing=curve.smoothing)
    averaged = None
    if curve.ema is not None:
        averaged = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(curve.ema))
    update, losses = stepper(curve, parameters), []
    for step in range(STEPS):
        if step % curve.accumulate == 0:
            net.zero_grad()
            now = rate(curve, step)
        images, labels = map(torch.from_numpy, batch(step))
        loss = loss_of(net(images), labels)
        (loss / curve.accumulate).backward()
        losses.append(loss.item())
        if (step + 1) % curve.accumulate:
            continue
        if curve.clip is not None:
            torch.nn.utils.clip_grad_norm_(parameters, curve.clip)
        update(now)
        if averaged is not None:
            averaged.update_parameters(net)
    judged = (net if averaged is None else averaged).eval()
    images, labels = map(torch.from_numpy, batch(0))
    with torch.no_grad():
        total = torch.nn.functional.cross_entropy(judged(images), labels, reduction="sum").item()
    averages = {} if averaged is None else named(averaged.module)
    return found(losses, named(net), averages, total / BATCH)


def named(net: Any) -> dict[str, Any]:
    known = dict(net.named_parameters())
    return {name: known[there(name)].detach().numpy().astype(np.float64) for name in given()}


def main() -> None:
    """Train, and write."""
    entries = ",\n".join(
        f"{json.dumps(curve.name)}: {json.dumps(run_torch(curve))}" for curve in CURVES
    )
    FILE.write_text(f"{{\n{entries}\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
