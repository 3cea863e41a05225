"""Every kind of layer and every activation has all that belongs to one."""

from __future__ import annotations

from pathlib import Path

import pytest

from netc.interchange.onnx_layers import HANDLERS
from netc.interchange.to_onnx import WRITERS, to_onnx
from netc.ir.graph import Graph
from netc.ir.ops import ACTIVATIONS
from netc.ir.optimizers import choose_optimizer
from netc.passes.build_graph import BUILDERS, build_graph
from netc.passes.differentiate import RULES, differentiate
from netc.strategies.labels import layer_kind, node_labels, why_not
from netc.syntax import network_text, parse_text
from netc.syntax.layers import COMBINING, KINDS, LOSS
from netc.syntax.signature import Option

ROOT = Path(__file__).parents[2]
REFERENCE = (ROOT / "docs" / "language.md").read_text()
INTERCHANGE = (ROOT / "docs" / "interchange.md").read_text()


def sample(option: Option) -> str:
    """Some value of an option."""
    for value, text in ((2, "2"), (0.5, "0.5")):
        try:
            option.domain.convert(value)
        except ValueError:
            continue
        return text
    raise AssertionError(f"no number is a {option.name}")


def network(kind: str) -> str:
    """A network with a layer of a kind, called `it`."""
    values = " ".join(sample(each) for each in KINDS[kind].options if each.required)
    layer = f"{kind} {{ relu ; identity }}" if kind in COMBINING else f"{kind} {values}"
    last = "it := softmax_loss" if kind == LOSS else f"it := {layer}\nfc 3 | softmax_loss"
    return f"net t\ninput image 4x6x6\nconv 1 4\n{last}\n"


def trained(kind: str) -> Graph:
    return differentiate(build_graph(parse_text(network(kind)), 2), choose_optimizer("sgd"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_goes_everywhere(kind: str) -> None:
    net = parse_text(network(kind))
    assert parse_text(network_text(net)) == net
    assert "conv1.weight.grad" in trained(kind).index
    assert kind == LOSS or "it" in {node.name for node in to_onnx(net).nodes}
    assert f"`{kind}`" in REFERENCE


def test_no_kind_is_left_out() -> None:
    assert set(BUILDERS) == set(WRITERS) == set(KINDS)


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_an_activation_goes_everywhere(kind: str) -> None:
    of = ACTIVATIONS[kind]
    assert KINDS[kind].options == ()
    assert of.gradient.kernel == f"{kind}_dx"
    assert type(of.forward) in RULES
    assert of.onnx.op_type in HANDLERS
    assert f"`{of.onnx.op_type}`" in INTERCHANGE
    graph = trained(kind)
    assert layer_kind(graph, "it") == kind
    slope = next(node for node in graph.nodes if node.op == of.gradient)
    assert slope.inputs[0] == ("it" if of.slope == "result" else graph["it"].inputs[0])


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_split_has_a_reason(kind: str) -> None:
    graph = trained(kind)
    for node in graph.nodes:
        (first, *_), _ = node_labels(graph, node) if node.inputs else (("",), "")
        if layer_kind(graph, node.layer) != kind or node.phase != "forward" or len(first) != 4:
            continue
        for label, own in zip("khw", first[1:], strict=True):
            assert own != "." or "such a layer" not in why_not(kind, label), (node.name, label)
