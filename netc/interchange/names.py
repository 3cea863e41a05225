"""The names that torchvision gives the weights of a network, derived from its layers.

torchvision's networks are modules within modules; what follows one after the other without a name
of its own is a `Sequential`, whose parts are numbered from 0. Hence two rules:

- A network without branches is two such sequences, `features` and, from the first fully connected
  layer on (with a dropout right before it), `classifier`: `features.0.weight`, `classifier.6.bias`.
- In any other, a weight is called by its blocks and its layer. A call of a block whose parts follow
  one after the other is a sequence; those of its parts whose names end in a number are numbered:
  `layer1.bottleneck2.conv1` becomes `layer1.1.conv1`. Other names stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from netc.syntax.network import Layer, Network

ROLES: Mapping[str, tuple[str, ...]] = {
    "conv": ("weight", "bias"),
    "fc": ("weight", "bias"),
    "bn": ("weight", "bias", "running_mean", "running_var"),
}
"""What a layer of a kind keeps from step to step, besides the optimizer's state."""

_UNCOUNTED = ("flatten", "softmax_loss")
"""Kinds that are no modules in torchvision's networks."""


def torch_names(network: Network) -> dict[str, str]:
    """Every weight and running statistic: netc's name to torchvision's.

    `conv1.weight` of VGG-16 becomes `features.0.weight`. Names are unique on both sides.
    """
    branches = any(layer.kind in ("add", "concat") for layer in network.layers)
    modules = _paths(network) if branches else _sequences(network)
    return {
        f"{layer.name}.{role}": f"{modules[layer.name]}.{role}"
        for layer in network.layers
        for role in _roles(layer)
    }


def _roles(layer: Layer) -> tuple[str, ...]:
    roles = ROLES.get(layer.kind, ())
    return tuple(r for r in roles if r != "bias" or layer.options.get("bias", True))


def _sequences(network: Network) -> dict[str, str]:
    """Layers numbered through `features` and `classifier`."""
    layers = [layer for layer in network.layers if layer.kind not in _UNCOUNTED]
    kinds = [layer.kind for layer in layers]
    split = kinds.index("fc") if "fc" in kinds else len(kinds)
    if split and kinds[split - 1] == "dropout":
        split -= 1
    parts = (("features", layers[:split]), ("classifier", layers[split:]))
    return {
        layer.name: f"{part}.{number}"
        for part, members in parts
        for number, layer in enumerate(members)
    }


@dataclass(slots=True)
class _Scope:
    """The whole network, or one call of a block."""

    parts: dict[str, _Scope | None] = field(default_factory=dict)
    """Calls and layers (None) directly in it, by name, in order."""
    branches: bool = False
    """Whether results meet directly in it."""


def _paths(network: Network) -> dict[str, str]:
    """Layers by the path of their blocks."""
    root = _Scope()
    for layer in network.layers:
        _place(root, layer)
    return {layer.name: _path(root, layer.name.split(".")) for layer in network.layers}


def _place(root: _Scope, layer: Layer) -> None:
    *scopes, name = layer.name.split(".")
    scope = root
    for each in scopes:
        inner = scope.parts.setdefault(each, _Scope())
        # A layer and a call of one name are refused when shapes are inferred.
        scope = inner or _Scope()
    if layer.kind not in _UNCOUNTED:
        scope.parts[name] = None
    scope.branches |= layer.kind in ("add", "concat")


def _path(root: _Scope, names: Sequence[str]) -> str:
    scope: _Scope | None = root
    path = []
    for depth, name in enumerate(names):
        assert scope is not None
        parts = scope.parts
        numbered = depth and not scope.branches and name[-1].isdecimal() and name in parts
        path.append(str(list(parts).index(name)) if numbered else name)
        scope = parts.get(name)
    return ".".join(path)
