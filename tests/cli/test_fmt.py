"""`netc fmt`: files that are written, files that are left as they are."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import pytest

import netc_models
from netc.cli.main import main

RUDE = b"net  n\r\ninput i 1x8x8   # image\r\nfc 10|softmax_loss"
NEAT = f"net n\n{'input i 1x8x8':49}# image\nfc 10 | softmax_loss\n".encode()
WRONG = b"net  n\nfc ((\n"
SHIPPED = [str(path) for path in Path(netc_models.__file__).parent.rglob("*.net")]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "x.net"
    path.write_bytes(RUDE)
    return path


def test_a_file_is_written_once(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.chmod(0o640)
    assert main(["fmt", str(file)]) == 0
    assert capsys.readouterr().out == f"wrote {file}\n"
    assert file.read_bytes() == NEAT
    assert file.stat().st_mode & 0o777 == 0o640
    before = file.stat().st_mtime_ns
    assert main(["fmt", str(file)]) == 0
    assert capsys.readouterr().out == "" and file.stat().st_mtime_ns == before
    assert os.listdir(file.parent) == ["x.net"]


def test_check_writes_nothing(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    neat = file.with_name("neat.net")
    neat.write_bytes(NEAT)
    assert main(["fmt", "--check", str(file), str(neat)]) == 1
    assert capsys.readouterr().out == f"would change {file}\n"
    assert file.read_bytes() == RUDE
    assert main(["fmt", "--check", str(neat)]) == 0
    assert main(["fmt", "--check", "--json", str(file)]) == 1
    assert json.loads(capsys.readouterr().out)["changed"] == [str(file)]


def test_shipped_networks_are_laid_out() -> None:
    assert SHIPPED and main(["fmt", "--check", *SHIPPED]) == 0


def test_a_link_stays_one(file: Path) -> None:
    link = file.with_name("link.net")
    link.symlink_to(file)
    assert main(["fmt", str(link)]) == 0
    assert link.is_symlink() and file.read_bytes() == NEAT


def test_a_mistake_is_told_as_check_does(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = file.with_name("wrong.net")
    wrong.write_bytes(WRONG)
    assert main(["check", str(wrong)]) == 3
    told = capsys.readouterr().err
    assert main(["fmt", str(wrong), str(file)]) == 3
    assert capsys.readouterr().err == told
    assert wrong.read_bytes() == WRONG and file.read_bytes() == NEAT


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"\xff", "E007"), (b"netc bundle 8\n", "E057"), (None, "E006")],
)
def test_what_is_no_network(
    content: bytes | None, code: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x"
    if content is not None:
        path.write_bytes(content)
    assert main(["fmt", str(path)]) in (2, 3)
    assert f"error[{code}]" in capsys.readouterr().err
    assert content is None or path.read_bytes() == content


def test_a_failed_write_leaves_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("netc.cli.fmt_.os.fsync", full)
    assert main(["fmt", str(file)]) == 2
    assert "error[E054]: cannot write" in capsys.readouterr().err
    assert file.read_bytes() == RUDE and os.listdir(file.parent) == ["x.net"]


@pytest.mark.parametrize(
    ("given", "options", "code", "out"),
    [
        (RUDE, [], 0, NEAT.decode()),
        (RUDE, ["--check"], 1, "would change standard input\n"),
        (NEAT, ["--check"], 0, ""),
        (WRONG, [], 3, ""),
        (b"\xff", [], 3, ""),
        (NEAT, ["--json"], 2, None),
        (NEAT, ["x.net"], 2, ""),
    ],
)
def test_standard_input(
    given: bytes,
    options: list[str],
    code: int,
    out: str | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
    assert main(["fmt", "-", *options]) == code
    assert out is None or capsys.readouterr().out == out
