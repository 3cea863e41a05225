"""PyTorch's modules as networks, and back. PyTorch is no dependency: its own exporter reads them.

The module is exported as it predicts, so that batch norms keep their statistics; dropout, which
does nothing then, is written all the same.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from math import prod
from numbers import Integral
from typing import Any

from netc.api.calls import checked_call
from netc.api.model import Model
from netc.api.module_state import ModuleState
from netc.api.values import name_text, shown, usage
from netc.errors import DataError, Diagnostic, clip
from netc.interchange.from_onnx import from_onnx
from netc.ir.onnx import OnnxFactor, OnnxWeight
from netc.passes.build_graph import build_graph
from netc_runtime.io import onnx_file
from netc_runtime.io.problems import data_error

_INSTALL = "pip install torch onnxscript 'netc[onnx]'"
_IMAGES = 2
"""As many as the module is exported with: with one, PyTorch takes some shapes for others."""
_SAID_BYTES = 300
_DROPOUTS = (
    "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout",
)  # fmt: skip


@checked_call
def from_torch(module: Any, /, image: Sequence[int] = (3, 224, 224), *, name: str = "") -> Model:
    """The network that a module of PyTorch is, with its weights: `state_dict()` has them under the
    module's own names again.

    `image` is (channels, height, width). The module is not changed; whether it is in training mode
    does not matter. Raises NetError: UsageError (E051) for what is no module or no size, DataError
    for what is not installed (E090), what PyTorch cannot export (E097), and all that `netc import`
    refuses, with the modules' paths.
    """
    torch = _library()
    if not isinstance(module, torch.nn.Module):
        raise usage(f"'module' must be a torch.nn.Module, not {shown(module)}.")
    sizes, name = _sizes(image), name_text("name", name)
    state = {key: _kept(torch, key, value) for key, value in module.state_dict().items()}
    return converted(exported(module, sizes), state, name or type(module).__name__.lower())


def _sizes(image: object) -> tuple[int, ...]:
    """Channels, height and width, NumPy's numbers too."""
    sizes = tuple(image) if isinstance(image, Iterable) and not isinstance(image, str) else ()
    plain = [isinstance(each, Integral) and not isinstance(each, bool) for each in sizes]
    if len(sizes) != 3 or not all(plain) or min(sizes) < 1:
        raise usage(f"'image' must be (channels, height, width), not {shown(image)}.")
    return tuple(map(int, sizes))


def _kept(torch: Any, name: str, value: Any) -> Any:
    """A tensor of a module's state as it is now; what else is in a state stays as it is.

    Raises DataError (E097) for a tensor that has no numbers yet.
    """
    if not isinstance(value, torch.Tensor):
        return value
    lazy = torch.nn.parameter.is_lazy(value)
    if lazy or value.is_meta:
        why = "its size is not known yet" if lazy else "it is on PyTorch's device 'meta'"
        help = "call the module with images once" if lazy else "give it weights, on another device"
        message = f"'{clip(name)}' of the module has no numbers: {why}."
        raise data_error("E097", message, f"{help}, before it is made a network")
    return value.detach().cpu().clone()


def converted(proto: Any, state: Mapping[str, Any], name: str) -> Model:
    """The network of an exported module whose tensors are `state`; raises as `from_torch`."""
    model, stored = onnx_file.read_model(proto, "the module")
    found = from_onnx(model, name)
    build_graph(found.network, 1)
    tensors = onnx_file.gather(found.weights, stored)
    places = {each.name: factor for each in found.weights for factor in _place(each, state)}
    shapes = {place.tensor: tuple(state[place.tensor].shape) for place in places.values()}
    origin = ModuleState(places, shapes, dict(state))
    return Model(found.network, "", (), tensors, origin, found.notes)


def _place(weight: OnnxWeight, state: Mapping[str, Any]) -> Iterator[OnnxFactor]:
    """The one tensor of the module that a weight is, only turned maybe."""
    if len(weight.terms) != 1 or weight.terms[0].number != 1.0:
        return
    for factor in weight.terms[0].factors if len(weight.terms[0].factors) == 1 else ():
        whole = factor.tensor in state and prod(state[factor.tensor].shape) == prod(weight.shape)
        if whole and factor.shape == weight.shape and not factor.inverse:
            yield factor


def _library() -> Any:
    try:
        import torch
    except ImportError:
        raise data_error("E090", "PyTorch (torch) is not installed.", _INSTALL) from None
    try:
        import onnxscript  # noqa: F401 - the exporter needs it, and names it less clearly
    except ImportError:
        message = "what PyTorch's exporter needs (onnxscript) is not installed."
        raise data_error("E090", message, _INSTALL) from None
    return torch


def exported(module: Any, image: tuple[int, ...]) -> Any:
    """A module as a message of ONNX; raises as `from_torch`."""
    torch = _library()
    like = next((each for each in module.parameters()), torch.zeros(()))
    images = torch.zeros((_IMAGES, *image), dtype=like.dtype, device=like.device)
    with _as_it_predicts(module), _quiet():
        try:
            with torch.no_grad():
                module(images)
        except Exception as problem:
            # Whatever the module raises.
            sides = "x".join(map(str, image))
            raise _refused(f"the module takes no images of {sides}", problem) from problem
        try:
            with _dropout_kept(torch):
                program = torch.onnx.export(
                    module, (images,), dynamo=True, optimize=False, verbose=False
                )
                return program.model_proto
        except Exception as problem:
            # The exporter's own error, or another's that it passes on.
            raise _refused("PyTorch cannot export the module", problem) from problem


def _refused(what: str, problem: Exception) -> DataError:
    cause = problem.__cause__ or problem
    said = clip(" ".join(str(cause).split()), _SAID_BYTES)
    message = f"{what}: {type(cause).__name__}: {said}"
    help = "say 'image' as the module takes it; torch.export.export must take the module too."
    return DataError(Diagnostic("E097", message, help=help))


@contextmanager
def _quiet() -> Iterator[None]:
    """What the exporter has to say is in its error: nothing is logged, warned of or printed."""
    was, told = logging.root.manager.disable, StringIO()
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(told), redirect_stderr(told):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(was)


@contextmanager
def _as_it_predicts(module: Any) -> Iterator[None]:
    """Not in training mode; afterwards every part is as it was."""
    was = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, training in was.items():
            part.training = training


@contextmanager
def _dropout_kept(torch: Any) -> Iterator[None]:
    """PyTorch leaves dropout out of what predicts: it is told to write ONNX's, and what drops whole
    channels as what it is called, which is refused by that name.
    """
    functional, was = torch.nn.functional, {}

    def written(name: str) -> Callable[..., Any]:
        def write(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
            told = {"dtype": input.dtype, "shape": input.shape}
            if name != "dropout":
                return torch.onnx.ops.symbolic(f"torch::{name}", (input,), version=1, **told)
            rate = torch.tensor(p, dtype=torch.float32)
            return torch.onnx.ops.symbolic("Dropout", (input, rate), **told)

        return write

    try:
        for name in _DROPOUTS:
            was[name] = getattr(functional, name)
            setattr(functional, name, written(name))
        yield
    finally:
        for name, function in was.items():
            setattr(functional, name, function)
