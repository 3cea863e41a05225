"""The live display of a training: what it is at, a bar, and the time that is left."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

BAR_COLUMNS = 20
TIME_COLUMNS = 8
"""A gap, and hours, minutes and seconds."""


class Bar(Progress):
    """All on one line where it fits; else the text stands on a line of its own, above the bar."""

    def __init__(self, console: Console) -> None:
        """Show on `console`."""
        super().__init__(BarColumn(BAR_COLUMNS), TimeRemainingColumn(), console=console)
        self._beside = TextColumn("{task.description}", markup=False)

    def get_renderables(self) -> Iterable[RenderableType]:
        """Yield what is shown now."""
        columns = self.columns
        for task in self.tasks:
            fits = len(task.description) + 1 + BAR_COLUMNS + TIME_COLUMNS <= self.console.width
            if not fits:
                yield Text(task.description)
            self.columns = (self._beside, *columns) if fits else columns
            yield self.make_tasks_table([task])
        self.columns = columns
