"""The page itself, put together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

from netc.errors import escaped
from netc.export.page.html import document, script_of, style_sheet
from netc.export.training.charts import Chart, ChartLine, draw_chart
from netc.export.training.confusion import draw_confusion, draw_pairs
from netc.export.training.curves import XY, known, smoothed
from netc.export.training.facts import HeldOut, ShownImage, TrainingFacts
from netc.export.training.images import draw_filters, draw_images
from netc.export.training.markup import Markup, element, joined_markup
from netc.export.words import amount

STYLES = ("tones", "base", "tables", "training", "paper")
SCRIPTS = ("theme", "training")
"""The files of the page's style sheet and script, in order."""
_WINDOWS, _LEAST = 25, 5
"""A smoothed line has about so many means that share no step, each of so many steps at least."""

Lines = Sequence[Mapping[str, float | None]]


def training_html(facts: TrainingFacts) -> str:
    """A training as a page of one file. The same facts give the same text."""
    sections = list(_sections(facts))
    body = joined_markup(
        _header(facts, [(key, title) for key, title, _ in sections]),
        element("main", *(_section(*each) for each in sections)),
    )
    title = escaped(f"{facts.network}: a training")
    return document(title, style_sheet(STYLES), script_of(SCRIPTS), body)


def charts_of(lines: Lines) -> list[Chart]:
    """All charts of a training: its loss by step; by epoch what came of the held-out images; the
    learning rate and images a second by step.
    """
    losses, tests = _of(lines, "step", "loss"), _of(lines, "step", "test_loss")
    window = _window(len(losses))
    loss = (
        ChartLine("each step", losses, "each"),
        ChartLine(f"mean of the last {window:,}", smoothed(losses, window)),
        ChartLine("held-out images", tests, "other", marked=True),
    )
    means = ChartLine("training images", _means(lines), "main", marked=True)
    held = ChartLine("held-out images", _of(lines, "epoch", "test_loss"), "other", marked=True)
    accuracy = ChartLine("accuracy", _of(lines, "epoch", "test_accuracy"), "other", marked=True)
    speeds = _of(lines, "step", "images_per_second")
    window = _window(len(speeds))
    speed = (
        ChartLine("each step", speeds, "each"),
        ChartLine(f"mean of the last {window:,}", smoothed(speeds, window)),
    )
    rate = ChartLine("rate", _of(lines, "step", "learning_rate"))
    back = tuple(rollbacks(lines))
    return [
        Chart("Loss", "step", loss, may_be_log=True, marks=back),
        Chart("Accuracy on held-out images", "epoch", (accuracy,), form=_percent),
        Chart("Loss of an epoch", "epoch", (means, held), may_be_log=True),
        Chart("Learning rate", "step", (rate,), may_be_log=True, marks=back),
        Chart("Images a second", "step", speed, form=amount),
    ]


def rollbacks(lines: Lines) -> Iterator[tuple[float, str]]:
    """Where a training went back to a checkpoint: after which step, and to which one."""
    for line in lines:
        step, to, factor = (line.get(name) for name in ("step", "back_to", "rate_factor"))
        if step is not None and to is not None:
            rate = "" if factor is None else f", on at {factor:g} of the rate"
            yield step, f"back to step {to:,.0f}{rate}"


def _percent(value: float) -> str:
    return f"{100 * value:.4g} %"


def _window(count: int) -> int:
    """How many steps a mean is of."""
    return max(_LEAST, count // _WINDOWS)


def _of(lines: Lines, across: str, name: str) -> list[XY]:
    points = ((line[across], line[name]) for line in lines if across in line and name in line)
    return known((x, y) for x, y in points if x is not None)


def _means(lines: Lines) -> list[XY]:
    """The mean loss of the steps of each epoch that has ended."""
    own: dict[float, list[float]] = {}
    for epoch, loss in _of(lines, "epoch", "loss"):
        own.setdefault(epoch, []).append(loss)
    ended = dict(_of(lines, "epoch", "test_loss"))
    return [(epoch, fmean(losses)) for epoch, losses in own.items() if epoch in ended]


def _header(facts: TrainingFacts, sections: Sequence[tuple[str, str]]) -> Markup:
    links = (element("a", title, href=f"#{key}") for key, title in sections)
    theme = element("button", "\u25d0", id="theme", type="button", title="light or dark (t)",
                    aria_label="light or dark")  # fmt: skip
    tiles = (
        element("div", element("b", figure), element("span", meaning), class_="tile")
        for figure, meaning in facts.tiles
    )
    return element(
        "header",
        element(
            "div",
            element("h1", facts.network),
            element("span", facts.folder, class_="faint"),
            element("nav", *links, theme, class_="toolbar"),
            class_="title-row",
        ),
        element("div", *tiles, class_="tiles"),
    )


def _section(key: str, title: str, inner: Markup) -> Markup:
    return element("section", element("h2", title), inner, id=key)


def _sections(facts: TrainingFacts) -> Iterator[tuple[str, str, Markup]]:
    """Of every section its key, its title, and what is in it."""
    notes = (element("p", note, class_="note") for note in facts.notes)
    drawn = (draw_chart(chart) for chart in charts_of(facts.lines))
    cells = element("div", _about(facts), *drawn, class_="charts")
    yield "training", "Training", joined_markup(*notes, cells)
    if facts.held_out is not None:
        yield from _held_out(facts.held_out)
    if facts.filters is not None:
        yield "filters", "Filters of the first layer", joined_markup(*draw_filters(facts.filters))


def _about(facts: TrainingFacts) -> Markup:
    rows = (
        element("tr", element("th", name, scope="row"), element("td", value))
        for name, value in facts.rows
    )
    return element(
        "div", element("h3", "What was trained"), element("table", element("tbody", *rows)),
        class_="figures about",
    )  # fmt: skip


def _held_out(held_out: HeldOut) -> Iterator[tuple[str, str, Markup]]:
    inner = element("div", draw_confusion(held_out), draw_pairs(held_out), class_="confusion")
    yield "confusion", "Classes", inner
    worst = "Held-out images whose own class the network finds least likely."
    yield "worst", "Worst predictions", _gallery(worst, held_out.worst, held_out)
    sample = "Held-out images at equal distances."
    yield "sample", "A sample of predictions", _gallery(sample, held_out.sample, held_out)


def _gallery(words: str, images: Sequence[ShownImage], held_out: HeldOut) -> Markup:
    return joined_markup(element("p", words, class_="faint"), draw_images(images, held_out.classes))
