"""Small ONNX graphs, odd forms often: what netc reads computes what ONNX Runtime computes.

A graph is refused, with the code as its outcome, or its scores are equal. One that ONNX Runtime
refuses has no meaning.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx_cases import BATCH, apart, scores_of_file, scores_of_netc

from netc.interchange.from_onnx import from_onnx
from netc.syntax import network_text, parse_text
from netc_runtime.io import onnx_file

from ._onnx import Maker

Array = NDArray[Any]
TOLERANCE = 1e-4


def case(rng: np.random.Generator, folder: Path) -> str:
    maker = Maker(rng)
    model = maker.model()
    path = folder / "t.onnx"
    onnx.save(model, path)
    x = rng.standard_normal((BATCH, *maker.image)).astype(np.float32)
    read, stored = onnx_file.read(path)
    found = from_onnx(read, "t")
    assert parse_text(network_text(found.network)) == found.network
    got = scores_of_netc(found.network, onnx_file.gather(found.weights, stored), x)
    try:
        fed = x.transpose(0, 2, 3, 1) if maker.last else x
        wanted = _scores(path, fed, BATCH if maker.batch is None else maker.batch)
    except Exception:  # ONNX Runtime's errors have no common kind
        return "means nothing"
    assert wanted.size == got.size, _shown(model, f"{got.shape} for {wanted.shape}")
    wanted = wanted.reshape(got.shape)
    far = min(apart(form, wanted) for form in _forms(got, maker.softmax))
    assert far < TOLERANCE, _shown(model, f"{got[0]} for {wanted[0]}")
    return "equal"


def _scores(path: Path, x: Array, batch: int) -> Array:
    parts = [scores_of_file(path, x[i : i + batch]) for i in range(0, len(x), batch)]
    return np.concatenate([part.reshape(batch, -1) for part in parts])


def _forms(scores: Array, softmax: str) -> list[Array]:
    """The loss has the softmax that the model ends with."""
    if not softmax:
        return [scores]
    logarithm = scores - scores.max(1, keepdims=True)
    logarithm -= np.log(np.exp(logarithm).sum(1, keepdims=True))
    return [logarithm if softmax == "LogSoftmax" else np.exp(logarithm)]


def _shown(model: onnx.ModelProto, what: str) -> str:
    return f"{what}\nopset {model.opset_import[0].version}\n{onnx.printer.to_text(model.graph)}"
