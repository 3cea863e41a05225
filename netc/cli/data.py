"""What is said of data sets."""

from __future__ import annotations

from collections.abc import Sequence

from netc.api.figures import count
from netc.cli.output import note, say
from netc.errors import Diagnostic
from netc.ir.datasets import SYNTHETIC
from netc_runtime.train.datasets import Dataset


def tell_data(dataset: Dataset) -> None:
    """Say what a run reads, and loudly where that is made up."""
    say(f"data      {dataset.description}")
    if dataset.name == SYNTHETIC:
        note("the images are SYNTHETIC: neither weights nor accuracy say anything of real ones.")


def tell_left_out(problems: Sequence[Diagnostic]) -> None:
    """Say what is wrong with images that were left out."""
    if problems:
        say(f"left out  {count(len(problems))} that cannot be read; others took their place:")
    for each in problems:
        say(f"  {each.message}")
