"""Who is told what a compilation is at."""

from __future__ import annotations

from netc.passes.pipeline import Observer


class Watch(Observer):
    """Told what is done; this one does not care."""

    def tell(self, at: str) -> None:
        """What is done now."""
