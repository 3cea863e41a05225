"""Whatever a message names of the command line, Python says in its own words: by one rule."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import netc
from netc.api.calibrate import CALIBRATION_NAMES
from netc.api.calls import words_of_call
from netc.api.choices import PLAN_NAMES
from netc.api.train_choices import TRAIN_NAMES
from netc.cli.main import VERBS as ALL_VERBS
from netc.cli.main import main
from netc.errors import Diagnostic, UsageError, render
from netc.spelling import COMMAND_LINE_ONLY, FLAGS, LISTS, PHRASES, VERBS, in_python


def words_of(function: Callable[..., Any]) -> tuple[str, ...]:
    """What a function takes by name."""
    return words_of_call(function) or ()


ROOT = Path(__file__).parents[2]
OPTION = re.compile(r"(?<![\w-])--([a-z]+(?:-[a-z]+)*)")
VERB = re.compile(r"'netc ([a-z]+)")
OTHERS = re.compile(r"'netc (?:completion|fmt|export)[^']*'|pip install [^']*")
"""Commands that are called on a command line alone."""
WORDS = {
    *PLAN_NAMES, *TRAIN_NAMES, *CALIBRATION_NAMES, "settings", *words_of(netc.NetworkPlan.draw),
    *words_of(netc.Model.save), *words_of(netc.NetworkPlan.emit), "emit",
    *words_of(netc.report),
}  # fmt: skip
"""What Python's functions take."""


def texts(path: Path) -> Iterator[str]:
    """The texts of a module that are no docstrings; what is put into them is X."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)
             for part in ast.walk(node) if part is not node}  # fmt: skip
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if id(node) in said or id(node) in inner:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            parts = (str(p.value) if isinstance(p, ast.Constant) else "X" for p in node.values)
            yield "".join(parts)


def messages() -> list[str]:
    """All texts behind the command line that name options or verbs."""
    folders = [ROOT / "netc", ROOT / "runtime", ROOT / "kernels"]
    files = (file for folder in folders for file in sorted(folder.rglob("*.py")))
    behind = (f for f in files if ROOT / "netc" / "cli" not in f.parents and f.stem != "spelling")
    found = (_whole(OTHERS.sub("", text)) for file in behind for text in texts(file))
    return sorted({t for t in found if (OPTION.search(t) and "\n" not in t) or VERB.search(t)})


def _whole(text: str) -> str:
    """Options alone are put into messages within quotes."""
    return f"'{text.strip()}'" if re.fullmatch(r" ?--[^':]+", text) else text


def test_there_are_messages() -> None:
    assert len(messages()) > 60


@pytest.mark.parametrize("text", messages(), ids=lambda text: text[:60])
def test_what_a_message_names_is_a_word_of_python(text: str) -> None:
    said = in_python(text)
    left = set(OPTION.findall(said))
    assert left <= COMMAND_LINE_ONLY, said
    assert not VERB.search(said), said
    known = {*re.findall(r"\b([a-z][a-z_]*)=", said)}
    whole = text
    for phrase in PHRASES:
        whole = whole.replace(phrase, "")
    for option in set(OPTION.findall(whole)) - COMMAND_LINE_ONLY:
        word = "settings" if option == "set" else option.replace("-", "_")
        assert word in WORDS, option
        assert word in known or re.search(rf"\b{word}\b", said), said


def test_all_that_is_named_is_there() -> None:
    assert set(VERBS) <= set(ALL_VERBS)
    for call in VERBS.values():
        place, name = call.split(".")
        assert hasattr(netc if place == "netc" else netc.Model, name), call
    assert {name.replace("-", "_") for name in FLAGS} <= WORDS
    assert {name.replace("-", "_") for name in LISTS} - {"set"} <= WORDS


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("take '--scheme a'.", "take 'scheme=\"a\"'."),
        ("'--strategy data --scheme b' is", '\'strategy="data", scheme="b"\' is'),
        ("'--data a b' is none.", "'data=\"a b\"' is none."),
        ("a larger '--epochs' goes on", "a larger 'epochs' goes on"),
        ("'--share-gpus' puts all on one", "'share_gpus=True' puts all on one"),
        ("--devices: must be 1", "devices: must be 1"),
        ("for example --pin 'fc*=k'.", 'for example pin=["fc*=k"].'),
        ("--allow-missing 'a.*' --allow-missing 'b.*'", 'allow_missing=["a.*", "b.*"]'),
        ("give it one with -D classes=VALUE.", "give it one with classes=VALUE."),
        ("for example --set train.epochs=3 or", 'for example settings=["train.epochs=3"] or'),
        ("'netc calibrate NET --batch 8' does", "'netc.calibrate(network, batch=8)' does"),
        ("'netc import x.onnx -o X.net' does", "'netc.from_onnx(\"x.onnx\")' does"),
        ("'netc run a/x.netc' runs it", "'netc.load_program(\"a/x.netc\").run()' runs it"),
        ("'mpiexec -n 2 netc run' is left", "'mpiexec -n 2 netc run' is left"),
        ("pip install --upgrade netc", "pip install --upgrade netc"),
        ("a -- b, x--y, 3 - -D", "a -- b, x--y, 3 - -D"),
    ],
)
def test_examples(text: str, said: str) -> None:
    assert in_python(text) == said


def test_who_says_which(capsys: pytest.CaptureFixture[str]) -> None:
    problem = Diagnostic("E043", "no.", help="take '--scheme a'.", notes=("see '--batch 8'",))
    error = UsageError(problem)
    assert "take 'scheme=\"a\"'." in str(error) and "see 'batch=8'" in str(error)
    assert "take '--scheme a'." in render(error.diagnostics)
    with pytest.raises(netc.NetError) as caught:
        netc.load("digits").plan(devices=2, mesh="3x3")
    assert "'devices=2' and 'mesh=\"3x3\"' disagree" in str(caught.value)
    with pytest.raises(netc.NetError, match="--> settings:1:7") as wrong:
        netc.load("digits", settings={"train.epoch": 3})
    assert "--> --set:1:7" in render(wrong.value.diagnostics)
    assert main(["compile", "digits", "--devices", "2", "--mesh", "3x3"]) == 2
    assert "'--devices 2' and '--mesh 3x3' disagree" in capsys.readouterr().err
