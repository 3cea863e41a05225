"""Laws of plans that are written: whatever the network and however it is split, a picture can be
read, and every format says all layers and all exchanges.

Four networks by default, each strategy and number of devices for some targets; all with `--full`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations, pairwise, product
from pathlib import Path

import pytest
from format_laws import check_drawn, check_png, check_written

import netc_models
from netc.api.pictures import plan_facts
from netc.cli.common import request
from netc.cli.main import parser
from netc.export.build import Unfolded, badges_of, build_picture, build_unfolded
from netc.export.describe import Description, describe
from netc.export.detail import together
from netc.export.draw import arrange, draw_picture, page_of
from netc.export.layout import back
from netc.export.page import PlanCase
from netc.export.paper import A3
from netc.export.phases import arrange_phases, draw_phases
from netc.export.picture import Badge, Frame, Item, Picture, cards_of
from netc.export.placed import PictureLayout
from netc.export.scene import Box, Curve, Panel, Point, Scene, Text, around, flat
from netc.export.style import EXCHANGE, TEXT
from netc.export.tiles import tiles_of
from netc.export.write import figures_of
from netc.passes.pipeline import lower_network
from netc.passes.plan_memory import plan_alone
from netc.strategies.fixed import FIXED

MODELS = sorted(path.stem for path in Path(netc_models.__file__).parent.glob("*.net"))
SHORT = ("alexnet", "googlenet", "resnet50", "vgg16")
TARGETS = {
    "fast": ["--kernels", "fast"],
    "reference": ["--kernels", "reference"],
    "cuda": ["--backend", "cuda"],
}
CASES = [
    (strategy, devices, target)
    for strategy, devices, target in product(FIXED, (1, 2, 4, 8), TARGETS)
    if (strategy == "single") == (devices == 1)
]
USUAL = [each for number, each in enumerate(CASES) if number % 5 == 0]
"""Every strategy, number of devices and target is among them."""
Word = tuple[str, str, int]
"""What is exchanged somewhere: its text, way and bytes."""


@dataclass(frozen=True)
class Drawn:
    """A picture with everything that led to it."""

    description: Description
    every: Unfolded
    whole: Picture
    """As it was built, with all that there is to say."""
    lanes: tuple[Picture, ...]
    """What is drawn of it: all at once, or forward and backward pass."""
    picture: Picture
    """What has a place."""
    layout: PictureLayout
    scene: Scene


def planned(name: str, strategy: str, devices: int, target: str) -> PlanCase:
    """A plan as `netc plan` makes it."""
    many = ["--devices", str(devices)] if strategy != "single" else []
    words = ["plan", name, *many, "--strategy", strategy, "--batch", "32", *TARGETS[target]]
    options = parser().parse_args([*words, "--cluster", "h100", "-o", "plan.svg"])
    asked = request(options)
    compiled = lower_network(asked.network, asked.options, verified=False)
    facts = plan_facts(asked, compiled, plan_alone(compiled.program))
    return PlanCase(compiled.plan, asked.network, facts)


def drawn(case: PlanCase) -> Iterator[Drawn]:
    """The picture of a plan, and that of its phases."""
    plan, network, facts = case.plan, case.network, case.facts
    description = describe(plan, network)
    figures = figures_of(description, facts)
    every = build_unfolded(description, plan.mesh.size, facts.scheme)
    picture = build_picture(description, plan.mesh.size, facts.scheme, figures)
    header = network.name, tiles_of(plan, description, facts), facts.notes
    page = page_of(picture, *header)
    shown, layout = arrange(picture, page)
    scene = draw_picture(picture, *header)
    yield Drawn(description, every, picture, (shown,), shown, layout, scene)
    both, layout = arrange_phases(picture, replace(page, turned=True))
    lanes, scene = (both.ahead, both.behind), draw_phases(picture, *header)
    yield Drawn(description, every, picture, lanes, both.whole, layout, scene)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))
def test_a_plan_can_be_read_in_every_format(
    name: str, case: tuple[str, int, str], tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    if not (name in SHORT and case in USUAL) and not pytestconfig.getoption("--full"):
        pytest.skip("all models and combinations are written with --full")
    plan = planned(name, *case)
    both = list(drawn(plan))
    for made in both:
        assert list(problems(made)) == []
        check_drawn(made.scene)
    check_png(both[0].scene)
    check_written(plan, together(both[0].whole), tmp_path)


def test_the_usual_cases_have_all() -> None:
    for found, all_ in zip(zip(*USUAL, strict=True), zip(*CASES, strict=True), strict=True):
        assert set(found) == set(all_)


def problems(made: Drawn) -> Iterator[str]:
    """What is wrong with a picture."""
    yield from lost(made)
    yield from unsaid(made)
    yield from overlapping(made)
    yield from crossing(made)
    yield from outside(made)
    yield from cut(made)
    ratio = made.scene.width / made.scene.height
    if not 0.5 <= ratio <= 2.2:
        yield f"{ratio:.2f} times as wide as high"


def lost(made: Drawn) -> Iterator[str]:
    """Layers that are on no way of drawn lines from an input to the loss."""
    boxes = [*made.layout.boxes.items()]
    lines = [
        (end_of(each.points[0], boxes), end_of(each.points[-1], boxes))
        for each in made.layout.arrows
    ]
    cards = made.picture.cards
    inputs = {card.name for card in cards if card.layers[0].kind == "input"}
    loss = {card.name for card in cards if card.layers[-1].kind == "softmax_loss"}
    forward = reached(lines, inputs)
    backward = reached([(b, a) for a, b in lines], loss)
    for card in cards:
        if card.name not in forward & backward:
            yield f"'{card.name}' is on no way from an input to the loss"
    yield from (f"'{name}' is not reached" for name in boxes_of_backward(made) - forward)
    known = [layer.name for layer in made.description.layers]
    drawn = sum(shown(item) for item in made.picture.items)
    if drawn != len(known):
        yield f"{drawn} layers are drawn of {len(known)}"


def unsaid(made: Drawn) -> Iterator[str]:
    """Exchanges that a picture does not say, and words of it that are not written."""
    every = every_badge(made.every)
    if said(made.whole) != every:
        yield f"exchanges lack {every - said(made.whole)}, are too many {said(made.whole) - every}"
    moved = [Counter(bytes_by_place(lane)) for lane in made.lanes]
    if sum(moved, Counter()) != Counter(bytes_by_place(made.whole)):
        yield "bytes are not those of all exchanges"
    written = Counter(text.text for text in texts(made.scene))
    named = {badge.text for _, badges in places(made.whole) for badge in badges}
    legend = " ".join(written)
    yield from (f"'{name}' is not written" for name in named if name not in legend)
    wanted = Counter(words_of(made))
    yield from (f"'{text}' is not written as often" for text in wanted - written)


def said(picture: Picture) -> Counter[Word]:
    """What is exchanged, as often as a picture says it: what leads to one of several alike is
    meant for each of them.
    """
    times = dict(repeats(picture.items))
    found: Counter[Word] = Counter()
    for card in picture.cards:
        for badge in card.badges:
            found[badge.text, badge.way, badge.nbytes] += times[card.name]
    for link in picture.links:
        for badge in link.badges:
            found[badge.text, badge.way, badge.nbytes] += max(times[t] for t in link.targets)
    return found


def repeats(items: Iterable[Item], times: int = 1) -> Iterator[tuple[str, int]]:
    """Every card with how many it stands for."""
    for item in items:
        if isinstance(item, Frame):
            yield from repeats(item.items, times * item.count)
        else:
            yield item.name, times * item.count


def every_badge(whole: Unfolded) -> Counter[Word]:
    """What is exchanged, before equal stretches are drawn once."""
    groups = [*whole.inside, *(way.exchanges for way in whole.ways)]
    badges = (badge for group in groups for badge in badges_of(group))
    return Counter((badge.text, badge.way, badge.nbytes) for badge in badges)


def places(picture: Picture) -> Iterator[tuple[str, tuple[Badge, ...]]]:
    """Cards and links with what is exchanged there."""
    yield from ((card.name, card.badges) for card in picture.cards)
    yield from ((link.name, link.badges) for link in picture.links)


def bytes_by_place(picture: Picture) -> dict[str, int]:
    return {name: sum(badge.nbytes for badge in badges) for name, badges in places(picture)}


def words_of(made: Drawn) -> Iterator[str]:
    """Titles of cards and figures of badges that have a place."""
    for number, lane in enumerate(made.lanes):
        name = back if number else str
        for card in lane.cards:
            if name(card.name) in made.layout.boxes:
                yield card.title
        for place, badges in places(lane):
            assert not badges or name(place) in made.layout.boxes
            yield from (badge.figures for badge in badges)


def boxes_of_backward(made: Drawn) -> set[str]:
    own = {card.name for card in made.picture.cards} | {link.name for link in made.picture.links}
    return {name for name in made.layout.boxes if name not in own}


def shown(item: Item) -> int:
    """How many layers an item stands for."""
    if isinstance(item, Frame):
        return item.count * sum(shown(each) for each in item.items)
    return item.count * len(item.layers)


def end_of(point: Point, boxes: list[tuple[str, Box]]) -> str:
    """What an arrow touches: a box, or the place where others go on, which is added to `boxes`."""
    for name, box in boxes:
        if grown(box, 2.0).holds(*point):
            return name
    boxes.append((f"place {len(boxes)}", Box(*point, 0.0, 0.0)))
    return boxes[-1][0]


def reached(lines: list[tuple[str, str]], start: set[str]) -> set[str]:
    onward: dict[str, list[str]] = {}
    for source, target in lines:
        onward.setdefault(source, []).append(target)
    found: set[str] = set(start)
    waiting: list[str] = list(start)
    while waiting:
        new = [target for target in onward.get(waiting.pop(), ()) if target not in found]
        found.update(new)
        waiting += new
    return found


def grown(box: Box, by: float) -> Box:
    return Box(box.x - by, box.y - by, box.width + 2 * by, box.height + 2 * by)


def apart(a: Box, b: Box, slack: float = 0.01) -> bool:
    return (
        a.right <= b.x + slack or b.right <= a.x + slack
        or a.bottom <= b.y + slack or b.bottom <= a.y + slack
    )  # fmt: skip


def inside(inner: Box, outer: Box, slack: float = 0.01) -> bool:
    room = grown(outer, slack)
    return room.holds(inner.x, inner.y) and room.holds(inner.right, inner.bottom)


def overlapping(made: Drawn) -> Iterator[str]:
    """Shapes that cover others: cards, badges and frames; and texts, also of a badge in a card."""
    for (a, first), (b, second) in combinations(made.layout.boxes.items(), 2):
        if not apart(first, second):
            yield f"'{a}' and '{b}' overlap"
    for frame, around_ in made.layout.frames:
        cards = [card.name for card in cards_of(frame.items)]
        here = inside(made.layout.boxes[cards[0]], around_)
        names = set(cards if here else map(back, cards))
        for name, box in made.layout.boxes.items():
            good = inside(box, around_) if name in names else " > " in name or apart(box, around_)
            if not good:
                yield f"'{name}' and the frame '{frame.title}'"
    for one, other in combinations([box_of(text) for text in texts(made.scene)], 2):
        if not apart(one, other, 1.0):
            yield f"texts overlap at {one.x:.0f}, {one.y:.0f}"
    panels = (shape for shape in made.scene.shapes if isinstance(shape, Panel))
    badges = [panel.box for panel in panels if panel.stroke == EXCHANGE[0]]
    for text, badge in product(texts(made.scene), badges):
        if not apart(box_of(text), badge) and not inside(box_of(text), badge):
            yield f"a badge covers '{text.text}'"


def texts(scene: Scene) -> list[Text]:
    return [shape for shape in scene.shapes if isinstance(shape, Text)]


def box_of(text: Text) -> Box:
    return Box(text.left, text.y - 0.75 * text.size, text.width, text.size)


def crossing(made: Drawn) -> Iterator[str]:
    """Lines that go through a card, a badge or a text."""
    boxes = [(f"'{name}'", grown(box, -1.0)) for name, box in made.layout.boxes.items()]
    for arrow in made.layout.arrows:
        yield from crossed(arrow.points, boxes)
    words = [(f"the text '{text.text}'", grown(box_of(text), -0.5)) for text in texts(made.scene)]
    for shape in made.scene.shapes:
        if isinstance(shape, Curve):
            yield from crossed(shape.points, words)


def crossed(points: tuple[Point, ...], boxes: list[tuple[str, Box]]) -> Iterator[str]:
    hull = around(*(Box(*point, 0.0, 0.0) for point in points))
    near = [(name, box) for name, box in boxes if not apart(hull, box)]
    on = fine(points) if near else []
    for name, box in near:
        if any(box.holds(*point) for point in on):
            yield f"a line crosses {name}"


def fine(points: tuple[Point, ...]) -> list[Point]:
    """Points of a line that are no more than 2 apart."""
    found = []
    for (x0, y0), (x1, y1) in pairwise(flat(points)):
        steps = int(max(abs(x1 - x0), abs(y1 - y0)) / 2) + 1
        found += [
            (x0 + (x1 - x0) * i / steps, y0 + (y1 - y0) * i / steps) for i in range(steps + 1)
        ]
    return found


def outside(made: Drawn) -> Iterator[str]:
    """Shapes that leave the page, and texts that leave their card."""
    page = Box(0, 0, made.scene.width, made.scene.height)
    panels = [shape for shape in made.scene.shapes if isinstance(shape, Panel) and shape.stroke]
    for shape in made.scene.shapes:
        if isinstance(shape, Text):
            own = box_of(shape)
            if not inside(own, page):
                yield f"'{shape.text}' leaves the page"
            middle = own.middle, own.y + own.height / 2
            holders = [panel.box for panel in panels if panel.box.holds(*middle)]
            if holders and not inside(own, holders[-1]):
                yield f"'{shape.text}' leaves its card"
        elif isinstance(shape, Panel):
            if not inside(grown(shape.box, shape.line / 2), page):
                yield f"a box leaves the page at {shape.box}"
        else:
            points = flat(shape.points) if isinstance(shape, Curve) else shape.points
            if not all(page.holds(*point) for point in points):
                yield "a line leaves the page"


def cut(made: Drawn) -> Iterator[str]:
    """Texts that are not whole."""
    yield from (f"'{text.text}' is cut" for text in texts(made.scene) if "..." in text.text)


@pytest.mark.parametrize("strategy", ["data", "hybrid"])
def test_inception_is_legible_on_one_sheet(strategy: str) -> None:
    made, lanes = drawn(planned("inception_v3", strategy, 4, "reference"))
    assert in_print(made.scene) > 4.9
    assert in_print(lanes.scene) > 4.0


def in_print(scene: Scene) -> float:
    """Size of a text on the sheet, in points."""
    return TEXT * min(A3[0] / scene.width, A3[1] / scene.height)
