"""Updates of all optimizers, as the tests of kernels call them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.ir.ops import Update
from netc.ir.optimizers import OPTIMIZERS, WEIGHT, Move, choose_optimizer
from netc_kernels.reference import KERNELS

Array = NDArray[Any]
WORDS = tuple(word for word, each in OPTIMIZERS.items() if each.joined == word)
"""Those of which each has kernels of its own."""
SLOW = {"momentum": 0.9, "beta1": 0.9, "beta2": 0.999, "alpha": 0.99, "eps": 1e-4, "decay": 0.05}
FORGETFUL = {**SLOW, "momentum": 0.0, "beta1": 0.0}


class UpdateCall:
    """One update of a weight: a share of a step, by the reference and by whatever is tested."""

    def __init__(self, word: str, options: dict[str, float]) -> None:
        optimizer = OPTIMIZERS[word]
        known = {each.name for each in optimizer.arguments[1:]}
        told = {name: value for name, value in options.items() if name in known}
        self.moves: list[tuple[Move, Update]] = [
            (move, op.in_round(0.5, 1, 2))
            for move, op in choose_optimizer(word, **told).operations("kc..")
        ]
        self.states = [move.makes for move in optimizer.moves if move.makes != WEIGHT]
        self.numbers = optimizer.numbers
        self.results = [*self.states, WEIGHT]

    @property
    def told(self) -> dict[str, Any]:
        """The attributes of all operations, as a kernel of all at once is told them."""
        return {k: v for _, op in self.moves for k, v in op.attributes().items()}

    def values(self, shape: tuple[int, ...], rng: np.random.Generator, step: int) -> dict[str, Any]:
        """What is there before: roots are taken of some states, so they are positive."""
        tensors = {name: rng.standard_normal(shape) for name in ("g", WEIGHT)}
        tensors |= {name: rng.standard_normal(shape) ** 2 + 0.1 for name in self.states}
        return {**tensors, "lr": np.array(0.125), "step": np.array(step)}

    def by_reference(self, values: dict[str, Any]) -> dict[str, Array]:
        """The states and the weight, anew."""
        known = dict(values)
        for move, op in self.moves:
            out = np.zeros(np.shape(values[WEIGHT]))
            KERNELS[op.kernel](out, *(known[name] for name in move.operands), **op.attributes())
            known[f"{move.makes}'"] = out
        return {name: known[f"{name}'"] for name in self.results}
