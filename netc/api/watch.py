"""Who is told what a compilation is at."""

from __future__ import annotations

from netc.errors import Diagnostic, UsageError, did_you_mean
from netc.passes.pipeline import PASSES, Observer, PassReport

PROGRAMS_OF = {each.name: each.programs for each in PASSES}
"""By pass the programs that it is for."""
__all__ = ["PassReport", "TextAfter", "Watch", "check_pass"]


def check_pass(name: str, program: str) -> None:
    """Raise UsageError (E051) for what is no pass, or none of that program."""
    if name not in PROGRAMS_OF:
        hint = did_you_mean(name, PROGRAMS_OF) + f"passes are: {', '.join(PROGRAMS_OF)}."
        raise UsageError(Diagnostic("E051", f"there is no pass '{name}'.", help=hint))
    if program not in (programs := PROGRAMS_OF[name]):
        hint = f"'--program {programs[0]}' prints its result."
        message = f"'{name}' is no pass of the {program} program."
        raise UsageError(Diagnostic("E051", message, help=hint))


class Watch(Observer):
    """Told what is done; this one does not care."""

    def tell(self, at: str) -> None:
        """What is done now."""


class TextAfter(Watch):
    """Keeps the value of a program after a pass, as text."""

    def __init__(self, name: str, program: str) -> None:
        self.name, self.program = name, program
        self.text = ""

    def ended(self, step: PassReport) -> None:
        """A pass has ended."""
        if (step.name, step.program) == (self.name, self.program):
            self.text = step.text()
