"""PyTorch's modules as networks, and back: one that was exported once, and torchvision's."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file

import netc
from netc.api.torch import converted

GOLDENS = Path(__file__).parents[1] / "goldens"
TEXT = """\
net small

input x 3x21x19

features.0 := $x | conv 3x3 4 /2
features.1 := $features.0 | tanh
features.2 := $features.1 | avgpool 3x3 /1 pad=1 count_pad=false
features.3.conv := $features.2 | conv 3x3 4 pad=1 bias=false
features.3.bn := $features.3.conv | bn momentum=0.25
features.3.relu := $features.3.bn | relu
features.3.add1 := add { $features.2 ; $features.3.relu }
features.3.relu1 := $features.3.add1 | relu
features.4 := $features.3.relu1 | maxpool 3x3 /2 ceil=true
pool := $features.4 | avgpool global
flatten1 := $pool | flatten
classifier.0 := $flatten1 | dropout 0.3
classifier.1 := $classifier.0 | fc 5
softmax_loss1 := $classifier.1 | softmax_loss
"""
MISSING = [name for name in ("torch", "torchvision", "onnxscript") if find_spec(name) is None]
needs_torch = pytest.mark.skipif(
    bool(MISSING), reason=f"needs {', '.join(MISSING)}: pip install torch torchvision onnxscript"
)
MODELS = {"alexnet": 224, "resnet18": 64, "squeezenet1_1": 64, "vgg16_bn": 224}
"""Of torchvision, and the side of images."""


def kept() -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """The message, the module's tensors, and all that was saved."""
    saved = load_file(GOLDENS / "module.safetensors")
    state = {name[6:]: value for name, value in saved.items() if name.startswith("state.")}
    return onnx.load(GOLDENS / "module.onnx"), state, saved


def test_an_exported_module() -> None:
    proto, state, saved = kept()
    network = converted(proto, state, "small")
    assert network.text == TEXT
    shares = np.exp(saved["scores"] - saved["scores"].max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    np.testing.assert_allclose(network.predict(saved["images"]), shares, rtol=0, atol=1e-6)
    assert network.origin is not None
    own = {name for name in state if "unused" not in name and "tracked" not in name}
    assert {place.tensor for place in network.origin.places.values()} == own
    for name, place in network.origin.places.items():
        np.testing.assert_array_equal(network.tensors[name], state[place.tensor])  # type: ignore[index]


def test_what_no_layer_stands_for_is_said_with_its_module() -> None:
    proto, state, _ = kept()
    next(node for node in proto.graph.node if node.op_type == "Tanh").op_type = "Softsign"
    with pytest.raises(netc.DataError) as caught:
        converted(proto, state, "small")
    assert "operator Softsign" in str(caught.value)
    assert "'node_tanh' of module 'features.1'" in str(caught.value)


def test_networks_of_files_are_no_modules() -> None:
    with pytest.raises(netc.UsageError, match="come from PyTorch"):
        netc.load("digits").state_dict()


def test_what_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("onnxscript", "torch"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(netc.DataError, match=r"PyTorch \(torch\) is not(?s:.)*pip install torch"):
        netc.from_torch(object())


def test_the_way_back_is_of_the_same_network() -> None:
    proto, state, _ = kept()
    network = converted(proto, state, "small")
    for trained in (3, network.weights()):
        with pytest.raises(netc.UsageError, match="'trained' must be what 'run' returned"):
            network.state_dict(trained)  # type: ignore[arg-type]
    other = netc.load("digits").plan()
    with pytest.raises(netc.DataError, match="E081"):
        network.state_dict(other)


@needs_torch
def test_wrong_calls() -> None:
    import torch

    flat = torch.nn.Linear(3, 4)
    taken = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 4))
    sizes: list[Any] = [(np.int64(3), 8, 8), np.array([3, 8, 8]), [3, 8, 8]]
    for size in sizes:
        assert netc.from_torch(taken, size).network.inputs[0].shape == (3, 8, 8)
    with torch.device("meta"):
        nowhere = torch.nn.Linear(3, 4)
    for module, why in ((nowhere, "device 'meta'"), (torch.nn.LazyLinear(4), "its size is not")):
        with pytest.raises(netc.DataError, match=f"E097(?s:.)*'weight'(?s:.)*{why}"):
            netc.from_torch(module, (3, 8, 8))
    for module, image, said in (
        (object(), (3, 8, 8), "must be a torch.nn.Module"),
        (flat, (3, 8), "must be \\(channels, height, width\\)"),
        (flat, (3, 8, 0), "must be \\(channels, height, width\\)"),
    ):
        with pytest.raises(netc.UsageError, match=said):
            netc.from_torch(module, image)
    with pytest.raises(netc.DataError, match="takes no images of 3x8x8: RuntimeError"):
        netc.from_torch(flat, (3, 8, 8))
    dropping = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Dropout2d())
    with pytest.raises(netc.DataError, match=r"dropout2d(?s:.)* of module '1'"):
        netc.from_torch(
            torch.nn.Sequential(dropping[0], dropping[1], torch.nn.Flatten()), (3, 8, 8)
        )
    assert dropping.training
    given: dict[str, Any] = {"name": 3}
    with pytest.raises(netc.UsageError, match="'name' must be a word"):
        netc.from_torch(taken, (3, 8, 8), **given)


@needs_torch
def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    """Of what PyTorch's exporter says of a module that it refuses, the error has the cause."""
    import torch

    class Choosing(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            return x.mean((2, 3)) if x.sum() > 0 else x.mean((2, 3)) * 2

    with pytest.raises(netc.DataError, match="E097"):
        netc.from_torch(Choosing(), (3, 8, 8))
    assert capfd.readouterr() == ("", "")


@needs_torch
@pytest.mark.torch
@pytest.mark.parametrize(("name", "side"), MODELS.items())
def test_torchvision(name: str, side: int) -> None:
    """The module's numbers, and its tensors back to the bit."""
    import torch
    import torchvision

    torch.manual_seed(3)
    module = getattr(torchvision.models, name)(num_classes=10)
    network = netc.from_torch(module, (3, side, side))
    assert module.training
    images = torch.randn(2, 3, side, side)
    with torch.no_grad():
        wanted = module.eval()(images).softmax(1).numpy()
    np.testing.assert_allclose(network.predict(images.numpy()), wanted, rtol=0, atol=1e-5)
    own, back = module.state_dict(), network.state_dict()
    assert list(back) == list(own)
    assert all(torch.equal(back[key], value) for key, value in own.items())
    changed = {key: value + 1 for key, value in network.weights().items()}
    module.load_state_dict(network.with_weights(changed).state_dict(), strict=True)
    first = next(iter(back))
    assert torch.equal(module.state_dict()[first], back[first] + 1)


def _plain(torch: Any) -> Any:
    """Without batch norms."""
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, stride=2),
        nn.Tanh(), nn.Flatten(), nn.Linear(8 * 3 * 3, 12), nn.GELU(approximate="tanh"),
        nn.Linear(12, 5),
    )  # fmt: skip


def _normed(torch: Any) -> Any:
    """With batch norms, and means over windows without their padding."""
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(),
        nn.AvgPool2d(3, 2, padding=1, count_include_pad=False),
        nn.Conv2d(6, 8, 3, groups=2), nn.BatchNorm2d(8, momentum=0.3), nn.Sigmoid(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
    )  # fmt: skip


@needs_torch
@pytest.mark.torch
@pytest.mark.parametrize("devices", [1, 3])
@pytest.mark.parametrize("make", [_plain, _normed])
def test_gradients_are_pytorchs(make: Any, devices: int) -> None:
    """A step of rate 1 takes the gradient off each weight; statistics move as PyTorch's do."""
    import copy

    import torch

    torch.manual_seed(5)
    module = make(torch)
    network = netc.from_torch(module, (3, 14, 14))
    text = f"{network.text}\ntrain {{ batch 12; sgd lr=1 momentum=0 decay=0 }}\n"
    known = netc.parse(text).with_weights(network.weights())
    images, labels = torch.randn(12, 3, 14, 14, dtype=torch.float64), torch.arange(12) % 5
    with known.plan(devices=devices, precision="fp64", strategy="data").open() as session:
        loss = session.step(images.numpy(), labels.numpy()).loss
        after = session.weights()
    own = copy.deepcopy(module).double().train()
    wanted = torch.nn.functional.cross_entropy(own(images), labels)
    wanted.backward()
    assert loss == pytest.approx(wanted.item(), rel=1e-12)
    assert network.origin is not None
    theirs = {**dict(own.named_parameters()), **dict(own.named_buffers())}
    before, places = network.weights(), network.origin.places
    assert len(places) == len(before) == sum("tracked" not in name for name in theirs)
    for name, place in places.items():
        tensor = theirs[place.tensor]
        if tensor.requires_grad:
            found, right = before[name] - after[name], tensor.grad
        else:
            found, right = after[name], tensor
        right = right.numpy().reshape(found.shape)
        np.testing.assert_allclose(found, right, rtol=0, atol=1e-11 * (1 + abs(right).max()))
