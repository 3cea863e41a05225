"""Who is told what is no result: notes, and what a long compilation is at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netc.api.watch import Watch


class Listener:
    """Nobody: told, and silent."""

    def note(self, text: str) -> None:
        """A sentence on what is no result."""

    def wait(self, text: str) -> None:
        """A sentence on what is waited for."""

    @contextmanager
    def watch(self) -> Iterator[Watch]:
        """Who is told what is done within the block, which may take long."""
        # Imported here: programs that are compiled need no compiler.
        from netc.api.watch import Watch

        yield Watch()


class Notes(Listener):
    """Keeps what it is told."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self.texts = list(texts)
        """In the order in which they were told."""

    def note(self, text: str) -> None:
        """Keep it."""
        self.texts.append(text)


Told = Callable[[str], None]
"""Who hears a note."""
