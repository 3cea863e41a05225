"""Write `schedules.json`: the rates that PyTorch's schedulers give.

Made with PyTorch 2.13.0. In an environment that has torch, from the root of the repository:

    python tests/goldens/make_schedules.py

An entry has the schedule as a recipe writes it, steps an epoch, and the rate of every step.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.optim import lr_scheduler

FILE = Path(__file__).with_name("schedules.json")
RATE, EPOCH, EPOCHS = 0.3, 7, 6
TOTAL = EPOCH * EPOCHS


def rates(make: Callable[[Any], Any], an_epoch: bool = False) -> list[float]:
    """Of every step; some schedulers are asked once an epoch."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], RATE)
    scheduler, found = make(optimizer), []
    for step in range(TOTAL):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if not an_epoch or (step + 1) % EPOCH == 0:
            scheduler.step()
    return found


def warmed(steps: int, later: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A rise in equal parts, then another scheduler."""

    def make(optimizer: Any) -> Any:
        rise = lr_scheduler.LinearLR(optimizer, 1 / steps, 1.0, steps - 1)
        return lr_scheduler.SequentialLR(optimizer, [rise, later(optimizer)], [steps])

    return make


def main() -> None:
    """Ask PyTorch, and write."""
    warnings.simplefilter("ignore")
    s, rise = lr_scheduler, 2 * EPOCH
    found = {
        "constant()": rates(lambda o: s.ConstantLR(o, 1.0, 0)),
        "step(every=2ep, gamma=0.3)": rates(lambda o: s.StepLR(o, 2, 0.3), an_epoch=True),
        "exponential(gamma=0.7)": rates(lambda o: s.ExponentialLR(o, 0.7), an_epoch=True),
        "poly(power=2)": rates(lambda o: s.PolynomialLR(o, TOTAL, 2.0)),
        "cosine()": rates(lambda o: s.CosineAnnealingLR(o, TOTAL)),
        "cosine(final=0.1)": rates(lambda o: s.CosineAnnealingLR(o, TOTAL, 0.1 * RATE)),
        "onecycle()": rates(lambda o: s.OneCycleLR(o, RATE, TOTAL)),
        "onecycle(rise=0.5, start=0.1, final=0.01)": rates(
            lambda o: s.OneCycleLR(
                o, RATE, TOTAL, pct_start=0.5, div_factor=10, final_div_factor=10
            )
        ),
        "constant(warmup=2ep)": rates(warmed(rise, lambda o: s.ConstantLR(o, 1.0, 0))),
        "cosine(warmup=2ep)": rates(warmed(rise, lambda o: s.CosineAnnealingLR(o, TOTAL - rise))),
        "poly(warmup=2ep)": rates(warmed(rise, lambda o: s.PolynomialLR(o, TOTAL - rise))),
    }
    content = {"rate": RATE, "epoch": EPOCH, "rates": found}
    FILE.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
