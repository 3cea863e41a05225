"""The renderer, and the words it helps with."""

import pytest

from netc.errors import (
    DataError,
    DeviceError,
    Diagnostic,
    NetError,
    PlanError,
    Source,
    Span,
    SyntaxProblem,
    UsageError,
    clip,
    did_you_mean,
    listed,
    render,
)


def at(text: str, marked: str, *trail: str) -> Span:
    start = text.index(marked)
    return Span(Source("a.net", text), start, start + len(marked), trail)


def test_everything_a_diagnostic_can_say() -> None:
    span = at("relu\n  conv 3x3\n", "conv", "repeat 1 of 2", "in block 'b', called at 9:1")
    found = Diagnostic("E014", "it is so.", span, "here", ("a note",), "a remedy")
    assert render([found]) == (
        "error[E014]: it is so.\n"
        "  --> a.net:2:3\n"
        "   2 |   conv 3x3\n"
        "     |   ^^^^ here\n"
        "     = repeat 1 of 2\n"
        "     = in block 'b', called at 9:1\n"
        "     = a note\n"
        "     = help: a remedy"
    )


def test_without_a_place_and_several() -> None:
    plain = Diagnostic("E052", "the plan does not fit.", help="batch 832 fits.")
    note = Diagnostic("", "so it is.", severity="note")
    assert render([plain, note]) == (
        "error[E052]: the plan does not fit.\n     = help: batch 832 fits.\n\nnote: so it is."
    )
    assert str(NetError(plain, note)) == render([plain, note])
    assert render([]) == ""


def test_colour_adds_only_escapes() -> None:
    found = Diagnostic("E014", "it is so.", at("conv 3x3", "3x3"), "here")
    text = render([found], color=True)
    assert "\x1b[1;31merror[E014]\x1b[0m" in text
    for style in ("\x1b[1;31m", "\x1b[1m", "\x1b[34m", "\x1b[0m"):
        text = text.replace(style, "")
    assert text == render([found])


@pytest.mark.parametrize(
    ("text", "marked", "shown", "carets"),
    [
        ("\tconv\t3", "3", "    conv    3", "            ^"),
        ("a\tb", "\t", "a    b", " ^^^^"),
        ("日本 conv", "conv", "日本 conv", "     ^^^^"),
        ("日本", "本", "日本", "  ^^"),
        ("e\u0301 x", "x", "e\u0301 x", "  ^"),
        ("\x1b[31m x", "x", "\ufffd[31m x", "      ^"),
        ("conv {\n}", "conv {\n}", "conv {", "^^^^^^"),
        ("", "", "", "^"),
    ],
)
def test_carets_stand_under_the_place(text: str, marked: str, shown: str, carets: str) -> None:
    lines = render([Diagnostic("E001", "no.", at(text, marked))]).split("\n")
    assert lines[2:] == [f"   1 | {shown}", f"     | {carets}"]


@pytest.mark.parametrize("start", [0, 10, 50, 500, 4990, 4999])
def test_a_long_line_is_cut_around_the_place(start: int) -> None:
    text = "." * start + "#" + "." * (4999 - start)
    line, carets = render([Diagnostic("E001", "no.", at(text, "#"))]).split("\n")[2:]
    assert len(line) < 120
    assert line.index("#") == carets.index("^")


def test_a_long_place_is_cut() -> None:
    text = render([Diagnostic("E001", "no.", at("#" * 5000, "#" * 5000))])
    assert max(map(len, text.split("\n"))) < 120


def test_a_long_trail_is_cut_in_the_middle() -> None:
    trail = [f"repeat {number} of 50" for number in range(1, 51)]
    lines = render([Diagnostic("E001", "no.", at("x", "x", *trail))]).split("\n")[4:]
    assert [line.removeprefix("     = ") for line in lines] == [
        *trail[:4],
        "... 42 more ...",
        *trail[-4:],
    ]


def test_line_numbers_may_be_long() -> None:
    text = "\n" * 123455 + "x"
    assert render([Diagnostic("E001", "no.", at(text, "x"))]).split("\n")[1:] == [
        "  --> a.net:123456:1",
        "123456 | x",
        "       | ^",
    ]


def test_places() -> None:
    span = at("one\ntwo three\n", "three")
    assert (span.line, span.column, span.place, span.origin) == (2, 5, "2:5", "a.net:2:5")
    end = Span(span.source, len(span.source.text), len(span.source.text))
    assert (end.place, end.source.line(end.line)) == ("3:1", "")


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("padd", "did you mean 'pad'? "),
        ("strid", "did you mean 'stride'? "),
        ("zzz", ""),
        ("", ""),
        ("p" * 10**6, ""),
    ],
)
def test_did_you_mean(word: str, hint: str) -> None:
    assert did_you_mean(word, ["pad", "stride", "groups"]) == hint


def test_clip_and_listed() -> None:
    assert clip("short") == "short"
    assert clip("x" * 100) == "x" * 37 + "..."
    assert clip("a\x1bb\nc") == "a\ufffdb\ufffdc"
    assert listed(["b", "a"]) == "a, b"
    assert listed(str(number) for number in range(10, 40)).endswith("28, 29, ... (30 in all)")


def test_exit_codes() -> None:
    kinds = (UsageError, SyntaxProblem, PlanError, DataError, DeviceError)
    assert [kind.exit_code for kind in kinds] == [2, 3, 4, 5, 6]
    assert all(issubclass(kind, NetError) for kind in kinds)
