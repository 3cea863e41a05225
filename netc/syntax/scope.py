"""Where a statement is expanded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from netc.errors import Span, SyntaxProblem
from netc.syntax import ast
from netc.syntax.lexer import DEPTH_LIMIT, too_deep


@dataclass(slots=True)
class Scope:
    """Where a statement is expanded: the whole network, or one call of a block."""

    parameters: Mapping[str, ast.Scalar]
    """What expressions may read."""
    prefix: str = ""
    """Begins the names of its layers: empty, or `stage2.`."""
    names: dict[str, str] = field(default_factory=dict)
    """Name defined with `:=` to layer or input; shared by all bodies of the scope."""
    counts: Counter[str] = field(default_factory=Counter)
    """Layers of a kind and calls of a block so far; shared likewise."""
    calls: tuple[str, ...] = ()
    """The blocks being expanded, outermost first."""
    trail: tuple[str, ...] = ()
    """Notes for messages, innermost first."""
    depth: int = 0
    """Calls and bodies around the statement."""

    def inside(self, span: Span, *notes: str) -> Scope:
        """Return the scope of a body within; raise `SyntaxProblem` where it is too deep (E005)."""
        if self.depth >= DEPTH_LIMIT:
            raise SyntaxProblem(too_deep(span))
        return replace(self, trail=(*notes, *self.trail), depth=self.depth + 1)

    def called(self, block: str, name: str | None, parameters: Mapping[str, ast.Scalar]) -> Scope:
        """Return the scope of the next call of `block`: its own names, counts and parameters.

        Without a `name` the call is called by its block and number.
        """
        self.counts[block] += 1
        return replace(
            self,
            parameters=parameters,
            prefix=f"{self.prefix}{name or f'{block}{self.counts[block]}'}.",
            names={},
            counts=Counter(),
            calls=(*self.calls, block),
        )
