"""What editors colour in `.net` files: rules made of the words and terminals that the parser knows.

`textmate` and `pygments_lexer` make their formats of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from netc.syntax.grammar import language, reserved_words
from netc.syntax.layers import IDENTITY, KINDS
from netc.syntax.literals import WORDS
from netc.syntax.recipe import AUGMENTATIONS, DATA, OPTIMIZERS, SCHEDULES, SETTINGS

OPERATOR_WORDS = ("and", "not", "or")
_BEFORE, _BEHIND = r"(?<![A-Za-z0-9_.$])", r"(?!\.?[A-Za-z0-9_])"
"""What no whole word has beside it: names may have dots."""


@dataclass(frozen=True, slots=True)
class Colour:
    """A kind of text: where it is found, and what formats call it."""

    pattern: str
    """A regular expression, of Python's `re` and of Oniguruma."""
    scope: str
    """TextMate's name."""
    token: str
    """Pygments' name."""


def colours() -> tuple[Colour, ...]:
    """Return the rules; of those that match at a place the first wins. They miss spaces alone."""
    name = terminal("NAME")
    options = {option.name for kind in KINDS.values() for option in kind.options}
    options |= {option.name for kind in OPTIMIZERS.values() for option in kind.options}
    options |= {option.name for kind in SCHEDULES.values() for option in kind.options}
    options |= {option.name for kind in AUGMENTATIONS.values() for option in kind.options}
    keywords = reserved_words() - set(OPERATOR_WORDS)
    made = (*DATA, *SCHEDULES, *AUGMENTATIONS)
    return (
        Colour(terminal("COMMENT"), "comment.line.number-sign.netc", "Comment.Single"),
        Colour(terminal("STRING"), "string.quoted.double.netc", "String.Double"),
        Colour(terminal("REFERENCE"), "variable.other.netc", "Name.Variable"),
        Colour(terminal("SIZE"), "constant.numeric.size.netc", "Number"),
        Colour(terminal("NUMBER"), "constant.numeric.netc", "Number"),
        Colour(rf"(?:(?<=\bnet )|(?<=\bblock )){name}", "entity.name.type.netc", "Name.Class"),
        Colour(rf"{name}(?=\s*:=)", "entity.name.label.netc", "Name.Label"),
        Colour(_any(keywords), "keyword.control.netc", "Keyword"),
        Colour(_any(OPERATOR_WORDS), "keyword.operator.word.netc", "Operator.Word"),
        Colour(_any(WORDS), "constant.language.netc", "Keyword.Constant"),
        Colour(rf"{_any(options)}(?=\s*=(?!=))", "entity.other.attribute-name.netc",
               "Name.Attribute"),
        Colour(rf"{name}(?=\s*=(?!=))", "variable.parameter.netc", "Name.Variable"),
        Colour(rf"{_any(made)}(?=[ \t]*\()", "support.function.netc", "Name.Builtin"),
        Colour(rf"{name}(?=[ \t]*\()", "entity.name.function.netc", "Name.Function"),
        Colour(_any((*KINDS, IDENTITY)), "support.type.layer.netc", "Keyword.Type"),
        Colour(name, "variable.other.name.netc", "Name"),
        Colour(rf":=|{terminal('COMPARISON')}|//|[-+*/=|]", "keyword.operator.netc", "Operator"),
        Colour(r"[(){},;]", "punctuation.netc", "Punctuation"),
    )  # fmt: skip


def setting() -> Colour:
    """Return the rule for the first words of settings, which are words in `train` alone."""
    return Colour(rf"{_any(SETTINGS)}(?![ \t]*\()", "support.type.setting.netc", "Keyword.Type")


def terminal(name: str) -> str:
    """Return the pattern of a terminal of the grammar."""
    return str(language().lexer_conf.terminals_by_name[name].pattern.to_regexp())


def _any(words: Iterable[str]) -> str:
    return rf"{_BEFORE}(?:{'|'.join(map(re.escape, sorted(words)))}){_BEHIND}"
