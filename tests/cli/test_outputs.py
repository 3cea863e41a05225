"""Files that a verb is to write are looked at before it does anything else."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from netc.cli.arguments import OUTPUTS, verbs_of
from netc.cli.main import main, parser


def writing() -> Iterator[tuple[str, str]]:
    """Every verb with each of its options that name a file to write."""
    for verb, own in verbs_of(parser()).items():
        for action in own._actions:
            if action.dest in OUTPUTS:
                yield verb, action.option_strings[-1]


def needed(verb: str) -> list[str]:
    """Arguments that a verb cannot be without, of files that are not there."""
    own = verbs_of(parser())[verb]._actions
    given = (a for a in own if not a.option_strings and not isinstance(a, argparse._HelpAction))
    return ["no-such-file" for _ in given]


def test_every_verb_that_writes_is_known() -> None:
    verbs = {verb for verb, _ in writing()}
    assert {"compile", "compare", "diff", "plan", "profile", "report", "export"} <= verbs


@pytest.mark.parametrize(("verb", "option"), sorted(writing()))
def test_what_cannot_be_written_is_said_before_anything_is_read(
    verb: str, option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    for place, why in (("none/x.svg", "there is no folder"), ("file/x.svg", "there is no folder"),
                       (".", "it is a folder")):  # fmt: skip
        # Of two options of one name the last counts, so it may be among those that are needed.
        given = [verb, *needed(verb), option, str(tmp_path / place), "--json"]
        given += [] if option == "--output" or verb not in ("plan",) else ["-o", "x.svg"]
        assert main(given) == 2
        (found,) = json.loads(capsys.readouterr().out)["diagnostics"]
        assert found["code"] == "E056" and why in found["message"]
        assert found["help"] == "name a file in a folder that exists and can be written to."


@pytest.mark.parametrize("refused", ["folder", "file"])
def test_what_is_read_only_is_said_before(
    refused: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The administrator may write everywhere, so the system's answer is given here."""
    path = tmp_path / "x.svg"
    if refused == "file":
        path.write_text("")
    no = path if refused == "file" else tmp_path
    real = os.access
    monkeypatch.setattr(os, "access", lambda p, mode: Path(p) != no and real(p, mode))
    assert main(["plan", "no-such-file", "-o", str(path)]) == 2
    said = capsys.readouterr().err
    assert "error[E056]: cannot write" in said and "read-only" in said


def test_the_page_of_a_training_is_refused_before_it_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where nobody names a file, too."""
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "epoch": 1, "loss": 2.0}\n')
    (tmp_path / "report.html").mkdir()
    assert main(["report", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert "it is a folder" in captured.err and captured.out == ""


def test_a_kind_of_picture_that_is_not_known_is_said_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "no-such-file", "-o", str(tmp_path / "x.gif")]) == 2
    assert "cannot write a plan as 'x.gif'" in capsys.readouterr().err
