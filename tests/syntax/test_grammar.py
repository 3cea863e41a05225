"""The grammar, what is saved of it, and what becomes of a saved file that does not fit."""

import os
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lark
import pytest

import netc_models
from netc.errors import NetError, Source, render
from netc.syntax import ast, grammar
from netc.syntax.parser import parse_source

GRAMMAR = grammar._GRAMMAR.read_text()
CASES = Path(__file__).with_name("messages.txt").read_text(encoding="utf-8").split("=== ")[1:]
TEXTS = [case.split("\n", 1)[1].split("\n---\n")[0] for case in CASES] + [
    path.read_text() for path in sorted(Path(netc_models.__file__).parent.rglob("*.net"))
]


def outcome(text: str) -> ast.File | str:
    try:
        return parse_source(Source("t.net", text))
    except NetError as problem:
        return render(problem.diagnostics)


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what is saved, which is read in its place."""
    path = tmp_path / "grammar.data"
    path.write_bytes(grammar._SAVED.read_bytes())
    monkeypatch.setattr(grammar, "_SAVED", path)
    return path


def made(monkeypatch: pytest.MonkeyPatch) -> tuple[lark.Lark, bool]:
    """Return the parser that a new process would have, and whether it was built."""
    built: list[str] = []
    build = grammar.build

    def noted(text: str) -> lark.Lark:
        built.append(text)
        return build(text)

    with monkeypatch.context() as patch:
        patch.setattr(grammar, "build", noted)
        return grammar.language.__wrapped__(), bool(built)


def test_nothing_in_the_grammar_is_ambiguous() -> None:
    # With strict, rules in conflict raise, and with Lark's own lexer so do terminals.
    lark.Lark(GRAMMAR, parser="lalr", lexer="basic", strict=True)


def test_what_is_saved_parses_as_what_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    ready, built = made(monkeypatch)
    of = grammar._SAVED.read_bytes().split()[1].decode()
    assert built == (of != lark.__version__), "after a change: netc.syntax.grammar.save()"
    fresh = grammar.build(GRAMMAR)
    found = []
    for language in (ready, fresh):
        monkeypatch.setattr("netc.syntax.parser.language", lambda language=language: language)
        found.append([outcome(text) for text in TEXTS])
    assert found[0] == found[1]


def test_of_another_lark_nothing_is_loaded(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lark, "__version__", "0.0.0")
    assert made(monkeypatch)[1]


def test_of_another_grammar_nothing_is_loaded(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = tmp_path / "grammar.lark"
    changed.write_text(GRAMMAR.replace('"repeat"', '"again"'))
    monkeypatch.setattr(grammar, "_GRAMMAR", changed)
    language, built = made(monkeypatch)
    assert built
    assert {"again"} == {t.pattern.value for t in language.terminals if t.name == "AGAIN"}


class Harm:
    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, ("harmed",)


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: whole[:-1],
        lambda whole: whole[:90],
        lambda whole: whole[:20_000] + bytes([whole[20_000] ^ 1]) + whole[20_001:],
        lambda whole: whole.split(b"\n")[0] + b"\n" + pickle.dumps(Harm()),
        lambda whole: pickle.dumps(Harm()),
        None,
    ],
)
def test_a_damaged_file_is_not_loaded(
    damage: Callable[[bytes], bytes] | None,
    saved: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    whole = saved.read_bytes()
    saved.unlink()
    if damage is not None:
        saved.write_bytes(damage(whole))
    assert made(monkeypatch)[1]
    assert not Path("harmed").exists()


def test_what_is_saved_anew_is_loaded(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved.unlink()
    grammar.save()
    assert not made(monkeypatch)[1]


def test_threads_share_the_parser() -> None:
    alone = [outcome(text) for text in TEXTS]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(outcome, TEXTS)) == alone
