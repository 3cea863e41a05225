"""A plot of speedups over numbers of devices, both axes logarithmic."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from netc.export.legend import Flow, Tile
from netc.export.roofline import WRITERS
from netc.export.scene import Box, Curve, Panel, Scene, Shape, Text, moved, straight
from netc.export.style import FAINT, FRAME, INK, SMALL, TEXT
from netc.export.write import put, writer_of

_MARGIN, _WIDTH, _HEIGHT = 30.0, 560.0, 400.0
_LEFT, _ABOVE, _NAMES = 44.0, 34.0, 215.0
"""Room for figures left of the axes; between header and plot; for names right of it."""
_GRID = "#e3e6ea"
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a8f98")
"""Of Okabe and Ito's palette; lines have their names at their ends, too."""
_LINE_HEIGHT = 11.5


@dataclass(frozen=True, slots=True)
class SpeedupLine:
    """One way to train, over numbers of devices."""

    name: str
    points: tuple[tuple[int, float], ...]
    """Devices, and how many times as fast as one."""


def check_speedups(path: Path) -> None:
    """Raise UsageError (E056) where no plot can be written as this kind of file."""
    writer_of(path, WRITERS, "a plot")


def write_speedups(path: Path, scene: Scene) -> None:
    """Write a plot to `path` as SVG, PDF or PNG; raises UsageError (E056)."""
    put(path, writer_of(path, WRITERS, "a plot")(scene))


def draw_speedups(title: str, tiles: Iterable[Tile], lines: Sequence[SpeedupLine]) -> Scene:
    """The whole drawing: a line for each way, and one for twice as fast on twice as many."""
    top = Flow(_LEFT + _WIDTH + _NAMES)
    header = list(top.header(title, tiles))
    plot = _Plot(Box(_LEFT, top.y + _ABOVE, _WIDTH, _HEIGHT), lines)
    shapes = (*header, *plot.axes(), *plot.lines(lines))
    placed = tuple(moved(shape, _MARGIN, _MARGIN) for shape in shapes)
    height = plot.box.bottom + 34 + 2 * _MARGIN
    return Scene(title, _LEFT + _WIDTH + _NAMES + 2 * _MARGIN, height, placed)


class _Plot:
    """Both axes, and what stands between them."""

    def __init__(self, box: Box, lines: Sequence[SpeedupLine]) -> None:
        self.box = box
        counts = sorted({devices for line in lines for devices, _ in line.points} | {1})
        speeds = [speed for line in lines for _, speed in line.points]
        self.counts, self.most = counts, max(counts)
        self.low = math.floor(math.log2(min([1.0, *speeds])))
        self.high = max(math.ceil(math.log2(max([2.0, *speeds]))), math.ceil(math.log2(self.most)))

    def place(self, devices: float, speedup: float) -> tuple[float, float]:
        """Where a point stands."""
        across = math.log2(devices) / max(math.log2(self.most), 1.0)
        up = (math.log2(speedup) - self.low) / (self.high - self.low)
        return self.box.x + across * self.box.width, self.box.bottom - up * self.box.height

    def axes(self) -> Iterator[Shape]:
        """The frame, a line for every number of devices and power of two, and the diagonal."""
        box = self.box
        yield Text(0, box.y - 12, "times as fast as one device", SMALL, color=FAINT)
        for devices in self.counts:
            x, _ = self.place(devices, 1)
            yield Curve(straight((x, box.y), (x, box.bottom)), _GRID, 0.8)
            yield Text(x, box.bottom + 14, str(devices), SMALL, False, FAINT, "middle")
        for power in range(self.low, self.high + 1):
            _, y = self.place(1, 2.0**power)
            yield Curve(straight((box.x, y), (box.right, y)), _GRID, 0.8)
            yield Text(box.x - 8, y + 3, f"{2.0**power:g}", SMALL, False, FAINT, "end")
        yield Curve(straight(self.place(1, 1), self.place(self.most, self.most)), FAINT, 0.8)
        yield Panel(box, None, FRAME, 0, 0.8)
        yield Text(box.right, box.bottom + 27, "devices", SMALL, False, FAINT, "end")

    def lines(self, lines: Sequence[SpeedupLine]) -> Iterator[Shape]:
        """The lines with their points, and their names at the right, none above another."""
        ends = []
        for number, line in enumerate(lines):
            color = _COLORS[number % len(_COLORS)]
            places = [self.place(devices, speed) for devices, speed in line.points]
            for a, b in pairwise(places):
                yield Curve(straight(a, b), color, 1.6)
            for x, y in places:
                yield Panel(Box(x - 2.6, y - 2.6, 5.2, 5.2), color, "#ffffff", 2.6, 0.8)
            devices, speed = line.points[-1]
            ends.append((places[-1][1], f"{line.name}  {speed:.3g}", color, devices))
        lowest = self.box.y - _LINE_HEIGHT
        for y, words, color, devices in sorted(ends):
            lowest = max(y, lowest + _LINE_HEIGHT)
            at = "" if devices == self.most else f" on {devices}"
            yield Panel(Box(self.box.right + 10, lowest - 3, 7, 7), color, None, 3.5)
            yield Text(self.box.right + 22, lowest + 3.5, words + at, TEXT, color=INK)
