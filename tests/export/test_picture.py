"""What is drawn: cards, folds, badges."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
from hypothesis import given as cases
from hypothesis import strategies as st

from netc.export.build import build_picture
from netc.export.describe import describe
from netc.export.detail import lanes, levels
from netc.export.figures import Figures
from netc.export.fold import Run, find_runs
from netc.export.picture import Card, Frame, Item, Picture
from netc.export.words import amount, from_to, layer_text
from netc.passes.choose_splits import Pin
from netc.strategies.fixed import FIXED

Make = Callable[..., Any]


def picture(given: Any) -> Picture:
    description = describe(given.plan, given.network)
    return build_picture(description, given.plan.mesh.size, given.facts.scheme)


def stood_for(items: tuple[Item, ...], times: int = 1) -> int:
    """How many layers are drawn, with what they stand for."""
    total = 0
    for item in items:
        if isinstance(item, Card):
            total += times * item.count * len(item.layers)
        else:
            total += stood_for(item.items, times * item.count)
    return total


@pytest.mark.parametrize(
    ("name", "strategy", "mesh"),
    [
        *product(["tiny", "blocks"], FIXED, [(1,), (4,)]),
        ("vgg16", "data", (4,)),
    ],
)
def test_every_layer_is_drawn_once_or_within_a_count(
    case: Make, name: str, strategy: str, mesh: tuple[int, ...]
) -> None:
    given = case(name, strategy, mesh)
    drawn = picture(given)
    layers = describe(given.plan, given.network).layers
    assert stood_for(drawn.items) == len(layers)
    names = [layer.name for card in drawn.cards for layer in card.layers]
    assert len(names) == len(set(names))


def test_vgg16_folds_equal_convolutions(case: Make) -> None:
    counts = {card.title: card.count for card in picture(case("vgg16", "data")).cards}
    assert counts["stage5.conv1 to conv3"] == 3
    assert counts["stage4.conv2 to conv3"] == 2
    assert counts["stage1.conv1"] == counts["stage1.conv2"] == 1


def test_a_pin_breaks_a_fold(case: Make) -> None:
    given = case("vgg16", "data", pins=(Pin("stage5.conv2", "k"),))
    titles = [card.title for card in picture(given).cards]
    assert "stage5.conv2" in titles
    assert "stage5.conv1 to conv3" not in titles


def test_equal_blocks_are_one_frame(case: Make) -> None:
    frames = [x for x in picture(case("blocks", "data")).items if isinstance(x, Frame)]
    assert [(f.title, f.count, len(f.items)) for f in frames] == [("3 x   unit1 to unit3", 3, 3)]


def test_links_lead_from_card_to_later_card(case: Make) -> None:
    drawn = picture(case("blocks", "model", (2,)))
    order = {card.name: i for i, card in enumerate(drawn.cards)}
    reached = {target for link in drawn.links for target in link.targets}
    assert all(order[x.source] < order[t] for x in drawn.links for t in x.targets)
    assert reached == set(order) - {"image"}


def test_elementwise_layers_stand_with_their_producer(case: Make) -> None:
    cards = {card.name: card for card in picture(case("blocks", "data")).cards}
    assert [layer.kind for layer in cards["unit1.conv1"].layers] == ["conv", "bn", "relu"]
    assert cards["unit1.conv1"].lines[0] == "conv 3x3, 8 filters + bn + relu"


def test_an_elementwise_layer_split_otherwise_stands_alone(case: Make) -> None:
    drawn = picture(case("tiny", "data", (2,), pins=(Pin("relu1", "k"),)))
    assert "relu1" in [card.name for card in drawn.cards]
    (link,) = (link for link in drawn.links if link.source == "conv1")
    assert [(b.way, b.text) for b in link.badges] == [
        ("forward", "all-to-all"),
        ("backward", "all-to-all"),
    ]


def test_badges_say_what_papers_say(case: Make) -> None:
    """Krizhevsky 2014: an all-reduce sends 2 (K - 1) / K of the tensor, a round (K - 1) shares."""
    drawn = picture(case("tiny", "hybrid", (4,), "b", 16))
    cards = {card.name: card for card in drawn.cards}
    (gradients,) = cards["conv1"].badges
    assert (gradients.text, gradients.nbytes) == ("all-reduce gradients", 2 * 3 * 40 * 4 // 4)
    (link,) = (link for link in drawn.links if link.badges)
    assert (link.source, link.targets) == ("flatten1", ("fc1",))
    share = 4 * 64 * 4
    assert [(b.way, b.text, b.nbytes) for b in link.badges] == [
        ("forward", "broadcast, 4 rounds", 3 * share),
        ("backward", "reduce, 4 rounds", 3 * share),
    ]


def test_statistics_go_forward_and_gradients_back(case: Make) -> None:
    drawn = picture(case("blocks", "data"))
    whole, *_ = levels(drawn)
    (ahead, behind), *_ = lanes(drawn)
    badges = [
        [(b.text, b.nbytes) for b in next(c for c in each.cards if c.name == "conv1").badges]
        for each in (whole, ahead, behind)
    ]
    gradients = ("all-reduce gradients", 2 * 3 * (8 * 3 * 9 + 3 * 8) * 4 // 4)
    # Of values and of their squares, in float64.
    sums = ("all-reduce sums", 2 * 3 * 8 * 2 * 8 // 4)
    assert [set(each) for each in badges] == [{sums, gradients}, {sums}, {gradients}]


def test_lanes_say_less_and_less(case: Make) -> None:
    """Of a block the last card alone has its name; exchanges keep their bytes."""
    given = case("blocks", "data")
    description = describe(given.plan, given.network)
    spent = {"forward": 2e-3, "backward": 4e-3, "update": 1e-3}
    phases = dict.fromkeys((layer.name for layer in description.layers), spent)
    moved = dict.fromkeys((each.name for each in description.exchanges), 3e-6)
    drawn = build_picture(description, 4, "", Figures(moved, {}, phases))
    _, brief, named, untimed = (
        [{card.name: card for card in lane.cards} for lane in both] for both in lanes(drawn)
    )
    titles = {name: card.title for name, card in named[0].items()}
    assert titles["unit1.conv1"] == "conv1" and titles["unit1.add1"] == "unit1.add1"
    assert titles["inception1.conv2"] == "conv2" and titles["fc1"] == "fc1"
    assert titles == {name: card.title for name, card in untimed[1].items()}
    for number, time in enumerate(("2 ms", "5 ms")):
        before, card = (each[number]["fc1"] for each in (brief, named))
        assert [badge.figures for badge in before.badges] == [b.figures for b in card.badges]
        assert card.lines == (time,)
        assert all(" us" in badge.figures for badge in card.badges)
        assert all(" us" not in badge.figures for badge in untimed[number]["fc1"].badges)
    assert named[1]["fc1"].badges and untimed[1]["fc1"].badges


def test_rounds_stand_in_a_frame(case: Make) -> None:
    given = case("tiny", "hybrid", (4,), "b", 16)
    (frame,) = (item for item in picture(given).items if isinstance(item, Frame))
    assert frame.title == "scheme b: 4 rounds of 4 images"
    assert [card.name for card in frame.items if isinstance(card, Card)] == ["fc1", "softmax_loss1"]


def test_uneven_rounds_say_so(case: Make) -> None:
    (frame,) = (
        item
        for item in picture(case("tiny", "hybrid", (4,), "b", 15)).items
        if isinstance(item, Frame)
    )
    assert frame.title == "scheme b: 4 rounds of up to 4 images"


def test_nothing_is_exchanged_on_one_device(case: Make) -> None:
    drawn = picture(case("blocks", "single", (1,)))
    assert not any(card.badges for card in drawn.cards)
    assert not any(link.badges for link in drawn.links)


def expanded(signatures: list[int], runs: tuple[Run, ...]) -> list[int]:
    """The sequence with every run written out from its first stretch."""
    result = list(signatures)
    for run in runs:
        stretch = signatures[run.start : run.start + run.period]
        result[run.start : run.stop] = stretch * run.count
    return result


@cases(st.lists(st.integers(0, 2), max_size=14))
def test_runs_written_out_are_the_sequence(signatures: list[int]) -> None:
    runs = find_runs(list(signatures), lambda start, period, count: True)
    assert expanded(signatures, runs) == signatures
    stops = [0, *(run.stop for run in runs)]
    assert all(run.start >= stop for run, stop in zip(runs, stops, strict=False))
    assert all(run.count > 1 for run in runs)


def test_runs_nest() -> None:
    outer, *rest = find_runs([1, 1, 2, 1, 1, 2], lambda start, period, count: True)
    assert (outer.period, outer.count, outer.inner, rest) == (3, 2, (Run(0, 1, 2),), [])


def test_a_stretch_that_is_not_closed_is_not_folded() -> None:
    assert find_runs([1, 1, 1], lambda start, period, count: False) == ()


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (14_158_848, "14.16 MB"), (999_960, "1 MB")],
)
def test_amounts(value: int, text: str) -> None:
    assert amount(value, "B") == text


def test_words(case: Make) -> None:
    assert from_to("stage1.unit2.conv1", "stage1.unit4.conv1") == "stage1.unit2 to unit4"
    assert from_to("conv1", "conv3") == "conv1 to conv3"
    given = case("alexnet", "data", (2,))
    words = {x.name: layer_text(x) for x in describe(given.plan, given.network).layers}
    assert words["conv1"] == "conv 11x11, 96 filters, stride 4"
    assert words["conv2"] == "conv 5x5, 256 filters, 2 groups"
    assert words["lrn1"] == "lrn 5"
    assert words["dropout1"] == "dropout 0.5"
