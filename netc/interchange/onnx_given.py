"""A node of an ONNX model as its converter asks about it.

What is left out, what is a constant and what cannot be known are three answers, and a converter
cannot mistake one for another: a value that is there but is not known is refused where it is asked
for. An attribute or operand that nobody asked for is refused by its name.
"""

from __future__ import annotations

from collections.abc import Callable

from netc.interchange.onnx_values import Numbers, Pair, Unsupported, shown
from netc.ir.onnx import Attribute, OnnxNode


class Given:
    """What one node says; every question is noted."""

    def __init__(self, node: OnnxNode, opset: int, values: Callable[[str], Numbers | None]) -> None:
        """`values` tells the numbers of a small value that is known, or None."""
        self.node, self.opset, self._values = node, opset, values
        self._asked: set[str] = set()
        self._read: set[int] = set()

    def attribute(self, name: str, default: Attribute) -> Attribute:
        """An attribute, or `default` where it is left out; None where it is no plain value."""
        self._asked.add(name)
        return self.node.get(name, default)

    def says(self, name: str) -> bool:
        """Whether there is an attribute of this name; it still has to be asked for."""
        return any(key == name for key, _ in self.node.attributes)

    def ignore(self, *names: str) -> None:
        """Attributes that change nothing that a network can see."""
        self._asked.update(names)

    def ints(self, name: str, count: int, default: tuple[int, ...] | None) -> tuple[int, ...]:
        """An attribute of `count` whole numbers; without a default it must be there."""
        value = self._needed(name, default)
        whole = isinstance(value, tuple) and all(isinstance(each, int) for each in value)
        if isinstance(value, tuple) and whole and len(value) == count:
            return tuple(int(each) for each in value)
        raise Unsupported(f"'{name}' is {shown(value)}, not {count} whole numbers")

    def pair(self, name: str, default: Pair | None) -> Pair:
        """An attribute for height and width, each 1 or more."""
        height, width = self.ints(name, 2, default)
        if min(height, width) < 1:
            raise Unsupported(f"'{name}' is {height}x{width}, not 1 or more")
        return height, width

    def whole(self, name: str, default: int | None) -> int:
        """An attribute that is one whole number."""
        value = self._needed(name, default)
        if isinstance(value, int):
            return value
        raise Unsupported(f"'{name}' is {shown(value)}, not a whole number")

    def flag(self, name: str, default: int) -> bool:
        """An attribute that is 0 or 1."""
        value = self.whole(name, default)
        if value not in (0, 1):
            raise Unsupported(f"'{name}' is {value}, not 0 or 1")
        return bool(value)

    def real(self, name: str, default: float) -> float:
        """An attribute that is a number."""
        value = self.attribute(name, default)
        if isinstance(value, int | float):
            return float(value)
        raise Unsupported(f"'{name}' is {shown(value)}, not a number")

    def word(self, name: str, default: str) -> str:
        """An attribute that is text."""
        value = self.attribute(name, default)
        if isinstance(value, str):
            return value
        raise Unsupported(f"'{name}' is {shown(value)}, not a word")

    def require(self, name: str, value: int | float | str | tuple[int, ...]) -> None:
        """An attribute that may have this value only, its default."""
        found = self.attribute(name, value)
        if found != value:
            raise Unsupported(f"'{name}' is {shown(found)}; {shown(value)} is known")

    def has(self, place: int) -> bool:
        """Whether an operand is there; it still has to be read."""
        return place < len(self.node.inputs) and self.node.inputs[place] != ""

    def operand(self, place: int) -> str:
        """The name of an operand that must be there."""
        self._read.add(place)
        if not self.has(place):
            raise Unsupported(f"operand {place + 1} is left out")
        return self.node.inputs[place]

    def operands(self) -> tuple[str, ...]:
        """The names of all operands, of which none may be left out."""
        return tuple(self.operand(place) for place in range(len(self.node.inputs)))

    def numbers(self, place: int, what: str) -> Numbers | None:
        """The numbers of a small operand; None where it is left out, refused where unknown."""
        if not self.has(place):
            return None
        values = self._values(self.operand(place))
        if values is None:
            raise Unsupported(f"'{what}' is computed, not stored")
        return values

    def number(self, place: int, what: str, default: float) -> float:
        """An operand that is one number, or `default` where it is left out."""
        values = self.numbers(place, what)
        if values is None:
            return default
        if len(values) != 1 or not isinstance(values[0], int | float):
            raise Unsupported(f"'{what}' is {shown(values)}, not one number")
        return float(values[0])

    def listed(self, name: str, place: int) -> tuple[int, ...] | None:
        """Whole numbers that old versions have as an attribute and new ones as an operand."""
        values: object = self.numbers(place, name)
        if self.says(name):
            if values is not None:
                raise Unsupported(f"'{name}' is given twice")
            values = self.attribute(name, None)
        elif values is None:
            return None
        if isinstance(values, tuple) and all(isinstance(each, int) for each in values):
            return tuple(int(each) for each in values)
        raise Unsupported(f"'{name}' is {shown(values)}, not whole numbers")

    def settle(self) -> None:
        """Refuse what nobody asked for."""
        names = [name for name, _ in self.node.attributes]
        for name in names:
            if name not in self._asked:
                raise Unsupported(f"the attribute '{shown(name)}' is not known")
            if names.count(name) > 1:
                raise Unsupported(f"'{name}' is given twice")
        for place in range(len(self.node.inputs)):
            if self.has(place) and place not in self._read:
                raise Unsupported(f"operand {place + 1} is not known")

    def _needed(self, name: str, default: Attribute) -> Attribute:
        if default is None and not self.says(name):
            raise Unsupported(f"it has no '{name}'")
        return self.attribute(name, default)
