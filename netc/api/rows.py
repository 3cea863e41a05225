"""Values of one kind that are more than one: a tuple, which shows as a table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Protocol, TypeVar

from netc.api.calls import checked_calls
from netc.api.figures import html_table, table, terminal_columns


class Row(Protocol):
    """What has a row of a table."""

    def cells(self) -> tuple[str, ...]:
        """As text, one a column."""


R = TypeVar("R", bound=Row)


@checked_calls
class Rows(tuple[R, ...]):
    """Some values in order; a table of them in a terminal and in a notebook."""

    header: ClassVar[tuple[str, ...]]
    left: ClassVar[int] = 1
    """Columns that are flush left."""
    spare: ClassVar[tuple[str, ...]] = ()
    """Columns that are left out first where there is little room."""

    @property
    def heading(self) -> str:
        """What is said above the table."""
        return ""

    @property
    def notes(self) -> tuple[str, ...]:
        """What is said below it."""
        return ()

    def table(self, columns: int | None = None) -> str:
        """The table, as wide as so many columns."""
        return table(self.header, self._cells(), self.left, self.spare, columns)

    def __repr__(self) -> str:
        """All of it, as wide as the terminal."""
        above = f"{self.heading}\n\n" if self.heading else ""
        below = "".join(f"\n{each}" for each in self.notes)
        return f"{above}{self.table(terminal_columns())}\n{below}".rstrip()

    def _repr_html_(self) -> str:
        return html_table(self.heading, self.header, self._cells(), self.left, self.notes)

    def _cells(self) -> Iterator[tuple[str, ...]]:
        return (each.cells() for each in self)
