"""Every image of a data set read once, for what is in it and what is bad."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from netc.api.calls import checked_calls
from netc.api.figures import count, shape_text, table, terminal_columns
from netc.errors import Diagnostic, escaped
from netc_runtime.cores import cores
from netc_runtime.train.datasets import Dataset
from netc_runtime.train.images import Shape, Split
from netc_runtime.train.survey import Seen, survey

WHOSE = "of training images, as the network gets them"


@checked_calls
@dataclass(frozen=True, slots=True, eq=False, repr=False)
class WholeSurvey:
    """What a data set has, of which every image was read; tables of that."""

    dataset: Dataset
    inputs: Mapping[str, Shape]
    """What it fills: (C, H, W) by name."""
    seen: Mapping[Split, Seen]
    seconds: float
    threads: int

    @property
    def problems(self) -> tuple[Diagnostic, ...]:
        """What is wrong with images that cannot be read."""
        return self.seen["train"].problems + self.seen["test"].problems

    @property
    def channels(self) -> list[tuple[str, int]]:
        """Of all inputs: the input's name, and the number of the channel there."""
        return [(name, k) for name, shape in self.inputs.items() for k in range(shape[0])]

    @property
    def looked(self) -> int:
        """All images."""
        return self.seen["train"].looked + self.seen["test"].looked

    @property
    def rate(self) -> float:
        """Images a second."""
        return self.looked / self.seconds

    def classes(self, columns: int | None = None) -> str:
        """A row a class: how many images it has."""
        train, test = self.seen["train"], self.seen["test"]
        names = map(escaped, self.dataset.classes)
        rows = zip(names, map(count, train.counts), map(count, test.counts), strict=True)
        return table(("class", "train", "held out"), rows, columns=columns)

    def table(self, columns: int | None = None) -> str:
        """A row a channel: mean and deviation of training images, as the network gets them."""
        several, train = len(self.inputs) > 1, self.seen["train"]
        names = [f"{name} {k}" if several else str(k) for name, k in self.channels]
        rows = (
            (name, f"{m:.4f}", f"{d:.4f}")
            for name, m, d in zip(names, train.mean, train.deviation, strict=True)
        )
        return table(("channel", "mean", "deviation"), rows, columns=columns)

    @property
    def heading(self) -> str:
        """One line on its images."""
        shapes = " and ".join(map(shape_text, self.inputs.values()))
        train, test = count(self.dataset.train_size), count(self.dataset.test_size)
        return f"images    {shapes}, {train} to train on, {test} held out"

    @property
    def footing(self) -> str:
        """How fast it was read, and what is bad."""
        threads = f"{self.threads} thread{'s' * (self.threads > 1)}"
        read = (
            f"read      {count(self.looked)} images in {self.seconds:.1f} s, "
            f"{count(self.rate)} images/s in {threads}"
        )
        bad = [f"bad       {count(len(self.problems))} cannot be read:"] if self.problems else []
        return "\n".join([read, *bad, *(f"  {each.message}" for each in self.problems)])

    def __repr__(self) -> str:
        """All of it, as wide as the terminal."""
        columns = terminal_columns()
        tables = f"{self.classes(columns)}\n\n{self.table(columns)}\n{WHOSE}"
        data = f"data      {self.dataset.description}"
        return f"{data}\n{self.heading}\n\n{tables}\n\n{self.footing}"


def surveyed(
    dataset: Dataset, inputs: Mapping[str, Shape], told: Callable[[str], None] = lambda _: None
) -> WholeSurvey:
    """Read every image of a data set once; what it is at is told.

    Raises DataError where the data set cannot be read; single images that cannot are counted.
    """
    threads, size = cores(), dataset.train_size + dataset.test_size
    began = time.perf_counter()
    seen = survey(dataset, threads, tell=lambda n: told(f"read {count(n)} of {count(size)} images"))
    return WholeSurvey(dataset, inputs, seen, time.perf_counter() - began, threads)
