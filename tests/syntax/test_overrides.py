"""`--set train.PATH=VALUE`: what a recipe becomes, and what is said of what cannot be set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest

from netc.errors import SyntaxProblem, UsageError, render
from netc.syntax import Recipe, ast, parse_text
from netc.syntax.evaluate import show
from netc.syntax.recipe import (
    AUGMENTATIONS,
    CALLS,
    DATA,
    OPTIMIZERS,
    SCHEDULES,
    SETTINGS,
    VALUES,
    WEIGHTS,
)
from netc.syntax.signature import Option, Signature

HEAD = "net n(b = 8)\ninput i 1x8x8\nfc 3 | softmax_loss\n"


def recipe(lines: str, *settings: str) -> Recipe:
    """The recipe of a file with these lines in `train`, or without one where there are none."""
    block = f"train {{\n{lines}\n}}" if lines else ""
    return parse_text(HEAD + block, "t.net", settings=settings).recipe


def problem(lines: str, *settings: str) -> str:
    with pytest.raises(UsageError) as found:
        recipe(lines, *settings)
    return render(found.value.diagnostics)


VALUES_TRIED: tuple[tuple[ast.Scalar, ast.Scalar], ...] = (
    (0.5, 0.25), (3, 2), ("a", "b"), (True, False)
)  # fmt: skip


def tried(option: Option) -> tuple[str, str]:
    """Two values that an option takes, as they are written; no min above a max."""
    for first, second in VALUES_TRIED:
        with suppress(ValueError):
            option.domain.convert(first)
            return show(first), show(0.75 if option.name == "max" else second)
    raise AssertionError(f"no value for {option.name}: {option.domain.description}")


def every_option() -> Iterator[tuple[str, Signature, str]]:
    """The setting, a word of it, and an option of that word: of all tables."""
    yield from (("", each, o.name) for each in OPTIMIZERS.values() for o in each.options)
    for setting, (_, known) in CALLS.items():
        yield from ((setting, each, o.name) for each in known.values() for o in each.options)


@pytest.mark.parametrize(
    ("setting", "signature", "name"),
    [pytest.param(*each, id=f"{each[1].name}.{each[2]}") for each in every_option()],
)
def test_an_option_is_set_as_if_the_file_said_it(
    setting: str, signature: Signature, name: str
) -> None:
    """Whether the file gives it by name, by position or not at all."""
    values = {each.name: tried(each) for each in signature.options}
    positional = signature.form.names[: signature.positional]

    def line(second: str, by_position: bool) -> str:
        words = []
        for option in signature.options:
            value = values[option.name][option.name == second]
            given = by_position and option.name in positional
            words.append(value if given else f"{option.name}={value}")
        if not setting:
            return f"{signature.name} {' '.join(words)}"
        return f"{setting} {signature.name}({', '.join(words)})"

    wanted = recipe(line(name, False))
    paths = [f"{signature.name}", "optimizer"] if not setting else [setting]
    if setting:
        paths.append(f"{setting}.{signature.name}")
    for path in paths:
        told = f"train.{path}.{name}={values[name][1]}"
        for by_position in (False, *((True,) if positional else ())):
            assert recipe(line("", by_position), told) == wanted
    assert recipe(line("", False)) != wanted


@pytest.mark.parametrize("word", VALUES)
def test_a_value_is_set_as_if_the_file_said_it(word: str) -> None:
    one, other = ("0.3", "0.5") if word == "ema" else ("3", "5")
    assert recipe(f"{word} {one}", f"train.{word}={other}") == recipe(f"{word} {other}")
    assert recipe("", f"train.{word}={other}") == recipe(f"{word} {other}")
    assert recipe(f"{word} {one}", f"train.{word}=") == recipe("") == Recipe()


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ("schedule", "cosine(warmup=1ep)"),
        ("augment", "shift(4) flip()"),
        ("data", 'imagefolder("a; # }b", validation=0.25)'),
        ("weights", '"*.bias" decay=0'),
        ("epochs", "3ep"),
        ("batch", "b"),
    ],
)
def test_a_whole_setting_is_what_the_line_says(setting: str, text: str) -> None:
    assert recipe("seed 4", f"train.{setting}={text}") == recipe(f"seed 4 ; {setting} {text}")
    assert recipe("", f"train.{setting}={text}") == recipe(f"{setting} {text}")


def test_a_whole_setting_replaces_the_line() -> None:
    assert recipe("schedule step(3, 0.5)", "train.schedule=poly()") == recipe("schedule poly()")
    assert recipe("augment flip()", "train.augment=shift(2)") == recipe("augment shift(2)")
    assert recipe("augment flip()", "train.augment=") == Recipe()
    assert recipe("sgd lr=1 decay=1", "train.optimizer=adam") == recipe("adam")
    assert recipe("sgd lr=1 decay=1", "train.optimizer=sgd(lr=2)") == recipe("sgd lr=2")
    assert recipe("sgd lr=1", "train.optimizer=") == Recipe()


def test_rules_for_weights_add_up() -> None:
    first, second = 'weights "*" decay=0', 'weights "fc*" rate=2'
    told = 'train.weights="fc*" rate=2'
    assert recipe(first, told) == recipe(f"{first} ; {second}")
    assert recipe(first, "train.weights=", told) == recipe(second)
    assert recipe("", told, 'train.weights="*" decay=0') == recipe(f"{second} ; {first}")


def test_what_the_file_does_not_say_has_its_default() -> None:
    assert recipe("", "train.sgd.lr=2") == recipe("sgd lr=2 momentum=0.9")
    assert recipe("seed 1", "train.schedule.warmup=2") == recipe("seed 1 ; schedule constant(2)")
    assert recipe("sgd lr=1", "train.sgd.momentum=0.5") == recipe("sgd lr=1 momentum=0.5")


def test_values_are_set_in_order() -> None:
    assert recipe("", "train.epochs=3", "train.epochs=4").epochs == 4
    assert recipe("sgd lr=1", "train.optimizer=adam", "train.adam.lr=2") == recipe("adam lr=2")
    assert "the optimizer is 'sgd'" in problem(
        "sgd lr=1", "train.adam.lr=2", "train.optimizer=adam"
    )


def test_a_value_may_be_an_expression_of_parameters() -> None:
    assert recipe("", "train.sgd.lr=b / 2 + 0.5") == recipe("sgd lr=4.5 momentum=0.9")


def test_options_of_a_word_that_stands_twice_are_set_in_both() -> None:
    found = recipe("augment shift(1) flip() shift(pixels=2)", "train.augment.shift.pixels=7")
    assert found == recipe("augment shift(7) flip() shift(7)")


@pytest.mark.parametrize("word", [*SETTINGS, "optimizer"])
def test_every_setting_is_known(word: str) -> None:
    """A mistake in its value is one of the value, not of its name."""
    assert "has no setting" not in problem("", f"train.{word}=(")
    near = f"train.{word}x"
    assert f"did you mean '{word}'" in problem("", f"{near}=1")


WRONG = [
    ("sgd lr=1", "train.sgd.lr=-1", "E014", "--set:1:11", "'lr' of 'sgd' must be a number, 0 or"),
    ("sgd lr=1", "train.sgd.lrr=1", "E012", "--set:1:11", "did you mean 'lr'? 'sgd' takes: decay,"),
    ("", "train.sgd.lr=x", "E011", "--set:1:14", "there is no parameter 'x'.|here are b."),
    ("", "train.batch=0", "E014", "--set:1:13", "'batch' must be a whole number, 1 or more"),
    ("", "train.batch=1 2", "E031", "--set:1:7", "'batch' takes one value."),
    ("", "train.batch.x=1", "E031", "--set:1:13", "'batch' takes one value, and has no options."),
    ("", "train.shedule=1", "E030", "--set:1:7", "did you mean 'schedule'? it takes: accumulate"),
    ("", "train.schedule=cosin()", "E030", "--set:1:16", "did you mean 'cosine'? known are"),
    ("", "train.schedule=cosine(", "E001", "--set:1:23", "something is missing at its end"),
    ("", "train.sgd.lr=", "E001", "--set:1:14", "something is missing at its end"),
    ("", 'train.data="', "E003", "--set:1:12", "the string does not end"),
    ("", "train.schedule.warmpu=1", "E012", "--set:1:16", "did you mean 'warmup'?"),
    ("", "train.schedule.step.gamma=1", "E030", "--set:1:16", "has no 'step'.|there is constant."),
    ("", "train.optimizer=adem", "E030", "--set:1:17", "did you mean 'adam'?"),
    ("", "train.optimizer=adam lr=1", "E031", "--set:1:7", "with options in parentheses"),
    ("", "train.adam=lr=1", "E031", "--set:1:7", "'adam' has options|=adam(lr=0.01)'"),
    ("", "train.adam.lr=1", "E030", "--set:1:7", "the optimizer is 'sgd', not 'adam'."),
    ("", "train.sgd.lr.x=1", "E030", "--set:1:11", "'lr' has no options here."),
    ("", "train.weights.decay=1", "E031", "--set:1:7", "'weights' is set as a whole line."),
    ("", "train.augment.shift.pixels=1", "E030", "--set:1:7", "the recipe has no 'augment'"),
    ("augment flip() shift(1)", "train.augment.pixels=1", "E030", "--set:1:15",
     "has several words: say whose 'pixels' is set|train.augment.flip.pixels=...; there are flip"),
    ("augment flip()", "train.augment.flop.p=1", "E030", "--set:1:15", "did you mean 'flip'?"),
    ("", "batch=1", "E026", "", "did you mean 'train.batch'?"),
    ("", "trian.batch=1", "E026", "", "did you mean 'train.batch'?"),
    ("", "train=1", "E026", "", "not of the form train.NAME=VALUE"),
    ("", "train.batch", "E026", "", "not of the form train.NAME=VALUE"),
    ("", "train.batch=1\n", "E026", "", "not of the form train.NAME=VALUE"),
    ("", "train.batch=1 ; epochs 2", "E026", "", "is not one setting"),
    ("", "train.batch=1\u0020}\u0020train { seed 1", "E001", "--set:1:17", "found 'train'"),
    ("", "train.sgd.lr=1 decay=2", "E026", "", "is not one value"),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "told", "code", "place", "says"), WRONG)
def test_what_cannot_be_set(lines: str, told: str, code: str, place: str, says: str) -> None:
    text = problem(lines, told)
    assert text.startswith(f"error[{code}]: ")
    assert all(part in text for part in says.split("|"))
    assert (f"--> {place}\n" in text) if place else "-->" not in text


def test_places_are_those_of_the_text_that_is_wrong() -> None:
    text = problem("", "train.epochs=3", "train.sgd.lr=-1", "train.batch=0")
    assert "--> --set:2:11\n   2 | train.sgd.lr=-1\n" in text
    assert "--> --set:3:13\n   3 | train.batch=0\n" in text


def test_mistakes_of_the_file_stay_those_of_the_file() -> None:
    with pytest.raises(SyntaxProblem) as found:
        recipe("epochs 0", "train.batch=0")
    assert [each.span and each.span.source.name for each in found.value.diagnostics] == [
        "--set",
        "t.net",
    ]
    assert recipe("epochs 0", "train.epochs=1").epochs == 1


def test_the_tables_have_what_is_set_here() -> None:
    """So that no case above is about nothing."""
    assert {"sgd", "adam"} <= OPTIMIZERS.keys() and {"step", "cosine"} <= SCHEDULES.keys()
    assert {"shift", "flip"} <= AUGMENTATIONS.keys() and "imagefolder" in DATA
    assert WEIGHTS.name in SETTINGS
