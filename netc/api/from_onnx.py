"""ONNX models as networks with their weights."""

from __future__ import annotations

import os
from pathlib import Path

from netc.api.calls import checked_call
from netc.api.model import Model
from netc.api.values import name_text, path_text
from netc.interchange.from_onnx import from_onnx as converted
from netc.interchange.to_onnx import PRODUCER
from netc.passes.build_graph import build_graph
from netc_runtime.io import onnx_file


@checked_call
def from_onnx(path: str | os.PathLike[str], /, *, name: str = "") -> Model:
    """The network that an ONNX model is, with its weights; its `notes` say where it learns
    otherwise than the model would.

    It is called `name`, or as the file, unless netc wrote that, which says it itself. Raises
    NetError: DataError where the file cannot be read (E061, E091), for what is not installed
    (E090), and for all that no network has (E092 to E095).
    """
    file = Path(path_text("path", path))
    name = name_text("name", name)
    model, stored = onnx_file.read(file)
    found = converted(model, model.name if model.producer == PRODUCER else name or file.stem)
    build_graph(found.network, 1)
    tensors = onnx_file.gather(found.weights, stored)
    return Model(found.network, "", tensors=tensors, notes=found.notes)
