"""Places of everything in a picture, as a value that can be moved, mirrored and turned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from netc.export.picture import Frame
from netc.export.scene import Box, Point, around


@dataclass(frozen=True, slots=True)
class Arrow:
    """The way of an edge, from border to border."""

    points: tuple[Point, ...]
    """As in `Curve`."""
    starts: bool = False
    """Whether its first piece is the room for a head, where it is gone backward."""
    ends: bool = False
    """Whether its last piece is a head."""
    source: str = ""
    """The card whose result, or the badges on whose way, it leads from."""

    def reversed(self) -> Arrow:
        """The same from its end to its start."""
        return Arrow(self.points[::-1], self.ends, self.starts, self.source)


Change = Callable[[Point], Point]


@dataclass(frozen=True, slots=True)
class PictureLayout:
    """Places of everything in a picture."""

    boxes: Mapping[str, Box]
    """Cards, and the badges of links, by name."""
    frames: tuple[tuple[Frame, Box], ...]
    """Outer ones first."""
    arrows: tuple[Arrow, ...]
    width: float
    height: float
    entry: Point | None = None
    """Where the result of a card elsewhere comes in."""
    back: Point | None = None
    """Where, in the mirror image, its gradient goes out."""

    def moved(self, dx: float, dy: float) -> PictureLayout:
        """The same elsewhere."""
        return self._changed(lambda point: (point[0] + dx, point[1] + dy))

    def mirrored(self, axis: float) -> PictureLayout:
        """What is left of `axis` to its right, with all arrows the other way."""
        other = self._changed(lambda point: (2 * axis - point[0], point[1]))
        return replace(other, arrows=tuple(arrow.reversed() for arrow in other.arrows))

    def flipped(self) -> PictureLayout:
        """Left is right."""
        return self._changed(lambda point: (self.width - point[0], point[1]))

    def turned(self) -> PictureLayout:
        """What went down goes right."""
        turned = self._changed(lambda point: (point[1], point[0]))
        return replace(turned, width=self.height, height=self.width)

    def _changed(self, change: Change) -> PictureLayout:
        return replace(
            self,
            boxes={name: _box(box, change) for name, box in self.boxes.items()},
            frames=tuple((frame, _box(box, change)) for frame, box in self.frames),
            arrows=tuple(
                replace(arrow, points=tuple(map(change, arrow.points))) for arrow in self.arrows
            ),
            entry=change(self.entry) if self.entry else None,
            back=change(self.back) if self.back else None,
        )


def _box(box: Box, change: Change) -> Box:
    corners = change((box.x, box.y)), change((box.right, box.bottom))
    return around(*(Box(*corner, 0.0, 0.0) for corner in corners))
