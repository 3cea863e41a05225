"""What people see on a terminal: nothing is wider than it, nothing is lost without a word."""

from __future__ import annotations

import io
import random
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from netc.cli.arguments import verbs_of
from netc.cli.help import EXAMPLES, GROUPS
from netc.cli.main import VERBS, main, parser
from netc.cli.output import table
from netc.errors import Diagnostic, NetError, Source, Span, columns_of, folded, render
from netc_runtime.train.progress import Progress, Standing

HELPS = [("--help",), *((verb, option) for verb in VERBS for option in ("--help", "--help-all"))]


class Terminal(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")


def too_wide(text: str, columns: int = 80) -> list[str]:
    return [line for line in text.splitlines() if len(line) > columns]


def words(text: str) -> list[str]:
    return [word for word in text.split() if not set(word) <= {"-"}]


@pytest.mark.parametrize("arguments", HELPS)
def test_help_fits(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    whole = arguments[-1] == "--help-all"
    has = not whole or bool(verbs_of(parser())[arguments[0]].folded)
    assert main(arguments) == (0 if has else 2)
    captured = capsys.readouterr()
    assert not too_wide(captured.out + captured.err)


def test_every_verb_is_in_a_group_and_has_an_example() -> None:
    grouped = [verb for verbs in GROUPS.values() for verb in verbs]
    assert sorted(grouped) == sorted(VERBS) == sorted(EXAMPLES)


@pytest.mark.parametrize("verb", VERBS)
def test_examples_are_right(verb: str) -> None:
    text = verbs_of(parser())[verb].format_help()
    for example in EXAMPLES[verb]:
        assert f"  {example}\n" in text
        for call in example.split("&&"):
            name, *arguments = shlex.split(call.split(" > ")[0])
            assert name == "netc"
            assert parser().parse_args(arguments).verb in VERBS


@pytest.mark.parametrize("verb", VERBS)
def test_no_option_is_hidden(verb: str) -> None:
    """What the help does not explain it names, and says how to see it."""
    sub = verbs_of(parser())[verb]
    short, whole = sub.format_help(), sub.format_help(whole=True)
    for action in sub._actions:
        for name in action.option_strings[-1:]:
            assert re.search(rf"(?<![\w-]){name}(?![\w-])", short), name
        assert not action.help or action.help[:20].split()[0] in whole
    if sub.folded:
        assert " ".join(short.split()).endswith(f"'netc {verb} --help-all' explains them.")


def test_without_a_verb_all_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    for title, verbs in GROUPS.items():
        assert re.search(rf"\n{title}:\n  {verbs[0]} ", captured.err)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["complie", "x"], "'compile'"),
        (["compile", "digits", "--startegy", "data"], "'--strategy'"),
        (["compile", "digits", "--startegy=data"], "'--strategy'"),
        (["compile", "digits", "--precision", "fp23"], "'fp32'"),
    ],
)
def test_what_is_mistyped_gets_a_suggestion(
    given: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(given) == 2
    assert f"did you mean {meant}?" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["ab", "abc", ""])
def test_parts_of_choices_are_none(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", "digits", "--scheme", text]) == 2
    assert f"--scheme: there is no choice '{text}'." in capsys.readouterr().err


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("compiled") / "x.netc"
    asked = ("--devices", "2", "--strategy", "hybrid", "--kernels", "reference", "-o", str(path))
    assert main(["compile", "digits", *asked]) == 0
    return path


@pytest.mark.parametrize(
    ("verb", "more"),
    [
        *((verb, ()) for verb in ("check", "summary", "compile", "compare", "explain", "tune")),
        ("plan", ("-o", "{folder}/x.svg")),
        ("export", ("-o", "{folder}/x.onnx")),
        ("diff", ("data", "hybrid")),
    ],
)
def test_a_compiled_program_is_told_from_a_network(
    verb: str,
    more: tuple[str, ...],
    compiled: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("COLUMNS")
    asked = [each.format(folder=compiled.parent) for each in more]
    assert main([verb, str(compiled), *asked]) == 2
    err = capsys.readouterr().err
    assert "x.netc' is a compiled program (digits, devices 2, strategy hybrid, batch 96)" in err
    assert f"Give '{verb}' the network that it was compiled from." in err
    assert err.count("error") == 1


def test_a_damaged_one_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"netc bundle 8\nfact network \xff\x1b[31m" + b"x" * 1000)
    assert main(["check", str(path)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error[E057]") and "\x1b" not in err


COMMANDS = [
    "compile vgg16 --devices 4 --kernels reference",
    "explain vgg16 --devices 8 --cluster k20",
    "explain googlenet --devices 4 --cluster p100 --kernels --batch 8",
    "explain alexnet_owt --devices 8 --cluster k20 --layer fc6",
    "compare alexnet_owt --cluster k20 --devices 1,2 --strategies data,hybrid",
    "compare alexnet_owt --cluster k20 --devices 8 --crossover hybrid,data",
    "diff vgg16 data hybrid --devices 4 --cluster k20",
    "summary inception_v3",
    "check inception_v3",
    "doctor",
    "compile digits --time-passes",
    "run digits --dry-run --devices 2",
    "run digits --backend null --devices 2",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_verbs_fit(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(command)) == 0
    captured = capsys.readouterr()
    assert captured.out and not too_wide(captured.out + captured.err)


def test_columns_that_are_left_out_are_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["compile", "vgg16", "--devices", "4", "--kernels", "reference"]
    assert main(command) == 0
    narrow_text = capsys.readouterr().out
    assert "left out here: kind (89 columns show all" in " ".join(narrow_text.split())
    for columns in ("89", ""):
        monkeypatch.setenv("COLUMNS", columns)
        assert main(command) == 0
        whole = capsys.readouterr().out
        assert "left out here" not in whole and "  kind  " in whole


def random_table(chance: random.Random) -> tuple[list[str], list[list[str]]]:
    def cell() -> str:
        parts = ("".join(chance.choices("abcxyz.0", k=chance.randint(1, 14))) for _ in range(3))
        return " ".join(list(parts)[: chance.randint(0, 3)])

    many = chance.randint(1, 9)
    header = [f"h{i} {cell()}".strip() for i in range(many)]
    return header, [[cell() for _ in header] for _ in range(chance.randint(0, 5))]


@pytest.mark.parametrize("seed", range(200))
def test_any_table_fits_and_loses_nothing(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed)
    header, rows = random_table(chance)
    spare = chance.sample(header, chance.randint(0, len(header) - 1))
    room = 10 * len(header) + chance.randint(10, 60)
    monkeypatch.setenv("COLUMNS", str(room))
    shown = table(header, rows, left=chance.randint(0, len(header)), spare=spare)
    body, _, told = shown.partition("\nleft out here: ")
    gone = [name for name in spare if name in " ".join(told.split())]
    kept = [i for i, name in enumerate(header) if name not in gone]
    expected = "".join("".join(line[i] for i in kept) for line in (header, *rows))
    assert sorted("".join(words(body))) == sorted(expected.replace(" ", "")), f"seed {seed}"
    assert not too_wide(shown, room), f"seed {seed}"
    monkeypatch.delenv("COLUMNS")
    assert not gone or "left out" not in table(header, rows, spare=spare)


@pytest.mark.parametrize("seed", range(100))
def test_folding_keeps_all_words(seed: int) -> None:
    chance = random.Random(seed)
    lengths = (chance.randint(1, 12) for _ in range(40))
    text = "memory    " + " ".join("x" * n for n in lengths) + "\n\nnote: short"
    columns = chance.randint(30, 100)
    found = folded(text, columns)
    assert found.split() == text.split(), f"seed {seed}"
    assert not too_wide(found, columns)
    assert all(line.startswith((" " * 10, "memory", "note")) or not line for line in
               found.splitlines())  # fmt: skip
    assert folded(text, None) == text


@pytest.mark.parametrize("at", [0, 40, 150, 290])
def test_diagnostics_fit(at: int) -> None:
    source = Source("x.net", "y" * 300)
    one = Diagnostic("E001", "word " * 30, Span(source, at, at + 9), help="remedy " * 30)
    shown = render([one], columns=80)
    assert not too_wide(shown)
    assert shown.count("remedy") == 30 and "^^^^^^^^^" in shown
    assert re.sub(r"\x1b\[[\d;]*m", "", render([one], color=True, columns=80)) == shown


def test_mistakes_are_folded(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "vgg61"]) == 2
    assert not too_wide(capsys.readouterr().err)
    assert issubclass(NetError, Exception)


@pytest.mark.parametrize(("given", "columns"), [("80", 80), ("3", 20), ("0", None), ("x", None)])
def test_columns(given: str, columns: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", given)
    assert columns_of(io.StringIO()) == columns


@pytest.mark.parametrize("make", [Terminal, io.StringIO])
@pytest.mark.parametrize("columns", [40, 80, 120])
def test_progress_loses_nothing(
    make: Callable[[], io.StringIO], columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    stream = make()
    with Progress(450_000, stream=stream) as progress:
        for step in (99_999, 100_000):
            progress.update(Standing(step, 90, 12.3456, 123_456.0, 0.0001587, 0.75))
    last = re.split(r"\x1b\[2K", stream.getvalue())[-1]
    plain = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", last)
    assert not too_wide(plain, columns)
    told = "100000/450000 ep 90 loss 12.35 acc 75.0% 123456/s lr 0.000159"
    if columns == 120:
        told = "step 100,000/450,000 epoch 90 loss 12.3456 accuracy 75.00 % 123,456 images/s "
    assert told in " ".join(plain.split())
    assert re.search(r"rate 0.0001587  \d:\d\d:\d\d left|lr 0.000159\s\d:\d\d:\d\d", plain)
    assert ("━" in plain) == (make is Terminal and columns == 120) or columns == 120
