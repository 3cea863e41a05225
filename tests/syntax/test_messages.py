"""The exact text of every message: `messages.txt` holds networks and what is said of them."""

from pathlib import Path

import pytest

from netc.errors import SyntaxProblem, render
from netc.syntax import parse_text

CASES = [
    case.split("\n", 1)
    for case in Path(__file__).with_name("messages.txt").read_text(encoding="utf-8").split("=== ")
    if case
]


@pytest.mark.parametrize(("title", "case"), CASES, ids=[title for title, _ in CASES])
def test_message(title: str, case: str) -> None:
    text, expected = case.split("\n---\n")
    with pytest.raises(SyntaxProblem) as problem:
        parse_text(text + "\n", "t.net")
    assert render(problem.value.diagnostics) == expected.rstrip("\n")
    assert problem.value.exit_code == 3


def test_no_case_stands_twice() -> None:
    texts = [case.split("\n---\n")[0] for _, case in CASES]
    assert len(set(texts)) == len(texts)
