"""The verbs as a person calls them: what they print, and how they end."""

import argparse
import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import netc_models
from netc.cli.main import main, parser
from netc.cli.output import json_line
from netc.errors import NetError
from netc.passes.pipeline import PASSES
from netc.syntax import parse_text

DIGITS = str(Path(netc_models.__file__).parent / "digits.net")


def lines(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_check_says_one_line(capsys):
    assert main(["check", "lenet"]) == 0
    assert capsys.readouterr().out == "lenet: 13 layers, 61,706 parameters, no errors\n"


def test_summary_totals(capsys):
    assert main(["summary", "vgg16", "-D", "classes=10"]) == 0
    assert (
        "vgg16: 134,301,514 parameters, 15.47 G multiply-adds an image" in capsys.readouterr().out
    )


def test_compile_shows_the_table(capsys):
    asked = ["compile", "vgg16", "--devices", "4", "--batch", "128", "--strategy", "hybrid"]
    assert main(asked) == 0
    out = capsys.readouterr().out
    assert "vgg16: 4 devices, strategy hybrid, scheme a, batch 128, fp32" in out
    row = next(line for line in out.splitlines() if line.startswith("fc6"))
    assert row.split() == ["fc6", "fc", "k", "128x4096", "128x1024", "9.634", "MB", "205.5", "MB"]
    assert "sent      113.9 MB a device a step" in out


@pytest.mark.parametrize("emit", ["network", "graph", "plan", "program"])
def test_emit(capsys, emit):
    assert main(["compile", DIGITS, "--devices", "2", "--emit", emit]) == 0
    assert "conv1" in capsys.readouterr().out


def test_values_of_each_program_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    for program, name in (("train", "differentiate"), ("eval", "fuse"), ("init", "init-graph")):
        options = ["--print-after", name, "--program", program]
        assert main(["compile", DIGITS, "--devices", "2", *options]) == 0
        assert capsys.readouterr().out.startswith(f"# after {name}\n")
    assert main(["compile", DIGITS, "--print-after", "init-graph"]) == 2
    assert "'--program init' prints its result." in capsys.readouterr().err


def test_passes_are_timed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", DIGITS, "--time-passes"]) == 0
    out = capsys.readouterr().out
    for each in PASSES:
        for program in each.programs:
            there = re.search(rf"^{each.name} +{program} ", out, re.M)
            assert bool(there) == (program != "part"), "every step moves weights"


def test_print_after(capsys):
    asked = ["compile", DIGITS, "--devices", "2", "--strategy", "hybrid"]
    assert main([*asked, "--print-after", "insert-comm"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("# after insert-comm\nplan digits")
    assert "all_gather" in out


@pytest.mark.parametrize("verb", ["check", "summary", "compile", "explain", "doctor"])
def test_json_is_one_object_a_line(capsys, verb):
    arguments = [verb, "--json"] if verb == "doctor" else [verb, DIGITS, "--json"]
    assert main(arguments) == 0
    assert lines(capsys)[-1]["event"] == "result"


def test_explain_names_what_bounds_a_layer(capsys):
    asked = ("--devices", "8", "--cluster", "k20", "--batch", "1024", "--scheme", "b", "--json")
    assert main(["explain", "alexnet_owt", *asked]) == 0
    found = {line["layer"]: line for line in lines(capsys) if line["event"] == "layer"}
    assert found["conv2"]["bound"] == "compute"
    assert found["maxpool1"]["bound"] == "memory"
    assert found["fc6"]["bound"] == "link"


def test_plan_that_does_not_fit_is_refused_with_advice(capsys):
    assert main(["compile", "vgg16", "--batch", "1024", "--cluster", "k20"]) == 4
    err = capsys.readouterr().err
    assert err.startswith("error[E052]: the plan does not fit: device 0 peaks at ")
    assert "= help: a batch of about " in err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["check", "vgg61"], 2, "error[E051]: there is no file 'vgg61', and netc ships nothing of"),
        (["check", "no/such.net"], 3, "error[E0"),
        (["check", DIGITS, "-D", "clases=3"], 2, "error[E026]"),
        (["check", DIGITS, "-D", "classes"], 2, "error[E051]: '-D classes' is not of the form"),
        (["compile", DIGITS, "--strategy", "hybird"], 2, "did you mean 'hybrid'?"),
        (["compile", DIGITS, "--strategy", "none.toml"], 3, "cannot read the strategy file"),
        (["compile", DIGITS, "--devices", "0"], 2, "--devices: must be a whole number, 1 to 1,024"),
        (["compile", DIGITS, "--mesh", "40x40"], 2, "1,024 devices in all"),
        (["compile", DIGITS, "--mesh", "2x٢"], 2, "'--mesh 2x٢' is not of the form"),
        (["check", "x" * 300], 2, "error[E051]: NET: must be a path"),
        (["check", DIGITS, "--bacth", "3"], 2, "error[E051]: unrecognized arguments: --bacth 3."),
        (["chek", DIGITS], 2, "no verb 'chek'.\n     = help: did you mean 'check'?"),
        (["check", DIGITS, "-D", 'classes="'], 2, "error[E026]"),
        (["check", DIGITS, "-D", "classes=\udcff"], 2, "error[E026]"),
        (["compile", DIGITS, "--mesh", "2by2"], 2, "'--mesh 2by2' is not of the form"),
        (["compile", DIGITS, "--devices", "2", "--pin", "fc9=k"], 4, "E042]: no layer matches"),
        (["compile", DIGITS, "--devices", "2", "--pin", "fc1"], 2, "'--pin fc1' is not"),
        (["compile", DIGITS, "--devices", "2", "--pin", "fc1=h"], 4, "error[E041]: split 'h' on"),
        (["compile", DIGITS, "--devices", "4", "--scheme", "c", "--batch", "40"], 4, "error[E043]"),
        (["compile", DIGITS, "--devices", "4", "--scheme", "a", "--fc-update", "round"], 4, "E043"),
        (["compile", DIGITS, "--print-after", "fues"], 2, "did you mean 'fuse'?"),
        (["compile", DIGITS, "-o", "/no/where/x"], 2, "error[E056]: cannot write '/no/where/x'"),
        (["compile", DIGITS, "--cluster", "h1000"], 2, "did you mean 'h100'?"),
        (["run", DIGITS, "--backend", "cuda"], 6, "error[E071]"),
        (["run", DIGITS, "--data", "idx('/none')"], 5, "error[E061]"),
        (["run", DIGITS, "--data", "idx("], 2, "error[E051]: '--data idx(' is not a data set."),
        (["run", DIGITS, "--epochs", "0"], 2, "error[E051]: --epochs: must be a whole"),
        (["run", DIGITS, "--batch", "5000"], 5, "error[E067]"),
    ],
)  # fmt: skip
def test_mistakes_end_with_a_message_and_a_code(
    tmp_path, monkeypatch, capsys, arguments, code, message
):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == code
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err + captured.out


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch])
def test_only_a_file_hides_what_netc_ships(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("lenet", "k20", "nothing"):
        make(tmp_path / name)
    is_file = make is Path.touch
    assert main(["check", "lenet"]) == (3 if is_file else 0)
    assert main(["compile", DIGITS, "--cluster", "k20"]) == (2 if is_file else 0)
    assert main(["check", "nothing"]) == 3
    assert main(["compile", DIGITS, "--strategy", "nothing"]) == 3


@pytest.mark.parametrize("arguments", [["run", DIGITS, "--lr", "x"], ["check"], ["sing"]])
def test_wrong_arguments_as_json(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert main([*arguments, "--json"]) == 2
    (line,) = lines(capsys)
    assert (line["event"], line["diagnostics"][0]["code"]) == ("error", "E051")


NUMBERS = ["1", "0", "-1", "0.5", "1.0", "1e-3", "1e999", "nan", "inf", "true", "1_0", "3ep", "",
           "9223372036854775807", "9223372036854775808"]  # fmt: skip


@pytest.mark.parametrize("text", NUMBERS)
@pytest.mark.parametrize(
    ("option", "setting"),
    [("--lr", "sgd lr="), ("--batch", "batch "), ("--epochs", "epochs "), ("--seed", "seed ")],
)
def test_options_and_recipes_take_the_same_numbers(
    option: str, setting: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = f"net n\ninput i 1x8x8\nfc 10 | softmax_loss\ntrain {{ {setting}{text} }}"
    try:
        parse_text(recipe)
        right = text != "3ep"
    except NetError:
        right = False
    # Where the number is right the other mistake is told.
    assert main(["run", "no/such.net", option, text]) == (3 if right else 2)
    assert ("E051" in capsys.readouterr().err) != right


def test_every_number_has_a_kind() -> None:
    """An `int` or `float` of Python's takes nan, 1_0 and whatever else."""
    (verbs,) = (a for a in parser()._actions if isinstance(a, argparse._SubParsersAction))
    actions = [action for sub in verbs.choices.values() for action in sub._actions]
    assert not [a.option_strings for a in actions if a.type in (int, float)]
    assert not [a.option_strings for a in actions if a.metavar in ("N", "RATE") and a.type is None]


def test_json_is_strict(capsys: pytest.CaptureFixture[str]) -> None:
    json_line(a=math.nan, b=[math.inf, {"c": (-math.inf, 1.5)}], d=True, e=None)
    expected = '{"a": null, "b": [null, {"c": [null, 1.5]}], "d": true, "e": null}\n'
    assert capsys.readouterr().out == expected


def test_what_this_machine_cannot_compile_is_refused_before(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("netc.api.afford.available_bytes", lambda: 10**6)
    monkeypatch.setattr("netc.passes.pipeline.assign_streams", None)
    assert main(["compile", DIGITS, "--devices", "8", "--scheme", "b"]) == 4
    err = capsys.readouterr().err
    assert (
        err.startswith("error[E053]: compiling ") and "instructions for 8 classes of devices" in err
    )
    assert "of 1 MB free." in err and "'--scheme a'" in err


def test_what_takes_minutes_is_told_before(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("netc.api.afford.TOLD_SECONDS", 0)
    assert main(["compile", DIGITS, "--devices", "2"]) == 0
    assert capsys.readouterr().err.startswith("note: compiling about ")


def test_mistakes_as_json(capsys):
    assert main(["check", "vgg61", "--json"]) == 2
    (line,) = lines(capsys)
    assert line["event"] == "error"
    assert line["diagnostics"][0]["code"] == "E051"


def test_strategy_file_round_trip(capsys, tmp_path):
    file = tmp_path / "mine.toml"
    assert (
        main(["compile", DIGITS, "--devices", "4", "--save-strategy", str(file), "--emit", "plan"])
        == 0
    )
    first = capsys.readouterr().out
    assert main(["compile", DIGITS, "--strategy", str(file), "--emit", "plan"]) == 0
    assert capsys.readouterr().out == first
    file.write_text(file.read_text().replace('"fc1" = "k"', '"fc1" = "n"'))
    assert main(["compile", DIGITS, "--strategy", str(file), "--scheme", "a"]) == 0


@pytest.mark.parametrize("suffix", [".svg", ".pdf", ".png", ".dot", ".json"])
def test_plan_draws(capsys, tmp_path, suffix):
    file = tmp_path / f"plan{suffix}"
    assert main(["plan", DIGITS, "--devices", "2", "-o", str(file)]) == 0
    assert capsys.readouterr().out == f"wrote {file}\n"
    assert file.stat().st_size > 1000


def test_plan_of_an_unknown_kind(capsys, tmp_path):
    assert main(["plan", DIGITS, "-o", str(tmp_path / "plan.jpeg")]) == 2
    assert "a plan is written as .svg, .pdf, .png, .dot, .json" in capsys.readouterr().err


def test_scheme_without_a_boundary_is_noted(capsys):
    assert main(["compile", DIGITS, "--devices", "2", "--strategy", "data", "--scheme", "b"]) == 0
    assert "note: scheme b has nothing to do" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["--help"], {"numpy", "lark", "networkx", "rich"}),
        (["check", DIGITS], {"numpy", "networkx", "rich"}),
    ],
)
def test_what_is_heavy_is_not_imported_without_need(arguments: list[str], heavy: set[str]) -> None:
    """What makes it answer at once; the time itself is a benchmark's business."""
    script = f"import sys; from netc.cli.main import main; assert main({arguments}) == 0; "
    script += f"assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)


@pytest.mark.parametrize(("backend", "precision"), [("cuda", "fp64"), ("cpu", "bf16")])
def test_what_no_backend_computes_is_not_compiled(
    backend: str, precision: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compile", "digits", "--backend", backend, "--precision", precision]) == 6
    assert "error[E078]" in capsys.readouterr().err


def test_kernels_of_another_backend_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", "digits", "--backend", "cuda", "--kernels", "fast"]) == 2
    assert "'--kernels fast' is not for the cuda backend" in capsys.readouterr().err
