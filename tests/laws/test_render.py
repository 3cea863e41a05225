"""`netc render` says the recipe in force: as a block that means the same, and renders as itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import netc_models
from netc.api.recipe import train_text, whole
from netc.cli.main import main
from netc.errors import Source
from netc.ir.datasets import DATA_SETS
from netc.ir.optimizers import OPTIMIZERS, RATE
from netc.syntax import parse_file, parse_text
from netc.syntax.formatter import format_source
from netc.syntax.recipe import AUGMENTATIONS, SCHEDULES

HEAD = "net n\ninput i 1x8x8\nfc 3 | softmax_loss\n"
SHIPPED = sorted(Path(netc_models.__file__).parent.glob("*.net"))
SETTINGS = (
    "",
    "batch 3 ; rate_batch 6 ; sgd lr=1e-7 ; epochs 2 ; seed 0",
    "seed 9223372036854775807 ; sgd lr=1e30 decay=0.1",
    'weights "*" decay=0 ; weights "a b" rate=2 ; weights "*.bias" frozen=true',
    "schedule step(22.5ep, 1e-4, warmup=5ep) ; augment shift(2) flip() shift(3)",
    *(f"data {each.example}" for each in DATA_SETS.values()),
    'data imagefolder("a; # }b", validation=0.25)',
    *(f"{word} lr=0.5" for word in OPTIMIZERS),
    *(
        f"schedule {each.name}({', '.join(f'{o.name}=1' for o in each.options if o.required)})"
        for each in SCHEDULES.values()
    ),
    *(
        f"augment {each.name}({', '.join(f'{o.name}=1' for o in each.options if o.required)})"
        for each in AUGMENTATIONS.values()
    ),
)


def check(text: str, recipe: Any) -> None:
    again = whole(parse_text(HEAD + text).recipe)
    assert again == recipe
    assert train_text(again) == text
    assert format_source(Source("t.net", text)) == text


@pytest.mark.parametrize("path", SHIPPED, ids=[path.stem for path in SHIPPED])
def test_a_shipped_recipe(path: Path) -> None:
    recipe = whole(parse_file(path).recipe)
    check(train_text(recipe), recipe)


@pytest.mark.parametrize("lines", SETTINGS)
def test_any_recipe(lines: str) -> None:
    """With every word of every table."""
    recipe = whole(parse_text(f"{HEAD}train {{ {lines} }}").recipe)
    text = train_text(recipe)
    check(text, recipe)
    for word in ("batch", recipe.optimizer.name, "schedule", "epochs", "seed"):
        assert f"\n    {word} " in text


def test_a_rate_inside_the_state_is_told() -> None:
    for word, optimizer in OPTIMIZERS.items():
        text = train_text(whole(parse_text(f"{HEAD}train {{ {word} lr=0.5 }}").recipe))
        outside = RATE in optimizer.moves[-1].operands
        assert ("The rate is inside the" in text) == (not outside), word
    assert "inside the velocity" in train_text(whole(parse_text(HEAD).recipe))


def start_of(capsys: pytest.CaptureFixture[str], folder: Path, *words: str) -> dict[str, Any]:
    """What a training says when it begins."""
    assert main(["run", *words, "--out", str(folder), "--steps", "1", "--json"]) == 0
    said: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[0])
    return said


def test_what_is_rendered_is_what_a_run_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = tmp_path / "n.net"
    network.write_text(
        f"{HEAD}train {{ data digits() ; sgd lr=0.25 ; augment flip() }}".replace("fc 3", "fc 10")
    )
    asked = [str(network), "--batch", "48", "--lr", "0.125", "--epochs", "3", "--seed", "4",
             "--data", "synthetic(train=96, seed=3)", "--set", "train.schedule=cosine(warmup=1)",
             "--set", "train.sgd.lr=0.75", "--set", "train.rate_batch=24"]  # fmt: skip
    assert main(["render", *asked]) == 0
    text = capsys.readouterr().out
    assert "in force is 0.25 at batch 48, from 0.125 for 24." in " ".join(
        text.replace("#", "").split()
    )
    assert main(["render", *asked, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["network"], result["train"], result["lr"]) == ("n", text, 0.25)
    rendered = tmp_path / "rendered.net"
    rendered.write_text(HEAD.replace("fc 3", "fc 10") + text)
    mine, other = (
        start_of(capsys, tmp_path / str(k), *words)
        for k, words in enumerate((asked, [str(rendered)]))
    )
    assert mine["lr"] == 0.25 and mine["data_set"] == other["data_set"]
    for name in ("batch", "epochs", "lr", "rate_batch", "optimizer", "schedule", "augment", "seed"):
        assert mine[name] == other[name], name


def test_a_path_that_no_string_holds(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["render", "digits", "--data", "idx('a\"b')"]) == 2
    assert "cannot stand in a recipe" in capsys.readouterr().err
    assert main(["render", str(tmp_path / "x.netc")]) == 3
