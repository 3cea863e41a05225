"""`netc data`: every image of a data set read once, for what is in it and what is bad."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing

from netc.api.network_data import network_data
from netc.api.survey import WHOSE, WholeSurvey, surveyed
from netc.cli.data import tell_data
from netc.cli.files import load_network
from netc.cli.output import json_line, say
from netc.cli.passes import CompileProgress
from netc.errors import DataError, columns_of


def run(options: argparse.Namespace) -> int:
    """Read all, and say what is there; 5 where images cannot be read."""
    data = network_data(options.data, load_network(options))
    with closing(CompileProgress()) as watched:
        reading = surveyed(*data, watched.tell)
    if options.json:
        _json(reading)
    else:
        _show(reading)
    return DataError.exit_code if reading.problems else 0


def _show(reading: WholeSurvey) -> None:
    columns = columns_of(sys.stdout)
    tell_data(reading.dataset)
    say(f"{reading.heading}\n")
    print(f"{reading.classes(columns)}\n")
    print(reading.table(columns))
    say(f"{WHOSE}\n")
    say(reading.footing)


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
