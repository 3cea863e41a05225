"""`netc completion`: a script by which a shell completes netc's verbs, options and names.

The script has all names in it: completing runs nothing of netc. docs/adr/0024-completion.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import netc_clusters
import netc_models
from netc.cli.arguments import Parser, file_name, file_name_or_none, verbs_of
from netc.cli.output import json_line
from netc.ir.datasets import DATA_SETS
from netc.strategies.fixed import FIXED

AUTO = "auto"
"""The strategy that is searched for, and the batch that is the largest."""

FOLDERS = ("out", "folder", "tensorboard")
"""Arguments that are folders."""


@dataclass(frozen=True, slots=True)
class Names:
    """What can be given for an argument: words, and files whose names end so."""

    name: str
    """Of the shell's function: `_file` in it has bash treat what it gives as names of files."""
    words: tuple[str, ...]
    suffixes: tuple[str, ...] = ()


def run(options: argparse.Namespace) -> int:
    """Print the script of a shell."""
    # Imported here: it makes the verbs, and this is one.
    from netc.cli.main import parser

    text = script(parser(), options.shell)
    if options.json:
        json_line(event="result", shell=options.shell, script=text)
    else:
        print(text)
    return 0


def script(parser: Parser, shell: str) -> str:
    """The script for `shell`: bash, zsh or fish."""
    import shtab

    named = names()
    for verb in verbs_of(parser).values():
        for action in verb._actions:
            found = _completed(action, named)
            if found is not None:
                action.complete = found  # type: ignore[attr-defined]  # what shtab looks for
    return str(shtab.complete(parser, shell))


def names() -> Mapping[str, Names]:
    """What arguments take, by their names in the code."""
    networks = Names("_netc_network_files", _shipped(netc_models, ".net"), (".net", ".netc"))
    clusters = Names("_netc_cluster_files", _shipped(netc_clusters, ".toml"), (".toml",))
    strategies = Names("_netc_strategy_files", (*FIXED, AUTO), (".toml",))
    several = dict.fromkeys(("strategy", "first", "second", "strategies"), strategies)
    return {
        **dict.fromkeys(("network", "networks"), networks),
        **several,
        "cluster": clusters,
        "crossover": Names("_netc_fixed", tuple(FIXED)),
        "data": Names("_netc_data_files", _alone(), (".npz",)),
        "batch": Names("_netc_batch", (AUTO,)),
        "recompute": Names("_netc_recompute", ("all", "auto", "none")),
        "files": Names("_netc_net_files", (), (".net",)),
        "model": Names("_netc_onnx_files", (), (".onnx",)),
    }


def _alone() -> tuple[str, ...]:
    """Data sets that need not be told anything."""
    return tuple(w for w, each in DATA_SETS.items() if not any(a.required for a in each.arguments))


def _shipped(package: ModuleType, suffix: str) -> tuple[str, ...]:
    folder = Path(str(package.__file__)).parent
    return tuple(sorted(path.stem for path in folder.glob(f"*{suffix}")))


def _completed(action: argparse.Action, named: Mapping[str, Names]) -> Mapping[str, object] | None:
    """What shtab is told of an argument; choices it knows itself."""
    import shtab

    if action.dest in named:
        return _functions(named[action.dest])
    if action.dest in FOLDERS:
        return shtab.DIRECTORY
    return shtab.FILE if action.type in (file_name, file_name_or_none) else None


def _functions(names: Names) -> Mapping[str, object]:
    """The functions that give `names`, by shell."""
    return {
        "bash": names.name,
        "zsh": names.name,
        "fish": f"({names.name})",
        "preamble": {
            "bash": _lines(f"{names.name}() {{", _bash(names), "}"),
            "zsh": _lines(f"{names.name}() {{", _zsh(names), "}"),
            "fish": _lines(f"function {names.name}", _fish(names), "end"),
        },
    }


def _lines(first: str, body: Iterator[str], last: str) -> str:
    return "\n".join((first, *(f"  {line}" for line in body), last))


def _bash(names: Names) -> Iterator[str]:
    if names.words:
        yield f'compgen -W "{_joined(names.words)}" -- "$1"'
    yield from (f"compgen -f -X '!*{suffix}' -- \"$1\"" for suffix in names.suffixes)
    if names.suffixes:
        yield 'compgen -d -- "$1"'


def _zsh(names: Names) -> Iterator[str]:
    if names.words:
        yield f"compadd -- {_joined(names.words)}"
    if names.suffixes:
        yield f"_files -g '*({'|'.join(names.suffixes)})'"


def _fish(names: Names) -> Iterator[str]:
    if names.words:
        yield f"printf '%s\\n' {_joined(names.words)}"
    if names.suffixes:
        ends = "|".join(suffix.removeprefix(".") for suffix in names.suffixes)
        fits = f"'.*(?:/|\\.(?:{ends}))(?:\\t.*)?$'"
        yield f"__fish_complete_path (commandline -ct) | string match -r {fits}"


def _joined(words: Sequence[str]) -> str:
    """Words of a script; names of netc's need no quotes in any shell."""
    assert all(word.replace("_", "").isalnum() for word in words), words
    return " ".join(words)
