"""What `--help` lists of registered words: layers, strategies, and those of a `train` block."""

from __future__ import annotations

from collections.abc import Mapping

from netc.ir.schedules import SCHEDULES
from netc.strategies.fixed import FIXED
from netc.syntax.layers import IDENTITY, KINDS
from netc.syntax.recipe import OPTIMIZERS


def words_of(verb: str) -> str:
    """The lists behind the help of a verb."""
    if verb in ("check", "summary"):
        return _listed("layers", dict.fromkeys(sorted((*KINDS, IDENTITY)), ""))
    strategies = _listed("strategies", {name: each.about for name, each in FIXED.items()})
    if verb != "run":
        return strategies
    optimizers = _listed("optimizers, in a train block", dict.fromkeys(OPTIMIZERS, ""))
    schedules = {each.form: each.about for each in SCHEDULES.values()}
    return strategies + optimizers + _listed("schedules, in a train block", schedules)


def _listed(title: str, words: Mapping[str, str]) -> str:
    """Words with what is said about them, one a line, or all on one where nothing is."""
    if not any(words.values()):
        return f"\n{title}:\n  {', '.join(words)}\n"
    width = max(map(len, words))
    lines = (f"  {word:{width}}  {about.replace('`', '')}" for word, about in words.items())
    return "\n".join((f"\n{title}:", *lines, ""))
