"""What a training is told, beside its compiled program, and how its checkpoints say that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from netc.ir.facts import Facts
from netc.ir.program import Bundle, Launch, Program

from ..io.problems import data_error
from .augment import Spec
from .datasets import Dataset

WEIGHTS = "weights"
"""The setting, and the optimizer's fact, that has the rules for some weights."""
OnNan = Literal["stop", "rollback"]


@dataclass(frozen=True, slots=True)
class Training:
    """What may change from run to run of one compiled program."""

    epochs: int
    seed: int
    rate: float
    """Base learning rate, for the global batch."""
    schedule: tuple[str, Mapping[str, object]]
    augment: tuple[Spec, ...]
    limit: int | None = None
    """Stop after this many steps, whatever the epochs."""
    patience: int | None = None
    """Stop after this many epochs without a better accuracy."""
    called: Mapping[str, str] = field(default_factory=dict)
    """By what words network and data are found again, by name: checkpoints say it."""
    skip_bad: int = 0
    """How many images that cannot be read are left out."""
    on_nan: OnNan = "stop"
    """What happens where a loss, a weight or state is no number."""
    save_every: int | None = None
    """Steps from one checkpoint to the next; the ends of epochs have one anyway."""


def steps_in_epoch(dataset: Dataset, batch: int) -> int:
    """Whole batches of a data set; DataError (E067) where there is none."""
    if dataset.train_size < batch:
        message = f"'{dataset.name}' has {dataset.train_size} training images, fewer than a batch"
        raise data_error(
            "E067",
            f"{message} of {batch}.",
            "take a smaller '--batch', with which a compiled program is compiled again.",
        )
    return dataset.train_size // batch


def settings_of(training: Training, bundle: Bundle, batch: int, dataset: Dataset) -> dict[str, str]:
    """What a training was told, by name: what a checkpoint of it says."""
    facts = bundle.facts
    optimizer = {k: v for k, v in facts.optimizer.kwargs.items() if k != WEIGHTS}
    settings = {
        "batch": str(batch),
        "classes": str(facts.classes),
        "data set": dataset.description,
        "epochs": str(training.epochs),
        "lr": str(training.rate),
        "network": facts.text,
        "schedule": call_text(*training.schedule),
        "augment": " ".join(
            call_text(name, kwargs, args) for name, args, kwargs in training.augment
        ),
        "optimizer": call_text(facts.optimizer.name, optimizer),
        **_settings_besides(bundle),
    }
    return settings | {f"-D {name}": value for name, value in facts.parameters}


def ran_of(training: Training, facts: Facts, backend: str, steps: int) -> dict[str, str]:
    """How a run of so many steps was called, by name: what its checkpoints say for people."""
    told = {
        "devices": "x".join(map(str, facts.mesh)),
        "strategy": f"{facts.strategy}: {facts.taken}" if facts.taken else facts.strategy,
        "scheme": facts.scheme,
        "updates": facts.updates,
        "precision": facts.precision,
        "kernels": facts.kernels,
        "backend": backend,
        "steps": str(steps),
    }
    return {**told, **training.called}


def call_text(name: str, kwargs: Mapping[str, object], args: Sequence[object] = ()) -> str:
    """As a recipe writes it."""
    return f"{name}({', '.join([*map(str, args), *(f'{k}={v}' for k, v in kwargs.items())])})"


def _settings_besides(bundle: Bundle) -> dict[str, str]:
    """What a recipe may say besides optimizer, schedule and data, by name, where it is in force."""
    facts = bundle.facts
    said = {
        "accumulate": facts.accumulate if facts.accumulate > 1 else None,
        "clip": facts.clip,
        "ema": facts.ema,
        "rate_batch": facts.rate_batch,
        "smoothing": _smoothing(bundle.train) or None,
        WEIGHTS: facts.optimizer.kwargs.get(WEIGHTS),
    }
    return {name: str(value) for name, value in said.items() if value is not None}


def _smoothing(program: Program) -> object:
    """Of labels: what the loss of a program is told."""
    launches = (each for each in program.instructions if isinstance(each, Launch))
    told = (dict(step.attributes.pairs) for launch in launches for step in launch.steps)
    return next((each["smoothing"] for each in told if "smoothing" in each), None)
