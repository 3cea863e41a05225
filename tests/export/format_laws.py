"""Laws of the formats of plans: other programs read them; each says all layers and exchanges."""

from __future__ import annotations

import io
import json
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import pygraphviz
from harness import compiled, options, tiny
from page_laws import check_page, data_in
from PIL import Image
from schemas import PLAN, TRACE, against

from netc.export.describe import describe
from netc.export.page import PlanCase
from netc.export.pdf import pdf_bytes
from netc.export.picture import Badge, Picture
from netc.export.png import png_bytes
from netc.export.scene import Scene, Text
from netc.export.svg import svg_text
from netc.export.write import WRITERS
from netc.ir.clock import simulate
from netc.ir.facts import Facts
from netc.trace.read import read_trace
from netc.trace.same import check_same
from netc.trace.spans import StepSpans, predicted_spans
from netc.trace.write import trace_text


def check_drawn(scene: Scene) -> None:
    """A picture is SVG and PDF with the same words."""
    texts = [shape.text for shape in scene.shapes if isinstance(shape, Text)]
    root = ElementTree.fromstring(svg_text(scene))
    assert Counter(each.text for each in root.findall("{*}text")) == Counter(texts)
    pdf = pdf_bytes(scene)
    assert pdf.startswith(b"%PDF-") and pdf.endswith(b"%%EOF\n")
    assert pdf.count(b" Tj ET") == len(texts)


def check_written(case: PlanCase, picture: Picture, folder: Path) -> None:
    """What is written of a plan for other programs, and its page; `picture` is drawn of it."""
    given = case.plan, case.network, case.facts
    check_dot(WRITERS[".dot"](*given).decode(), picture)
    check_json(WRITERS[".json"](*given), case)
    traced = check_trace(case, folder / "trace.json")
    check_page(traced, data_in(WRITERS[".html"](case.plan, case.network, traced.facts).decode()))


def check_png(scene: Scene) -> None:
    """A whole image of the picture's shape."""
    image = Image.open(io.BytesIO(png_bytes(scene)))
    image.load()
    assert abs(image.width / image.height - scene.width / scene.height) < 0.01


def check_dot(text: str, picture: Picture) -> None:
    """Graphviz reads it: a node for each card and for what is exchanged on each way."""
    graph = pygraphviz.AGraph(string=text)
    said: dict[str, tuple[str, tuple[Badge, ...]]] = {
        card.name: (card.title, card.badges) for card in picture.cards
    }
    said |= {link.name: ("", link.badges) for link in picture.links if link.badges}
    assert set(graph.nodes()) == set(said)
    for name, (title, badges) in said.items():
        label = graph.get_node(name).attr["label"]
        assert title in label
        assert all(badge.text in label and badge.figures in label for badge in badges)
    ends = {(link.source, target) for link in picture.links for target in link.targets}
    ways = {link.name: link.source for link in picture.links if link.badges}
    assert {(ways.get(a, a), b) for a, b in graph.edges() if b not in ways} == ends


def check_json(content: bytes, case: PlanCase) -> None:
    """It is what the schema says, with all layers and exchanges in order."""
    plan = json.loads(content)
    assert against(PLAN, plan) == []
    known = describe(case.plan, case.network)
    assert [each["name"] for each in plan["layers"]] == [each.name for each in known.layers]
    assert [each["name"] for each in plan["exchanges"]] == [each.name for each in known.exchanges]


def check_trace(case: PlanCase, path: Path) -> PlanCase:
    """A step of the plan is written and read as a trace; the plan with that trace."""
    program, facts = case.facts.program, case.facts
    assert program is not None
    told = replace(some_facts(), network=case.network.name, strategy=facts.strategy,
                   scheme=facts.scheme, precision="fp32")  # fmt: skip
    spans = predicted_spans(program, simulate(program))
    path.write_text(trace_text(program, told, "cpu", facts.cluster, [StepSpans(4, 0, spans)]))
    assert against(TRACE, json.loads(path.read_text())) == []
    trace = read_trace(path)
    check_same(trace, program)
    return replace(case, facts=replace(facts, trace=trace))


@cache
def some_facts() -> Facts:
    """The facts of some bundle; a trace says a few of them."""
    network = tiny()
    return compiled(network, options(network, 1, 2))[0].facts
