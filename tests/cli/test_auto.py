"""`--strategy auto`: what it says, keeps, obeys and refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from netc.cli.main import main

DIGITS = "models/digits.net"
ASKED = ("--strategy", "auto", "--cluster", "p100", "--batch", "64")


@pytest.fixture(autouse=True)
def at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])


def splits(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, list[str]]:
    assert main(["compile", DIGITS, *ASKED, *arguments, "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return {line["layer"]: line["split"] for line in lines if line["event"] == "layer"}


def test_it_says_what_it_took_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", DIGITS, *ASKED, "--devices", "4"]) == 0
    shown = capsys.readouterr()
    assert "strategy auto" in shown.out
    assert shown.err.startswith("note: auto took '")
    assert "predicted" in shown.err and "beside" in shown.err


def test_the_plan_found_is_kept_and_read_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(tmp_path / "found.toml")
    found = splits(capsys, "--devices", "4", "--save-strategy", file)
    assert main(["compile", DIGITS, "--strategy", file, "--batch", "64", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert found == {line["layer"]: line["split"] for line in lines if line["event"] == "layer"}
    assert splits(capsys, "--devices", "4") == found


def test_pins_and_labels_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    found = splits(capsys, "--devices", "4", "--pin", "conv*=k", "--pin", "fc1=@0")
    assert found["conv1"] == found["conv2"] == ["k"] and found["fc1"] == ["@0"]
    on_grid = splits(capsys, "--mesh", "2x2", "--pin", "conv1=n,k")
    assert on_grid["conv1"] == ["n", "k"]
    narrow = splits(capsys, "--devices", "4", "--search-labels", "k")
    assert all(split != ["h"] for split in narrow.values())


def test_one_device_and_what_is_pinned_are_no_choice(capsys: pytest.CaptureFixture[str]) -> None:
    for given, told in ((["--devices", "1"], "splits nothing"), (["--pin", "*=n"], "as pinned")):
        assert main(["compile", DIGITS, *ASKED, "--devices", "4", *given]) == 0
        assert told in capsys.readouterr().err


def test_a_network_too_small_to_split_stays_on_one_device(
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = ["--strategy", "auto", "--cluster", "k80", "--devices", "64", "--batch", "8"]
    assert main(["compile", DIGITS, *asked]) == 0
    assert "auto took 'single'" in capsys.readouterr().err


def test_only_what_may_be_searched_is_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    found = splits(capsys, "--devices", "4", "--search-labels", "h")
    assert all(set(split) <= {"h", "r", "@0"} for split in found.values())


def test_faster_plans_that_do_not_fit_are_marked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    laptop = Path("clusters/laptop.toml").read_text()
    small = re.sub("(?m)^memory_bytes = .*", "memory_bytes = 3.1e5", laptop)
    (tmp_path / "small.toml").write_text(small)
    asked = ["--strategy", "auto", "--cluster", str(tmp_path / "small.toml"), "--batch", "8"]
    assert main(["compile", DIGITS, *asked, "--devices", "4"]) == 0
    said = capsys.readouterr().err
    assert "what is faster does not fit the memory" in said and "(does not fit)" in said


def test_weights_updated_every_round_leave_plans_that_have_rounds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rounds = ["--fc-update", "round", "--devices", "4"]
    assert main(["compile", DIGITS, *ASKED, *rounds]) == 0
    assert "scheme b, weights updated every round" in capsys.readouterr().out
    assert main(["compile", DIGITS, *ASKED, *rounds, "--pin", "*=n"]) == 4
    assert "error[E043]" in capsys.readouterr().err


def test_what_it_finds_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = str(Path(DIGITS).resolve())
    monkeypatch.chdir(tmp_path)
    run = ["run", network, "--strategy", "auto", "--devices", "4", "--epochs", "1", "--json"]
    assert main([*run, "--data", "digits"]) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--fc-update", "round", "--mesh", "2x2"], 4, "rounds are defined on one axis"),
        (["--search-labels", "n,x"], 2, "'--search-labels n,x' is not of the form n,k,h"),
        (["--search-labels", ""], 2, "is not of the form n,k,h"),
        (["--search-labels", "n", "--strategy", "data"], 2, "and there is none"),
        (["--devices", "4", "--pin", "fc1=h"], 4, "split 'h' on 'fc1' is not possible"),
        (["--devices", "17"], 4, "'p100' has 16 devices, not 17"),
        (["--devices", "4", "--strategy", "atuo"], 2, "did you mean 'auto'?"),
    ],
)
def test_mistakes_are_told(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, told: str
) -> None:
    assert main(["compile", DIGITS, *ASKED, *arguments]) == code
    assert told in capsys.readouterr().err


def test_what_fits_nowhere_is_refused_with_what_it_would_need(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = (
        Path("clusters/p100.toml").read_text().replace("memory_bytes = 16e9", "memory_bytes = 1e5")
    )
    (tmp_path / "small.toml").write_text(small)
    asked = ["--strategy", "auto", "--cluster", str(tmp_path / "small.toml"), "--devices", "4"]
    assert main(["compile", DIGITS, *asked]) == 4
    said = capsys.readouterr().err
    assert "error[E052]: none of the " in said
    assert " kB a device, of 100 kB, whatever is computed again." in said
    assert main(["compile", DIGITS, *asked, "--recompute", "none"]) == 4
    assert " MB a device, of 100 kB." in capsys.readouterr().err


BY_BATCH = ("--strategy", "auto", "--search-labels", "n")
TIGHT = ("compile", "models/alexnet_owt.net", *BY_BATCH, "--cluster", "p100", "--batch", "512",
         "--devices", "4", "--memory", "800MiB")  # fmt: skip


def test_updates_are_sharded_where_that_gains_more_than_prices_may_be_off(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fast = ("--cluster", "h100", "--precision", "bf16", "--devices", "8", "--batch", "128")
    assert main(["compile", "models/vgg16.net", *BY_BATCH, *fast]) == 0
    told = capsys.readouterr().err
    assert "auto took 'data with sharded updates': 24.1 % faster than 'data' without" in told
    slow = ("--cluster", "p100", "--batch", "512", "--devices", "4")
    assert main(["compile", "models/alexnet_owt.net", *BY_BATCH, *slow]) == 0
    told = capsys.readouterr().err
    assert told.startswith("note: auto took 'data': ")
    assert "with sharded updates' 52.18 ms" in told and "'data' 53.87 ms" not in told


def test_updates_are_sharded_where_nothing_else_fits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was found is kept with its updates."""
    file = tmp_path / "found.toml"
    assert main([*TIGHT, "--save-strategy", str(file)]) == 0
    shown = capsys.readouterr()
    assert "plans without sharded updates do not fit the memory" in shown.err
    assert "strategy auto, updates sharded, batch 512" in shown.out
    assert 'updates = "sharded"' in file.read_text()
    again = [
        file if each == "auto" else each for each in TIGHT if each not in ("--search-labels", "n")
    ]
    assert main([*map(str, again)]) == 0
    assert "updates sharded, batch 512" in capsys.readouterr().out


def test_updates_that_were_asked_for_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TIGHT, "--updates", "replicated", "--recompute", "none"]) == 4
    assert "none of the" in capsys.readouterr().err
    assert main([*TIGHT, "--updates", "sharded", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    plans = [line for line in lines if line["event"] == "candidate"]
    assert plans and all(plan["updates"] is None for plan in plans)


def test_where_nothing_fits_some_is_computed_again(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["compile", DIGITS, *ASKED, "--devices", "2", "--memory", "1200kB"]
    assert main([*asked, "--recompute", "none"]) == 4
    capsys.readouterr()
    assert main(asked) == 0
    shown = capsys.readouterr()
    assert " layers computed again: nothing fits as it is; predicted " in shown.err
    assert " computed again for the backward pass." in shown.err


def test_exact_memory_says_what_its_plans_are(capsys: pytest.CaptureFixture[str]) -> None:
    """It finds in the model what costs no more than with a price of bytes, with no gap."""
    lean = ("compile", DIGITS, *ASKED, "--devices", "4", "--memory", "1.2MB", "--recompute", "none")
    found = {}
    for given in ((), ("--exact-memory",)):
        assert main([*lean, *given, "--json"]) == 0
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        rows = [r for r in lines if r["event"] == "search" and r["memory_bytes"] is not None]
        assert rows and all(row["exact_memory"] == bool(given) for row in rows)
        found[given] = rows
    priced, exact = found.values()
    for row in exact:
        assert not row["thinned"] and row["gap"] <= 1e-9 * row["seconds"]
    same = [
        (p["seconds"], e["seconds"]) for p in priced for e in exact
        if all(p[key] == e[key] for key in ("mesh", "hidden", "memory_bytes"))
    ]  # fmt: skip
    assert same and all(more >= less for more, less in same)


def test_exact_memory_needs_a_search(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", DIGITS, "--exact-memory", "--strategy", "data", "--devices", "2"]) == 2
    assert "'--exact-memory' says what a search may do" in capsys.readouterr().err
