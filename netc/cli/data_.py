"""`netc data`: every image of a data set read once, for what is in it and what is bad."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass

from netc.api.figures import count, shape_text
from netc.api.network_data import network_data
from netc.cli.data import tell_data
from netc.cli.files import load_network
from netc.cli.output import json_line, say, table
from netc.cli.passes import CompileProgress
from netc.errors import DataError, Diagnostic, escaped
from netc_runtime.cores import cores
from netc_runtime.train.datasets import Dataset
from netc_runtime.train.images import Shape, Split
from netc_runtime.train.survey import Seen, survey


@dataclass(frozen=True, slots=True)
class WholeSurvey:
    """What was read, and how long it took."""

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


def run(options: argparse.Namespace) -> int:
    """Read all, and say what is there; 5 where images cannot be read."""
    reading = _read(*network_data(options.data, load_network(options)))
    if options.json:
        _json(reading)
    else:
        _show(reading)
    return DataError.exit_code if reading.problems else 0


def _read(dataset: Dataset, inputs: Mapping[str, Shape]) -> WholeSurvey:
    watched, threads, size = CompileProgress(), cores(), dataset.train_size + dataset.test_size
    began = time.perf_counter()
    try:
        seen = survey(
            dataset,
            threads,
            tell=lambda n: watched.tell(f"read {count(n)} of {count(size)} images"),
        )
    finally:
        watched.close()
    return WholeSurvey(dataset, inputs, seen, time.perf_counter() - began, threads)


def _show(reading: WholeSurvey) -> None:
    dataset, train, test = reading.dataset, reading.seen["train"], reading.seen["test"]
    tell_data(dataset)
    shapes = " and ".join(map(shape_text, reading.inputs.values()))
    say(f"images    {shapes}, {count(dataset.train_size)} to train on, "
        f"{count(dataset.test_size)} held out\n")  # fmt: skip
    rows = zip(map(escaped, dataset.classes), map(count, train.counts), map(count, test.counts),
               strict=True)  # fmt: skip
    print(table(("class", "train", "held out"), rows))
    several = len(reading.inputs) > 1
    names = [f"{name} {k}" if several else str(k) for name, k in reading.channels]
    values = zip(names, train.mean, train.deviation, strict=True)
    print()
    print(table(("channel", "mean", "deviation"),
                ((name, f"{m:.4f}", f"{d:.4f}") for name, m, d in values)))  # fmt: skip
    say("of training images, as the network gets them\n")
    threads = f"{reading.threads} thread{'s' * (reading.threads > 1)}"
    say(f"read      {count(reading.looked)} images in {reading.seconds:.1f} s, "
        f"{count(reading.rate)} images/s in {threads}")  # fmt: skip
    if reading.problems:
        say(f"bad       {count(len(reading.problems))} cannot be read:")
    for each in reading.problems:
        say(f"  {each.message}")


def _json(reading: WholeSurvey) -> None:
    dataset, train, test = reading.dataset, reading.seen["train"], reading.seen["test"]
    for k, name in enumerate(dataset.classes):
        json_line(event="class", **{"class": name}, index=k, train_images=int(train.counts[k]),
                  test_images=int(test.counts[k]))  # fmt: skip
    values = zip(reading.channels, train.mean, train.deviation, strict=True)
    for (name, k), mean, deviation in values:
        json_line(event="channel", input=name, channel=k, mean=float(mean),
                  deviation=float(deviation))  # fmt: skip
    for each in reading.problems:
        json_line(event="bad", code=each.code, message=each.message, help=each.help)
    json_line(event="result", data_set=dataset.description, inputs=dict(reading.inputs),
              train_images=dataset.train_size, test_images=dataset.test_size,
              bad=len(reading.problems), seconds=reading.seconds,
              images_per_second=reading.rate, threads=reading.threads)  # fmt: skip
