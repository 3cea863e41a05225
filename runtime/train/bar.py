"""The live display of a training: what it is at, and a bar where there is room."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

BAR_COLUMNS = 20


class Bar(Progress):
    """One line: the text, and the bar beside it where that fits."""

    def __init__(self, console: Console) -> None:
        """Show on `console`."""
        beside = TextColumn("{task.description}", markup=False)
        super().__init__(beside, BarColumn(BAR_COLUMNS), console=console)

    def get_renderables(self) -> Iterable[RenderableType]:
        """Yield what is shown now."""
        for task in self.tasks:
            fits = len(task.description) + 1 + BAR_COLUMNS <= self.console.width
            yield self.make_tasks_table([task]) if fits else Text(task.description)
