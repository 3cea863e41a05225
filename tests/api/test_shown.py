"""How values show: a line or a table in a terminal, a table in a notebook; and as text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from api_cases import ARRAYS, TINY, refused, tiny

import netc
from netc.cli.main import main

VALUES: dict[str, Callable[[], Any]] = {
    "kernels": lambda: tiny().plan().kernels(),
    "crossovers": lambda: tiny().crossovers("hybrid", "data", devices=[2, 4], cluster="h100"),
    "choices_of": lambda: tiny().plan(devices=2, cluster="h100").choices_of("*1"),
    "trained": lambda: tiny().run(data=ARRAYS, epochs=1),
}


@pytest.mark.parametrize("name", VALUES)
def test_tables_in_a_terminal_and_in_a_notebook(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "")
    value: Any = VALUES[name]()
    text, page = repr(value), value._repr_html_()
    assert "(layer=" not in text and "Row(" not in text and "Crossover(" not in text
    assert page.startswith("<div>") and page.endswith("</div>") and "<td " in page
    assert name == "trained" or "-----" in text


def test_rows_are_values() -> None:
    rows = VALUES["kernels"]()
    assert rows[0].layer == "conv1"
    assert rows.header[0] == "layer" and rows[0].cells()[0] == "conv1"
    shown = repr(rows)
    assert "netc tune" not in shown and "'network.tune()'" in shown
    crossed = VALUES["crossovers"]()
    assert repr(crossed).startswith("'hybrid' against 'data'") and "takes less time" in repr(
        crossed
    )
    assert len(VALUES["choices_of"]()) == 6


@pytest.mark.parametrize("value", ["network", "finished", "bundle", "asked", "compiled"])
def test_one_line_for_what_is_large(value: str) -> None:
    of: Any = tiny().plan() if value in ("asked", "compiled") else VALUES["trained"]()
    shown = repr(getattr(of, value))
    assert shown.startswith("<") and len(shown) < 100 and "\n" not in shown


def test_what_a_training_came_to() -> None:
    trained: Any = VALUES["trained"]()
    assert repr(trained.finished).startswith("<Finished: 5 steps, accuracy ")
    found = trained.evaluate()
    assert "top 5 100.00 %" in repr(found)
    assert found.top(1) == found.accuracy and found.top(3) == 1


@pytest.mark.parametrize("value", ["network", "graph", "plan", "program"])
def test_emit_is_that_of_the_command_line(
    value: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "tiny.net"
    file.write_text(TINY)
    assert (
        main(["compile", str(file), "--devices", "2", "--strategy", "data", "--emit", value]) == 0
    )
    shown = capsys.readouterr().out
    plan = netc.load(file).plan(devices=2, strategy="data", backend="cpu")
    assert plan.emit(value) == shown


def test_other_programs() -> None:
    plan = tiny().plan()
    assert plan.emit("program") == plan.emit() == plan.emit("program", program="train")
    assert plan.emit(program="eval") != plan.emit()
    assert "there is no program 'part'" in refused(lambda: plan.emit(program="part"), "E051")
    said = refused(lambda: plan.emit("graph", program="eval"), "E051")
    assert "'program=\"eval\"' names one of several programs, and the graph is one" in said
    assert "choices are: network, graph" in refused(lambda: plan.emit("text"), "E051")  # type: ignore[arg-type]


def test_format_and_render(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "tiny.net"
    file.write_text(TINY)
    assert main(["render", str(file), "--epochs", "7"]) == 0
    shown = capsys.readouterr().out
    assert netc.load(file, settings={"train.epochs": 7}).render() == shown and "epochs   7" in shown
    assert main(["fmt", str(file)]) == 0
    assert netc.format(TINY) == file.read_text() != TINY
    assert netc.format(netc.format(TINY)) == netc.format(TINY)
    with pytest.raises(netc.SyntaxProblem):
        netc.format("net tiny(")


def test_a_training_is_written_as_onnx(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    trained: Any = VALUES["trained"]()
    trained.save(tmp_path / "t.onnx", batch=2)
    found = netc.from_onnx(tmp_path / "t.onnx")
    assert (found.weights()["fc1.bias"] == trained.weights()["fc1.bias"]).all()
    tiny().plan().save(tmp_path / "t.netc")
    program = netc.load_program(tmp_path / "t.netc")
    said = refused(lambda: program.save(tmp_path / "u.onnx"), "E056")
    assert "network.with_weights(program.weights()).save(path)" in said
    tiny().with_weights(program.weights()).save(tmp_path / "u.onnx")


def test_a_training_under_way() -> None:
    with tiny().train(data=ARRAYS, epochs=1) as training:
        assert repr(training) == "<netc.OpenTraining tiny: 0 epochs done, under way>"
        next(training)
        assert "has not ended" in refused(lambda: training.result, "E051")
    assert repr(training) == "<netc.OpenTraining tiny: 0 epochs done, closed>"
    assert "was closed before its end" in refused(lambda: training.result, "E051")
    training = tiny().train(data=ARRAYS, epochs=1)
    for _ in training:
        pass
    assert repr(training) == "<netc.OpenTraining tiny: 1 epoch done, ended>"


def test_what_is_no_name() -> None:
    wrong: Any = 3
    said = refused(lambda: tiny().plan(strategy=wrong), "E051")
    assert "strategy: must be a strategy's name, or its file, not 3." in said
    said = refused(lambda: tiny().plan(cluster=wrong), "E051")
    assert "cluster: must be a machine's name, or its file, not 3." in said
    assert "'text' must be a network's text, not 3." in refused(lambda: netc.format(wrong), "E051")
    assert "'text' must be a network's text, not 3." in refused(lambda: netc.parse(wrong), "E051")
