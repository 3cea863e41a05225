"""HTML and SVG as text, in which no name is ever read as markup."""

from __future__ import annotations

import html

from netc.errors import escaped

_VOID = ("img", "br")
"""Elements of HTML that hold nothing, and are not closed."""


class Markup(str):
    """Text that is markup already. Any other is escaped where it is put into an element."""

    __slots__ = ()


def element(name: str, *inner: str, **attributes: object) -> Markup:
    """An element with what is inside. Attributes that are None or False are left out; in their
    names "_" is "-", but for one at the end, which keeps Python's words apart.
    """
    words = "".join(_attribute(*each) for each in attributes.items())
    if name in _VOID:
        return Markup(f"<{name}{words}>")
    return Markup(f"<{name}{words}>{joined_markup(*inner)}</{name}>")


def joined_markup(*inner: str) -> Markup:
    """Texts, escaped, and markup, one behind the other."""
    return Markup("".join(each if isinstance(each, Markup) else _text(each) for each in inner))


def _text(text: str) -> str:
    return html.escape(escaped(text))


def _attribute(name: str, value: object) -> str:
    if value is None or value is False:
        return ""
    word = name.rstrip("_").replace("_", "-")
    return f" {word}" if value is True else f' {word}="{_text(str(value))}"'
