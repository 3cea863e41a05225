"""Who is told what a compilation is at."""

from __future__ import annotations

from netc.passes.pipeline import PASSES, Observer, PassReport

PROGRAMS_OF = {each.name: each.programs for each in PASSES}
"""By pass the programs that it is for."""
__all__ = ["PROGRAMS_OF", "PassReport", "Watch"]


class Watch(Observer):
    """Told what is done; this one does not care."""

    def tell(self, at: str) -> None:
        """What is done now."""
