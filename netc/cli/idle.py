"""Settings of a training that train nothing, or less than they seem to."""

from __future__ import annotations

from collections.abc import Iterator

from netc.ir.optimizers import rate_factor
from netc_runtime.train.trainer import Trainer


def idle_notes(trainer: Trainer) -> Iterator[str]:
    """A sentence on each."""
    training, (_, height, width) = trainer.training, trainer.dataset.image_shape
    inputs = trainer.session.bundle.train.inputs
    moved = any(rate_factor(port.name) is not None for port in inputs)
    if not moved:
        yield "no weight is trained: all are frozen by 'weights' lines."
    elif training.rate == 0:
        yield "no weight is trained: the rate is 0."
    warmup = training.schedule[1].get("warmup", 0)
    if isinstance(warmup, int | float) and warmup >= training.epochs and warmup > 0:
        yield (
            f"the rate only rises: its warmup is of {warmup:g} epochs, the training of "
            f"{training.epochs}."
        )
    for name, args, kwargs in training.augment:
        pixels = kwargs.get("pixels", args[0] if args else 0) if name == "shift" else 0
        if isinstance(pixels, int) and pixels >= min(height, width):
            yield (
                f"'shift({pixels})' moves some images out of sight: they have {height}x{width} "
                "pixels."
            )
