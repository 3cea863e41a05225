"""Networks, and plans of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import netc_models
from netc.api.pictures import page_facts, plan_facts
from netc.api.request import Request
from netc.cost import Cluster, LinkLevel, Links
from netc.export import PlanFacts
from netc.ir.clock import simulate
from netc.ir.facts import REPLICATED
from netc.ir.plan import Plan
from netc.ir.program import word_of
from netc.ir.programs import TRAIN
from netc.ir.types import Mesh
from netc.passes.assign_formats import Target
from netc.passes.choose_splits import Pin
from netc.passes.options import Options
from netc.passes.pipeline import Compiled, lower_network
from netc.passes.plan_memory import plan_alone
from netc.syntax import Network, parse_file, parse_text
from netc.trace.spans import (
    StepTrace,
    TracedStep,
    TraceSpan,
    last_end,
    nanoseconds,
    predicted_spans,
)

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
LINKS = Links((LinkLevel("wire", None, 1e9, 1e-5),))
CLUSTER = Cluster("test", {"f32": 1e12, "f64": 1e12}, 1e11, 1e10, 1e-5, LINKS, "made up")

TINY = """
net tiny
input image 1x8x8
conv 3x3 4 pad=1 | relu
maxpool 2x2 /2
fc 6
softmax_loss
"""

BLOCKS = """
net blocks
input image 3x16x16
block unit(c) {
    add {
        conv 3x3 c pad=1 bias=false | bn | relu | conv 3x3 c pad=1 bias=false | bn
        identity
    }
    relu
}
block inception(a, b) {
    concat {
        conv 1x1 a | relu
        conv 1x1 b | relu | conv 3x3 b pad=1 | relu
        maxpool 3x3 /1 pad=1
    }
}
conv 3x3 8 pad=1 | bn | relu
unit(8) | unit(8) | unit(8)
inception(4, 6)
conv 3x3 8 pad=1 | relu | conv 3x3 8 pad=1 | relu | conv 3x3 8 pad=1 | relu
avgpool global
fc 10
softmax_loss
"""


DENSE = """
net dense
input image 3x16x16
block unit(growth) {
    concat {
        identity
        bn | relu | conv 1x1 filters=4 * growth bias=false | bn | relu | conv 3x3 growth pad=1
    }
}
conv 3x3 8 pad=1
repeat 6 { unit(4) }
bn | relu | conv 1x1 16 bias=false | avgpool 2x2 /2
repeat 9 { unit(4) }
bn | relu | avgpool global
fc 10
softmax_loss
"""


@dataclass(frozen=True)
class Case:
    """What the exporters are given."""

    plan: Plan
    network: Network
    facts: PlanFacts
    options: Options
    compiled: Compiled

    @property
    def given(self) -> tuple[Plan, Network, PlanFacts]:
        return self.plan, self.network, self.facts


def network(name: str) -> Network:
    texts = {"tiny": TINY, "blocks": BLOCKS, "dense": DENSE}
    if name in texts:
        return parse_text(texts[name])
    return parse_file(Path(netc_models.__file__).with_name(f"{name}.net"))


@cache
def make_case(
    name: str,
    strategy: str = "hybrid",
    mesh: tuple[int, ...] = (4,),
    scheme: str | None = None,
    batch: int = 16,
    pins: tuple[Pin, ...] = (),
    image_format: str = "",
    updates: str = REPLICATED,
    goal: str = TRAIN,
) -> Case:
    net = network(name)
    axes = ("d", "e")[: len(mesh)]
    target = Target("cpu", image_format)
    options = Options(
        Mesh(mesh, axes), batch, CLUSTER, strategy, target=target, pins=pins, scheme=scheme,
        updates=updates, goal=goal,
    )  # fmt: skip
    compiled = lower_network(net, options)
    facts = PlanFacts(
        strategy, compiled.scheme, "test", (2**20,) * compiled.plan.mesh.size, 0.5, compiled.notes,
        updates, goal,
    )  # fmt: skip
    return Case(compiled.plan, net, facts, options, compiled)


@cache
def page_case(name: str, strategy: str = "hybrid", scheme: str | None = None) -> Case:
    """A plan for four devices with all that a page shows."""
    made = make_case(name, strategy, (4,), scheme)
    made = timed(made)
    asked = Request(made.network, made.options, strategy, ())
    return replace(made, facts=page_facts(made.facts, asked, made.compiled))


def timed(case: Case) -> Case:
    """The same with what pictures say of times and memory."""
    program = plan_alone(case.compiled.program)
    asked = Request(case.network, case.options, case.facts.strategy, ())
    return replace(case, facts=plan_facts(asked, case.compiled, program))


@cache
def traced_case(name: str, strategy: str = "hybrid", scheme: str | None = None) -> Case:
    """A plan with a step that is said to have been run twice as slowly as predicted."""
    made = page_case(name, strategy, scheme)
    program = made.facts.program
    assert program is not None
    line = simulate(program)
    spans = {place: (2 * a, 2 * b) for place, (a, b) in predicted_spans(program, line).items()}
    whole = program.mesh.size, 0, (TracedStep(4, 0, nanoseconds(line.seconds), last_end(spans)),)
    measured = (
        TraceSpan(4, True, device, number, *spans[number, device], each.stream, each.layer,
                  each.phase, word_of(each), each.waits, getattr(each, "devices", ()))
        for device in range(program.mesh.size)
        for number, each in program.of(device).instructions.items()
    )  # fmt: skip
    trace = StepTrace(name, strategy, "", 16, "fp32", "cpu", "test", *whole, tuple(measured))
    return replace(made, facts=replace(made.facts, trace=trace))


@pytest.fixture(scope="session")
def traced() -> Callable[..., Case]:
    return traced_case


@pytest.fixture(scope="session")
def case() -> Callable[..., Case]:
    return make_case


@pytest.fixture(scope="session")
def whole_case() -> Callable[..., Case]:
    return page_case


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A Chromium, playwright's own or the system's."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed ('netc[browser]')"
    )
    found = [None, *filter(None, map(shutil.which, CHROMIUMS))]
    with playwright.sync_playwright() as started:
        for path in found:
            try:
                made = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
            except playwright.Error:
                continue
            yield made
            made.close()
            return
    pytest.skip("there is no Chromium ('playwright install chromium')")


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Opens pages; none may complain, or ask for another file."""
    complaints: list[str] = []
    pages = []

    def open_(text: str, dark: bool = False) -> Any:
        scheme = "dark" if dark else "light"
        page = browser.new_page(viewport={"width": 1500, "height": 900}, color_scheme=scheme)
        pages.append(page)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda m: complaints.append(m.text) if m.type != "log" else None)
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on("request", lambda r: complaints.append(r.url) if r.url[:5] != "file:" else None)
        file = tmp_path / f"{len(pages)}.html"
        file.write_text(text, encoding="utf-8")
        page.goto(file.as_uri())
        page.wait_for_selector("html[data-ready]", timeout=30_000)
        return page

    yield open_
    for page in pages:
        page.close()
    assert [text for text in complaints if not text.startswith("data:")] == []
