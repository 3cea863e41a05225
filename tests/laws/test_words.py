"""Strategies and the words of a recipe are listed wherever people look for them."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from netc.cli.arguments import verbs_of
from netc.cli.main import VERBS, WORDY, parser
from netc.ir.datasets import DATA_SETS
from netc.ir.optimizers import OPTIMIZERS
from netc.ir.schedules import SCHEDULES
from netc.numbers import COUNT, DISTANCE, DURATION
from netc.strategies.fixed import FIXED
from netc.syntax import network_text, parse_text
from netc.syntax.layers import KINDS
from netc_runtime.train.datasets import DATASETS
from netc_runtime.train.schedule import learning_rate

ROOT = Path(__file__).parents[2]
REFERENCE = (ROOT / "docs" / "language.md").read_text()
TRAINING = (ROOT / "docs" / "training.md").read_text()
SPLITS = (ROOT / "docs" / "splits.md").read_text()


def help_of(verb: str) -> str:
    return " ".join(verbs_of(parser())[verb].format_help(whole=True).split())


@pytest.mark.parametrize("verb", VERBS)
def test_help_lists_words(verb: str) -> None:
    text = help_of(verb)
    titles = ("strategies:", "layers:", "data sets, for --data")
    assert any(title in text for title in titles) == (verb in WORDY)


def test_help_lists_layers() -> None:
    assert all(kind in help_of("check") for kind in KINDS)


@pytest.mark.parametrize("name", FIXED)
def test_a_strategy_is_listed(name: str) -> None:
    about = FIXED[name].about
    assert f"| `{name}` | {about} |" in SPLITS
    for verb in WORDY[3:]:
        assert about.replace("`", "") in help_of(verb)


@pytest.mark.parametrize("word", SCHEDULES)
def test_a_schedule_is_listed(word: str) -> None:
    schedule = SCHEDULES[word]
    assert f"| `{schedule.form}` | {schedule.about} |" in TRAINING
    assert schedule.form in help_of("run")
    assert schedule.about in help_of("run")


@pytest.mark.parametrize("word", SCHEDULES)
def test_a_schedule_is_the_same_everywhere(word: str) -> None:
    kinds = {DISTANCE: "2ep", DURATION: "1.5ep", COUNT: "3"}
    values = {each.name: kinds.get(each.kind, "0.5") for each in SCHEDULES[word].arguments}
    given = ", ".join(f"{each.name}={values[each.name]}" for each in SCHEDULES[word].arguments)
    text = f"net t\ninput i 1x2x2\nfc 2 | softmax_loss\ntrain {{ schedule {word}({given}) }}"
    call = parse_text(text).recipe.schedule
    assert call is not None
    rates = [learning_rate((word, call.kwargs), 0.1, step, 5, 50) for step in range(51)]
    assert all(0 <= rate <= 0.1 for rate in rates)


@pytest.mark.parametrize("word", DATA_SETS)
def test_a_data_set_is_listed(word: str) -> None:
    known = DATA_SETS[word]
    assert f"| `{known.example}` | {known.about} |" in TRAINING
    for verb in ("run", "eval", "data"):
        assert f"{known.example} {known.about.replace('`', '')}" in help_of(verb)


@pytest.mark.parametrize("word", DATA_SETS)
def test_a_data_set_takes_the_same_everywhere(word: str) -> None:
    """In the language as in the function that reads it, which has defaults for the same."""
    known, kind = DATA_SETS[word], DATASETS[word]
    parameters = list(inspect.signature(kind.make).parameters.values())[kind.fitted :]
    assert [each.name for each in parameters] == [each.name for each in known.arguments]
    for mine, argument in zip(parameters, known.arguments, strict=True):
        assert (mine.default is mine.empty) == argument.required
    call = parse_text(
        f"net t\ninput i 1x2x2\nfc 2 | softmax_loss\ntrain {{ data {known.example} }}"
    )
    assert call.recipe.data is not None and call.recipe.data.name == word
    assert parse_text(network_text(call)) == call


@pytest.mark.parametrize("word", OPTIMIZERS)
def test_an_optimizer_is_listed(word: str) -> None:
    about = OPTIMIZERS[word].about
    assert f"| `{word}` | {about} |" in TRAINING
    assert all(f"`{each.name}`" in REFERENCE for each in OPTIMIZERS[word].arguments)
    assert f"{word} {about.replace('`', '')}" in help_of("run")


@pytest.mark.parametrize("word", OPTIMIZERS)
def test_an_optimizer_is_written_as_it_is_read(word: str) -> None:
    given = " ".join(f"{each.name}=0.5" for each in OPTIMIZERS[word].arguments)
    text = f"net t\ninput i 1x2x2\nfc 2 | softmax_loss\ntrain {{ {word} {given} }}"
    net = parse_text(text)
    assert net.recipe.optimizer is not None
    assert dict(net.recipe.optimizer.kwargs) == dict.fromkeys(net.recipe.optimizer.kwargs, 0.5)
    assert parse_text(network_text(net)) == net
