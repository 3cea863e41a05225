"""Steps of a training that are traced, and the file that is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from netc.api.predicted import LOCAL, is_priced
from netc.api.train_choices import TrainChoices
from netc.api.writable import check_writable
from netc.errors import DataError, Diagnostic, UsageError, escaped
from netc.ir.program import Bundle
from netc.trace.spans import StepSpans
from netc.trace.write import trace_text
from netc_kernels.files import write_whole
from netc_runtime.backend import Place, StepTimes
from netc_runtime.io.problems import unwritable
from netc_runtime.launch.ranks import Ranks
from netc_runtime.train.trainer import Trainer

ROUGH = "this machine, by rough defaults"
"""Whose prices are taken where nothing was measured."""
WARM_UP = 3
"""Steps before the first that is traced, where there are so many."""


def step_tracer(
    choices: TrainChoices, cluster: str | None, trainer: Trainer, ranks: Ranks
) -> StepTracer | None:
    """What traces the steps that are chosen; None where none are.

    Raises UsageError: E051 where fewer are left, E056 where the file cannot be written.
    """
    if choices.trace is None:
        return None
    path = Path(choices.trace)
    check_writable(path)
    return StepTracer(path, choices.trace_steps, cluster, trainer, ranks)


class StepTracer:
    """Traces some steps of a training, and writes what all processes measured."""

    def __init__(
        self, path: Path, steps: int | None, cluster: str | None, trainer: Trainer, ranks: Ranks
    ) -> None:
        """Choose the steps: so many, or one. `cluster` is the machine whose prices the program has,
        as it was named.

        Raises UsageError (E051) where fewer are left than are to be traced.
        """
        self.path, self.cluster = path, cluster
        self.trainer, self.ranks = trainer, ranks
        count, moving = steps or 1, trainer.updating
        left = len(moving)
        if left < count:
            message = f"steps to trace: {count}, steps that are left to do: {left}."
            hint = "train longer, with '--steps' or '--epochs'."
            raise UsageError(Diagnostic("E051", message, help=hint))
        first = min(WARM_UP, left - count)
        trainer.traced = moving[first : first + count]
        self.times: list[StepTimes] = []
        self.written = False

    @property
    def numbers(self) -> range:
        """The steps that are traced, as they are counted in what is shown."""
        traced = self.trainer.traced
        return range(traced.start + 1, traced.stop + 1, traced.step)

    def take(self, step: int) -> None:
        """A step is done, in all processes. What cannot be written ends the training, after it
        was saved.
        """
        if step not in self.numbers:
            return
        times = self.trainer.last_step.times
        assert times is not None, "the step was traced"
        self.times.append(times)
        if step == self.numbers[-1]:
            self._gather()

    def _gather(self) -> None:
        """All that was measured, on one clock, in one file."""
        bounds = self.ranks.clocks_ahead()
        gathered = self.ranks.allgather(self.times)
        self.times = []
        if self.ranks.rank:
            return
        ahead = [(least + most) // 2 for least, most in bounds]
        exact = max(
            (most - least) // 2 + max(each.exact for each in times)
            for (least, most), times in zip(bounds, gathered, strict=True)
        )
        steps = [
            _merged(number, [times[place] for times in gathered], ahead)
            for place, number in enumerate(self.numbers)
        ]
        bundle, backend = self.trainer.session.bundle, self.trainer.session.backend
        try:
            write_trace(self.path, bundle, backend.name, self.cluster, steps, exact)
            self.written = True
        except DataError as error:
            self.trainer.failure = self.trainer.failure or error

    @property
    def missing(self) -> str:
        """Why no trace was written, in a sentence; empty where one was."""
        if self.written:
            return ""
        return f"no trace was written: the training ended before step {self.numbers[-1]}."

    @property
    def text(self) -> str:
        """What was written, in words."""
        shown = " to ".join(dict.fromkeys(str(self.numbers[i]) for i in (0, -1)))
        return f"step{'s' * (len(self.numbers) > 1)} {shown} in {escaped(str(self.path))}"


def _merged(step: int, times: list[StepTimes], ahead: list[int]) -> StepSpans:
    """One step as all processes saw it, on the first one's clock."""
    spans: dict[Place, tuple[int, int]] = {}
    for own, by in zip(times, ahead, strict=True):
        spans |= {place: (own.starts[place] - by, end - by) for place, end in own.ends.items()}
    begun = min(own.begun - by for own, by in zip(times, ahead, strict=True))
    return StepSpans(step, begun, spans)


def write_trace(
    path: Path,
    bundle: Bundle,
    backend: str,
    cluster: str | None,
    steps: Sequence[StepSpans] = (),
    exact: int = 0,
) -> None:
    """Write a trace, whole; without `steps` that were measured it is the predicted step. Raises
    DataError (E069) where the file cannot be written.
    """
    facts = bundle.facts
    prices = (cluster or LOCAL) if is_priced(facts.target, cluster) else ROUGH
    text = trace_text(bundle.train, facts, backend, prices, steps, exact)
    try:
        write_whole(path, text.encode())
    except OSError as error:
        raise unwritable(path, error) from None
