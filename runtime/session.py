"""A session: one bundle on one backend, with its state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.ir.program import Bundle
from netc_runtime.backend import Backend, Executable, StepReport

Array = NDArray[Any]


class Session:
    """Initial values, training steps and evaluation over one set of weights."""

    def __init__(self, bundle: Bundle, backend: Backend) -> None:
        self.bundle, self.backend = bundle, backend
        self.init = backend.load(bundle.init)
        self.train = backend.load(bundle.train)
        self.eval = backend.load(bundle.eval)
        self.last = StepReport()

    def initialize(self, seed: int) -> None:
        """Fill weights and state."""
        self._run(self.init, {"seed": np.asarray(seed)})

    def step(
        self, images: Array, labels: Array, *, step: int, seed: int, learning_rate: float
    ) -> dict[str, Array]:
        """One training step; its results by name, "loss" among them."""
        inputs = {"labels": labels, "seed": np.asarray(seed), "step": np.asarray(step),
                  "lr": np.asarray(learning_rate)}  # fmt: skip
        return self._run(self.train, inputs | {self._image(self.train): images})

    def evaluate(self, images: Array, labels: Array, count: int) -> tuple[float, float]:
        """Summed loss and number of right answers of the first `count` images of a batch."""
        inputs = {"labels": labels, "count": np.asarray(count), self._image(self.eval): images}
        results = self._run(self.eval, inputs)
        return float(results["loss_sum"]), float(results["correct"])

    def state(self) -> dict[str, Array]:
        """All persistent tensors, whole, under their source names."""
        return {port.name: self.train.read(port) for port in self.bundle.train.state}

    def restore(self, tensors: Mapping[str, Array]) -> None:
        """Set persistent tensors; names and shapes must be those of `state`."""
        for port in self.bundle.train.state:
            self.train.write(port, tensors[port.name])

    def _image(self, executable: Executable) -> str:
        """The name of the images' input: the one of four dimensions."""
        return next(p.name for p in executable.program.inputs if len(p.shape) == 4)

    def _run(self, executable: Executable, inputs: Mapping[str, Array]) -> dict[str, Array]:
        for port in executable.program.inputs:
            executable.write(port, inputs[port.name])
        self.last = executable.run()
        state = {view.buffer for port in executable.program.state for view in port.views}
        storages = {executable.program.buffer[name].storage for name in state}
        return {
            port.name: executable.read(port)
            for port in executable.program.outputs
            if executable.program.buffer[port.views[0].buffer].storage not in storages
        }
