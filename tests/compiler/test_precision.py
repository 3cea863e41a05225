"""Half the bits: what is stored as what, and what then is moved."""

from __future__ import annotations

from dataclasses import replace

import pytest
from harness import options, tiny
from hypothesis import given
from random_networks import Case, cases, free_cases

from netc.ir.ops import Cast, ConvDw, FcDw, Parameter, State
from netc.ir.program import Bundle
from netc.ir.text import bundle_text, parse_bundle
from netc.passes.pipeline import Compiled, compile_network
from netc_runtime.null import NullBackend


def lowered(case: Case, precision: str) -> tuple[Bundle, Compiled]:
    asked = options(case.network, case.mesh, case.batch, pins=case.pins, precision=precision)
    return compile_network(case.network, asked)


STATISTICS = ("grouped_mean", "grouped_var", "grouped_dgamma", "grouped_dbeta")
"""What has numbers of channels for each group of images."""


@cases(20)
@given(case=free_cases())
def test_weights_stay_wide_and_products_are_narrow(case: Case) -> None:
    bundle, compiled = lowered(case, "bf16")
    graph = compiled.graph
    for node in graph.nodes:
        if isinstance(node.op, Parameter | State) or node.phase == "update":
            assert node.type.dtype == "f32", node.name
        elif node.type.rank >= 2 and node.inputs:
            wide = node.op.kernel in STATISTICS
            assert node.type.dtype == ("f32" if wide else "bf16"), node.name
        if isinstance(node.op, Cast):
            assert graph[node.inputs[0]].type.dtype == "f32"
        if isinstance(node.op, ConvDw | FcDw):
            assert {t.dtype for t in graph.operand_types(node)} == {"bf16"}
    assert bundle_text(parse_bundle(bundle_text(bundle))) == bundle_text(bundle)


@pytest.mark.parametrize("strategy", ["data", "hybrid", "model"])
def test_activations_and_gradients_take_half_the_bytes_on_the_wire(strategy: str) -> None:
    network = tiny()
    moved = {}
    for precision in ("fp32", "bf16"):
        asked = options(network, 4, 16, strategy=strategy, precision=precision, fetch=())
        bundle, _ = compile_network(network, asked)
        report = NullBackend([bundle.train]).load(bundle.train).run()
        moved[precision] = sum(sent for sent, _ in report.traffic.values())
    assert 0.5 <= moved["bf16"] / moved["fp32"] < 0.56


@pytest.mark.parametrize(("update", "casts"), [("step", 1), ("round", 4)])
def test_a_weight_is_cast_as_often_as_it_changes(update: str, casts: int) -> None:
    network = tiny()
    asked = options(
        network, 4, 16, strategy="hybrid", precision="bf16", fetch=(), scheme="b", fc_update=update
    )
    _, compiled = compile_network(network, asked)
    nodes = compiled.plan.graph.nodes
    count = dict.fromkeys(("conv1", "fc1"), 0)
    for node in nodes:
        if isinstance(node.op, Cast) and node.layer in count:
            count[node.layer] += 1
    assert count == {"conv1": 1, "fc1": casts}


def test_tf32_is_stored_as_fp32() -> None:
    network = tiny()
    narrow, wide = (
        compile_network(network, options(network, 2, 8, precision=precision))[0]
        for precision in ("tf32", "fp32")
    )
    assert replace(narrow, facts=wide.facts) == wide
