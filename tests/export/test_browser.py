"""The page in a browser: what a reader does, with the mouse and with keys alone.

Needs `pip install 'netc[browser]'` and a Chromium: `playwright install chromium`, or the system's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import netc.export.page
import netc_models
from netc.errors import Source
from netc.export.page import PlanCase, diff_html, page_html
from netc.export.page.data import page_data
from netc.export.words import amount, duration
from netc.strategies.fixed import FIXED

pytestmark = pytest.mark.browser

Make = Callable[..., Any]
MODELS = sorted(path.stem for path in Path(netc_models.__file__).parent.glob("*.net"))
OPENS_MS = 5000
"""How long VGG-16's page may take on a busy machine; alone it takes half a second."""


@pytest.fixture
def vgg(opened: Make, whole_case: Make) -> Any:
    return opened(page_html(*whole_case("vgg16", "hybrid", "b").given))


def card(page: Any, layer: str) -> Any:
    return page.locator(f'g.card[data-layer="{layer}"]')


def heading(page: Any) -> str:
    """Whose details the side shows."""
    text: str = page.locator(".tab-content:visible h2").first.inner_text()
    return text


def figure(page: Any, label: str) -> str:
    row = page.locator(".figures tr", has=page.locator(f'th:text-is("{label}")'))
    text: str = row.first.locator("td").inner_text()
    return text


def view(page: Any) -> str:
    """Where the graph is, and how large."""
    text: str = page.locator("svg.graph > g").get_attribute("transform")
    return text


def bars(page: Any) -> tuple[float, float]:
    """A place on the first lane of the clock, in the middle of its longest instruction."""
    box = page.locator("canvas").bounding_box()
    return box["x"] + 160, box["y"] + 32


def test_it_opens_soon_and_shows_every_card(vgg: Any, whole_case: Make) -> None:
    timing = "performance.timing.loadEventEnd - performance.timing.navigationStart"
    assert vgg.evaluate(timing) < OPENS_MS
    assert vgg.locator("g.card").count() > 15
    shown = vgg.locator(".tile b").all_inner_texts()
    assert "4 devices" in shown and amount(138_357_544) in shown
    box = vgg.locator("svg.graph").bounding_box()
    for each in vgg.locator("g.card").all():
        own = each.bounding_box()
        assert box["x"] <= own["x"] and own["x"] + own["width"] <= box["x"] + box["width"]
        assert box["y"] <= own["y"] and own["y"] + own["height"] <= box["y"] + box["height"]


@pytest.mark.parametrize("size", [(800, 600), (1024, 600), (1280, 720), (1500, 900)])
@pytest.mark.parametrize("two", [False, True])
def test_a_small_window_leaves_the_graph_its_room(
    opened: Make, whole_case: Make, size: tuple[int, int], two: bool
) -> None:
    """Where there is none for all, the page scrolls; a graph that fits fills most of its box."""
    cases = [whole_case("alexnet", strategy, "a") for strategy in ("model", "data")]
    text = diff_html(*(PlanCase(*each.given) for each in cases))
    page = opened(text if two else page_html(*cases[0].given))
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.reload()
    page.wait_for_selector("g.card")
    scrolls = page.evaluate("document.documentElement.scrollHeight > innerHeight")
    assert not scrolls or size[1] <= 600
    for graph in page.locator("svg.graph").all():
        box = graph.bounding_box()
        assert box["height"] >= 230
        own = [each.bounding_box() for each in graph.locator("g.card").all()]
        wide = max(e["x"] + e["width"] for e in own) - min(e["x"] for e in own)
        high = max(e["y"] + e["height"] for e in own) - min(e["y"] for e in own)
        assert wide > 0.75 * box["width"] or high > 0.75 * box["height"]
        assert wide <= box["width"] and high <= box["height"]
    assert page.locator("canvas").first.bounding_box()["height"] > 50


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("strategy", FIXED)
def test_unfolded_every_layer_and_exchange_is_drawn(
    opened: Make, case: Make, name: str, strategy: str, pytestconfig: pytest.Config
) -> None:
    if name not in ("vgg16", "resnet18") and not pytestconfig.getoption("--full"):
        pytest.skip("all models are opened with --full")
    given = PlanCase(*case(name, strategy).given)
    (plan,) = page_data([given])["plans"]
    page = opened(page_html(given.plan, given.network, given.facts))
    page.keyboard.press("F")
    if page.locator("g.card.closed").count():
        page.keyboard.press("F")
    # As for paper, everything is drawn whole, however far away.
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    names = [plan["plan"]["layers"][each["layers"][0]]["name"] for each in plan["cards"]]
    attributes = "(all, name) => all.map(each => each.getAttribute(name))"
    drawn = page.locator("g.card").evaluate_all(attributes, "data-layer")
    assert sorted(drawn) == sorted(names)
    ways = page.locator("g.way").evaluate_all(attributes, "data-exchanges")
    shown = [int(number) for way in ways for number in way.split()]
    sent = {n for n, e in enumerate(plan["plan"]["exchanges"]) if any(e["sent_bytes"])}
    between = [n for way in plan["ways"] for n in way["exchanges"] if n in sent]
    assert sorted(n for n in shown if n in sent) == sorted(between)
    for number, own in zip(names, plan["cards"], strict=True):
        text = card(page, number).text_content()
        words = {plan["exchanges"][n]["text"] for n in own["inside"] if n in sent}
        assert all(word in text for word in words), number


def test_cards_do_not_overlap(opened: Make, whole_case: Make) -> None:
    page = opened(page_html(*whole_case("googlenet", "hybrid").given))
    boxes = page.evaluate(
        "[...document.querySelectorAll('g.card .outline, g.way .badge')].map(e => {"
        "const {left, top, right, bottom} = e.getBoundingClientRect();"
        "return [left, top, right, bottom]})"
    )
    assert len(boxes) > 60
    for i, (left, top, right, bottom) in enumerate(boxes):
        for a, b, c, d in boxes[i + 1 :]:
            assert right <= a + 1 or c <= left + 1 or bottom <= b + 1 or d <= top + 1


def test_pointing_shows_a_layer_and_clicking_keeps_it(vgg: Any, whole_case: Make) -> None:
    made = whole_case("vgg16", "hybrid", "b")
    cost = made.facts.costs["fc7"]
    card(vgg, "fc7").hover()
    assert heading(vgg) == "fc7" and "pointed" in card(vgg, "fc7").get_attribute("class")
    assert figure(vgg, "sent a step") == amount(cost["sent_bytes"], "B")
    assert figure(vgg, "weights and state") == amount(cost["weight_bytes"], "B")
    assert figure(vgg, "bound by") == cost["bound"]
    rows = vgg.locator(".alternatives tbody tr").count()
    assert rows == len(made.facts.alternatives["fc7"])
    vgg.mouse.move(5, 5)
    assert vgg.locator(".hint").is_visible()
    card(vgg, "fc7").click()
    vgg.mouse.move(5, 5)
    assert heading(vgg) == "fc7" and "chosen" in card(vgg, "fc7").get_attribute("class")
    vgg.keyboard.press("Escape")
    assert vgg.locator(".hint").is_visible()


def test_seconds_are_written_as_everywhere(vgg: Any, whole_case: Make) -> None:
    seconds = whole_case("vgg16", "hybrid", "b").facts.step_seconds
    assert duration(seconds) in vgg.locator(".tile b").all_inner_texts()


def test_search(vgg: Any) -> None:
    vgg.keyboard.press("/")
    vgg.keyboard.type("conv3")
    assert vgg.locator(".count").inner_text() == "3 layers"
    vgg.keyboard.press("Enter")
    assert heading(vgg) == "stage3.conv3"
    # It is the second of two alike, which are drawn once until one is looked for.
    assert "chosen" in card(vgg, "stage3.conv3").get_attribute("class")
    vgg.keyboard.press("Enter")
    assert heading(vgg) == "stage4.conv3"
    assert vgg.locator("g.card.dim").count() > 10


def test_blocks_fold_by_mouse_and_by_keys(vgg: Any) -> None:
    before = vgg.locator("g.card").count()
    vgg.locator('g.handle[aria-label="fold stage2"]').click()
    assert vgg.locator("g.card").count() == before - 2
    assert vgg.locator("g.card.closed").count() == 1
    closed = vgg.locator("g.card.closed")
    closed.focus()
    vgg.keyboard.press("Enter")
    assert vgg.locator("g.card").count() == before
    assert vgg.evaluate("document.activeElement.classList.contains('handle')")
    card(vgg, "stage2.conv1").click()
    vgg.keyboard.press("f")
    assert vgg.locator("g.card.closed").count() == 1
    vgg.keyboard.press("F")
    assert vgg.locator("g.card.closed").count() == 0 and vgg.locator("g.card").count() > before


def test_a_run_unfolds(vgg: Any) -> None:
    assert card(vgg, "stage5.conv2").count() == 0
    card(vgg, "stage5.conv1").locator(".fold").click()
    assert card(vgg, "stage5.conv2").count() == card(vgg, "stage5.conv3").count() == 1


def test_phases_and_rounds(vgg: Any) -> None:
    def badges() -> str:
        return " ".join(vgg.locator("text.exchange:not(.figure)").all_text_contents())

    assert "reduce-scatter" in badges() and "all-reduce gradients" in badges()
    vgg.keyboard.press("2")
    assert "reduce-scatter" not in badges() and "all-gather" in badges()
    assert vgg.locator("rect.time.backward").count() == 0
    vgg.keyboard.press("3")
    assert "all-reduce gradients" not in badges()
    vgg.keyboard.press("2")
    vgg.locator('select[aria-label="round"]').select_option("1")
    assert "all-gather, 4 rounds" not in badges() and "all-gather" in badges()


def test_moving_by_keys(vgg: Any) -> None:
    whole = view(vgg)
    vgg.keyboard.press("+")
    near = view(vgg)
    assert scale_of(near) > scale_of(whole)
    vgg.keyboard.press("ArrowRight")
    assert view(vgg) != near and scale_of(view(vgg)) == scale_of(near)
    vgg.keyboard.press("-")
    vgg.keyboard.press("0")
    assert view(vgg) == whole


def scale_of(transform: str) -> float:
    found = re.search(r"scale\(([^)]+)\)", transform)
    assert found is not None
    return float(found[1])


def test_wheel_and_drag(vgg: Any) -> None:
    whole = view(vgg)
    box = vgg.locator("svg.graph").bounding_box()
    x, y = box["x"] + 20, box["y"] + box["height"] - 20
    vgg.mouse.move(x, y)
    vgg.mouse.wheel(0, -300)
    moved = "old => document.querySelector('svg.graph > g').getAttribute('transform') !== old"
    vgg.wait_for_function(moved, arg=whole)
    near = view(vgg)
    assert scale_of(near) > scale_of(whole)
    vgg.mouse.down()
    vgg.mouse.move(x + 90, y - 60, steps=4)
    vgg.mouse.up()
    assert view(vgg) != near and scale_of(view(vgg)) == scale_of(near)


def test_every_card_is_reached_by_tab(opened: Make, whole_case: Make) -> None:
    page = opened(page_html(*whole_case("lenet", "hybrid").given))
    page.locator('button[title="keys"]').focus()
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        name = page.evaluate("document.activeElement.dataset.layer ?? null")
        if name is not None:
            reached.append(name)
            assert heading(page) == name
    expected = page.locator("g.card").evaluate_all("all => all.map(e => e.dataset.layer)")
    assert reached == expected and len(expected) > 5
    page.locator("g.card").nth(2).focus()
    page.keyboard.press("Enter")
    assert "chosen" in page.locator("g.card").nth(2).get_attribute("class")
    page.keyboard.press("j")
    following = heading(page)
    page.keyboard.press("k")
    assert heading(page) != following


def test_clock_and_graph_are_linked(vgg: Any) -> None:
    x, y = bars(vgg)
    vgg.mouse.move(x, y)
    tip = vgg.locator(".tip").inner_text()
    assert "stage1.conv" in tip and "forward" in tip
    assert vgg.locator("g.card.pointed").count() == 1
    vgg.mouse.click(x, y)
    assert vgg.locator("g.card.chosen").count() == 1
    assert figure(vgg, "stream") == "compute" and figure(vgg, "phase") == "forward"
    first = figure(vgg, "from, to")
    vgg.keyboard.press("]")
    assert figure(vgg, "from, to").split(", ")[0] == first.split(", ")[1]
    vgg.keyboard.press("[")
    assert figure(vgg, "from, to") == first


def test_a_measured_step_lies_below_the_predicted_one(opened: Make, traced: Make) -> None:
    page = opened(page_html(*traced("digits").given))
    assert ", measured " in page.locator(".clock-head span").inner_text()
    x, y = bars(page)
    page.mouse.click(x, y)
    takes, on = figure(page, "takes"), figure(page, "on")
    assert figure(page, "alone") == takes
    page.mouse.click(x, y + 20)
    predicted, took = figure(page, "predicted"), figure(page, "took")
    assert took != predicted and figure(page, "stream") == "compute"
    (number,) = re.findall(r"\d+$", figure(page, "on"))
    assert number == "0" and on != figure(page, "on")
    choice = page.get_by_label("device as it was measured")
    choice.select_option("2")
    page.mouse.click(x, y + 20)
    assert figure(page, "on").endswith("2") and figure(page, "predicted") == predicted


def test_the_clock_zooms(vgg: Any) -> None:
    def there() -> str:
        """What is at one place of the window."""
        vgg.mouse.move(x + 500, y + 1)
        vgg.mouse.move(x + 500, y)
        text: str = vgg.locator(".tip").inner_text()
        return text

    x, y = bars(vgg)
    vgg.locator("canvas").focus()
    whole = there()
    vgg.keyboard.press("+")
    vgg.keyboard.press("ArrowRight")
    vgg.keyboard.press("ArrowRight")
    assert there() != whole
    vgg.keyboard.press("0")
    assert there() == whole


def test_the_critical_path_is_shown_or_not(vgg: Any) -> None:
    pixels = "document.querySelector('canvas').toDataURL()"
    shown = vgg.evaluate(pixels)
    vgg.keyboard.press("c")
    vgg.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert vgg.evaluate(pixels) != shown


def test_memory_lists_the_peak_and_any_moment(vgg: Any) -> None:
    vgg.keyboard.press("m")
    content = vgg.locator(".tab-content:visible")
    assert "At the peak" in content.inner_text()
    assert "fc6.weight" in content.inner_text()
    box = vgg.locator("canvas").bounding_box()
    vgg.mouse.click(box["x"] + 140, box["y"] + box["height"] - 14)
    assert "At the cursor" in content.inner_text()
    vgg.keyboard.press("]")
    vgg.keyboard.press("]")
    vgg.keyboard.press("x")
    vgg.mouse.move(5, 5)
    assert "At the cursor" in content.inner_text()
    assert "stage5.relu1" not in content.inner_text(), "nothing is known of that yet"


def test_source_lines(vgg: Any) -> None:
    card(vgg, "stage4.conv1").click()
    vgg.keyboard.press("s")
    here = vgg.locator("code.here")
    assert here.count() == 1 and "conv 3x3 filters" in here.inner_text()
    calls = " ".join(vgg.locator("code.calls").all_inner_texts())
    assert "stage(512, 3, bn)" in calls
    vgg.locator("code.written", has_text="fc7 :=").click()
    assert "chosen" in card(vgg, "fc7").get_attribute("class")


def test_light_and_dark(opened: Make, whole_case: Make) -> None:
    text = page_html(*whole_case("tiny").given)
    ground = "getComputedStyle(document.body).backgroundColor"
    light, dark = opened(text), opened(text, dark=True)
    pale, deep = light.evaluate(ground), dark.evaluate(ground)
    assert pale != deep
    light.keyboard.press("t")
    assert light.evaluate(ground) == deep
    dark.keyboard.press("t")
    assert dark.evaluate(ground) == pale


def test_print(vgg: Any, tmp_path: Path) -> None:
    vgg.emulate_media(media="print")
    assert not vgg.locator(".toolbar").is_visible()
    assert vgg.locator("canvas").is_visible()
    vgg.pdf(path=str(tmp_path / "page.pdf"), prefer_css_page_size=True)
    content = (tmp_path / "page.pdf").read_bytes()
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", content)) <= 4


def test_two_plans(opened: Make, whole_case: Make) -> None:
    first, second = whole_case("alexnet", "data"), whole_case("alexnet", "hybrid")
    page = opened(diff_html(PlanCase(*first.given), PlanCase(*second.given)))
    assert page.locator("svg.graph").count() == page.locator("canvas").count() == 2
    differing = [
        layer for layer, split in first.plan.splits if second.plan.split[layer] != split
    ]  # fmt: skip
    shown = page.locator(".differences tbody tr td:first-child").all_inner_texts()
    inputs = {"labels", *(each.name for each in first.network.inputs)}
    assert set(shown) == set(differing) - inputs
    counted = page.locator(".tab-content h2", has_text="differ").inner_text()
    assert counted == f"{len(shown)} of {len(first.facts.costs)} layers differ"
    assert page.locator("g.card.differs").count() >= 2
    page.keyboard.press("d")
    assert heading(page) == shown[0]
    cells = page.locator(".figures tr", has=page.locator('th:text-is("split")')).locator("td")
    assert cells.count() == 2 and len(set(cells.all_inner_texts())) == 2
    assert page.locator("g.card.chosen").count() == 2


def test_hostile_names_are_shown_as_they_are(opened: Make, whole_case: Make) -> None:
    name = "</script><img src=x onerror=alert(1)>"
    made = whole_case("tiny")
    source = Source("x.net", f"# {name}\n")
    network = replace(made.network, name=name, source=source)
    facts = replace(made.facts, strategy=name, notes=(name,))
    page = opened(page_html(made.plan, network, facts))
    assert page.locator("h1").inner_text() == name and page.title() == f"{name}: {name}"
    assert page.locator(".note").inner_text() == name
    page.keyboard.press("s")
    assert name in page.locator("pre").first.inner_text()
    assert page.locator("img").count() == 0


def test_numbers_are_written_as_python_writes_them(opened: Make, case: Make) -> None:
    page = opened(page_html(*case("tiny").given))
    words = Path(netc.export.page.__file__).with_name("words.js").read_text()
    values = [0.5, 1, 12, 999, 999.94, 999.96, 1000, 1792, 138_357_544, 14_155_776, 3.2e15]
    call = "new Function(`${words}; return arguments[0].map((v) => amount(v))`)"
    run = f"([words, values]) => {call}(values)"
    # The page forbids code of others, so it runs beside it.
    page.goto("about:blank")
    assert page.evaluate(run, [words, values]) == [amount(value) for value in values]
    run = run.replace("amount(v)", "duration(v)")
    times = [1.0, 12.345, 0.0412, 0.001, 0.000999, 3.456e-6]
    assert page.evaluate(run, [words, times]) == [duration(value) for value in times]
