"""Costs grow with a network, not with its square: walks and look-ups are counted, not timed."""

import itertools
from collections.abc import Iterator
from dataclasses import replace

import pytest

from netc.errors import NetError, did_you_mean
from netc.ir.graph import Graph, Node
from netc.ir.types import Mesh, line_mesh
from netc.layers import layer_facts
from netc.passes.build_graph import build_graph
from netc.passes.choose_splits import choose_splits
from netc.strategies.fixed import FIXED
from netc.syntax import Network, parse_text

BODIES = {
    "chain": "repeat 60 { conv 3x3 2 pad=1 | relu }",
    "blocks": "block b(k) { conv k 2 pad=same | bn | tanh }\nrepeat 60 { b(3) }",
    "branches": "concat { " + " ; ".join(f"n{i} := conv 1 1 | relu" for i in range(60)) + " }",
}


class Walked(tuple[Node, ...]):
    """Nodes that count how often somebody goes through them."""

    walks = 0

    def __iter__(self) -> Iterator[Node]:
        Walked.walks += 1
        return super().__iter__()


def network(body: str) -> Network:
    return parse_text(f"net n\ninput image 1x8x8\n{body}\nfc 10 | softmax_loss")


def walked(graph: Graph) -> Graph:
    Walked.walks = 0
    return replace(graph, nodes=Walked(graph.nodes))


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_facts_of_all_layers_take_few_walks(body: str) -> None:
    found = network(body)
    graph = walked(build_graph(found, 1))
    assert len(layer_facts(found, graph)) > 60
    assert Walked.walks < 10


@pytest.mark.parametrize("strategy", FIXED)
@pytest.mark.parametrize("mesh", [line_mesh(1), Mesh((2, 2), ("d", "e"))])
def test_splits_of_all_layers_take_few_walks(strategy: str, mesh: Mesh) -> None:
    graph = walked(build_graph(network(BODIES["branches"]), 1))
    choose_splits(graph, mesh, strategy)
    assert Walked.walks < 10


def test_every_row_of_numbers_gets_its_name_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each `fc` flattens the image anew, under the next number."""
    tried: list[int] = []
    count = itertools.count

    def counting(start: int) -> Iterator[int]:
        for number in count(start):
            tried.append(number)
            yield number

    monkeypatch.setattr(itertools, "count", counting)
    graph = build_graph(network("add { " + "fc 4\n" * 60 + "}"), 1)
    assert {"flatten1", "flatten60"} <= set(graph.layers)
    assert len(tried) <= 61


def test_of_many_words_few_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []

    def near(word: str, known: list[str], n: int) -> list[str]:
        compared.extend(known)
        return known[:n]

    monkeypatch.setattr("difflib.get_close_matches", near)
    did_you_mean("relu", (f"layer{i}" for i in range(50_000)))
    assert 0 < len(compared) <= 1000


def test_a_near_word_is_found_among_many() -> None:
    words = ["relux", *(f"n{i}" for i in range(5000))]
    assert did_you_mean("relu", words) == "did you mean 'relux'? "


def test_tensors_that_no_memory_holds_are_refused() -> None:
    """Before anything is computed with such sizes."""
    text = "net n()\ninput image 3x8x8\nconv 1 2000000000 | conv 1 2000000000\nfc 2\nsoftmax_loss\n"
    with pytest.raises(NetError, match=r"E040.*conv2\.weight. would be 2000000000x2000000000x1x1"):
        build_graph(parse_text(text, "n.net"), batch=1)
