"""What is true of every augmentation that is registered."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from netc.cli.arguments import verbs_of
from netc.cli.main import parser
from netc.errors import DataError, SyntaxProblem, render
from netc.ir.augmentations import AUGMENTATIONS, RESIZED_CROP
from netc.syntax import network_text, parse_text
from netc_runtime.train.augment import CHANGES, Spec, augment, examples
from netc_runtime.train.images import ByteImages, SplitImages

TRAINING = (Path(__file__).parents[2] / "docs" / "training.md").read_text()
COUNT, SHAPE = 40, (3, 12, 12)
IDENTITIES: Mapping[str, Mapping[str, float] | None] = {
    "shift": None,
    "flip": None,
    "resized_crop": {"min": 1.0, "max": 1.0, "ratio": 1.0},
    "jitter": {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0},
    "erase": {"p": 0.0, "min": 0.5, "max": 0.5, "ratio": 1.0},
    "mixup": {"alpha": 1.0, "p": 0.0},
    "cutmix": {"alpha": 1.0, "p": 0.0},
}
"""Arguments with which nothing happens to square images; None where there are none."""
every_word = pytest.mark.parametrize("word", AUGMENTATIONS)


def usual(word: str) -> dict[str, Any]:
    """The default arguments, 2 where there is none."""
    return {a.name: 2 if a.default is None else a.default for a in AUGMENTATIONS[word].arguments}


def data(pixels: NDArray[np.uint8]) -> ByteImages:
    part = SplitImages((pixels,), np.arange(len(pixels)))
    return ByteImages("data", "", ("one",), (120.0, 110.0, 100.0), (60.0, 50.0, 40.0), part, part)


RNG = np.random.default_rng(0)
DIFFERENT = data(RNG.integers(0, 256, (COUNT, *SHAPE), np.uint8))
SAME = data(np.repeat(RNG.integers(0, 256, (1, *SHAPE), np.uint8), COUNT, axis=0))


def images_of(word: str) -> ByteImages:
    """Those that show what was drawn: an image mixed with one like it stays as it is."""
    return DIFFERENT if AUGMENTATIONS[word].mixes else SAME


def made(
    word: str,
    rows: Sequence[int] = range(COUNT),
    *,
    of: ByteImages | None = None,
    seed: int = 0,
    epoch: int = 0,
    dtype: type = np.float32,
    told: Mapping[str, Any] | None = None,
) -> NDArray[Any]:
    specs = [(word, (), told or usual(word))]
    images, labels, *_ = examples(of or images_of(word), rows, dtype, seed, epoch, specs)
    assert labels.tolist() == list(rows)
    return images


@every_word
@given(st.permutations(range(COUNT)), st.integers(0, COUNT), st.integers(-9, 2**65))
def test_an_image_depends_on_its_key_alone(word: str, rows: list[int], cut: int, seed: int) -> None:
    """Whatever the batch is, and its order."""
    whole = made(word, of=DIFFERENT, seed=seed)
    for part in (rows[:cut], rows[cut:]):
        assert np.array_equal(made(word, part, of=DIFFERENT, seed=seed), whole[part])


@every_word
def test_another_seed_epoch_or_image_is_another_draw(word: str) -> None:
    first = made(word)
    assert len(np.unique(first.reshape(COUNT, -1), axis=0)) > (1 if word == "flip" else COUNT // 3)
    for other in (made(word, seed=1), made(word, epoch=1)):
        assert not np.array_equal(first, other)


@every_word
def test_the_place_in_the_recipe_is_part_of_the_key(word: str) -> None:
    if word == RESIZED_CROP:
        return
    nothing: Spec = ("jitter", (), {"brightness": 0, "contrast": 0, "saturation": 0})
    second: Spec = (word, (), usual(word))
    later, *_ = examples(images_of(word), range(COUNT), np.float32, 0, 0, [nothing, second])
    assert not np.array_equal(made(word), later)


@every_word
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_images_are_copied(word: str, dtype: type) -> None:
    images, _ = DIFFERENT.load("train", range(COUNT), dtype)
    kept = images.copy()
    found = augment(images, range(COUNT), 0, 0, [(word, (), usual(word))])
    assert found.shape == images.shape and found.dtype == dtype
    assert np.array_equal(images, kept)
    assert made(word, of=DIFFERENT, dtype=dtype).dtype == dtype


@every_word
def test_there_may_be_no_images(word: str) -> None:
    assert made(word, []).shape == (0, *SHAPE)


@every_word
def test_nothing_happens_where_nothing_is_asked_for(word: str) -> None:
    arguments = IDENTITIES[word]
    if arguments is not None:
        images, _ = DIFFERENT.load("train", range(COUNT), np.float32)
        assert np.array_equal(made(word, of=DIFFERENT, told=arguments), images)


WRONG = (float("nan"), float("inf"), -1, 0.001, 1.5, 70_000, 10**400, "x", True, None)


@every_word
def test_wrong_arguments_are_named_with_what_is_allowed(word: str) -> None:
    for argument in AUGMENTATIONS[word].arguments:
        refused = [value for value in WRONG if not argument.kind.accepts(value)]
        assert len(refused) > len(WRONG) / 2
        for value in refused:
            with pytest.raises(DataError) as problem:
                made(word, [], told=usual(word) | {argument.name: value})
            text = render(problem.value.diagnostics)
            assert f"'{argument.name}' of '{word}' is " in text
            assert f", not {argument.kind.description}." in text


@every_word
def test_wrong_arguments_in_a_recipe_are_named_with_what_is_allowed(word: str) -> None:
    for argument in AUGMENTATIONS[word].arguments:
        given = ", ".join(f"{n}={v}" for n, v in (usual(word) | {argument.name: -1}).items())
        with pytest.raises(SyntaxProblem) as problem:
            recipe(f"augment {word}({given})")
        text = render(problem.value.diagnostics)
        assert f"'{argument.name}' of '{word}' must be {argument.kind.description}, not -1" in text


@every_word
def test_least_and_most_do_not_change_places(word: str) -> None:
    if "min" in usual(word):
        with pytest.raises(DataError) as problem:
            made(word, [], told=usual(word) | {"min": 0.5, "max": 0.25})
        text = render(problem.value.diagnostics)
        assert f"'min' of '{word}' is 0.5, more than 'max', 0.25." in text


def recipe(line: str) -> Any:
    return parse_text(f"net t\ninput i 1x2x2\nfc 2 | softmax_loss\ntrain {{ {line} }}")


@every_word
def test_an_augmentation_is_written_as_it_is_read(word: str) -> None:
    required = ", ".join("2" for a in AUGMENTATIONS[word].arguments if a.default is None)
    net = recipe(f"augment {word}({required})")
    (call,) = net.recipe.augment
    assert parse_text(network_text(net)) == net
    told = (call.name, call.args, call.kwargs)
    images, *_ = examples(images_of(word), range(COUNT), np.float32, 0, 0, [told])
    assert np.array_equal(images, made(word))


@every_word
def test_an_augmentation_is_listed(word: str) -> None:
    each = AUGMENTATIONS[word]
    assert f"| `{each.form}` | {each.about} |" in TRAINING
    assert f"\n| `{word}` | " in TRAINING, "how fast it is"
    text = " ".join(verbs_of(parser())["run"].format_help(whole=True).split())
    assert f"{word} {each.about}" in text


def test_each_is_defined_once() -> None:
    assert list(CHANGES) == list(AUGMENTATIONS) and IDENTITIES.keys() == AUGMENTATIONS.keys()
    for word, each in AUGMENTATIONS.items():
        taken = list(inspect.signature(CHANGES[word]).parameters)
        assert taken == [argument.name for argument in each.arguments], word
