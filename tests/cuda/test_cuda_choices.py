"""Which of the vendor's plans are taken: what was measured, else what is likely; who measures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from plan_cases import SLOW_FIRST, bundle, products, wanted
from pretend import pretended
from pretend.library import NATIVE_SECONDS, Library, offered

from netc.cli.main import main
from netc.ir.program import Bundle
from netc_kernels import cuda
from netc_runtime.cuda import device
from netc_runtime.cuda.backend import CudaBackend
from netc_runtime.cuda.plans import RACE, KeptPlans, Plans, chosen_by, race_key
from netc_runtime.cuda.tuning import Tuner

FASTEST_OF_FIVE = "eng3"


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETC_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def gpu() -> Iterator[None]:
    with pretended():
        yield


def started(of: Bundle, plans: Plans) -> CudaBackend:
    backend = CudaBackend(of.programs, "bf16", plans=plans, watched=False)
    for program in (of.init, of.eval, of.train):
        backend.load(program)
    return backend


def tune(of: Bundle) -> dict[tuple[str, Any], dict[str, float]]:
    tuner = Tuner("bf16")
    found = {(c.kernel, c.operands): s for c, s in tuner.measure((of.train, of.eval))}
    tuner.keep()
    return found


@pytest.mark.usefixtures("gpu")
def test_a_start_times_nothing_and_makes_equal_plans_once() -> None:
    made = bundle()
    with offered(SLOW_FIRST) as library:
        backend = started(made, Plans())
    count = len(products(made))
    assert not library.ran
    assert library.graphs == count == library.built["eng1"] == library.built.total()
    assert len([*wanted(made.train)]) > len({*wanted(made.train)})
    assert {name for key, name in backend.plans.items() if not key.startswith(RACE)} == {"eng1"}


@pytest.mark.usefixtures("gpu")
def test_what_is_known_is_taken_and_what_cannot_be_made_is_not() -> None:
    made = bundle()
    known = {repr(product): "eng2" for product in products(made)}
    with offered(SLOW_FIRST) as library:
        started(made, Plans(known))
    assert library.built.keys() == {"eng2"}
    with offered(SLOW_FIRST, "eng2") as library:
        backend = started(made, Plans(known))
    assert library.built.keys() == {"eng1", "eng2"}
    assert backend.plans[repr(products(made)[0])] == "eng1"
    with offered(dict.fromkeys(("eng8", "eng9"), 1.0), "eng8") as library:
        started(made, Plans(known))
    assert library.built["eng9"] == len(known)


@pytest.mark.usefixtures("gpu")
def test_products_of_other_batches_say_what_is_likely() -> None:
    made = bundle(8)
    others = {repr(product): "eng5" for product in products(bundle(16))}
    with offered(SLOW_FIRST) as library:
        started(made, Plans(others))
    assert library.built.keys() == {"eng5"}
    slower = {race_key(product): "native" for product in products(bundle(16))}
    with offered(SLOW_FIRST) as library:
        started(made, Plans(others | slower))
    assert not library.built


@pytest.mark.usefixtures("gpu")
def test_equal_products_run_in_their_own_memory() -> None:
    made = bundle(kernels="vendor")
    with offered(SLOW_FIRST) as library:
        backend = started(made, Plans())
        for start in backend.loaded[-1].work:
            start(1)
    packs = [tuple(pack.values()) for _, pack in library.ran]
    assert len(packs) == len(set(packs)) > library.graphs - 1


@pytest.mark.usefixtures("gpu")
def test_what_was_tuned_is_taken_from_then_on() -> None:
    made = bundle()
    with offered(SLOW_FIRST) as library:
        found = tune(made)
        assert len(found) == len(products(made)) == library.graphs
        assert all(s == {"native": NATIVE_SECONDS, "vendor": 2.0} for s in found.values())
        kept = KeptPlans()
        assert {kept[repr(p)] for p in products(made)} == {FASTEST_OF_FIVE}
        assert {kept[race_key(p)] for p in products(made)} == {"vendor"}
    with offered(SLOW_FIRST) as library:
        started(made, KeptPlans())
        assert library.read_back.keys() == {FASTEST_OF_FIVE} and not library.ran
        assert not library.built


@pytest.mark.usefixtures("gpu")
def test_a_slow_library_and_one_without_plans_lose() -> None:
    made = bundle()
    for seconds in ({"eng1": 2 * NATIVE_SECONDS}, {}):
        with offered(seconds) as library:
            assert all("native" in s for s in tune(made).values())
            library.built.clear()
            started(made, KeptPlans())
            assert not library.built


@pytest.mark.usefixtures("gpu")
def test_likely_plans_are_timed_besides() -> None:
    with offered(SLOW_FIRST):
        tune(bundle(16))
    path = KeptPlans().path
    path.write_text(path.read_text().replace(f'"{FASTEST_OF_FIVE}"', '"eng6"'))
    with offered(SLOW_FIRST):
        tune(bundle(8))
        assert KeptPlans()[repr(products(bundle(8))[0])] == "eng6"


@pytest.mark.usefixtures("gpu")
def test_it_is_said_what_was_never_measured() -> None:
    product = products(bundle())[0]
    race, plan = {race_key(product): "vendor"}, {repr(product): "eng1"}
    for known, by in (({}, "heuristic"), (race, "heuristic"), (race | plan, "measured"),
                      ({race_key(product): "native"}, "measured")):  # fmt: skip
        plans = Plans(known)
        assert chosen_by(plans, product, "fastest") == by
        plans.own = {}
        assert chosen_by(plans, product, "fastest") == by.replace("measured", "shipped")
    assert chosen_by(Plans(plan), product, "vendor") == "measured"


@pytest.mark.usefixtures("gpu")
def test_explain_says_it_and_tune_measures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cuda, "found", lambda: (1, ""))
    file = tmp_path / "one.net"
    file.write_text("net one\ninput image 8x8x8\nconv 3x3 8 pad=1 | relu\nfc 16\nsoftmax_loss\n")
    plan = [str(file), "--batch", "8", "--precision", "bf16"]

    def explained(*more: str) -> str:
        assert main(["explain", *plan, "--kernels", "auto", *more]) == 0
        return capsys.readouterr().out

    def choices() -> dict[str, str]:
        rows = map(json.loads, explained("--json").splitlines())
        return {f"{row['layer']} {row['phase']}": row["chosen_by"] for row in rows}

    with offered(SLOW_FIRST):
        before = choices()
        assert before["conv1 forward"] == before["fc1 backward"] == "heuristic"
        assert before["softmax_loss1 forward"] == ""
        said = explained()
        count = explained("--json").count('"heuristic"')
        assert f"Of {count} launches with several kernels 0 were measured" in said
        assert main(["tune", *plan, "--json"]) == 0
        *calls, result = map(json.loads, capsys.readouterr().out.splitlines())
        assert len(calls) == result["calls"]
        assert {call["kernel"] for call in calls} >= {"conv", "conv_dw", "fc", "fc_dx", "fc_dw"}
        assert set(choices().values()) == {"measured", ""}
        assert "launches with several kernels" not in explained()


@pytest.mark.usefixtures("gpu")
def test_a_run_says_what_was_never_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "check_memory", lambda *_: None)
    made, told = bundle(), list[str]()

    def opened() -> list[str]:
        told.clear()
        device.open_cuda(True, made.programs, "bf16", None, False, told.append)
        return told

    with offered(SLOW_FIRST):
        (text,) = opened()
        count = len(products(made))
        assert f"{count} of {count} different convolutions and products were not" in text
        tune(made)
        assert opened() == []


def test_tuning_needs_a_gpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not cuda.available():
        pytest.skip("a GPU is here")
    assert main(["tune", "digits", "--precision", "bf16"]) == 6
    assert "error[E077]: there are no kernels to choose from" in capsys.readouterr().err


def test_the_library_is_asked_for_what_it_has() -> None:
    """What the fake of these tests is asked for, the real one has; where it is installed."""
    cudnn = pytest.importorskip("cudnn")
    for name in vars(Library):
        if not name.startswith("_") and name not in ("elapsed",):
            assert hasattr(cudnn, name), name
    for name in ("execute_plan_at_index", "build_plan_at_index", "get_plan_name_at_index",
                 "get_execution_plan_count"):  # fmt: skip
        assert hasattr(cudnn.pygraph, name), name
