"""`netc import`: an ONNX model as a network, with its weights beside it."""

from __future__ import annotations

import argparse
from pathlib import Path

from netc.api.figures import count
from netc.api.from_onnx import from_onnx
from netc.api.model import Model
from netc.cli.output import json_line, say
from netc.errors import Diagnostic, UsageError


def run(options: argparse.Namespace) -> int:
    """Write X.net and X.safetensors."""
    output = Path(options.output)
    if output.suffix.lower() != ".net":
        message = f"'-o {output}' must end in .net; the weights go beside it."
        raise UsageError(Diagnostic("E051", message))
    beside = output.with_suffix(".safetensors")
    if not options.replace:
        _refuse_existing(output, beside)
    found = from_onnx(options.model, name=output.stem)
    found.save(beside, names="netc")
    found.save(output)
    _say(options, output, beside, found)
    return 0


def _refuse_existing(*written: Path) -> None:
    """No one named the weights' file, and a network may hold somebody's changes."""
    there = [str(path) for path in written if path.exists()]
    if there:
        names = " and ".join(f"'{name}'" for name in there)
        message = f"{names} exist{'s' * (len(there) == 1)} already."
        help = "take another name, or let '--replace' write over what is there."
        raise UsageError(Diagnostic("E051", message, help=help))


def _say(options: argparse.Namespace, network: Path, beside: Path, found: Model) -> None:
    layers, notes = len(found.summary().layers), list(found.notes)
    size = sum(value.size for value in (found.tensors or {}).values())
    if options.json:
        written = [str(network), str(beside)]
        json_line(event="result", written=written, layers=layers, numbers=size, notes=notes)
        return
    say(f"wrote {network}: {layers} layers")
    say(f"wrote {beside}: {count(size)} numbers")
    for note in notes:
        say(f"note: {note}")
    say(f"use them: netc run {network} --weights {beside} --data ...  (or eval, predict, export)")
