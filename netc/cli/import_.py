"""`netc import`: an ONNX model as a network, with its weights beside it."""

from __future__ import annotations

import argparse
from pathlib import Path

from netc.api.figures import count
from netc.api.written import unwritable
from netc.cli.output import json_line, say
from netc.errors import Diagnostic, UsageError
from netc.interchange.from_onnx import Imported, from_onnx
from netc.interchange.to_onnx import PRODUCER
from netc.passes.build_graph import build_graph
from netc.syntax import network_text
from netc_runtime.io import onnx_file, tensors


def run(options: argparse.Namespace) -> int:
    """Write X.net and X.safetensors."""
    output = Path(options.output)
    if output.suffix != ".net":
        message = f"'-o {output}' must end in .net; the weights go beside it."
        raise UsageError(Diagnostic("E051", message))
    beside = output.with_suffix(".safetensors")
    if not options.replace:
        _refuse_existing(output, beside)
    model, stored = onnx_file.read(Path(options.model))
    found = from_onnx(model, model.name if model.producer == PRODUCER else output.stem)
    build_graph(found.network, 1)
    values = onnx_file.gather(found.weights, stored)
    tensors.write(beside, values, {"network": found.network.name})
    try:
        output.write_text(network_text(found.network), encoding="utf-8")
    except OSError as error:
        raise unwritable(output, error) from None
    _say(options, output, beside, found, sum(v.size for v in values.values()))
    return 0


def _refuse_existing(*written: Path) -> None:
    """No one named the weights' file, and a network may hold somebody's changes."""
    there = [str(path) for path in written if path.exists()]
    if there:
        names = " and ".join(f"'{name}'" for name in there)
        message = f"{names} exist{'s' * (len(there) == 1)} already."
        help = "take another name, or let '--replace' write over what is there."
        raise UsageError(Diagnostic("E051", message, help=help))


def _say(
    options: argparse.Namespace, network: Path, beside: Path, found: Imported, size: int
) -> None:
    layers, notes = len(found.network.layers), list(found.notes)
    if options.json:
        written = [str(network), str(beside)]
        json_line(event="result", written=written, layers=layers, numbers=size, notes=notes)
        return
    say(f"wrote {network}: {layers} layers")
    say(f"wrote {beside}: {count(size)} numbers")
    for note in notes:
        say(f"note: {note}")
    say(f"use them: netc run {network} --weights {beside} --data ...  (or eval, predict, export)")
