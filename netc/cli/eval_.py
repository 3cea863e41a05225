"""`netc eval`: what a network with given weights makes of the held-out images."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from netc.api.data import open_data, skipping
from netc.api.figures import count
from netc.api.judging import Evaluation
from netc.api.running import describe, find_weights
from netc.cli.data import tell_data, tell_left_out
from netc.cli.output import json_line, say
from netc.cli.session import choose, judge, load_bundle, note_changes, on_ranks, out_folder
from netc.errors import Diagnostic, escaped
from netc.ir.program import Bundle
from netc.numbers import loss_text
from netc_runtime.choose import BackendChoice
from netc_runtime.io.checkpoint import meta_of
from netc_runtime.launch.ranks import Alone, Ranks
from netc_runtime.train.datasets import Dataset
from netc_runtime.train.resume import check_classes
from netc_runtime.train.skipping import problems_in

TOP = 5


def run(options: argparse.Namespace) -> int:
    """Compile if need be, and go through the held-out images once."""
    bundle = load_bundle(options)
    choice = choose(options, bundle)
    return on_ranks(bundle, choice, partial(_run, options, choice))


def _run(
    options: argparse.Namespace, choice: BackendChoice, ranks: Ranks | None, bundle: Bundle
) -> int:  # fmt: skip
    everyone, folder = ranks or Alone(), out_folder(options, bundle)
    file = everyone.share(None if everyone.rank else find_weights(options.weights, folder))
    dataset = skipping(options.skip_bad, open_data(options.data, bundle, training=False))
    if not everyone.rank:
        check_classes(meta_of(file), dataset.classes, file)
        note_changes(options, bundle, file)

    def begun() -> None:
        if not options.json:
            say(describe(bundle, choice))
            say(f"weights   {escaped(str(file))}")
            tell_data(dataset)

    found = judge(options, choice, bundle, ranks, file).evaluate(dataset, begun)
    _show(options, bundle, file, dataset, found, problems_in(dataset, everyone))
    return 0


def _show(
    options: argparse.Namespace,
    bundle: Bundle,
    file: Path,
    dataset: Dataset,
    found: Evaluation,
    left_out: Sequence[Diagnostic],
) -> None:
    images, speed = dataset.test_size, dataset.test_size / found.seconds
    top = found.top(TOP)
    if options.json:
        json_line(event="result", network=bundle.facts.network, weights=escaped(str(file)),
                  test_loss=found.loss, test_accuracy=found.accuracy,
                  top5_accuracy=top, test_images=images,
                  held_out=dataset.description, seconds=found.seconds,
                  images_per_second=speed,
                  bad=[each.message for each in left_out])  # fmt: skip
        return
    best = f"top {TOP} {100 * top:.2f} %, " if bundle.facts.classes > TOP else ""
    say(f"test accuracy {100 * found.accuracy:.2f} % on {count(images)} held-out images, "
          f"{best}loss {loss_text(found.loss)}, "
          f"{count(speed)} images/s")  # fmt: skip
    tell_left_out(left_out)
