"""`--memory`, `--batch auto`, `netc run --dry-run`: what fits, and what devices would hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from netc.cli.main import main

DIGITS = "models/digits.net"


@pytest.fixture(autouse=True)
def at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    assert main([*arguments, "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize(("devices", "wanted"), [("1", 50), ("3", 48)])
def test_no_more_than_there_is_to_train_with(
    devices: str, wanted: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where a training takes the largest batch that fits; a plan knows of no images."""
    asked = [DIGITS, "--devices", devices, "--strategy", "data", "--kernels", "reference"]
    data = ["--data", "synthetic(train=50,test=6)", "--out", str(tmp_path), "--steps", "1"]
    assert main(["run", *asked, "--batch", "auto", *data]) == 0
    shown = " ".join(capsys.readouterr().err.split())
    assert f"batch {wanted}: the most that the training images make, that fits" in shown
    assert main(["run", *asked, "--batch", "51", *data, "--replace"]) == 5
    assert "take a smaller '--batch', with which" in capsys.readouterr().err
    assert main(["run", *asked, "--batch", "auto", "--data", "no/such", "--dry-run"]) == 0
    assert "the most that is tried" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("devices", ["1", "3"])
@pytest.mark.parametrize("memory", ["2MB", "5MiB"])
@pytest.mark.parametrize("goal", ["training", "inference"])
def test_the_largest_batch_fits_and_one_image_more_does_not(
    devices: str, memory: str, goal: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["compile", DIGITS, "--devices", devices, "--strategy", "data", "--cluster", "p100",
             "--memory", memory, "--goal", goal]  # fmt: skip
    batch = said(capsys, *asked, "--batch", "auto")[-1]["batch"]
    assert batch % int(devices) == 0 and batch > 0
    assert main([*asked, "--batch", str(batch)]) == 0
    assert main([*asked, "--batch", str(batch + int(devices))]) == 4
    assert "error[E052]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--batch", "auto", "--memory", "20kB"], 4, "not even one image a device fits"),
        (["--batch", "auto", "--strategy", "auto"], 2, "is for a plan that is given"),
        (["--batch", "lots"], 2, "must be a whole number, 1 or more, not 'lots'"),
        (["--memory", "lots"], 2, "must be a size such as 16GiB"),
        (["--memory", "16"], 2, "must be a size such as 16GiB"),
        (["--memory", "1e3GiB"], 2, "must be a size such as 16GiB"),
        (["--memory", "100kB"], 4, "the plan does not fit"),
        (["--memory", "100kB", "--recompute", "auto"], 4, "not fit, whatever is computed again"),
        (["--recompute", "all,relu1"], 2, "'--recompute all,relu1' is not of the form relu*,bn*."),
        (["--recompute", "relu1,"], 2, "'--recompute relu1,' is not of the form relu*,bn*."),
        (["--recompute", "rleu1"], 4, "no layer matches 'rleu1'."),
    ],
)
def test_what_is_wrong_is_told(
    arguments: list[str], code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compile", DIGITS, *arguments]) == code
    assert told in capsys.readouterr().err


def test_a_dry_run_says_what_every_device_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ["--devices", "2", "--batch", "32", "--scheme", "b"]
    compiled = said(capsys, "compile", DIGITS, *asked)[-1]
    *devices, result = said(capsys, "run", DIGITS, *asked, "--dry-run")
    assert [each["peak_bytes"] for each in devices] == compiled["memory_bytes"]
    assert result["step_seconds"] == compiled["step_seconds"]
    for each in devices:
        parts = each["weights_bytes"] + each["inputs_bytes"] + each["activations_bytes"]
        assert parts == each["peak_bytes"]
    path = Path(DIGITS).resolve()
    monkeypatch.chdir(tmp_path)
    assert main(["run", str(path), "--devices", "4", "--strategy", "data", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "0-3 " in shown and "nothing is run" in shown
    assert not list(tmp_path.iterdir())


def test_a_dry_run_looks_for_what_it_would_begin_with(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", DIGITS, "--dry-run", "--resume", "no-such"]) == 5
    assert "no-such" in capsys.readouterr().err


def test_a_search_is_told_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--strategy", "auto", "--cluster", "p100", "--devices", "4", "--batch", "64"]
    rows = said(capsys, "compile", DIGITS, *asked)
    searches = [row for row in rows if row["event"] == "search"]
    assert searches and all(row["gap"] >= 0 for row in searches)
    plans = [row for row in rows if row["event"] == "candidate"]
    (chosen,) = (row for row in plans if row["chosen"])
    (auto,) = (row for row in rows if row["event"] == "auto")
    assert chosen["step_seconds"] == auto["step_seconds"] == rows[-1]["step_seconds"]
    layers = {row["layer"]: row["split"] for row in rows if row["event"] == "layer"}
    assert layers.items() <= chosen["splits"].items()


def test_what_does_not_fit_is_told_of_sharded_updates(capsys: pytest.CaptureFixture[str]) -> None:
    """As a remedy, and where it is not enough; no batch is guessed where weights are gathered."""
    asked = ["compile", "models/alexnet_owt.net", "--strategy", "data", "--devices", "4",
             "--cluster", "p100", "--batch", "64"]  # fmt: skip
    assert main([*asked, "--memory", "460MiB"]) == 4
    assert "take '--updates sharded', split the largest" in capsys.readouterr().err
    assert main([*asked, "--memory", "600MiB"]) == 4
    capsys.readouterr()
    assert main([*asked, "--memory", "600MiB", "--updates", "sharded"]) == 0
    capsys.readouterr()
    assert main([*asked, "--memory", "400MiB", "--updates", "sharded"]) == 4
    assert "'--batch auto' finds the largest batch that fits" in capsys.readouterr().err


def peak(capsys: pytest.CaptureFixture[str], *arguments: str) -> int:
    lines = said(capsys, "explain", DIGITS, "--batch", "64", *arguments)
    return int(max(lines[-1]["memory_bytes"]))


def test_less_memory_is_needed_where_some_is_computed_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(tmp_path / "again.toml")
    kept = peak(capsys)
    least = peak(capsys, "--recompute", "all", "--save-strategy", file)
    assert least < kept
    assert peak(capsys, "--strategy", file) == least
    assert peak(capsys, "--strategy", file, "--recompute", "none") == kept
    between = (kept + least) // 2000
    assert peak(capsys, "--recompute", "auto", "--memory", f"{between}kB") <= 1000 * between
    assert peak(capsys, "--recompute", "auto") == kept
    asked = ["compile", DIGITS, "--batch", "auto", "--memory", "3MB"]
    more = said(capsys, *asked, "--recompute", "auto")[-1]["batch"]
    assert more > said(capsys, *asked)[-1]["batch"]
