"""What `benchmarks/scaling.py` counts as a speedup, keeps, and says was not run."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import scaling
import scaling_page
from hypothesis import given
from hypothesis import strategies as st
from peers import Contestant, Peer, ended, start, take_turns
from scaling_round import Asked, one_round
from scaling_rows import (
    KEY,
    NETC,
    STRONG,
    TORCH,
    WEAK,
    Book,
    Round,
    Row,
    apart,
    asked,
    measured_rows,
    merged,
    plans,
    predicted,
    rounds,
)

import netc

ECHO = """
import json, sys
print("a library speaks")
print(json.dumps({"programs": [{}, {}]}), flush=True)
for line in sys.stdin:
    if "end" in line:
        sys.exit("it is broken")
    print(json.dumps(line.split()), flush=True)
"""


def test_batches_grow_or_stay() -> None:
    found = rounds(["vgg16"], [32], [WEAK, STRONG], [1, 2, 8])
    assert [(of.scaling, of.devices, of.batch) for of in found] == [
        (WEAK, 1, 32), (WEAK, 2, 64), (WEAK, 8, 256), (STRONG, 2, 32), (STRONG, 8, 32)
    ]  # fmt: skip


def test_plans_are_called_as_netc_takes_them() -> None:
    assert plans(["data", "hybrid"], "ac", 1) == ["single"]
    found = plans(["data", "hybrid"], "ac", 2)
    assert found == ["data", "hybrid a", "hybrid c"]
    assert [asked(plan) for plan in found] == ["data", "hybrid --scheme a", "hybrid --scheme c"]


def row(program: str, plan: str, **more: Any) -> Row:
    return {"machine": "h200", "precision": "bf16", "program": program, "plan": plan, **more}


@given(
    one=st.lists(st.floats(1e-3, 1), min_size=1, max_size=3), several=st.floats(1e-3, 1),
    devices=st.integers(2, 8), scaling=st.sampled_from([WEAK, STRONG]),
)  # fmt: skip
def test_a_speedup_is_over_the_best_of_one_device(
    one: list[float], several: float, devices: int, scaling: str
) -> None:
    """Whoever's it is; the batch is that of the scaling."""
    of = Round("vgg16", 32, scaling, devices)
    alone = [row(TORCH, str(n), measured=seconds) for n, seconds in enumerate(one)]
    found = measured_rows(of, alone, [row(NETC, "data", measured=several, predicted=2 * several)])
    assert max(each["speedup"] for each in found[:-1]) == 1
    fastest = 32 / min(one)
    assert found[-1]["speedup"] == pytest.approx(of.batch / several / fastest)
    assert found[-1]["off"] == pytest.approx(1)
    assert [each["devices"] for each in found] == [1] * len(one) + [devices]


def test_what_failed_has_no_figures() -> None:
    of = Round("vgg16", 32, WEAK, 2)
    alone = [row(NETC, "single", failed="no memory")]
    failed, ran = measured_rows(of, alone, [row(NETC, "data", measured=0.5)])
    assert "speedup" not in failed and "images_per_second" not in failed
    assert ran["speedup"] is None and ran["images_per_second"] == 128


def test_losses_are_apart_by_the_worst_step() -> None:
    assert apart([4, 2.2, 1], [4, 2, 1]) == pytest.approx(0.1)
    assert apart([4, 2, 1], [4, 2, 1]) == 0
    assert apart([4, 2, float("nan")], [4, 2, 1]) == float("inf")


keyed = st.fixed_dictionaries({name: st.integers(0, 1) for name in KEY[:3]} | {"x": st.integers()})


@given(old=st.lists(keyed), new=st.lists(keyed))
def test_later_rows_take_the_place_of_earlier_ones(old: list[Row], new: list[Row]) -> None:
    found = merged(merged((), old), new)
    keys = [tuple(each.get(name) for name in KEY) for each in found]
    assert len(set(keys)) == len(keys)
    assert merged(found, new) == found
    assert all(each in [*old, *new] for each in found)
    assert set(keys) == {tuple(e.get(name) for name in KEY) for e in (*old, *new)}


@pytest.fixture(scope="module")
def guesses() -> list[Row]:
    asked_for = ("alexnet_owt", 128, WEAK, (4, 8), "h100", "bf16", ["data", "hybrid"], ["a"])
    return predicted(*asked_for)


def test_predictions_are_those_of_compare(guesses: list[Row]) -> None:
    assert [(each["devices"], each["plan"]) for each in guesses] == [
        (1, "single"), (4, "data"), (4, "hybrid a"), (8, "data"), (8, "hybrid a")
    ]  # fmt: skip
    plan = netc.load("alexnet_owt").plan(
        devices=8, strategy="hybrid", batch=1024, cluster="h100", precision="bf16", backend="cuda"
    )
    assert guesses[-1]["seconds"] == pytest.approx(plan.step_seconds)
    assert guesses[-1]["speedup"] == pytest.approx(8 * guesses[0]["seconds"] / plan.step_seconds)


def test_the_page_says_what_was_not_run(guesses: list[Row], tmp_path: Path) -> None:
    book = Book.read(tmp_path / "scaling.json")
    book.add(predicted=guesses)
    scaling_page.write(Book.read(book.path))
    page = book.path.with_suffix(".md").read_text()
    times = f"{guesses[-1]['speedup']:.2f}"
    assert "| alexnet_owt | 128 | `hybrid a` | not run / not run |" in page
    assert f" / not run | {times} / not run |" in page
    assert "| alexnet_owt | 128 | Krizhevsky 2014, hybrid b | 1.95 | 3.74 | 6.25 |" in page
    assert "no row has been measured" in page
    (picture,) = tmp_path.glob("*.svg")
    assert picture.name == "scaling-alexnet_owt-128.svg" and picture.name in page


def test_rows_of_another_machine_are_added(
    guesses: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = tmp_path / "ours.json", tmp_path / "theirs.json"
    Book.read(ours).add(predicted=guesses)
    rows = measured_rows(Round("alexnet_owt", 128, WEAK, 2), [], [row(NETC, "data", failed="lost")])
    Book.read(theirs).add(measured=rows)
    monkeypatch.setattr("sys.argv", ["scaling.py", "--out", str(ours), "--add", str(theirs)])
    assert scaling.main() == 0
    assert Book.read(ours).parts == (guesses, rows, [])
    assert "not run: lost" in ours.with_suffix(".md").read_text()


def test_the_page_has_what_was_measured(guesses: list[Row], tmp_path: Path) -> None:
    of = Round("alexnet_owt", 128, WEAK, 8)
    ran = {"measured": 2e-3, "spread": 0.01, "predicted": 1.9e-3}
    several = [row(NETC, "hybrid a", **ran), row(TORCH, "autocast", measured=4e-3, spread=0.0),
               row(NETC, "data", failed="no memory")]  # fmt: skip
    rows = measured_rows(of, [row(NETC, "single", **ran)], several)
    rows = [{**each, "machine": "h100"} for each in rows]
    book = Book.read(tmp_path / "scaling.json")
    book.add(predicted=guesses, measured=rows)
    scaling_page.write(book)
    page = book.path.with_suffix(".md").read_text()
    assert "| 512,000 | 1.0% | 2 ms | 8.00 | 1.9 ms | -5.0% |" in page
    assert "| 8.00 | -5.0% | 4.00 | 2.00 |" in page
    assert "not run: no memory" in page


@pytest.fixture
def peer() -> Iterator[Peer]:
    found = start("echo", [sys.executable, "-c", ECHO])
    with ended([found]):
        found.warm()
        yield found


def test_a_peer_answers_until_it_ends(peer: Peer) -> None:
    assert peer.about == {"programs": [{}, {}]} and peer.runs
    assert peer.ask("burst 0 3") == ["burst", "0", "3"]
    assert peer.ask("end") is None
    assert not peer.runs and peer.why == "ended with code 1: it is broken"
    assert peer.ask("burst 0 3") is None


def test_a_peer_that_is_late_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peers.START_SECONDS", 0.2)
    found = start("late", [sys.executable, "-c", "import time; time.sleep(60)"])
    with ended([found]):
        found.warm()
    assert found.why == "gave no answer in 0.2 s" and not found.runs


def test_turns_go_forth_and_back() -> None:
    """So that no program is always behind the same one."""
    order: list[int] = []

    class Noted(Contestant):
        def burst(self, steps: int) -> None:
            order.append(self.place)

    every: Sequence[Contestant] = [Noted(None, place) for place in range(3)]  # type: ignore[arg-type]
    take_turns(every, 3, 1)
    assert order == [0, 1, 2, 2, 1, 0, 0, 1, 2]


def test_virtual_devices_have_the_losses_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """By processes as on GPUs; and a plan whose losses are wrong is not timed."""
    how = Asked(["data", "hybrid"], ["b"], "fp32", "h200", ["none"], sys.executable, None, None,
                "cpu", True, 2, 1)  # fmt: skip
    monkeypatch.setattr("scaling_round.apart", lambda found, alone: wrongly(apart(found, alone)))
    seen: list[float] = []

    def wrongly(far: float) -> float:
        seen.append(far)
        return far if len(seen) == 1 else 1.0

    checks, rows = one_round(Round("digits", 8, WEAK, 2), how)
    assert [each["agrees"] for each in checks] == [True, False]
    assert all(far < 1e-5 for far in seen)
    assert checks[0]["losses"][0] > 1.01 * checks[0]["losses"][-1]
    one, data, hybrid = rows
    assert one["speedup"] == 1 and len(data["seconds"]) == 2 and data["batch"] == 16
    assert hybrid["failed"] == "its losses are not those of one device"
