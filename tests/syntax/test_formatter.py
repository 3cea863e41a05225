"""`netc fmt`: what a file says stays, its layout does not depend on how it was laid out before."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from random_networks import cases, networks

import netc_models
from netc.errors import NetError, Source, render
from netc.syntax import Network, network_text, parse_text
from netc.syntax.commented import words_of_layout
from netc.syntax.formatter import COLUMNS, format_source
from netc.syntax.grammar import language
from netc.syntax.layout import lay_out
from netc.syntax.lexer import Lexer
from netc.syntax.tokens import Lexeme

ROOT = Path(__file__).parents[2]
SHIPPED = sorted(Path(netc_models.__file__).parent.rglob("*.net"))
OTHERS = sorted([*(ROOT / "docs").rglob("*.net"), *(ROOT / "tests").rglob("*.net")])
DOCUMENTED = re.findall(r"```net(?: fragment)?\n(.*?)```", (ROOT / "docs/language.md").read_text(),
                        re.S)  # fmt: skip
CASES = (ROOT / "tests/syntax/messages.txt").read_text(encoding="utf-8").split("=== ")[1:]
WRITTEN = [case.split("\n", 1)[1].split("\n---\n")[0] for case in CASES]
TEXTS = [path.read_text() for path in (*SHIPPED, *OTHERS)] + DOCUMENTED


def formatted(text: str) -> str:
    return format_source(Source("t.net", text))


def check(text: str) -> str:
    """Return the layout of `text`, of which all that is to be true is true."""
    result = formatted(text)
    assert words_of_layout(Source("", result)) == words_of_layout(Source("", text))
    assert formatted(result) == result
    assert not re.search(r"[ \t]$|\t|\n\n\n|\A\n|\{\n\n|\n\n *\}|\n\n\Z", result, re.M)
    assert not result or result.endswith("\n")
    return result


@pytest.mark.parametrize("path", [*SHIPPED, *OTHERS], ids=lambda path: path.stem)
def test_what_is_committed_is_in_the_layout(path: Path) -> None:
    assert check(path.read_text()) == path.read_text()


@pytest.mark.parametrize("text", DOCUMENTED)
def test_examples(text: str) -> None:
    check(text)


@pytest.mark.parametrize("text", WRITTEN)
def test_what_is_wrong_is_reported_as_the_parser_does(text: str) -> None:
    from netc.syntax.parser import parse_source

    try:
        parse_source(Source("t.net", text))
    except NetError as problem:
        expected = render(problem.diagnostics)
    else:
        check(text)
        return
    with pytest.raises(NetError) as found:
        formatted(text)
    assert render(found.value.diagnostics) == expected


@cases(100)
@given(networks())
def test_random_networks_stay_what_they_are(network: Network) -> None:
    text = network_text(replace(network, name="random"))
    result = check(text)
    assert parse_text(result) == parse_text(text)
    assert network_text(parse_text(result)) == text


def respaced(text: str, chance: random.Random) -> str:
    """The same lexemes and comments with other spaces, ends of lines, and more comments."""
    lexemes = Lexer(language().lexer_conf).commented(Source("", text))
    laid = lay_out(text, [each for each in lexemes if each.kind != "COMMENT"])
    kinds = {each.start: each.kind for each in laid}
    wanted = chance.choice((0.0, 0.02, 0.1))
    parts, depth, before = [], 0, Lexeme("_SEP", "\n", 0, 0)
    for lexeme in lexemes:
        kind = kinds.get(lexeme.start, lexeme.kind)
        bar = "VBAR" in (kind, before.kind)
        if kind == "COMMENT":
            parts.append(chance.choice(("", " ", "   ")) + lexeme.text)
        elif kind == "_SEP":
            ends = ["\n", "\n\n\n", " \n", "\n\t\n", f" # {chance.random()}\n"]
            ends += [" ; ", ";"] if lexeme.start in kinds else []
            after_comment = parts and "#" in parts[-1].rpartition("\n")[2]
            parts.append("\n" if after_comment else chance.choice(ends))
        elif kind == "$END":
            parts.append(chance.choice(("", "\n", "\n\n", " # end")))
        else:
            may_break = depth > 0 or bar or kind == "RBRACE" or before.kind == "LBRACE"
            space = chance.choice((" ", "  ", "\t"))
            if may_break and chance.random() < wanted:
                space = chance.choice(("\n", "\n  ", f" # {chance.random()}\n", "\n\n # c\n"))
            elif kind in ("RPAR", "COMMA", "VBAR", "EQUAL") and chance.random() < 0.5:
                space = ""
            depth += (kind == "LPAR") - (kind == "RPAR")
            tight = before.kind == "_STRIDE" and not depth
            parts.append(("" if tight else space) + lexeme.text)
        before = lexeme._replace(kind=kind)
    return "".join(parts)


@pytest.mark.parametrize("seed", range(150))
def test_spaces_and_comments_change_nothing(seed: int) -> None:
    chance = random.Random(seed)
    text = chance.choice(TEXTS)
    rude = respaced(text, chance)
    result = check(rude)
    words, _ = words_of_layout(Source("", text))
    assert words_of_layout(Source("", result))[0] == words, f"seed {seed}"


@pytest.mark.parametrize("seed", range(60))
def test_only_spaces_end_in_one_layout(seed: int) -> None:
    """Where lines end as before, all that is canonical comes back."""
    chance = random.Random(seed)
    text = chance.choice([path.read_text() for path in (*SHIPPED, *OTHERS)])
    lines = [line if set('#/"') & set(line) else line.replace(" ", " " * chance.randint(1, 3))
             for line in text.split("\n")]  # fmt: skip
    rude = "\n".join(" " * chance.randint(0, 9) + line.strip() for line in lines)
    assert formatted(rude) == text, f"seed {seed}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("\n\n", ""),
        ("# only a comment  ", "# only a comment\n"),
        ("net   n( classes=10,w = 3 )", "net n(classes = 10, w = 3)\n"),
        ("conv 3x3 w  /2 pad=( 1 +1 )*-2", "conv 3x3 w /2 pad=(1 + 1) * -2\n"),
        ("conv 3 8 pad=a/2 /s", "conv 3 8 pad=a / 2 /s\n"),
        ("fc -1|relu", "fc -1 | relu\n"),
        ("repeat n-1{relu;tanh}", "repeat n - 1 { relu ; tanh }\n"),
        ("if not(a and b)or -c<2{relu}else if d{tanh}\nelse{}",
         "if not (a and b) or -c < 2 { relu } else if d { tanh } else { }\n"),
        ("relu|\ntanh", "relu\n    | tanh\n"),
        ("relu |  # why\ntanh", f"{'relu':49}# why\n    | tanh\n"),
        ("add {relu\nidentity}", "add {\n    relu\n    identity\n}\n"),
        ("add {   # both\nrelu ; tanh\n\n\n# last\n}",
         f"{'add {':49}# both\n    relu ; tanh\n\n    # last\n}}\n"),
        ("train { epochs 3\nsgd lr=1\nschedule constant() # c\n}",
         f"train {{\n    epochs   3\n    sgd      lr=1\n{'    schedule constant()':49}# c\n}}\n"),
        ("train {\nepochs 3 ; seed 1\n}", "train {\n    epochs 3\n    seed   1\n}\n"),
        ("f(1,\n 2, # two\n 3)", f"{'f(1, 2,':49}# two\n    3)\n"),
        ("relu ;; tanh;\n", "relu ; tanh\n"),
        ("a := relu;b:=$a|tanh", "a := relu ; b := $a | tanh\n"),
    ],
)  # fmt: skip
def test_the_rules(text: str, expected: str) -> None:
    assert check(text) == expected


def test_long_lines_are_broken() -> None:
    chain = " | ".join(["conv 3x3 64 pad=1 bias=false"] * 9)
    assert {len(line) <= COLUMNS for line in check(chain).split("\n")} == {True}
    assert check(chain).split("\n    | ")[1].startswith("conv")
    call = f"f({', '.join(['some_name=12345'] * 20)})"
    assert max(map(len, check(call).split("\n"))) <= COLUMNS
    body = f"repeat 2 {{ {chain} ; relu }} | tanh"
    assert max(map(len, check(body).split("\n"))) <= COLUMNS
    assert check(body).startswith("repeat 2 {\n    conv")
    many = " ; ".join(["relu"] * 40)
    assert max(map(len, check(many).split("\n"))) <= COLUMNS
    text = f'include "{"x" * 120} | {"y" * 20}, z"'
    assert check(text) == text + "\n"


@pytest.mark.parametrize("open_", ["{", "{\n", "if a { relu ; " + "tanh | " * 30 + "bn } else {\n"])
def test_what_nests_deeply(open_: str) -> None:
    check(open_ * 99 + "relu" + "}" * 99)
    check("f(" + "(" * 98 + "1" + ")" * 98 + ")")
