"""`netc predict`: the most likely classes of pictures."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.api.data import class_names, data_call
from netc.api.running import find_weights
from netc.cli.output import json_line, say
from netc.cli.session import choose, judge, load_bundle, note_changes, on_ranks, out_folder
from netc.errors import escaped
from netc.ir.program import Bundle
from netc_runtime.choose import BackendChoice
from netc_runtime.launch.ranks import Alone, Ranks
from netc_runtime.train.datasets import preparation

Array = NDArray[Any]


def run(options: argparse.Namespace) -> int:
    """Compile if need be, for no more images than there are, and name what the pictures show."""
    bundle = load_bundle(options, images=len(options.images))
    choice = choose(options, bundle)
    return on_ranks(bundle, choice, partial(_run, options, choice))


def _run(
    options: argparse.Namespace, choice: BackendChoice, ranks: Ranks | None, bundle: Bundle
) -> int:  # fmt: skip
    everyone = ranks or Alone()
    file, names = everyone.share(None if everyone.rank else _weights(options, bundle))
    call = data_call(options.data, bundle)
    named = call.name if call else None
    prepared = preparation(named, bundle.facts.image)
    found = judge(options, choice, bundle, ranks, file).shares(named, options.images)
    if not options.json:
        assumed = "" if call else ", as no data set is named"
        say(f"weights   {escaped(str(file))}")
        say(f"pictures  {prepared.description}{assumed}")
    for image, shares in zip(options.images, found, strict=True):
        _show(options, image, shares, names)
    return 0


def _weights(options: argparse.Namespace, bundle: Bundle) -> tuple[Path, tuple[str, ...]]:
    """The file of weights, and what the classes are called."""
    file = find_weights(options.weights, out_folder(options, bundle))
    note_changes(options, bundle, file)
    return file, class_names(options.data, bundle, file, options.classes)


def _show(options: argparse.Namespace, image: str, shares: Array, names: tuple[str, ...]) -> None:
    best = np.argsort(-shares, kind="stable")[: options.top].tolist()
    if options.json:
        classes = [{"class": names[k], "index": k, "probability": float(shares[k])} for k in best]
        json_line(event="prediction", image=escaped(image), classes=classes)
        return
    say(f"\n{escaped(image)}")
    for k in best:
        say(f"{100 * shares[k]:7.2f} %  {names[k]}")
