"""Who hears what is no result: a person, on stderr."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from netc.api.listener import Listener
from netc.cli.output import note

if TYPE_CHECKING:
    from netc.cli.passes import CompileProgress


class Speaker(Listener):
    """Prints notes, and shows what takes long on a terminal."""

    def __init__(
        self, notes: bool = True, progress: CompileProgress | None = None, quiet: bool = False
    ) -> None:
        """Without `notes` only what takes long is shown, by `progress` where that is given; `quiet`
        says nothing of what is waited for.
        """
        self.notes, self.progress, self.quiet = notes, progress, quiet

    def note(self, text: str) -> None:
        """Print it."""
        if self.notes:
            note(text)

    def wait(self, text: str) -> None:
        """Print it as well."""
        if not self.quiet:
            self.note(text)

    @contextmanager
    def watch(self) -> Iterator[CompileProgress]:
        """Show what is done within the block, once that takes long."""
        # Imported here: programs that are compiled need no compiler.
        from netc.cli.passes import CompileProgress

        progress = self.progress or CompileProgress()
        try:
            yield progress
        finally:
            progress.close()
