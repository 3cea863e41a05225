"""What holds of every `Network`."""

from __future__ import annotations

from netc.syntax.layers import COMBINING, KINDS, LOSS
from netc.syntax.network import Layer, Network


def verify_network(network: Network) -> None:
    """Assert that `network` is well formed; no file a user writes can break this.

    Names are unique, what a layer reads stands before it, kinds and options are known, arities are
    right, every result is read, and the one loss stands last.
    """
    defined: set[str] = set()
    read: set[str] = set()
    for spec in network.inputs:
        _verify_name(spec.name, defined)
        assert len(spec.shape) == 3, f"verify_network: {spec}"
        assert min(spec.shape) >= 1, f"verify_network: {spec}"
        defined.add(spec.name)
    for layer in network.layers:
        _verify_layer(layer, defined)
        defined.add(layer.name)
        read.update(layer.inputs)
    losses = [layer.name for layer in network.layers if layer.kind == LOSS]
    assert losses == [layer.name for layer in network.layers[-1:]], f"verify_network: {losses}"
    assert defined - read == set(losses), f"verify_network: unread {defined - read - set(losses)}"


def _verify_layer(layer: Layer, defined: set[str]) -> None:
    assert layer.kind in KINDS, f"verify_network: {layer.name}: kind {layer.kind!r}"
    _verify_name(layer.name, defined)
    unknown = set(layer.inputs) - defined
    assert not unknown, f"verify_network: {layer.name} reads {unknown} before definition"
    names = tuple(each.name for each in KINDS[layer.kind].options)
    assert tuple(layer.options) == names, f"verify_network: {layer.name}: {layer.options}"
    enough = len(layer.inputs) >= 2 if layer.kind in COMBINING else len(layer.inputs) == 1
    assert enough, f"verify_network: {layer.name}: {len(layer.inputs)} inputs"


def _verify_name(name: str, defined: set[str]) -> None:
    assert name, "verify_network: empty name"
    assert name not in defined, f"verify_network: name {name!r} is defined twice"
