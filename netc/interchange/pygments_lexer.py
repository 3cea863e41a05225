"""A lexer of Pygments for `.net` files, which finds it by its entry point: `pygmentize x.net`."""

from __future__ import annotations

from typing import Any

from pygments.lexer import RegexLexer, bygroups, include
from pygments.token import Keyword, Punctuation, Text, string_to_tokentype

from netc.interchange.highlight import Colour, colours, setting


def _rule(colour: Colour) -> tuple[str, Any]:
    return colour.pattern, string_to_tokentype(colour.token)


class NetcLexer(RegexLexer):  # type: ignore[misc]  # Pygments has no types
    """Networks of netc."""

    name = "netc"
    aliases = ("netc",)
    filenames = ("*.net",)
    mimetypes = ("text/x-netc",)

    tokens = {  # noqa: RUF012  (Pygments' way)
        "root": [
            (r"(train)(\s*)(\{)", bygroups(Keyword, Text, Punctuation), "train"),
            include("common"),
        ],
        "train": [
            (r"\}", Punctuation, "#pop"),
            _rule(setting()),
            include("common"),
        ],
        "common": [(r"\s+", Text.Whitespace), *map(_rule, colours())],
    }
