"""The tensors of a PyTorch module, for the way back from a network to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from netc.errors import DataError, clip
from netc.ir.onnx import OnnxFactor
from netc_runtime.io.problems import data_error


@dataclass(frozen=True, slots=True)
class ModuleState:
    """What a module calls its weights, and what else it has: for the way back."""

    places: Mapping[str, OnnxFactor]
    """By weight of the network, which of the module's tensors it is, and how it lies there."""
    shapes: Mapping[str, tuple[int, ...]]
    """Of those tensors."""
    tensors: Mapping[str, Any]
    """All of the module's, by name, as they were; in its order."""

    def back(self, values: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
        """Tensors for `load_state_dict`: the network's weights where they are the module's, the
        others as they were. `before` are the weights that the module had.

        Raises DataError (E097) for weights that changed and that the module has no place for.
        """
        import torch

        made: dict[str, Any] = {}
        homeless = []
        for name, value in values.items():
            place = self.places.get(name)
            if place is None:
                homeless += [] if np.array_equal(value, before[name]) else [name]
                continue
            array = _returned(value, place, self.shapes[place.tensor])
            if place.tensor in made and not np.array_equal(made[place.tensor], array):
                homeless.append(name)
            made[place.tensor] = array
        if homeless:
            raise _no_place(homeless)
        return {
            name: torch.from_numpy(made[name].copy()).to(was.dtype) if name in made else _copy(was)
            for name, was in self.tensors.items()
        }


def _copy(value: Any) -> Any:
    """A tensor's; what else a module keeps in its state is handed back."""
    return value.clone() if hasattr(value, "clone") else value


def _returned(value: Any, place: OnnxFactor, shape: tuple[int, ...]) -> Any:
    """A weight as the module's tensor lies."""
    split = place.split or shape
    order = place.order or tuple(range(len(split)))
    turned = np.asarray(value).reshape([split[i] for i in order])
    return turned.transpose(np.argsort(order)).reshape(shape)


def _no_place(names: Sequence[str]) -> DataError:
    listed = ", ".join(f"'{clip(name)}'" for name in names[:8])
    message = f"the module has no place for {listed} of the network."
    return data_error("E097", message, "build the module with affine batch norms, and untied")
