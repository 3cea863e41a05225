"""The page of a training in a browser: by mouse and by keys, in light and dark, narrow and wide."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netc.export.training import HeldOut, ShownImage, TrainingFacts, training_html

pytestmark = pytest.mark.browser

Make = Callable[..., Any]


@pytest.fixture(scope="module")
def text() -> str:
    """A page with long names, and many classes."""
    lines: list[dict[str, float | None]] = []
    for step in range(1, 301):
        epoch = (step - 1) // 50 + 1
        lines.append({"step": step, "epoch": epoch, "loss": 5.0 / step, "learning_rate": 0.1,
                      "images_per_second": 1e5})  # fmt: skip
        if step % 50 == 0:
            lines.append({"step": step, "epoch": epoch, "test_loss": 4.0 / step,
                          "test_accuracy": 1 - 1 / step})  # fmt: skip
    names = tuple(f"a rather long name of class {i}" for i in range(40))
    pixels = np.random.default_rng(0).integers(0, 256, (3, 100, 120), np.uint8)
    shown = [ShownImage(i, pixels, i, 0.2, ((i + 1, 0.8), (i, 0.2))) for i in range(24)]
    pairs = {(i, i): 100 for i in range(40)} | {(i, i + 1): i for i in range(1, 39)}
    rows = [("network", "net"), ("data set", "pictures in '" + "folder/" * 20 + "'")]
    tiles = [("98.12 %", "of 4,741 held-out images are right"), ("300", "steps")] * 3
    held_out = HeldOut(names, pairs, shown, shown)
    return training_html(TrainingFacts("net", "runs/net", tiles, rows, lines, ("a",), held_out))


@pytest.mark.parametrize("width", [340, 500, 1400, 2200])
def test_nothing_is_wider_than_the_window(opened: Make, text: str, width: int) -> None:
    page = opened(text)
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_charts_are_read_by_pointing_and_by_keys(opened: Make, text: str) -> None:
    page = opened(text)
    chart = page.locator(".chart").first
    said = chart.locator("output")
    assert said.inner_text().startswith("steps 298 to 300: each step 0.01667 to 0.01678")
    page.keyboard.press("Tab")
    while not page.evaluate("document.activeElement.matches('.chart svg')"):
        page.keyboard.press("Tab")
    for key, first in (("Home", "1 to 2"), ("ArrowRight", "3 to 5"), ("PageDown", "28 to 30"),
                       ("ArrowLeft", "26 to 27"), ("PageUp", "1 to 2"), ("ArrowLeft", "1 to 2"),
                       ("End", "298 to 300")):  # fmt: skip
        page.keyboard.press(key)
        assert said.inner_text().startswith(f"steps {first}: "), key
        assert chart.locator(".column.read").count() == 1
    box = chart.locator(".column").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 20)
    assert said.inner_text().startswith("steps 1 to 2: each step 2.5 to 5, ")


def test_light_and_dark(opened: Make, text: str) -> None:
    ground = "getComputedStyle(document.querySelector('.chart')).backgroundColor"
    light, dark = opened(text), opened(text, dark=True)
    pale, deep = light.evaluate(ground), dark.evaluate(ground)
    assert pale != deep
    light.keyboard.press("t")
    assert light.evaluate(ground) == deep
    dark.locator("#theme").click()
    assert dark.evaluate(ground) == pale


def test_text_in_the_matrix_can_be_read(opened: Make, text: str) -> None:
    """Contrast with the cell's colour is at least 4.5, as WCAG asks for."""
    contrast = """() => {
        const rgb = (color) => color.match(/[\\d.]+/g).slice(0, 3).map(Number);
        const light = (c) => c.map((v) => v / 255)
            .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
            .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
        const card = rgb(getComputedStyle(document.querySelector(".matrix")).backgroundColor);
        return Math.min(...[...document.querySelectorAll(".matrix g:has(> title)")]
            .filter((g) => g.querySelector("text")).map((g) => {
                const cell = getComputedStyle(g.querySelector("rect"));
                const part = Number(cell.fillOpacity);
                const over = rgb(cell.fill).map((v, i) => part * v + (1 - part) * card[i]);
                const ink = rgb(getComputedStyle(g.querySelector("text")).fill);
                const pair = [light(over), light(ink)].sort((a, b) => b - a);
                return (pair[0] + 0.05) / (pair[1] + 0.05);
            }));
    }"""
    for dark in (False, True):
        assert opened(text, dark=dark).evaluate(contrast) >= 4.5


def test_print(opened: Make, text: str, tmp_path: Path) -> None:
    page = opened(text, dark=True)
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert not page.locator("nav").is_visible()
    ground = "getComputedStyle(document.querySelector('.chart')).backgroundColor"
    assert page.evaluate(ground) == "rgb(255, 255, 255)"
    page.pdf(path=str(tmp_path / "page.pdf"), prefer_css_page_size=True)
    content = (tmp_path / "page.pdf").read_bytes()
    assert 3 <= len(re.findall(rb"/Type\s*/Page\b", content)) <= 9


def test_without_a_script_all_is_there(browser: Any, text: str, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(text, encoding="utf-8")
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(file.as_uri())
    assert page.locator(".chart svg").first.is_visible()
    assert page.locator(".chart output").first.inner_text().startswith("steps 298 to 300")
    assert page.locator(".gallery img").count() == 48
    context.close()
