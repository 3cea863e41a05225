"""What a run would take, where nothing is computed: `--dry-run`, and the null backend."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from netc.api.beginning import start
from netc.api.figures import bytes_text, count, seconds_text
from netc.api.predicted import roughly
from netc.api.running import describe
from netc.api.tracing import write_trace
from netc.api.train_choices import TrainChoices
from netc.cli.output import json_line, say, table
from netc.cli.session import teller
from netc.errors import escaped
from netc.ir.clock import mean_step_seconds, simulate
from netc.ir.program import Bundle
from netc_runtime.choose import BackendChoice, open_backend
from netc_runtime.train.saving import checkpoint_bytes


def predicted(bundle: Bundle) -> float:
    """Seconds of a usual step, by the prices in its programs."""
    return mean_step_seconds(bundle.train, bundle.part, bundle.facts.accumulate)


def foretell_memory(
    options: argparse.Namespace, bundle: Bundle, choice: BackendChoice, choices: TrainChoices
) -> int:
    """What every device would hold, and what a step would take; nothing is run."""
    if options.resume is not None or options.weights is not None:
        start(choices, bundle, teller(options))
    # Imported here: a compiled program that is run needs no compiler.
    from netc.layers import MemoryUse, memory_use

    uses, line = memory_use(bundle.train), simulate(bundle.train)
    saved, seconds = checkpoint_bytes(bundle), predicted(bundle)
    if options.json:
        for device, use in enumerate(uses):
            json_line(event="device", device=device, weights_bytes=use.persistent,
                      inputs_bytes=use.inputs, activations_bytes=use.temporary,
                      peak_bytes=use.peak)  # fmt: skip
        facts = bundle.facts
        json_line(event="result", backend=choice.name, network=facts.network, batch=facts.batch,
                  strategy=facts.strategy, scheme=facts.scheme, devices=len(uses),
                  step_seconds=seconds, exposed_seconds=line.exposed_seconds,
                  checkpoint_bytes=saved)  # fmt: skip
        return 0
    say(f"{describe(bundle, choice)}: nothing is run\n")
    alike: dict[MemoryUse, list[int]] = {}
    for device, use in enumerate(uses):
        alike.setdefault(use, []).append(device)
    rows = (
        (_devices(own), *map(bytes_text, (use.persistent, use.inputs, use.temporary, use.peak)))
        for use, own in alike.items()
    )
    print(table(("device", "weights and state", "inputs", "activations", "in all"), rows))
    speed = count(bundle.facts.batch / seconds)
    say(f"\nstep      {seconds_text(seconds)} predicted, {speed} images/s"
          f"{roughly(bundle.facts.target, options.cluster)}")  # fmt: skip
    say(f"saved     {bytes_text(saved)} a checkpoint, and as much of the host's memory for a copy")
    return 0


def _devices(numbers: Sequence[int]) -> str:
    """Devices in a cell: 0, 0-3, or 0, 2-3."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{r[0]}-{r[-1]}" if len(r) > 1 else f"{r[0]}" for r in runs)


def foretell(options: argparse.Namespace, bundle: Bundle, choice: BackendChoice) -> int:
    """The null backend: one step by the cost model, nothing is trained."""
    if options.trace is not None:
        write_trace(Path(options.trace), bundle, choice.name, options.cluster)
    report = open_backend(choice, bundle).load(bundle.train).run()
    assert report.exposed_seconds is not None, "the null backend knows"
    devices = bundle.train.mesh.size
    sent, seconds = [report.sent(d) for d in range(devices)], predicted(bundle)
    if options.json:
        json_line(event="result", backend="null", test_accuracy=None, step_seconds=seconds,
                  exposed_seconds=report.exposed_seconds, sent_bytes=sent,
                  trace=options.trace)  # fmt: skip
        return 0
    speed = bundle.facts.batch / seconds
    say(f"backend   null ({choice.reason}): nothing is computed")
    say(f"step      {seconds_text(seconds)} predicted, {count(speed)} images/s, "
          f"{seconds_text(report.exposed_seconds)} not computing")  # fmt: skip
    say(f"sent      {bytes_text(max(sent))} by the device that sends most")
    if options.trace is not None:
        say(f"trace     the predicted step in {escaped(options.trace)}")
    return 0
