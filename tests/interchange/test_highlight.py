"""Colours of editors: what is committed is what the language says; every network is coloured."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

import netc_models
from netc.errors import Source
from netc.interchange.highlight import colours, setting
from netc.interchange.pygments_lexer import NetcLexer
from netc.interchange.textmate import SCOPE, grammar_text
from netc.syntax.grammar import language, reserved_words
from netc.syntax.layers import IDENTITY, KINDS
from netc.syntax.lexer import Lexer
from netc.syntax.recipe import AUGMENTATIONS, DATA, SCHEDULES, SETTINGS

pygments = pytest.importorskip("pygments")
from pygments.lexers import get_lexer_by_name, get_lexer_for_filename  # noqa: E402
from pygments.token import Error, Keyword, Name, Text  # noqa: E402

ROOT = Path(__file__).parents[2]
EDITORS = ROOT / "editors"
SHIPPED = sorted(Path(netc_models.__file__).parent.rglob("*.net"))
DOCUMENTED = re.findall(r"```net(?: fragment)?\n(.*?)```", (ROOT / "docs/language.md").read_text(),
                        re.S)  # fmt: skip
TEXTS = [path.read_text() for path in SHIPPED] + DOCUMENTED


def tokens(text: str) -> list[tuple[Any, str]]:
    return list(NetcLexer(stripnl=False, ensurenl=False).get_tokens(text))


def kinds(text: str) -> dict[str, Any]:
    return {value: kind for kind, value in tokens(text)}


def test_the_grammar_is_up_to_date() -> None:
    remedy = "write it anew: editors/README.md says how"
    assert (EDITORS / "netc.tmLanguage.json").read_text() == grammar_text(), remedy


@pytest.mark.parametrize("text", TEXTS)
def test_networks_are_lexed_without_errors(text: str) -> None:
    found = tokens(text)
    assert "".join(value for _, value in found) == text
    assert not [value for kind, value in found if kind is Error]


@pytest.mark.parametrize("text", TEXTS)
def test_words_end_where_the_parser_ends_them(text: str) -> None:
    found = tokens(text)
    ends = set(accumulate(len(value) for _, value in found))
    for lexeme in Lexer(language().lexer_conf).commented(Source("", text))[:-1]:
        assert lexeme.kind == "_SEP" or lexeme.end in ends, lexeme
    blank = [value for kind, value in found if kind in Text]
    assert all(value.isspace() for value in blank)


def test_what_is_no_word_is_an_error() -> None:
    assert Error in [kind for kind, _ in tokens("conv ? 3")]
    assert Error in [kind for kind, _ in tokens('include "x')]


def test_every_word_has_its_colour() -> None:
    for word in (*KINDS, IDENTITY):
        assert kinds(f"{word} |")[word] is Keyword.Type, word
        for option in KINDS[word].options if word in KINDS else ():
            assert kinds(f"{word} {option.name}=1")[option.name] is Name.Attribute
    for word in reserved_words():
        assert kinds(f"x {word} y")[word] in (*Keyword.subtypes, Keyword, *OPERATORS), word
    for word in SETTINGS:
        inside, outside = kinds(f"train {{ {word} 1 }}"), kinds(f"{word} 1")
        assert (inside[word], outside[word]) == (Keyword.Type, Name), word
    for word in (*DATA, *SCHEDULES, *AUGMENTATIONS):
        assert kinds(f"train {{ x {word}() }}")[word] is Name.Builtin, word
    for word, signature in (SCHEDULES | AUGMENTATIONS).items():
        for option in signature.options:
            found = kinds(f"train {{ x {word}({option.name}=1) }}")
            assert found[option.name] is Name.Attribute, option


OPERATORS = (pygments.token.Operator.Word,)


def test_names_with_dots_are_no_words() -> None:
    assert kinds("$conv.relu | x.conv | relu.y")["relu.y"] is Name
    assert kinds("a := conv1x")["conv1x"] is Name
    assert kinds("net digits(n = 1)")["digits"] is kinds("block conv() { }")["conv"] is Name.Class


def test_pygments_finds_the_lexer() -> None:
    assert isinstance(get_lexer_by_name("netc"), NetcLexer)
    assert isinstance(get_lexer_for_filename("x.net"), NetcLexer)


def test_netc_itself_needs_no_pygments() -> None:
    code = "import sys; from netc.cli.main import main; assert main(['check', 'lenet']) == 0; "
    code += "assert 'pygments' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)


def strings(value: Any, key: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name, each in value.items():
            yield from [each] if name == key and isinstance(each, str) else strings(each, key)
    elif isinstance(value, list):
        for each in value:
            yield from strings(each, key)


def test_the_extension_is_whole() -> None:
    package = json.loads((EDITORS / "package.json").read_text())["contributes"]
    (grammar,), (known,) = package["grammars"], package["languages"]
    content = json.loads((EDITORS / grammar["path"]).read_text())
    assert content["scopeName"] == grammar["scopeName"] == SCOPE
    json.loads((EDITORS / known["configuration"]).read_text())
    matches = [*strings(content, "match"), *strings(content, "begin"), *strings(content, "end")]
    assert len(matches) == len(colours()) + 4
    assert setting().pattern in matches
    for pattern in matches:
        re.compile(pattern)
    assert all(name.endswith(".netc") for name in strings(content["repository"], "name"))
    assert set(strings(content, "include")) == {"#train", "#common"} == {
        f"#{name}" for name in content["repository"]
    }  # fmt: skip
