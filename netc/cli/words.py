"""What `--help` lists of registered words: layers, strategies, and those of a `train` block."""

from __future__ import annotations

from collections.abc import Mapping

from netc.cli.arguments import help_columns
from netc.errors import folded
from netc.ir.augmentations import AUGMENTATIONS
from netc.ir.datasets import DATA_SETS
from netc.ir.optimizers import OPTIMIZERS
from netc.ir.schedules import SCHEDULES
from netc.strategies.fixed import AUTO_ABOUT, FIXED
from netc.syntax.layers import IDENTITY, KINDS


def words_of(verb: str) -> str:
    """The lists behind the help of a verb."""
    if verb in ("check", "summary"):
        return _listed("layers", dict.fromkeys(sorted((*KINDS, IDENTITY)), ""))
    known = {each.example: each.about for each in DATA_SETS.values()}
    data = _listed("data sets, for --data and in a train block", known)
    if verb == "data":
        return data
    fixed = {name: each.about for name, each in FIXED.items()}
    strategies = _listed("strategies", {**fixed, "auto": AUTO_ABOUT})
    if verb in ("run", "eval"):
        strategies += data
    if verb != "run":
        return strategies
    optimizers = {word: each.about for word, each in OPTIMIZERS.items()}
    schedules = {each.form: each.about for each in SCHEDULES.values()}
    changes = {word: each.about for word, each in AUGMENTATIONS.items()}
    words = {"optimizers": optimizers, "schedules": schedules, "augmentations": changes}
    listed = (_listed(f"{kind}, in a train block", each) for kind, each in words.items())
    return "".join((strategies, *listed))


def _listed(title: str, words: Mapping[str, str]) -> str:
    """Words with what is said about them, one a line, or all on one where nothing is."""
    if not any(words.values()):
        return f"\n{title}:\n{folded('  ' + ', '.join(words), help_columns())}\n"
    width = max(map(len, words))
    whole = (f"  {word:{width}}  {about.replace('`', '')}" for word, about in words.items())
    lines = (folded(line, help_columns(), hang=width + 4) for line in whole)
    return "\n".join((f"\n{title}:", *lines, ""))
