"""A session: one bundle on one backend, with its state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.ir.optimizers import AVERAGE, BESIDE, SUM, UPDATE, rate_factor
from netc.ir.program import Bundle, Port, Program
from netc.ir.programs import LABEL_INPUTS, LABELS, SECOND_LABELS, SHARE
from netc.stages import staged
from netc_runtime.backend import Backend, Executable, StepReport
from netc_runtime.ports import apart, is_everywhere, own_views, region

Array = NDArray[Any]
SCALARS = ("seed", "step", UPDATE, "count")
"""Inputs that the session fills by itself, where a program has them."""


class Session:
    """Initial values, training steps, evaluation and prediction over one set of weights."""

    def __init__(self, bundle: Bundle, backend: Backend, training: bool = True) -> None:
        """Without `training` there is no `step`, and the state is what evaluation needs.

        A network with several inputs takes their images as one array: of each example flat, one
        after the other, in the order of `image_inputs`.
        """
        self.bundle, self.backend = bundle, backend
        self.images = image_inputs(bundle)
        self.init = backend.load(bundle.init)
        self.eval = backend.load(bundle.eval)
        self.train = backend.load(bundle.train) if training else self.eval
        part = bundle.part if training else None
        self.part = self.train if part is None else backend.load(part)
        """What runs a step that moves no weight."""
        self.running = self.train
        """What was begun last."""
        factors = ((port.name, rate_factor(port.name)) for port in self.train.program.inputs)
        self.rates = {name: factor for name, factor in factors if factor is not None}
        """By input what the learning rate is multiplied by for it."""
        self.last = StepReport()
        self.batch: int = self.images[0].shape[0]
        """Images of a step, over all devices."""
        self.dtype = image_dtype(bundle)
        """Of images and scores."""

    def close(self) -> None:
        """Give the devices back; nothing runs any more."""
        self.backend.close()

    @staged("weights")
    def initialize(self, seed: int) -> None:
        """Fill weights and state."""
        self._run(self.init, {"seed": np.asarray(seed)})

    def step(
        self, images: Array, *labels: Array, step: int, seed: int, learning_rate: float
    ) -> dict[str, Array]:
        """One training step, of what `stage` takes; its results by name, "loss" among them."""
        self.stage(images, *labels, step=step)
        self.begin(step=step, seed=seed, learning_rate=learning_rate)
        return self.results()

    def rows(self) -> tuple[int, int]:
        """First and last (exclusive) row of a batch that the devices of this process read; the
        first row where they read none.
        """
        program, devices = self.train.program, self.backend.devices
        names = {*LABEL_INPUTS, *(port.name for port in self.images)}
        ports = (p for p in program.inputs if p.name in names)
        views = [view for port in ports for _, view in own_views(program, port, devices)]
        read = [region(view)[0] for view in views if view.shape[0]]
        if not read:
            return 0, 1
        return min(rows.start for rows in read), max(rows.stop for rows in read)

    def updates(self, step: int) -> bool:
        """Whether a training step moves weights, or is one of those whose gradients are added."""
        return (step + 1) % self.bundle.facts.accumulate == 0

    def stage(
        self, images: Array, labels: Array, others: Array | None = None,
        shares: Array | None = None, *, step: int,
    ) -> None:  # fmt: skip
        """Take the batch of the next training step, while one may be running.

        Of mixed images `others` are the labels of what was mixed in, `shares` the parts that the
        first labels have left; without them images are not mixed.
        """
        assert self.train is not self.eval, "a session that does not train"
        given = {LABELS: labels, **self._apart(images)}
        given[SECOND_LABELS] = labels if others is None else others
        given[SHARE] = np.ones(len(labels), self.dtype) if shares is None else shares
        self._stage(self._of(step), given)

    def begin(
        self, *, step: int, seed: int, learning_rate: float, traced: bool = False
    ) -> None:  # fmt: skip
        """Start a training step with the batch that was staged; with `traced`, `last` has its
        times.
        """
        done = step // self.bundle.facts.accumulate
        numbers: dict[str, float] = {"seed": seed, "step": step, UPDATE: done}
        numbers |= {name: factor * learning_rate for name, factor in self.rates.items()}
        self.running = self._of(step)
        self._stage(self.running, {name: np.asarray(value) for name, value in numbers.items()})
        self.running.start(traced)

    def results(self) -> dict[str, Array]:
        """Wait for the step that was begun; its results by name, "loss" among them."""
        self.last = self.running.finish()
        return self._read(self.running, self._results(self.running.program))

    def _of(self, step: int) -> Executable:
        return self.train if self.updates(step) else self.part

    def evaluate(self, images: Array, labels: Array, count: int) -> tuple[float, float]:
        """Summed loss and number of right answers of the first `count` images of a batch."""
        inputs = {LABELS: labels, "count": np.asarray(count), **self._apart(images)}
        self._run(self.eval, inputs)
        results = self._read(self.eval, ("loss_sum", "correct"))
        return float(results["loss_sum"]), float(results["correct"])

    def scores(self) -> Array:
        """The class scores (batch, classes), before softmax, of the batch evaluated last.

        They are read here and not by `evaluate`, which most often has no use for them.
        """
        name = self.bundle.facts.scores
        return self._read(self.eval, (name,))[name]

    def predict(self, images: Array) -> Array:
        """The class scores (n, classes), before softmax, of n images, at most a batch."""
        assert 0 < len(images) <= self.batch, "a batch at most"
        padded = np.zeros((self.batch, *images.shape[1:]), self.dtype)
        padded[: len(images)] = images
        self.evaluate(padded, np.zeros(self.batch, np.int64), len(images))
        return self.scores()[: len(images)]

    def state(self, into: Mapping[str, Array] | None = None) -> dict[str, Array]:
        """All persistent tensors, whole, under their source names, copied; `into` is what an
        earlier call returned, whose memory is used again.
        """
        known = into or {}
        return {name: self.train.read(port, known.get(name)) for name, port in self._kept().items()}

    def give_state(self) -> None:
        """Let other processes have what they do not hold themselves, while they call `state`."""
        program = self.train.program
        for port in program.state:
            if not is_everywhere(program, port):
                self.train.read(port)

    def not_finite(self) -> list[str]:
        """The persistent tensors that hold NaN or infinity on the devices of this process."""
        return [name for name, port in self._kept().items() if not self.train.is_finite(port)]

    def restore(self, tensors: Mapping[str, Array]) -> None:
        """Set persistent tensors, all or some; shapes must be those of `state`.

        What a recipe keeps beside a weight that is given, and is not given itself, begins anew: an
        average as the weight, a sum as 0. Where a recipe keeps none, those that are given are left
        aside; so is a weight of which only the average is kept.
        """
        ports = self._kept()
        for name, value in tensors.items():
            begins = {name: value, name + AVERAGE: value, name + SUM: np.zeros_like(value)}
            known = [n for n in begins if n in ports and (n == name or n not in tensors)]
            beside = name.endswith(BESIDE) or name + AVERAGE in ports
            assert known or beside, f"no such state: {name}"
            for each in known:
                self.train.write(ports[each], begins[each])

    def _apart(self, images: Array) -> dict[str, Array]:
        """The images of each input by its name, without a copy."""
        parts = apart(images, [port.shape[1:] for port in self.images])
        return {port.name: part for port, part in zip(self.images, parts, strict=True)}

    def _kept(self) -> dict[str, Port]:
        return {port.name: port for port in self.train.program.state}

    def _results(self, program: Program) -> list[str]:
        """The outputs of a training step that are no state."""
        state = {view.buffer for port in program.state for view in port.views}
        storages = {program.buffer[name].storage for name in state}
        return [
            port.name
            for port in program.outputs
            if program.buffer[port.views[0].buffer].storage not in storages
        ]

    def _run(self, executable: Executable, inputs: Mapping[str, Array]) -> None:
        self._stage(executable, inputs)
        executable.start()
        self.last = executable.finish()

    def _stage(self, executable: Executable, inputs: Mapping[str, Array]) -> None:
        for port in executable.program.inputs:
            if port.name in inputs:
                executable.stage(port, inputs[port.name])

    def _read(self, executable: Executable, names: Iterable[str]) -> dict[str, Array]:
        ports = {port.name: port for port in executable.program.outputs}
        return {name: executable.read(ports[name]) for name in names}


def image_dtype(bundle: Bundle) -> np.dtype[Any]:
    """Of the images that a program takes, and of its scores."""
    return np.dtype(np.float64 if image_inputs(bundle)[0].dtype == "f64" else np.float32)


def image_inputs(bundle: Bundle) -> list[Port]:
    """The inputs of a network, which are filled with images."""
    known = (*SCALARS, *LABEL_INPUTS)
    ports = {p.name: p for program in bundle.programs for p in program.inputs}
    return [p for name, p in ports.items() if name not in known and rate_factor(name) is None]
