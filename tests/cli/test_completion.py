"""Scripts of `netc completion`, in the shells that are here."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import netc_clusters
import netc_models
from netc.cli.arguments import verbs_of
from netc.cli.completion_ import script
from netc.cli.main import VERBS, main, parser
from netc.strategies.fixed import FIXED

SHELLS = {"bash": ["bash", "-n"], "zsh": ["zsh", "-n"], "fish": ["fish", "--no-config", "-n"]}
NETWORKS = {path.stem for path in Path(netc_models.__file__).parent.glob("*.net")}
CLUSTERS = {path.stem for path in Path(netc_clusters.__file__).parent.glob("*.toml")}
STRATEGIES = {*FIXED, "auto"}
BASH = """source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
_shtab_netc
printf '%s\\n' "${COMPREPLY[@]}"
"""
FISH = "source $argv[1]; complete -C $argv[2]"


@cache
def text(shell: str) -> str:
    return script(parser(), shell)


def needs(shell: str) -> str:
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"{shell} is not installed")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with files of each kind, which no shell says is empty."""
    for name in ("mine.net", "two words.net", "mine.netc", "mine.toml", "mine.onnx", "mine.png",
                 "mine.npz"):  # fmt: skip
        (tmp_path / name).touch()
    (tmp_path / "inner").mkdir()
    for shell in SHELLS:
        (tmp_path.parent / f"script.{shell}").write_text(text(shell))
    return tmp_path


def bash(folder: Path, *words: str) -> set[str]:
    call = [needs("bash"), "--norc", "-c", BASH, "bash", f"{folder.parent}/script.bash", *words]
    done = subprocess.run(call, cwd=folder, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return set(filter(None, done.stdout.split("\n")))


def fish(folder: Path, *words: str) -> set[str]:
    line = " ".join(words)
    call = [needs("fish"), "--no-config", "-c", FISH, f"{folder.parent}/script.fish", line]
    done = subprocess.run(call, cwd=folder, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return {each.split("\t")[0].rstrip("/") for each in done.stdout.splitlines()}


NETS = {"mine.net", "two words.net", "mine.netc", "inner"}
TOML = {"mine.toml", "inner"}
EVERYTHING = NETS | TOML | {"mine.onnx", "mine.png", "mine.npz"}
CASES = [
    (("",), set(VERBS)),
    (("com",), {"compile", "compare", "completion"}),
    (("compile", ""), NETWORKS | NETS),
    (("compile", "vgg1"), {name for name in NETWORKS if name.startswith("vgg1")}),
    (("compile", "--devices", "4", ""), NETWORKS | NETS),
    (("run", "vgg16", "--precision", ""), {"fp32", "tf32", "bf16", "fp64"}),
    (("run", "vgg16", "--precision", "b"), {"bf16"}),
    (("explain", "vgg16", "--strategy", ""), STRATEGIES | TOML),
    (("explain", "vgg16", "--strategy", "h"), {"hybrid"}),
    (("compare", "vgg16", "--strategies", "mo"), {"model"}),
    (("diff", "vgg16", "data", ""), STRATEGIES | TOML),
    (("plan", "vgg16", "--cluster", ""), CLUSTERS | TOML),
    (("predict", "vgg16", ""), EVERYTHING),
    (("calibrate", "vgg16", "vgg11", ""), NETWORKS | NETS),
    (("fmt", "x.net", ""), {"mine.net", "two words.net", "inner"}),
    (("import", ""), {"mine.onnx", "inner"}),
    (("run", "vgg16", "--out", ""), {"inner"}),
    (("run", "vgg16", "--data", ""), {"digits", "fashion", "synthetic", "mine.npz", "inner"}),
    (("run", "vgg16", "--batch", ""), {"auto"}),
    (("completion", ""), set(SHELLS)),
    (("run", "vgg16", "--epo"), {"--epochs"}),
]


@pytest.mark.parametrize("complete", [bash, fish])
@pytest.mark.parametrize(("words", "expected"), CASES)
def test_what_is_offered(complete, words: tuple[str, ...], expected: set[str], folder: Path):
    found = complete(folder, "netc", *words)
    # Some shells go on with files where nothing else fits, and none is in question here.
    assert found == {each for each in expected if each.startswith(words[-1])}


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_is_offered(verb: str, folder: Path) -> None:
    options = [a.option_strings for a in verbs_of(parser())[verb]._actions]
    assert bash(folder, "netc", verb, "-") == {name for names in options for name in names}


@pytest.mark.parametrize("verb", VERBS)
def test_every_choice_is_offered(verb: str, folder: Path) -> None:
    found = [a for a in verbs_of(parser())[verb]._actions if a.choices and a.option_strings]
    for action in found[:4]:
        name = action.option_strings[-1]
        assert bash(folder, "netc", verb, "x", name, "") == set(map(str, action.choices or ()))


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_reads_its_script(shell: str, folder: Path) -> None:
    name, *options = SHELLS[shell]
    call = [needs(name), *options, f"{folder.parent}/script.{shell}"]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_zsh_knows_the_names() -> None:
    for name in (*VERBS, *NETWORKS, *CLUSTERS, *STRATEGIES):
        assert name in text("zsh")


ZSH = """
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "PS1= RPS1=; autoload -Uz compinit; compinit -u -D; fpath=($1 \\$fpath)"
zpty -w shell "autoload -Uz _netc; compdef _netc netc; zstyle ':completion:*' list-packed no"
zpty -w shell "zstyle ':completion:*' menu no; LISTMAX=1000; cd $1; echo rea''dy"
zpty -r shell line '*ready*'
zpty -w -n shell "$2"$'\\t'
sleep ${3:-1}
zpty -w -n shell $'\\x15'"echo do''ne"$'\\n'
zpty -r shell line '*done*'
print -r -- "$line"
zpty -d shell
"""


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("netc expl", "explain"),
        ("netc check google", "googlenet"),
        ("netc run x --resu", "--resume"),
        ("netc explain x --strategy hyb", "hybrid"),
        ("netc check min", "mine.net"),
    ],
)
def test_zsh_completes(line: str, shown: str, folder: Path) -> None:
    zsh = needs("zsh")
    (folder / "_netc").write_text(text("zsh"))
    for seconds in ("1", "8"):
        call = [zsh, "-f", "-c", ZSH, "zsh", str(folder), line, seconds]
        done = subprocess.run(call, capture_output=True, text=True, check=False, timeout=120)
        if shown in re.sub(r"\x1b\[[\d;?]*[A-Za-z]|\x07", "", done.stdout):
            return
    raise AssertionError(done.stdout + done.stderr)


def test_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["script"] == text("bash")
    assert main(["completion", "bash"]) == 0
    assert capsys.readouterr().out == text("bash") + "\n"
    assert main(["completion", "csh"]) == 2
    assert "there is no choice 'csh'" in capsys.readouterr().err


def test_completing_runs_nothing_of_netc() -> None:
    for shell in SHELLS:
        assert "netc completion" not in text(shell) and "python" not in text(shell)


def test_printing_imports_no_compiler() -> None:
    heavy = {"netc.passes.pipeline", "netc.planner.auto", "netc_kernels.cpu", "lark", "numpy"}
    code = "import sys; from netc.cli.main import main; assert main(['completion', 'fish']) == 0; "
    code += f"assert not {heavy} & set(sys.modules), {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)


def test_every_argument_has_words_or_is_free() -> None:
    """An argument that is a file's name is completed; an action that nobody thought of shows."""
    script(known := parser(), "bash")
    for verb in verbs_of(known).values():
        for action in verb._actions:
            free = action.metavar in ("N", "RATE", "SIZE", "L", "L,L", "PATTERN", "PATTERN=SPLIT",
                                      "NAME=VALUE", "train.NAME=VALUE", "AxB", "N,N", "PASS",
                                      "K")  # fmt: skip
            given = action.nargs == 0 or action.choices or hasattr(action, "complete")
            assert given or free, action
            assert not isinstance(action, argparse._SubParsersAction)
