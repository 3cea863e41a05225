"""Kernels are compiled and plans made ready before they are wanted; what is kept is read back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from plan_cases import SLOW_FIRST, bundle, products
from pretend import pretended
from pretend.library import offered
from pretend.streams import WORLD

from netc.errors import DeviceError
from netc.ir.program import Bundle
from netc_kernels.cuda import table
from netc_kernels.cuda.conv import apart
from netc_kernels.cuda.conv.apart import FEW, HELPER_BYTES, MOST_HELPERS, helpers_for
from netc_kernels.cuda.conv.ready import Place, WantedPlan
from netc_kernels.cuda.conv.vendor import Product
from netc_kernels.cuda.source import compiles_only
from netc_kernels.cuda.tensor import Tensor
from netc_runtime import making
from netc_runtime.cuda.ahead import make_ahead, shared
from netc_runtime.cuda.backend import CudaBackend
from netc_runtime.cuda.plans import KeptPlans
from netc_runtime.launch.ranks import Ranks

ONE = WantedPlan(
    Product("fc", (8, 8), ((8, 8), (8, 8)), "bf16", "bf16"), (Tensor(0, (8, 8), "bf16"),)
)


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("NETC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("netc_runtime.cuda.ahead.cores", lambda: 4)
    with pretended():
        yield


def started(of: Bundle, told: list[str] | None = None) -> CudaBackend:
    """As a run does."""
    backend = CudaBackend(of.programs, "bf16", plans=KeptPlans(), watched=False)
    make_ahead(backend, of.programs, (told if told is not None else []).append)
    for program in of.programs:
        backend.load(program)
    return backend


def folder() -> Path:
    place = KeptPlans().place
    assert place is not None
    return place.folder


def ran(backend: CudaBackend, library: Any) -> list[str]:
    """The plans that a step runs."""
    library.ran.clear()
    for start in backend.loaded[-1].work:
        start(1)
    WORLD.finish()
    return [name for name, _ in library.ran]


def test_another_start_reads_plans_back() -> None:
    made = bundle(kernels="vendor")
    with offered(SLOW_FIRST) as library:
        first = ran(started(made), library)
        count = len(products(made))
        assert len([*folder().iterdir()]) == count == library.built.total() == library.graphs
    with offered(SLOW_FIRST) as library:
        again = ran(started(made), library)
        assert not library.graphs and library.read_back.total() == count
    assert again == first and set(first) == {"eng1"}


def test_helpers_make_plans_and_this_process_reads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    made, makers = bundle(kernels="vendor"), list[threading.Thread]()
    monkeypatch.setattr(apart, "FEW", 1)
    each = apart.make_each

    def noted(pieces: Any) -> None:
        makers.append(threading.current_thread())
        each(pieces)

    monkeypatch.setattr(apart, "make_each", noted)
    with offered(SLOW_FIRST) as library:
        started(made)
    count = len(products(made))
    assert len(makers) == count == library.built.total() == library.read_back.total()
    assert threading.main_thread() not in makers


def test_what_helpers_do_not_make_is_made_here(monkeypatch: pytest.MonkeyPatch) -> None:
    made = bundle(kernels="vendor")
    monkeypatch.setattr(apart, "FEW", 1)
    with offered(SLOW_FIRST) as library:
        monkeypatch.setattr(apart, "hand_out", lambda code, todo, done: None)
        started(made)
    assert library.built.total() == len(products(made)) and not library.read_back


@pytest.mark.parametrize("damage", ["cut", "others", "refused"])
def test_what_is_damaged_is_made_anew(damage: str) -> None:
    made, seconds = bundle(kernels="vendor"), dict(SLOW_FIRST)
    with offered(seconds):
        started(made)
        files = sorted(folder().iterdir())
    texts = [file.read_bytes() for file in files]
    if damage == "refused":
        del seconds["eng1"]
    for file, text, other in zip(files, texts, texts[1:] + texts[:1], strict=True):
        if damage != "refused":
            file.write_bytes(text[:-1] if damage == "cut" else other)
    with offered(seconds) as library:
        started(made)
    assert not library.read_back and library.built.total() == len(files)
    with offered(seconds) as library:
        started(made)
    assert not library.built


def test_plans_hold_for_what_they_were_made_for(tmp_path: Path) -> None:
    place = Place(tmp_path, "one GPU")
    place.keep(ONE, "eng1", b"\0text\0")
    assert place.read(ONE) == ("eng1", b"\0text\0") and place.holds(ONE)
    others = [
        ONE._replace(known="eng2"), ONE._replace(near=("eng2",)),
        ONE._replace(product=replace(ONE.product, relu=True)),
        ONE._replace(blocks=(Tensor(0, (8, 8), "f32"),)),
    ]  # fmt: skip
    for other in others:
        assert place.read(other) is None and not place.holds(other)
    assert Place(tmp_path, "another GPU").read(ONE) is None


def test_without_a_place_plans_are_made(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("no folder")
    made = bundle(kernels="vendor")
    with offered(SLOW_FIRST) as library:
        started(made)
    assert library.built.total() == len(products(made))


def test_as_many_help_as_pays_and_there_is_room_for() -> None:
    room = 100 * HELPER_BYTES
    assert helpers_for(FEW - 1, 16, room) == 0 and helpers_for(FEW, 16, room) == 1
    assert helpers_for(1000, 64, room) == MOST_HELPERS and helpers_for(1000, 2, room) == 2
    assert helpers_for(1000, 16, 3 * HELPER_BYTES) == 3 and helpers_for(1000, 16, 0) == 0


class OfThree(Ranks):
    """One of three processes, the last one on a machine of its own."""

    hosts = ("one", "one", "other")

    def __init__(self, rank: int, missing: list[list[WantedPlan]]) -> None:
        self.rank, self.host, self.missing = rank, self.hosts[rank], missing

    def allgather(self, value: Any) -> list[Any]:
        assert value == (self.host, self.missing[self.rank])
        return [*zip(self.hosts, self.missing, strict=True)]


def test_processes_of_a_machine_share_out_what_is_missing_there() -> None:
    named = [ONE.named(f"eng{number}") for number in range(7)]
    missing = [named[:5], named[3:], named[:3]]
    (first, sharing), (second, _), (other, alone) = (
        shared(OfThree(rank, missing), missing[rank]) for rank in range(3)
    )
    assert sorted(first + second) == sorted(named) and abs(len(first) - len(second)) <= 1
    assert sharing == 2 and alone == 1 and other == missing[2]
    assert shared(None, named) == (named, 1)


def test_what_is_compiled_ahead_is_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    made, seen = bundle(kernels="native"), set[bool]()
    kernels = {
        name: lambda *blocks, stream, **given: seen.add(compiles_only())
        for name in table.KERNELS
    }  # fmt: skip
    monkeypatch.setattr(table, "KERNELS", kernels)
    backend = CudaBackend(made.programs, "bf16", plans=KeptPlans(), watched=False)
    make_ahead(backend, made.programs, lambda text: None)
    assert seen == {True}


def test_what_the_compiler_says_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*blocks: Any, stream: int, **given: Any) -> None:
        raise RuntimeError("no such macro")

    monkeypatch.setattr(table, "KERNELS", dict.fromkeys(table.KERNELS, broken))
    with pytest.raises((DeviceError, RuntimeError), match="no such macro"):
        started(bundle(kernels="native"))


def test_what_takes_long_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(making, "TOLD_SECONDS", 0)
    monkeypatch.setattr(apart, "FEW", 1)
    with offered(SLOW_FIRST):
        started(bundle(), told)
    (text,) = told
    assert "cuDNN's plans made ready for this GPU now, once: " in text
