"""`netc run --trace` writes files that viewers and `netc trace` read; the latter refuses others."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from saved import newest
from schemas import TRACE, against

from netc.api import tracing
from netc.cli.main import main
from netc.trace.read import PHASES, read_trace
from netc_runtime.io.checkpoint import load
from netc_runtime.launch import ranks as launch
from netc_runtime.launch.ranks import Alone, Ranks, _ahead
from netc_runtime.session import Session

PLAN = (
    "digits", "--devices", "2", "--strategy", "hybrid", "--batch", "96", "--kernels", "reference",
    "--backend", "cpu",
)  # fmt: skip
HAND = Path(__file__).parent / "trace"
"""A trace made by hand, and what is said of it."""


def traced(folder: Path, *more: str) -> Path:
    file = folder / "t.json"
    out = () if "null" in more else ("--out", str(folder / "out"))
    assert main(["run", *PLAN, "--trace", str(file), *out, *more]) == 0
    return file


def strict(path: Path) -> dict[str, Any]:
    """JSON without what JSON has not."""

    def refuse(word: str) -> None:
        raise AssertionError(word)

    found: dict[str, Any] = json.loads(path.read_text(), parse_constant=refuse)
    return found


def check_schema(content: dict[str, Any], measured: bool) -> None:
    """What Chrome's format asks for, and what is ours."""
    assert against(TRACE, content) == []
    kinds = defaultdict(list)
    for event in content["traceEvents"]:
        assert type(event["pid"]) is int and event["pid"] >= 1
        kinds[event["ph"]].append(event)
    assert set(kinds) <= {"M", "X", "s", "f", "C"}
    names = {(e["pid"], e["tid"]): e["args"]["name"] for e in kinds["M"]
             if e["name"] == "thread_name"}  # fmt: skip
    processes = {e["pid"]: e["args"]["name"] for e in kinds["M"] if e["name"] == "process_name"}
    assert processes == {d + 1: f"device {d}" for d in range(content["otherData"]["devices"])}
    bars = defaultdict(list)
    for event in kinds["X"]:
        assert set(event) == {"ph", "name", "cat", "pid", "tid", "ts", "dur", "args"}
        lane, args = names[event["pid"], event["tid"]], event["args"]
        assert args["predicted"] == lane.endswith(", predicted")
        assert event["cat"] == args["phase"] in PHASES
        assert event["name"] == f"{args['layer']} {args['kind']}"
        assert event["ts"] >= 0 and event["dur"] >= 0
        launched = "reads" in args and "writes" in args
        # An exchange that the next launch waits for is among the launches.
        assert lane.startswith("compute") or not launched
        assert launched != ("devices" in args)
        assert ("devices" in args) == ("sent_bytes" in args) == ("received_bytes" in args)
        bars[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    assert set(bars) == set(names)
    assert any(not name.endswith("predicted") for name in names.values()) == measured
    counted = {(e["pid"], e["name"]) for e in kinds["C"]}
    lanes = ("memory", "memory, predicted") if measured else ("memory, predicted",)
    assert counted == set(product(processes, lanes))
    starts = {e["id"]: e for e in kinds["s"]}
    assert len(starts) == len(kinds["s"]) == len(kinds["f"]) > 0
    for event in kinds["f"]:
        begun = starts[event["id"]]
        assert begun["pid"] == event["pid"] and begun["ts"] <= event["ts"]
        for end in (begun, event):  # an arrow hangs on a bar at each end
            assert any(a <= end["ts"] <= b for a, b in bars[end["pid"], end["tid"]])


def test_a_step_is_traced_and_nothing_else_changes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    losses = {}
    for name, more in (("with", ("--trace", str(tmp_path / "t.json"))), ("without", ())):
        out = str(tmp_path / name)
        assert main(["run", *PLAN, "--steps", "6", "--json", "--out", out, *more]) == 0
        *_, result = map(json.loads, capsys.readouterr().out.splitlines())
        losses[name] = result["test_loss"], load(newest(tmp_path / name))[0]
        assert result["trace"] == (str(tmp_path / "t.json") if more else None)
    (one, first), (other, second) = losses.values()
    assert one == other and first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)
    check_schema(strict(tmp_path / "t.json"), measured=True)
    (step,) = read_trace(tmp_path / "t.json").steps
    assert step.step == tracing.WARM_UP + 1


@pytest.mark.parametrize(
    ("steps", "count", "numbers"), [(1, 1, [1]), (3, 2, [2, 3]), (5, 2, [4, 5]), (9, 3, [4, 5, 6])]
)
def test_which_steps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], steps: int, count: int, numbers: list[int]
) -> None:
    file = traced(tmp_path, "--steps", str(steps), "--trace-steps", str(count))
    assert [step.step for step in read_trace(file).steps] == numbers
    shown = f"step {numbers[0]}" if count == 1 else f"steps {numbers[0]} to {numbers[-1]}"
    assert f"trace     {shown} in {file}\n" in capsys.readouterr().out
    assert main(["run", *PLAN, "--steps", str(steps + 5), "--resume", "--out",
                 str(tmp_path / "out"), "--trace", str(file)]) == 0  # fmt: skip
    assert [step.step for step in read_trace(file).steps] == [steps + tracing.WARM_UP + 1]


def test_the_simulators_trace_has_the_same_shape(tmp_path: Path) -> None:
    content = strict(traced(tmp_path, "--backend", "null"))
    check_schema(content, measured=False)
    own = strict(traced(tmp_path, "--steps", "4"))
    lanes = [[e for e in each["traceEvents"] if e["ph"] == "X" and e["args"]["predicted"]]
             for each in (content, own)]  # fmt: skip
    for events in lanes:
        for event in events:
            del event["args"]["step"]
    assert lanes[0] == lanes[1]


def test_a_compiled_program_is_traced(tmp_path: Path) -> None:
    program = str(tmp_path / "x.netc")
    assert main(["compile", *PLAN, "-o", program]) == 0
    file = str(tmp_path / "t.json")
    assert main(["run", program, "--backend", "null", "--trace", file]) == 0
    check_schema(strict(Path(file)), measured=False)


def test_what_cannot_be_written_ends_the_training_saved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tracing, "write_whole", full)
    out, file = str(tmp_path / "out"), str(tmp_path / "t.json")
    assert main(["run", *PLAN, "--steps", "9", "--trace", file, "--out", out]) == 5
    said = capsys.readouterr().err
    assert f"error[E069]: cannot write '{file}': No space left on device." in said
    assert "the training is saved up to step 4; '--resume' goes on." in said
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (("--trace", "no/where.json"), "E056", "there is no folder 'no'"),
        (("--trace", "."), "E056", "it is a folder"),
        (("--trace", "t.json", "--dry-run"), "E051", "'--dry-run' runs nothing that could be"),
        (("--trace-steps", "2"), "E051", "'--trace-steps' needs a trace"),
        (("--trace", "t.json", "--steps", "2", "--trace-steps", "3"), "E051",
         "steps to trace: 3, steps that are left to do: 2."),
    ],
)  # fmt: skip
def test_mistakes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    more: tuple[str, ...], code: str, said: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(["run", *PLAN, *more]) == 2
    shown = capsys.readouterr().err
    assert f"error[{code}]" in shown and said in shown and "= help: " in shown
    assert not (tmp_path / "t.json").exists()


@pytest.mark.parametrize("name", ["two", "null"])
@pytest.mark.parametrize("style", ["txt", "jsonl"])
def test_what_is_said_of_a_trace(
    capsys: pytest.CaptureFixture[str], name: str, style: str
) -> None:  # fmt: skip
    more = ("--json",) if style == "jsonl" else ()
    assert main(["trace", str(HAND / f"{name}.json"), *more]) == 0
    assert capsys.readouterr().out == (HAND / f"{name}.{style}").read_text()


def test_a_page_takes_the_trace_of_its_plan_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, page = traced(tmp_path, "--steps", "4"), tmp_path / "plan.html"
    asked = ["plan", *PLAN, "--trace", str(file)]
    assert main([*asked, "-o", str(page)]) == 0
    assert '"measured":{"step":4,' in page.read_text()
    capsys.readouterr()
    alone = tmp_path / "n.json"
    assert main(["run", *PLAN, "--backend", "null", "--trace", str(alone)]) == 0
    wrong = [
        ([*asked, "-o", "p.svg"], 2, "error[E051]: '--trace' draws what was measured on a page"),
        ([*asked, "-o", str(file)], 2, "error[E051]"),
        ([*asked, "--strategy", "data", "-o", str(page)], 5, "the trace is not of this plan: inst"),
        ([*asked, "--devices", "3", "-o", str(page)], 5, "it is of 2 devices, the plan of 3"),
        ([*asked[:-1], str(alone), "-o", str(page)], 5, "nothing was measured in it"),
    ]
    for arguments, code, said in wrong:
        assert main(arguments) == code
        assert said in capsys.readouterr().err
    # A trace of one instruction less, or of one that waits for another.
    content = strict(file)
    first = next(e for e in content["traceEvents"] if e["ph"] == "X")
    for change in ({"kind": "relu"}, {"phase": "update"}, {"layer": "?"}):
        text = changed(json.dumps(content), ("traceEvents", content["traceEvents"].index(first)),
                       {**first, "args": {**first["args"], **change}})  # fmt: skip
        file.write_text(text)
        assert main([*asked, "-o", str(page)]) == 5
        assert "error[E085]: the trace is not of this plan: " in capsys.readouterr().err


def changed(text: str, keys: tuple[Any, ...], value: Any) -> str:
    content = place = json.loads(text)
    for key in keys[:-1]:
        place = place[key]
    if value is None:
        del place[keys[-1]]
    else:
        place[keys[-1]] = value
    return json.dumps(content)


FIRST, COUNTED = ("traceEvents", 3), ("traceEvents", 20)
DAMAGE: list[tuple[tuple[Any, ...], Any, str]] = [
    (("otherData",), None, "otherData lacks"),
    (("otherData", "format"), "netc trace 9", "otherData.format is not 'netc trace 1'"),
    (("otherData", "network"), 3, "otherData.network is not a text"),
    (("otherData", "devices"), 10**9, "otherData.devices is no whole number from 1 to 1024"),
    (("otherData", "devices"), True, "otherData.devices is no whole number"),
    (("otherData", "steps"), [], "otherData.steps is empty"),
    (("otherData", "steps", 0, "predicted"), -1, "otherData.steps[0].predicted is no time"),
    (("otherData", "steps", 0), 7, "otherData.steps[0].measured lacks"),
    (("otherData", "steps", 0, "step"), 5, "traceEvents[3].args.step is none of otherData.steps"),
    (("traceEvents",), {}, "traceEvents is not a list"),
    ((*FIRST, "ph"), 1, "traceEvents[3].ph is not a text"),
    ((*FIRST, "pid"), 3, "traceEvents[3].pid is no whole number from 1 to 2"),
    ((*FIRST, "tid"), 13, "traceEvents[3].tid is no stream's"),
    ((*FIRST, "ts"), 1e300, "traceEvents[3].ts is no time in microseconds"),
    ((*FIRST, "dur"), "1", "traceEvents[3].dur is no time in microseconds"),
    ((*FIRST, "args", "layer"), None, "traceEvents[3].args.layer lacks"),
    ((*FIRST, "args", "phase"), "sideways", "traceEvents[3].args.phase is none of forward, "),
    ((*FIRST, "args", "predicted"), 0, "traceEvents[3].args.predicted is not true or false"),
    ((*FIRST, "args", "waits"), [9], "traceEvents[3].args.waits is no list of different whole"),
    ((*FIRST, "args", "instruction"), 1, "traceEvents[4].args.instruction is there twice"),
    ((*FIRST, "dur"), 9000, "instruction 2 of device 0 in step 4 begins before the one in front"),
    ((*COUNTED, "name"), "memory, other", "traceEvents[20].name is none of memory, memory, "),
    ((*COUNTED, "pid"), 0, "traceEvents[20].pid is no whole number from 1 to 2"),
    ((*COUNTED, "ts"), 500, "traceEvents[21].ts is before that of the one in front of it"),
    ((*COUNTED, "args", "bytes"), -1, "traceEvents[20].args.bytes is no whole number from 0 to"),
    ((*COUNTED, "args"), [], "traceEvents[20].args is not an object"),
    (("traceEvents", 4, "args", "devices"), [1], "traceEvents[4].args.devices lacks the event's"),
    (
        ("traceEvents", 7),
        None,
        "instruction 1 of device 0 in step 4 needs instruction 1 of device 1, ",
    ),
]


@pytest.mark.parametrize(("keys", "value", "said"), DAMAGE)
def test_damage_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], keys: tuple[Any, ...], value: Any, said: str
) -> None:
    file = tmp_path / "x.json"
    file.write_text(changed((HAND / "two.json").read_text(), keys, value))
    assert main(["trace", str(file)]) == 5
    shown = capsys.readouterr().err
    assert f"error[E084]: 'x.json' is no whole trace of netc: {said}" in shown
    assert "= help: write one with 'netc run NET --trace FILE.json'." in shown


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        (b'{\n"a": }\n', "E084", "x.json:2:1"),
        (b'{"a": NaN}', "E084", "it has the number NaN, which JSON has not"),
        (b"[" * 100_000, "E084", "it nests too deeply"),
        (b"9" * 5000, "E084", "Exceeds the limit"),
        (b"\xff", "E061", "it is not UTF-8"),
        (b"", "E084", "it is not valid JSON"),
        (b"[]", "E084", "otherData lacks"),
        (None, "E061", "No such file"),
    ],
)
def test_what_is_no_trace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: bytes | None, code: str, said: str
) -> None:
    file = tmp_path / "x.json"
    if text is not None:
        file.write_bytes(text)
    assert main(["trace", str(file)]) == 5
    shown = capsys.readouterr().err
    assert f"error[{code}]" in shown and said in shown and "= help: " in shown


def test_names_are_escaped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.json"
    text = (HAND / "two.json").read_text().replace("conv1", "\\u001b[31m\\nconv" + "1" * 99)
    file.write_text(text)
    assert main(["trace", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown and "\N{REPLACEMENT CHARACTER}[31m" in shown
    assert max(map(len, shown.splitlines())) < 200


def test_processes_begin_a_traced_step_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They meet once more right before it than before other steps."""
    happened: list[str] = []
    meet, begin = Alone.allgather, Session.begin

    def met(self: Alone, value: Any) -> list[Any]:
        happened.append("meet")
        return meet(self, value)

    def begun(self: Session, **told: Any) -> None:
        happened.append(f"step {told['step']}{' traced' if told['traced'] else ''}")
        begin(self, **told)

    monkeypatch.setattr(Alone, "allgather", met)
    monkeypatch.setattr(Session, "begin", begun)
    out, file = str(tmp_path / "run"), str(tmp_path / "trace.json")
    assert main(["run", "digits", "--steps", "6", "--out", out, "--trace", file, "--quiet"]) == 0
    steps = [at for at, each in enumerate(happened) if each.startswith("step")]
    traced = [at for at in steps if happened[at].endswith("traced")]
    assert [happened[at] for at in traced] == ["step 3 traced"]
    assert happened[traced[0] - 1] == "meet"
    until = steps[: steps.index(traced[0]) + 1]
    *usual, last = (at - before - 1 for before, at in pairwise(until))
    assert usual == [last - 1] * len(usual)
    assert usual


def test_clocks_are_bounded() -> None:
    """Whatever clocks show and however long meetings take, what is between them is inside."""
    rng = np.random.default_rng(5)
    for _ in range(100):
        ahead, now = int(rng.integers(-(10**12), 10**12)), int(rng.integers(0, 10**12))
        mine, other = [], []
        for _ in range(int(rng.integers(1, 9))):
            one, two = (now + int(rng.integers(0, 10**6)) for _ in range(2))
            met = max(one, two)
            left = [met + int(rng.integers(0, 10**5)) for _ in range(2)]
            mine.append((one, left[0]))
            other.append((two + ahead, left[1] + ahead))
            now = max(left)
        least, most = _ahead(mine, other)
        assert least <= ahead <= most


def test_clocks_of_one_machine_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Two(Ranks):
        rank, size = 0, 2
        later = 1000

        def allgather(self, value: Any) -> list[Any]:
            if value is None:
                time.sleep(1e-4)
                return [None, None]
            name, pairs = value
            return [value, (name, [(a + self.later, b + self.later) for a, b in pairs])]

    assert launch._clock_name(), "Linux says what its clock is"
    assert Two().clocks_ahead() == [(0, 0), (0, 0)]
    monkeypatch.setattr(launch, "_clock_name", tuple)
    (_, (least, most)) = Two().clocks_ahead()
    assert least < 1000 < most
