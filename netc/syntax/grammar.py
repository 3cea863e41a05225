"""The language's parser: Lark's, of `grammar.lark`, made ready in `grammar.data` or built here.

Building takes 0.2 s, which every command would pay. So netc comes with what `Lark.save` wrote of
the grammar, which loads in some milliseconds. Its first line says of which Lark, grammar and bytes
it is; where one of them differs, the grammar is built, and gives the same.

`Lark.load` reads a pickle, and a pickle may do anything. This one is part of the package, like the
code beside it, and whoever can change it can change the code. No other file is ever loaded, and
this one only as it was written.
"""

from __future__ import annotations

import hashlib
import io
from functools import cache
from pathlib import Path

import lark
from lark import Lark

from netc.syntax.build import Build
from netc.syntax.lexer import Lexer, words_of

_GRAMMAR = Path(__file__).with_name("grammar.lark")
_SAVED = Path(__file__).with_name("grammar.data")


@cache
def language() -> Lark:
    """Return the parser, once a process; threads may share it."""
    grammar = _GRAMMAR.read_text(encoding="utf-8")
    data = _saved(grammar)
    return build(grammar) if data is None else Lark.load(io.BytesIO(data))


def _saved(grammar: str) -> bytes | None:
    """Return what this Lark saved of `grammar`, if it is there and whole."""
    try:
        title, _, data = _SAVED.read_bytes().partition(b"\n")
    except OSError:
        return None
    return data if title == _title(grammar, data) else None


def build(grammar: str) -> Lark:
    """Return the parser of `grammar`; raise Lark's error where it is ambiguous."""
    return Lark(
        grammar,
        parser="lalr",
        lexer=Lexer,
        strict=True,
        keep_all_tokens=True,
        maybe_placeholders=False,
        transformer=Build(),
    )


@cache
def reserved_words() -> frozenset[str]:
    """Return the words that are no names."""
    return frozenset(words_of(language().lexer_conf))


def save() -> None:
    """Write what `language` loads: after a change of the grammar, of `build` or of the lexer."""
    grammar = _GRAMMAR.read_text(encoding="utf-8")
    file = io.BytesIO()
    build(grammar).save(file)
    _SAVED.write_bytes(_title(grammar, file.getvalue()) + b"\n" + file.getvalue())


def _title(grammar: str, data: bytes) -> bytes:
    """Return the version of Lark, and a digest of the grammar and of what was saved of it."""
    digest = hashlib.sha256(b"\0".join((grammar.encode(), data))).hexdigest()
    return f"lark {lark.__version__} {digest}".encode()
