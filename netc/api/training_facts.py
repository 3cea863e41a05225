"""What the page of a training tells: what its folder says, and what its network makes of images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from netc.api.figures import count
from netc.errors import NetError, clip, escaped
from netc.export.legend import Tile
from netc.export.training import FirstFilters, HeldOut, ShownImage, TrainingFacts, training_html
from netc.export.training.page import rollbacks
from netc.export.words import amount
from netc.export.write import PAGE, put
from netc.ir.optimizers import AVERAGE
from netc.ir.program import Bundle
from netc.numbers import loss_text
from netc_runtime.io.checkpoint import latest, load, meta_of, run_in, settings_in
from netc_runtime.io.problems import data_error
from netc_runtime.train.datasets import Dataset, parts_of, shown_as
from netc_runtime.train.folder import METRICS
from netc_runtime.train.metrics import Measured, read_metrics
from netc_runtime.train.outcomes import KEPT, Outcomes
from netc_runtime.train.skipping import Skipping

PAGE_NAME = f"report{PAGE}"
"""The file in a training's folder."""
SHOWN_IMAGES = 24
"""In each of both galleries."""
SHOWN_FILTERS = 96
GUESSES = 3
"""Classes that are told of an image."""
_LONGEST = 400
"""Characters of a value."""


@dataclass(frozen=True, slots=True)
class TrainingFolder:
    """What the folder of a training says."""

    folder: Path
    lines: list[Measured]
    """Its metrics; at least one."""
    file: Path | None
    """Its newest checkpoint."""
    meta: Mapping[str, str]
    """What that says of itself."""
    problem: NetError | None
    """Why there is no checkpoint that can be read; None where there is one."""

    @property
    def network(self) -> str:
        """The network's name."""
        return self.meta.get("network") or self.folder.absolute().name


@dataclass(frozen=True, slots=True)
class Judged:
    """What a trained network makes of the held-out images, and its filters."""

    loss: float
    accuracy: float
    among: float
    """The fraction of images whose class is among the `KEPT` most likely ones."""
    images: int
    """How many there are."""
    held_out: HeldOut
    filters: FirstFilters | None


def read_told(folder: Path) -> TrainingFolder:
    """What is in the folder of a training.

    Raises DataError: E061, E068 where there are no metrics that can be read.
    """
    metrics, file = folder / METRICS, latest(folder)
    if not metrics.is_file():
        raise _nothing(folder, file)
    lines = read_metrics(metrics)
    if not lines:
        hint = "the training has not done a step: wait, or go on with it by 'netc run --resume'."
        raise data_error("E068", f"'{metrics}' has no lines yet.", hint)
    meta: Mapping[str, str] = {}
    problem: NetError | None = None
    if file is None:
        hint = "wait for the end of an epoch, where the training is running."
        problem = data_error("E068", "the folder has no checkpoint.", hint)
    else:
        try:
            meta = meta_of(file)
        except NetError as error:
            file, problem = None, error
    return TrainingFolder(folder, lines, file, meta, problem)


def _nothing(folder: Path, file: Path | None) -> NetError:
    """The error for a folder without metrics."""
    if file is not None:
        message = f"'{folder}' has checkpoints, but no {METRICS}, which says how it was trained."
        hint = f"'netc eval NET --weights {file}' measures the newest of them."
        return data_error("E068", message, hint)
    message = f"'{folder}' is not the folder of a training: there is no {METRICS}."
    hint = "'netc run' makes one: runs/NAME, or what '--out' says."
    return data_error("E068", message, hint)


def left_out(error: NetError) -> str:
    """A note on what the page has not, and why: the first of an error's diagnostics."""
    first = error.diagnostics[0]
    said = (each.rstrip(".") for each in (first.message, first.help) if each)
    return f"what the network makes of the held-out images is left out: {'; '.join(said)}."


def write_page(
    path: Path, told: TrainingFolder, judged: Judged | None, notes: tuple[str, ...]
) -> None:
    """Write the page of a training; raises UsageError (E056) where the system refuses.

    What cannot be read any more is left out, with a note on it.
    """
    facts = TrainingFacts(
        told.network,
        escaped(str(told.folder)),
        list(tiles(told, judged)),
        [(name, clip(value, _LONGEST)) for name, value in _rows(told) if value],
        told.lines,
        notes,
        None if judged is None else judged.held_out,
        None if judged is None else judged.filters,
    )
    put(path, training_html(facts).encode())


def tiles(told: TrainingFolder, judged: Judged | None) -> Iterator[Tile]:
    """Final figures."""
    tests = _tests(told)
    if judged is not None:
        images = f"of {count(judged.images)} held-out images are right"
        yield _percent(judged.accuracy), f"{images}{_weights_of(told)}"
        if len(judged.held_out.classes) > KEPT:
            yield _percent(judged.among), f"have their class among the first {KEPT}"
        yield loss_text(judged.loss), "held-out loss"
    elif tests:
        yield _percent(tests[-1][1]), f"of held-out images are right, epoch {tests[-1][0]:.0f}"
        yield loss_text(tests[-1][2]), "held-out loss"
    if tests:
        epoch, best, _ = max(tests, key=lambda each: (each[1], -each[0]))
        yield _percent(best), f"best of an epoch, {epoch:.0f}"
    last = told.lines[-1]
    settings, ran = settings_in(told.meta), run_in(told.meta)
    yield _of(epochs_done(told), settings.get("epochs")), "epochs"
    yield _of(last["step"], ran.get("steps")), "steps"
    speeds = [s for each in told.lines if (s := each.get("images_per_second")) is not None]
    if speeds:
        yield amount(median(speeds)), "images/s, median"


def _weights_of(told: TrainingFolder) -> str:
    """Behind what was measured with the newest checkpoint: what else than the newest weights."""
    parts = ["by the averages of weights"] if "ema" in settings_in(told.meta) else []
    if lags := _lag(told):
        parts.append(f"after step {lags[0]:,}")
    return "".join(f", {part}" for part in parts)


def _lag(told: TrainingFolder) -> tuple[int, int] | None:
    """The steps of the newest checkpoint and of the last line, where there is more in the lines."""
    last, saved = int(told.lines[-1]["step"] or 0), whole_number(told.meta.get("step"))
    return (saved, last) if saved is not None and saved < last else None


def standing(told: TrainingFolder) -> tuple[str, ...]:
    """Notes on what the curves tell and the newest checkpoint does not."""
    if (lags := _lag(told)) is None:
        return ()
    return (
        f"the newest checkpoint is of step {lags[0]:,}, of {lags[1]:,} that were made: the "
        "training runs on, or it failed or was killed behind it.",
    )


def epochs_done(told: TrainingFolder) -> int:
    """Whole passes over the data: that were evaluated, or that the newest checkpoint knows."""
    last = told.lines[-1]
    begun = int(last.get("epoch") or 0)
    ended = begun if "test_loss" in last else max(0, begun - 1)
    return max(ended, whole_number(told.meta.get("epoch")) or 0)


def whole_number(text: str | None) -> int | None:
    """A whole number that a file says; None for what is none."""
    told = text or ""
    return int(told) if told.isascii() and told.isdecimal() and len(told) < 20 else None


def _tests(told: TrainingFolder) -> list[tuple[float, float, float]]:
    """Epochs with the accuracy and the loss of held-out images after them."""
    names = ("epoch", "test_accuracy", "test_loss")
    found = ([line[name] for name in names if name in line] for line in told.lines)
    known = ([value for value in each if value is not None] for each in found)
    return [(each[0], each[1], each[2]) for each in known if len(each) == len(names)]


def _percent(part: float) -> str:
    return f"{100 * part:.2f} %"


def _of(done: float | None, whole: str | None) -> str:
    """So many, of how many."""
    number = whole_number(whole)
    return f"{done or 0:,.0f}" + ("" if number is None else f" of {number:,}")


def _rows(told: TrainingFolder) -> Iterator[tuple[str, str]]:
    """What was trained, and how; what is not known is empty."""
    settings, ran = settings_in(told.meta), run_in(told.meta)
    yield "network", told.network
    file = ran.get("network", "")
    yield "file", escaped(file) if file != told.network else ""
    for name, value in settings.items():
        if name.startswith("-D "):
            yield name, value
    yield "data set", escaped(settings.get("data set", ""))
    yield "devices", ran.get("devices", "")
    scheme, updates = ran.get("scheme", ""), ran.get("updates", "")
    more = [f"scheme {scheme}"] if scheme else []
    more += [f"updates {updates}"] if updates == "sharded" else []
    yield "strategy", ", ".join([escaped(ran.get("strategy", "")), *more])
    parts = (ran.get("precision"), ran.get("backend"), ran.get("kernels"))
    yield "computed in", ", ".join(filter(None, (*parts[:2], parts[2] and f"{parts[2]} kernels")))
    yield "batch", settings.get("batch", "")
    yield from _recipe(settings)
    back = [f"after step {step:,.0f} {text}" for step, text in rollbacks(told.lines)]
    yield "rollbacks", "; ".join(back)
    yield "seed", told.meta.get("seed", "")
    yield "checkpoint", escaped(told.file.name) if told.file else "none that can be read"


def _recipe(settings: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """How weights were moved, as `netc render` has it; what is not in force is empty."""
    optimizer, rate = settings.get("optimizer", ""), settings.get("lr", "")
    # Of products of decimals the last digits say nothing.
    with suppress(ValueError):
        rate = f"{float(rate):.10g}"
    yield "optimizer", f"{optimizer}, rate {rate}" if optimizer else ""
    whole = settings.get("rate_batch")
    yield "rate_batch", f"the recipe's rate is for {whole} images" if whole else ""
    for name in ("weights", "clip", "accumulate", "smoothing"):
        yield name, settings.get(name, "")
    ema = settings.get("ema")
    yield "ema", f"{ema}; averages of weights are what is evaluated" if ema else ""
    yield "schedule", settings.get("schedule", "")
    yield "augmentation", settings.get("augment", "")
    yield "epochs", settings.get("epochs", "")


def judge(
    bundle: Bundle, dataset: Dataset, file: Path, measured: tuple[float, float], outcomes: Outcomes
) -> Judged:
    """What a network makes of all held-out images, of which some are looked at. `measured` are the
    mean loss and the accuracy, `file` has the weights.

    Raises DataError as the data set, where images cannot be read, and as `load`.
    """
    size, said = len(outcomes.labels), outcomes.classes[:, 0]
    pairs = Counter(zip(outcomes.labels.tolist(), said.tolist(), strict=True))
    worst = np.argsort(outcomes.own, kind="stable")[:SHOWN_IMAGES]
    sample = np.unique(np.linspace(0, size - 1, min(SHOWN_IMAGES, size)).round().astype(np.int64))
    held_out = HeldOut(
        tuple(map(escaped, dataset.classes)),
        pairs,
        _images(dataset, outcomes, worst),
        _images(dataset, outcomes, sample),
    )
    among = outcomes.share_in(KEPT)
    return Judged(*measured, among, size, held_out, _filters(bundle, file))


def _images(dataset: Dataset, outcomes: Outcomes, numbers: NDArray[np.int64]) -> list[ShownImage]:
    # What cannot be read is a picture's, and those fill one input.
    plain = dataset.dataset if isinstance(dataset, Skipping) else dataset
    first = parts_of(plain)[0]
    source = dataset if dataset.inputs == 1 else first
    images, _ = source.load("test", numbers, np.float64)
    pixels = shown_as(dataset.name, first).shown(images)
    return [
        ShownImage(
            int(number),
            each,
            int(outcomes.labels[number]),
            float(outcomes.own[number]),
            _guesses(outcomes, int(number)),
        )
        for number, each in zip(numbers, pixels, strict=True)
    ]


def _guesses(outcomes: Outcomes, number: int) -> tuple[tuple[int, float], ...]:
    classes, shares = outcomes.classes[number], outcomes.probabilities[number]
    pairs = zip(classes[:GUESSES].tolist(), shares[:GUESSES].tolist(), strict=True)
    return tuple(pairs)


def _filters(bundle: Bundle, file: Path) -> FirstFilters | None:
    """The weights of the first layer, as evaluation has them, where it has one for every pixel or
    channel of a window.

    Raises DataError as `load`.
    """
    channels, height, width = bundle.facts.image
    name = next((name for name in bundle.facts.torch_names if name.endswith(".weight")), "")
    averages = {port.name for port in bundle.eval.state if port.name == name + AVERAGE}
    found = load(file, (name, *averages))[0]
    weights = found.get(next(iter(averages), name), found.get(name))
    if weights is None or not np.isfinite(weights).all():
        return None
    if weights.ndim == 2 and weights.shape[1] == channels * height * width:
        weights = weights.reshape(-1, channels, height, width)
    if weights.ndim != 4 or weights.shape[1] != channels:
        return None
    return FirstFilters(name.removesuffix(".weight"), weights[:SHOWN_FILTERS], len(weights))
