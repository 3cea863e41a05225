"""What a training tells while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from netc.numbers import loss_text


@dataclass(frozen=True, slots=True)
class StepDone:
    """One training step ended."""

    step: int
    """Steps done so far."""
    epoch: int
    """From 1."""
    loss: float
    learning_rate: float
    images_per_second: float
    exposed_seconds: float | None
    """Communication of this step that nothing hid; None where it is not measured."""
    loading: bool
    """Whether the last steps waited longer for images than for the devices."""
    gradient_norm: float | None = None
    """Of all gradients together, before it was limited; None where nothing limits it."""


@dataclass(frozen=True, slots=True)
class EpochDone:
    """One pass over the training images, followed by an evaluation."""

    step: int
    epoch: int
    loss: float | None
    """Mean training loss of the epoch's steps of this run; None where it made none of them."""
    test_loss: float
    test_accuracy: float
    """As a fraction."""


@dataclass(frozen=True, slots=True)
class Evaluating:
    """Held-out images are gone through from now on."""

    step: int
    """Steps done so far."""


@dataclass(frozen=True, slots=True)
class RolledBack:
    """Numbers were none, and the training went back to its last checkpoint."""

    step: int
    """Steps made so far; the next one takes the batch that comes behind them."""
    epoch: int
    """Of the last of them, from 1."""
    back_to: int
    """The step whose state there is now."""
    rollbacks: int
    """How often it went back, this time among them."""
    rate_factor: float
    """By which the learning rate is multiplied from now on."""
    why: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The training ended, or was interrupted after a whole step."""

    step: int
    epoch: int
    test_loss: float | None
    test_accuracy: float | None
    """Both None where it was interrupted before the last step was evaluated."""
    seconds: float
    interrupted: bool
    gave_up: bool
    """Whether it ended early: so many epochs, its patience, brought nothing better."""
    best_step: int
    """Whose checkpoint is the best by accuracy; the first of equal ones."""
    best_accuracy: float
    """As a fraction, over the held-out images."""
    checkpoint: Path | None
    """The file that was saved last; None in a process that saves nothing."""

    def __repr__(self) -> str:
        """One line."""
        told = "not evaluated"
        if self.test_accuracy is not None and self.test_loss is not None:
            told = f"accuracy {100 * self.test_accuracy:.2f} %, loss {loss_text(self.test_loss)}"
        how = ", interrupted" if self.interrupted else ", out of patience" if self.gave_up else ""
        return f"<Finished: {self.step} steps, {told}, {self.seconds:.3g} s{how}>"


Event = StepDone | EpochDone | Evaluating | RolledBack | Finished
