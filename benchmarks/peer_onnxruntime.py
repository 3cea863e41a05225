"""ONNX Runtime's side of cpu.py --forward, on the file that `netc export` writes."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

import numpy as np
import onnxruntime
from serve import Case, serve


def prepare(case: Case) -> Callable[[], object]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = case.threads
    session = onnxruntime.InferenceSession(case.model, options, ["CPUExecutionProvider"])
    image = session.get_inputs()[0]
    images = np.random.default_rng(0).standard_normal(image.shape, np.float32)
    return lambda: session.run(None, {image.name: images})


serve(prepare, onnxruntime=version("onnxruntime"))
