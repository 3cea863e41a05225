"""The page of a training: nothing that was measured is lost on the way, and it asks for no file."""

from __future__ import annotations

import base64
import hashlib
import io
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pages import HOSTILE, Parsed
from PIL import Image

from netc.export.training import FirstFilters, HeldOut, ShownImage, TrainingFacts, training_html
from netc.export.training.axes import axis_of, exact_axis
from netc.export.training.charts import BOX, COLUMNS, HEIGHT, READ, WIDTH, Chart, draw_chart
from netc.export.training.confusion import (
    MOST_CLASSES,
    SHOWN_CLASSES,
    Confusion,
    confused,
    confusion_of,
    draw_confusion,
    draw_pairs,
)
from netc.export.training.curves import XY, known, smoothed, thinned
from netc.export.training.images import SIDE, draw_filters, image_uri
from netc.export.training.page import charts_of

VALUES = st.floats(-1e6, 1e6, allow_subnormal=False)
POINTS = st.lists(VALUES, min_size=1, max_size=400).map(
    lambda ys: [(float(x), y) for x, y in enumerate(ys, 1)]
)


def lines_of(steps: int, epoch: int, seed: int = 0) -> list[dict[str, float | None]]:
    """Metrics of so many steps, so many an epoch."""
    rng = np.random.default_rng(seed)
    found: list[dict[str, float | None]] = []
    for step in range(1, steps + 1):
        at = (step - 1) // epoch + 1
        loss = float(np.exp(-step / steps * 4 + rng.normal() / 10))
        found.append({"step": step, "epoch": at, "loss": loss, "learning_rate": 0.1 / at,
                      "images_per_second": float(rng.uniform(90, 110))})  # fmt: skip
        if step % epoch == 0:
            found.append({"step": step, "epoch": at, "test_loss": loss * 0.9,
                          "test_accuracy": float(rng.uniform(0.5, 1))})  # fmt: skip
    return found


def held_out(count: int = 3, names: Sequence[str] = ()) -> HeldOut:
    rng = np.random.default_rng(count)
    pairs = Counter({(i, i): 5 for i in range(count)})
    pairs.update(tuple(each) for each in rng.integers(0, count, (20, 2)).tolist())
    pixels = rng.integers(0, 256, (1, 8, 8), np.uint8)
    shown = [ShownImage(7, pixels, 0, 0.25, ((1, 0.75), (0, 0.25))),
             ShownImage(9, pixels, 1, 0.1, ((0, 0.5), (2, 0.4)))]  # fmt: skip
    return HeldOut(tuple(names or map(str, range(count))), pairs, shown, shown[:1])


def facts_of(steps: int = 30, epoch: int = 10) -> TrainingFacts:
    weights = np.random.default_rng(1).standard_normal((4, 1, 3, 3))
    return TrainingFacts(
        "net", "runs/net", [("98 %", "are right")], [("batch", "32")], lines_of(steps, epoch),
        (), held_out(), FirstFilters("conv1", weights, 4),
    )  # fmt: skip


# What is drawn


@given(POINTS, st.integers(1, 60))
def test_a_thinned_line_covers_the_same_pixels(points: list[XY], columns: int) -> None:
    found = thinned(points, columns)
    assert set(found) <= set(points) and len(found) <= max(columns, 4 * columns)
    assert found == sorted(found) and len(set(found)) == len(found)
    assert (found[0], found[-1]) == (points[0], points[-1])
    if len(points) <= columns:
        assert found == points
        return
    width = (points[-1][0] - points[0][0]) / columns
    for column in range(columns):
        own, kept = (
            [y for x, y in each if min(int((x - points[0][0]) / width), columns - 1) == column]
            for each in (points, found)
        )
        assert (own == []) == (kept == [])
        if own:
            ends = min(own), max(own), own[0], own[-1]
            assert ends == (min(kept), max(kept), kept[0], kept[-1])


@given(POINTS, st.integers(1, 80), st.sampled_from([None, 1e17, 1e150]), st.integers(0))
def test_a_smooth_line_is_of_means(
    points: list[XY], window: int, huge: float | None, place: int
) -> None:
    """Of the last points, whatever one of those before them was."""
    if huge is not None:
        place %= len(points)
        points[place] = (points[place][0], huge)
    found = smoothed(points, window)
    assert [x for x, _ in found] == [x for x, _ in points]
    for i, (_, y) in enumerate(found):
        own = [each for _, each in points[max(0, i + 1 - window) : i + 1]]
        assert y == pytest.approx(math.fsum(own) / len(own), rel=1e-6, abs=1e-6)


def test_a_loss_that_explodes_leaves_the_axis_logarithmic() -> None:
    lines = lines_of(600, 100)
    lines[300] = {**lines[300], "loss": 1e17}
    chart = charts_of(lines)[0]
    assert ">logarithmic</text>" in draw_chart(chart)
    assert all(y > 0 for line in chart.lines for _, y in line.points)


def test_where_a_training_went_back_is_marked() -> None:
    lines = lines_of(30, 10)
    back: dict[str, float | None] = {"step": 30, "epoch": 3, "rollback": 1, "back_to": 20,
                                     "rate_factor": 0.5}  # fmt: skip
    for place in (5, len(lines)):
        made = [*lines[:place], {**back, "step": lines[place - 1]["step"]}, *lines[place:]]
        for chart in (charts_of(made)[0], charts_of(made)[3]):
            drawn = draw_chart(chart)
            assert drawn.count('class="event"') == 1
            said = re.findall(r"<title>(.*?)</title>", drawn)
            own = [each for each in said if "back to step 20, on at 0.5 of the rate" in each]
            assert len(own) == 1 and own[0].startswith(f"step {lines[place - 1]['step']}:")
    assert 'class="event"' not in draw_chart(charts_of(lines)[0])


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1), st.booleans())
def test_values_of_any_size_stand_on_their_axis(values: list[float], may_be_log: bool) -> None:
    drawn = [y for _, y in known(enumerate(values))]
    axis = axis_of(drawn, may_be_log)
    assert all(-1e-9 <= axis.along(value) <= 1 + 1e-9 for value in drawn)
    assert list(axis.ticks) == sorted(set(axis.ticks)) and 1 <= len(axis.ticks) <= 12
    assert all(-1e-9 <= axis.along(value) <= 1 + 1e-9 for value in axis.ticks)


@given(st.integers(1, 10**9), st.integers(0, 10**9))
def test_steps_are_counted_in_whole_numbers(first: int, more: int) -> None:
    axis = exact_axis(first, first + more)
    assert 1 <= len(axis.ticks) <= 6 or more > 0
    assert all(tick == int(tick) and 0 <= axis.along(tick) <= 1 for tick in axis.ticks)


def drawn_in(chart: Chart) -> list[list[XY]]:
    """The points of each line of a chart, in pixels."""
    paths = re.findall(r'<path d="M([^"]*)" class="line', draw_chart(chart))
    return [
        [(float(x), float(y)) for x, y in (pair.split(",") for pair in path.split(" L"))]
        for path in paths
    ]


@pytest.mark.parametrize(("steps", "epoch"), [(1, 1), (1, 5), (30, 10), (400, 25), (5000, 500)])
def test_every_value_that_was_measured_is_in_the_drawing(steps: int, epoch: int) -> None:
    lines = lines_of(steps, epoch)
    charts = charts_of(lines)
    names = [("Loss", "step", "loss", "test_loss"), ("Accuracy", "epoch", "test_accuracy"),
             ("Loss of", "epoch", "test_loss"), ("Learning", "step", "learning_rate"),
             ("Images", "step", "images_per_second")]  # fmt: skip
    for chart, (title, across, *wanted) in zip(charts, names, strict=True):
        assert chart.title.startswith(title) and chart.across == across
        shown = [line for line in chart.lines if line.points]
        for name in wanted:
            points = [(line[across], line[name]) for line in lines if name in line]
            assert not points or any(list(line.points) == points for line in shown), name
        check_drawing(chart)


def check_drawing(chart: Chart) -> None:
    """Points are drawn where they belong: all, or of each column the lowest and the highest."""
    shown = [line for line in chart.lines if line.points]
    if not shown:
        assert draw_chart(chart) == ""
        return
    xs = [x for line in shown for x, _ in line.points]
    across = exact_axis(min(xs), max(xs))
    up = axis_of([y for line in shown for _, y in line.points], chart.may_be_log)
    for line, drawn in zip(shown, drawn_in(chart), strict=True):
        assert len(drawn) <= 4 * COLUMNS
        wanted = [
            (BOX.x + across.along(x) * BOX.width, BOX.bottom - up.along(y) * BOX.height)
            for x, y in thinned(line.points, COLUMNS)
        ]
        assert np.allclose(drawn, wanted, atol=0.006)
        assert np.all((np.array(drawn) >= 0) & (np.array(drawn) <= [WIDTH, HEIGHT]))


@pytest.mark.parametrize("steps", [30, 5000])
def test_every_value_can_be_read(steps: int) -> None:
    """What is pointed at says it, or the least and the most of the steps that are there."""
    chart = charts_of(lines_of(steps, 10))[0]
    titles = re.findall(
        r"<title>steps? ([\d,]+)(?: to ([\d,]+))?: (.*?)</title>", draw_chart(chart)
    )
    assert len(titles) == min(steps, READ)
    after = 0
    for first, last, said in titles:
        begin, end = int(first.replace(",", "")), int((last or first).replace(",", ""))
        assert begin == after + 1
        after = end
        values = [y for x, y in chart.lines[0].points if begin <= x <= end]
        low, high = f"{min(values):.4g}", f"{max(values):.4g}"
        assert said.startswith(f"each step {low}" + (f" to {high}" if low != high else ""))
        assert ("held-out images" in said) == any(x % 10 == 0 for x in range(begin, end + 1))
    assert after == steps


# Classes


PAIRS = st.integers(2, 60).flatmap(
    lambda count: st.tuples(
        st.just(count),
        st.dictionaries(
            st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)),
            st.integers(1, 90_000), min_size=1,
        ),
    )
)  # fmt: skip


@given(PAIRS)
def test_a_matrix_has_every_image_of_its_classes(
    case: tuple[int, dict[tuple[int, int], int]],
) -> None:
    count, pairs = case
    found = confusion_of(pairs, count)
    sums = Counter[int]()
    for (own, _), images in pairs.items():
        sums[own] += images
    assert len(found.classes) == len(set(found.classes)) == len(found.cells)
    for own, row, other in zip(found.classes, found.cells, found.others, strict=True):
        assert sum(row) + other == sums[own]
        assert list(row) == [pairs.get((own, said), 0) for said in found.classes]
    if count <= MOST_CLASSES:
        assert found.classes == tuple(range(count)) and not any(found.others)
        assert sum(map(sum, found.cells)) == sum(pairs.values())
        return
    assert len(found.classes) == SHOWN_CLASSES
    # Whatever pair is left out has no more images than any that decided what is shown.
    ranked = confused(pairs)
    whole = [each for each in ranked if {*each[1:]} <= set(found.classes)]
    first = next((each for each in ranked if each not in whole), None)
    if first is not None:
        assert all(each in whole for each in ranked[: ranked.index(first)])


def test_a_matrix_is_drawn_cell_by_cell() -> None:
    for count in (2, 10, MOST_CLASSES, MOST_CLASSES + 1, 1000):
        names = [f"class {i}" for i in range(count)]
        made = held_out(count, names)
        found: Confusion = confusion_of(made.pairs, count)
        text = draw_confusion(made)
        for own, row in zip(found.classes, found.cells, strict=True):
            for said, images in zip(found.classes, row, strict=True):
                assert f"<title>class {own} taken for class {said}: {images:,}, " in text
        many = f"Of {count:,} classes the {SHOWN_CLASSES} that are confused most often are shown"
        assert (many in text) == (count > MOST_CLASSES)
        view = re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text)
        assert max(float(side) for side in view[0]) < 900


def test_pairs_are_listed_by_their_images() -> None:
    made = replace(held_out(3, ("cat", "dog", "cow")), pairs={(0, 0): 3, (0, 1): 1, (2, 1): 4})
    cells = re.findall(r"<td>(.*?)</td>", draw_pairs(made))
    assert cells == ["cow", "dog", "4", "100.0 %", "cat", "dog", "1", "25.0 %"]
    made = replace(made, pairs={(0, 0): 3})
    assert "No image is taken for another class." in draw_pairs(made)


# Images


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_a_small_image_is_shown_to_the_pixel(channels: int) -> None:
    pixels = np.random.default_rng(channels).integers(0, 256, (channels, 7, SIDE), np.uint8)
    picture = picture_in(image_uri(pixels))
    shown = np.asarray(picture)
    if channels == 3:
        assert np.array_equal(shown, pixels.transpose(1, 2, 0))
    else:
        assert np.array_equal(shown, np.rint(pixels.mean(axis=0)))


def test_a_large_image_is_reduced() -> None:
    pixels = np.full((3, 2 * SIDE, 4 * SIDE), 200, np.uint8)
    uri = image_uri(pixels)
    assert uri.startswith("data:image/jpeg;base64,") and len(uri) < 3000
    assert picture_in(uri).size == (SIDE, SIDE // 2)


def picture_in(uri: str) -> Any:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition("base64,")[2])))


def test_filters_are_shown_around_grey() -> None:
    weights = np.array([[[[-2.0, 0.0], [1.0, 2.0]]], [[[0.5, 0.0], [0.0, 0.0]]]])
    about, images = draw_filters(FirstFilters("conv1", weights, 9))
    assert "conv1: the first 2 of 9 filters of 1x2x2; black is -2, grey 0, white 2." in about
    first, second = (picture_in(uri) for uri in re.findall(r'src="([^"]*)"', images))
    assert np.asarray(first).tolist() == [[0, 128], [191, 255]]
    assert np.asarray(second).tolist() == [[159, 128], [128, 128]]
    nothing = draw_filters(FirstFilters("fc1", np.zeros((1, 3, 2, 2)), 1))
    assert "fc1: 1 filter of 3x2x2" in "".join(nothing)


# One file that is safe to open


def test_it_asks_for_no_other_file() -> None:
    page = training_html(facts_of())
    parsed = Parsed(page)
    asked = [v or "" for _, attrs in parsed.elements for k, v in attrs.items()
             if k in ("src", "href", "action", "srcset", "poster", "data")]  # fmt: skip
    assert asked and all(
        each.startswith(("data:image/", "#")) or each == "data:," for each in asked
    )
    assert not re.findall(r"\w+://", page)
    for word in ("fetch(", "XMLHttpRequest", "import(", "innerHTML", "eval(", "url(", "@import"):
        assert word not in page, word
    assert not any("style" in attrs for _, attrs in parsed.elements)
    policy = next(a["content"] or "" for _, a in parsed.elements if "http-equiv" in a)
    assert "default-src 'none'" in policy
    for name in ("script", "style"):
        (text,) = re.findall(rf"<{name}>(.*?)</{name}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy


def test_every_link_leads_somewhere_and_all_has_names() -> None:
    parsed = Parsed(training_html(facts_of()))
    ids = {attrs["id"] for _, attrs in parsed.elements if "id" in attrs}
    links = {a["href"] for tag, a in parsed.elements if tag == "a"}
    assert links == {"#training", "#confusion", "#worst", "#sample", "#filters"}
    assert {each.removeprefix("#") for each in links if each} <= ids
    assert all(attrs.get("alt") for tag, attrs in parsed.elements if tag == "img")
    for tag, attrs in parsed.elements:
        if tag == "svg":
            assert attrs["role"] == "img" and attrs["aria-label"]


def test_hostile_names_stay_text() -> None:
    plain = facts_of()
    assert plain.held_out is not None and plain.filters is not None
    bad = TrainingFacts(
        HOSTILE, HOSTILE, [(HOSTILE, HOSTILE)], [(HOSTILE, HOSTILE)], plain.lines, (HOSTILE,),
        replace(plain.held_out, classes=(HOSTILE,) * 3), replace(plain.filters, layer=HOSTILE),
    )  # fmt: skip
    # Of names as long, which are turned above the matrix too.
    usual = replace(plain.held_out, classes=("a name " * 12,) * 3)
    told = replace(plain, notes=("a note",), held_out=usual)
    tags = [[tag for tag, _ in Parsed(training_html(each)).elements] for each in (told, bad)]
    assert tags[0] == tags[1]
    page = training_html(bad)
    assert "<!--" not in page and page.count("<script") == 1
    assert "\ud800" not in training_html(replace(plain, network="\ud800")).encode().decode()


def test_what_is_not_there_is_left_out() -> None:
    empty = replace(facts_of(), held_out=None, filters=None, notes=("no images",))
    parsed = Parsed(training_html(empty))
    assert [a["href"] for tag, a in parsed.elements if tag == "a"] == ["#training"]
    assert "no images" in parsed.texts["p"]
    one = replace(empty, lines=[{"step": 1, "epoch": 1, "loss": None}])
    assert "<svg" not in training_html(one)


def test_the_same_training_gives_the_same_page() -> None:
    assert training_html(facts_of()) == training_html(facts_of())
