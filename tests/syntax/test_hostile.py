"""No text may cost a traceback, or much time."""

import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import netc_models
from netc.errors import NetError, render
from netc.syntax import Network, lexer, network_text, parse_text, verify_network
from netc.syntax.lexer import DEPTH_LIMIT, LINE_LIMIT

HEAD = "net n(n = 2)\ninput image 3x8x8\n"
TAIL = "\nfc n | softmax_loss\n"
MODELS = [path.read_text() for path in sorted(Path(netc_models.__file__).parent.glob("*.net"))]


def attempt(text: str) -> Network | NetError:
    try:
        return parse_text(text, "t.net")
    except NetError as problem:
        return problem


def outcome(text: str) -> str:
    """Return the first code and its message, or `fine`; check that the message is short."""
    found = attempt(text)
    if isinstance(found, Network):
        verify_network(found)
        return "fine"
    assert max(map(len, render(found.diagnostics).split("\n"))) < 1000
    return f"{found.diagnostics[0].code} {found.diagnostics[0].message}"


def calls(first: str, body: str, count: int) -> str:
    """Return blocks b0 to b`count`, each after the first with the one before it for PREVIOUS."""
    blocks = [
        f"block b{i}() {{ {body.replace('PREVIOUS', f'b{i - 1}()')} }}" for i in range(1, count)
    ]
    return "\n".join([f"block b0() {{ {first} }}", *blocks, f"b{count - 1}()"])


DEEP = f"E005 this nests too deeply (limit {DEPTH_LIMIT})."
PARAMETERS = "E028 there are 101 parameters (limit 100)."
HUGE = "E019 the network has more than 100,000 layers, calls and repetitions."


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("repeat 1 {\n" * 10_000 + "}" * 10_000, DEEP),
        ("add {" * 10_000, DEEP),
        ("fc filters=" + "(" * 10_000 + "1" + ")" * 10_000, DEEP),
        ("(" * 10_000, DEEP),
        ("repeat 1 {" * DEPTH_LIMIT + "relu" + "}" * DEPTH_LIMIT, "fine"),
        ("if n == 2 {" * DEPTH_LIMIT + "relu" + "}" * DEPTH_LIMIT, "fine"),
        ("fc filters=" + "(2 - " * DEPTH_LIMIT + "1" + ")" * DEPTH_LIMIT, "fine"),
        ("repeat 1000 { repeat 1000 { repeat 1000 { } } }", HUGE),
        ("repeat 999999999999 { if n == 1 { relu } }", HUGE),
        (calls("", "PREVIOUS ; PREVIOUS", 40), HUGE),
        (calls("relu", "PREVIOUS", 300), DEEP),
        ("x" * (LINE_LIMIT + 1), "E028 the line has 100,001 characters (limit 100,000)."),
        ("x" * LINE_LIMIT, "E028 the name is too long (limit 100 characters)."),
        ("$" + "x" * LINE_LIMIT, "E028 the line has 100,001 characters (limit 100,000)."),
        ('"' * 2_000, "E001"),
        ("@" * LINE_LIMIT, "E002 '@' has no meaning here."),
        ("@a" * 40_000, "E002 '@' has no meaning here."),
        ("\0", "E002 U+0000 has no meaning here."),
        ("fc " + "9" * 50_000, "E027 the number " + "9" * 37 + "... is out of range."),
        ("fc 1" + "0" * 50_000 + "x3", "E027 the number 1" + "0" * 36 + "... is out of range."),
        ("dropout 1e999", "E027 the number 1e999 is out of range."),
        ("dropout rate=1e30 * 1e30", "E027 the number 1e+30 * 1e+30 is out of range."),
        ("maxpool 2 stride=2147483648", "E027 the number 2147483648 is out of range."),
        ("fc 3 std=1e31", "E027 the number 1e31 is out of range."),
        ("fc filters=" + "1+" * 30_000 + "1", "fine"),
        ("relu | " * 10_000 + "relu", "fine"),
        ("add { " + "relu ; " * 5_000 + "relu }", "fine"),
        ("if n == 3 { relu }" + "else if n == 4 { relu }" * 3_000, "fine"),
        ("repeat 50000 { fc filters=" + "1+" * 2_000 + "1 }", HUGE),
        ("repeat 50000 { if " + "n == 3 or " * 500 + "n == 4 { relu } }", HUGE),
        ("relu\n" * 100_001, HUGE),
        ("block b(" + ", ".join(f"p{i}" for i in range(101)) + ") { }", PARAMETERS),
        ("\n".join(f"n{i} := relu" for i in range(10_000)) + "\n$m" * 25, "E020"),
        ("\n".join(f"n{i} := relu" for i in range(3_000)) + "\nadd { $m ; identity }", "E020"),
    ],
)
def test_hostile_text(body: str, expected: str) -> None:
    start = time.process_time()
    assert outcome(HEAD + body + TAIL).startswith(expected)
    assert time.process_time() - start < 20


def test_a_file_of_too_many_words_is_not_read_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lexer, "TOKEN_LIMIT", 2000)
    assert outcome(HEAD + "fc (" + "1+\n" * 700 + "1)") == (
        "E028 the file has more than 2,000 words and signs."
    )


def test_a_long_line_is_refused_at_once() -> None:
    start = time.process_time()
    assert outcome(HEAD + "conv 3x3 64 | " * 100_000 + TAIL).startswith("E028")
    assert time.process_time() - start < 0.5


CUT = (
    HEAD
    + """block unit(k, c = 4 / 2, act = true) {
    conv k filters=2 * (c - 1) /2x1 pad=same | bn
    if act == true and not c < 1 { relu } else { tanh }
}
t := unit(1x3) | maxpool 2 /2
repeat n // 1 { add { $t ; identity } }
fc n | softmax_loss
train { data idx("a b") ; sgd lr=1e-2 ; schedule step(every=3ep, gamma=.1) }"""
)


def test_a_text_may_end_anywhere() -> None:
    assert outcome(CUT) == "fine"
    for end in range(len(CUT)):
        outcome(CUT[:end])


PIECES = st.sampled_from(
    [
        *'{}()|/=:;,$"#.-+*<>!\n\t \r@é\0',
        *("conv", "add", "concat", "repeat", "if", "else", "block", "input", "net", "include"),
        *("train", "identity", "relu", "3x3", "64", "-1", "0", "1e9", "9ep", "pad", "same", ":="),
        *("and", "or", "not", "stage", "classes", "softmax_loss", "$trunk", "sgd", "data", "//"),
    ]
)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """Draw a shipped network with a few stretches deleted, doubled, moved or replaced."""
    text = draw(st.sampled_from(MODELS))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 30)))
        piece = draw(st.one_of(PIECES, st.text(max_size=4), st.just(text[start:end] * 2)))
        text = text[:start] + piece + text[end:]
    return text


@given(mutated())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_text_is_a_network_or_a_problem(text: str) -> None:
    found = attempt(text)
    if isinstance(found, Network):
        verify_network(found)
        assert attempt(network_text(found)) == found
    else:
        assert render(found.diagnostics, color=True).strip()


@given(st.lists(PIECES, max_size=40).map(" ".join))
@settings(max_examples=300, deadline=None)
def test_any_words_are_a_network_or_a_problem(body: str) -> None:
    outcome(HEAD + body + TAIL)
