"""Order and augmentation: permutations, what each change does, and what it may depend on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from netc_runtime.train.augment import Spec, augment, examples, order
from netc_runtime.train.imagefolder import imagefolder
from netc_runtime.train.images import Wanted
from netc_runtime.train.philox import Draws, stream, units
from netc_runtime.train.windows import random_rectangle, random_window

SPECS: tuple[Spec, ...] = (("shift", (2,), {}), ("flip", (), {}), ("shift", (1,), {}))


def numbered(count: int, shape: tuple[int, int, int] = (2, 5, 6)) -> NDArray[np.float32]:
    """Images in which no two pixels, and none and the filling, are alike."""
    size = count * int(np.prod(shape))
    return np.arange(1, size + 1, dtype=np.float32).reshape(count, *shape)


@given(st.integers(-(2**64), 2**64), st.integers(0, 10**6), st.integers(0, 300))
def test_order_is_a_permutation(seed: int, epoch: int, n: int) -> None:
    first = order(seed, epoch, n)
    assert first.dtype == np.int64 and sorted(first.tolist()) == list(range(n))
    assert np.array_equal(first, order(seed, epoch, n)) and not first.flags.writeable


def test_order_depends_on_seed_and_epoch_and_never_changes() -> None:
    assert order(7, 0, 10).tolist() == [8, 4, 1, 6, 3, 2, 7, 5, 9, 0]
    assert len({tuple(order(seed, epoch, 50)) for seed in (0, 1) for epoch in (0, 1, 2)}) == 6


def test_order_favours_no_place() -> None:
    first = np.array([order(0, epoch, 4)[0] for epoch in range(2000)])
    assert np.all(np.abs(np.bincount(first) - 500) < 100)


@given(st.permutations(range(12)), st.integers(0, 12), st.integers(0, 3), st.integers(0, 3))
def test_augmentation_does_not_depend_on_the_batch(
    rows: list[int], cut: int, seed: int, epoch: int
) -> None:
    images = numbered(12)
    whole = augment(images, range(12), seed, epoch, SPECS)
    for part in (rows[:cut], rows[cut:]):
        assert np.array_equal(augment(images[part], part, seed, epoch, SPECS), whole[part])


def test_augmentation_depends_on_seed_epoch_and_index() -> None:
    same = np.repeat(numbered(1), 40, axis=0)
    made = augment(same, range(40), 0, 0, SPECS)
    assert len({image.tobytes() for image in made}) > 20
    assert not np.array_equal(made, augment(same, range(40), 1, 0, SPECS))
    assert not np.array_equal(made, augment(same, range(40), 0, 1, SPECS))
    assert made.dtype == same.dtype and np.array_equal(same, np.repeat(numbered(1), 40, axis=0))


def test_shift_is_a_crop_of_what_was_padded_with_zeros() -> None:
    images = np.repeat(numbered(1), 400, axis=0)
    made = augment(images, range(400), 0, 0, [("shift", (2,), {})])
    padded = np.pad(images[0], ((0, 0), (2, 2), (2, 2)))
    windows = {
        padded[:, top : top + 5, left : left + 6].tobytes() for top in range(5) for left in range(5)
    }
    assert {image.tobytes() for image in made} == windows


@pytest.mark.parametrize("pixels", [5, 6, 40])
def test_a_shift_may_leave_the_picture(pixels: int) -> None:
    made = augment(numbered(60), range(60), 0, 0, [("shift", (pixels,), {})])
    assert made.shape == (60, 2, 5, 6)
    assert any(not image.any() for image in made)


def test_flip_mirrors_half() -> None:
    images = numbered(400)
    made = augment(images, range(400), 0, 0, [("flip", (), {})])
    flipped = np.array([np.array_equal(a, b[..., ::-1]) for a, b in zip(made, images, strict=True)])
    assert np.array_equal(made[~flipped], images[~flipped])
    assert 150 < flipped.sum() < 250


def test_nothing_to_do() -> None:
    assert np.array_equal(augment(numbered(3), range(3), 0, 0, []), numbered(3))
    assert augment(numbered(0), [], 0, 0, SPECS).shape == (0, 2, 5, 6)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (("flop", (), {}), "there is no augmentation 'flop'.\n     = help: did you mean 'flip'? "),
        (("shift", (), {}), "missing a required argument: 'pixels'."),
        (
            ("shift", (70_000,), {}),
            "'pixels' of 'shift' is 70000, not a whole number, 1 to 65,536.",
        ),
        (("flip", (1,), {}), "too many positional arguments.\n     = help: write flip()"),
        (("erase", (), {"p": 1}), "missing a required argument: 'min'."),
        (("resized_crop", (), {"low": 1}), "missing a required argument: 'min'."),
    ],
)
def test_wrong_augmentations(spec: Spec, said: str, complains: Callable[..., Any]) -> None:
    with complains("E060", said):
        augment(numbered(0), [], 0, 0, [spec])


def test_what_is_read_is_chosen_first(complains: Callable[..., Any]) -> None:
    crop: Spec = ("resized_crop", (), {"min": 0.5, "max": 1, "ratio": 1})
    for before in (crop, SPECS[0]):
        with complains("E060", "'resized_crop' must be the first augmentation: it chooses what is"):
            augment(numbered(0), [], 0, 0, [before, crop])


LIMITS = st.tuples(st.floats(0.01, 1), st.floats(0.01, 1), st.floats(0.01, 1)).map(
    lambda told: (min(told[:2]), max(told[:2]), told[2])
)


def blocks(seed: int, count: int) -> NDArray[np.uint64]:
    return Draws(seed, 0, 1, np.arange(count)).blocks(1, 10)


@given(st.integers(0, 2**64), st.integers(1, 300), st.integers(1, 300), LIMITS)
def test_rectangles_are_within_the_image_and_the_limits(
    seed: int, height: int, width: int, limits: tuple[float, float, float]
) -> None:
    """Rounding moves a side by half a pixel."""
    (words,) = blocks(seed, 1)
    found = random_rectangle(height, width, words, limits)
    left, top, right, bottom = random_window(height, width, words, limits)
    assert 0 <= left < right <= width and 0 <= top < bottom <= height
    if found is None:
        wide, tall, ratio = right - left, bottom - top, limits[2]
        assert tall == height or wide == width
        assert ratio * (tall - 0.5) <= wide + 1e-9 and ratio * (wide - 0.5) <= tall + 1e-9
        return
    y, x, tall, wide = found
    assert (left, top, right, bottom) == (x, y, x + wide, y + tall)
    least, most, ratio = limits
    assert (tall - 0.5) * (wide - 0.5) <= most * height * width + 1e-6
    assert (tall + 0.5) * (wide + 0.5) >= least * height * width - 1e-6
    assert (wide - 0.5) * ratio <= tall + 0.5 + 1e-6 and (tall - 0.5) * ratio <= wide + 0.5 + 1e-6


def test_rectangles_are_of_any_area_shape_and_place() -> None:
    """Of 10^4 rectangles: area and the shape's logarithm are uniform, as are places."""
    found = [random_rectangle(1000, 1000, words, (0.1, 0.3, 0.5)) for words in blocks(3, 10_000)]
    top, left, tall, wide = np.array(found, float).T
    share, shape = tall * wide / 1e6, np.log(wide / tall) / np.log(2)
    uniform = (share - 0.1) / 0.2, (shape + 1) / 2, top / (1000 - tall), left / (1000 - wide)
    for each in uniform:
        deciles = np.histogram(each, 10, (0, 1))[0]
        assert np.all(np.abs(deciles - 1000) < 150), deciles


def test_a_window_that_never_fits_is_the_largest_in_the_middle() -> None:
    """All of the area, at a shape that the image does not have."""
    (words,) = blocks(0, 1)
    assert random_window(10, 40, words, (1, 1, 1)) == (15, 0, 25, 10)
    assert random_window(41, 10, words, (1, 1, 0.5)) == (0, 10, 10, 30)
    assert random_window(10, 12, words, (1, 1, 0.999)) == (1, 0, 11, 10)


def test_a_picture_is_cut_before_it_is_scaled(tmp_path: Path, make_folder: Any) -> None:
    """From the file, not from the centre that is read else."""
    make_folder(tmp_path)
    dataset, told = (
        imagefolder(Wanted((3, 8, 8), 2), str(tmp_path)),
        {"min": 0.05, "max": 0.1, "ratio": 0.9},
    )
    rows, limits = np.array([4, 1, 2]), tuple(told.values())
    images, _ = examples(dataset, rows, np.float64, 5, 2, [("resized_crop", (), told)])
    attempts = Draws(5, 2, 1, rows).blocks(1, 10)
    for row, image, words in zip(rows, images, attempts, strict=True):
        picture = Image.open(dataset.train.paths[row])
        box = random_window(picture.height, picture.width, words, limits)  # type: ignore[arg-type]
        assert box[2] - box[0] < 12
        shown = np.asarray(picture.resize((8, 8), Image.Resampling.BILINEAR, box), float)
        wanted = (shown - dataset.mean) / dataset.std
        assert np.allclose(image, wanted.transpose(2, 0, 1), atol=1e-12)


SCALE = ((123.0, 116.0, 103.0), (58.0, 57.0, 56.0))


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.permutations(range(3)))
def test_jitter_in_any_order(
    brightness: float, contrast: float, saturation: float, order_: list[int]
) -> None:
    """Each by itself, in bytes: towards black, towards the mean grey, towards the pixel's grey."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (6, 3, 4, 5)).astype(float)
    mean, std = (np.array(each)[:, None, None] for each in SCALE)
    told = {"brightness": brightness, "contrast": contrast, "saturation": saturation}
    images = augment((pixels - mean) / std, range(6), 1, 0, [("jitter", (), told)], SCALE)
    words = Draws(1, 0, 1, np.arange(6)).blocks(0, 1)[:, 0, :3]
    factors = 1 + np.array(list(told.values())) * (2 * units(words) - 1)

    def grey(x: NDArray[Any]) -> NDArray[Any]:
        return 0.299 * x[0] + 0.587 * x[1] + 0.114 * x[2]

    changes: list[Callable[[NDArray[Any], float], NDArray[Any]]] = [
        lambda x, f: f * x,
        lambda x, f: f * x + (1 - f) * grey(x).mean(),
        lambda x, f: f * x + (1 - f) * grey(x),
    ]
    for x, found, each in zip(pixels, images, factors, strict=True):
        for change in order_:
            x = changes[change](x, each[change])
        assert np.allclose(found * std + mean, x, atol=1e-9)


@given(st.floats(0, 1))
def test_grey_images_have_no_saturation(saturation: float) -> None:
    told = {"brightness": 0, "contrast": 0, "saturation": saturation}
    images = numbered(4, (1, 5, 6)).astype(float)
    made = augment(images, range(4), 0, 0, [("jitter", (), told)], ((9.0,), (3.0,)))
    assert np.allclose(made, images, atol=1e-9)


@pytest.mark.parametrize("p", [0.0, 0.25, 1.0])
def test_erase_takes_a_rectangle_of_so_many(p: float) -> None:
    """Pixels are 0 or as they were; those that are 0 fill a rectangle, alike in all channels."""
    images, told = numbered(2000, (2, 9, 8)), {"p": p, "min": 0.1, "max": 0.4, "ratio": 0.5}
    made = augment(images, range(2000), 0, 0, [("erase", (), told)])
    gone = made == 0
    assert np.array_equal(made[~gone], images[~gone])
    assert np.array_equal(gone[:, 0], gone[:, 1])
    count = 0
    for each in gone[:, 0]:
        rows, columns = np.flatnonzero(each.any(axis=1)), np.flatnonzero(each.any(axis=0))
        assert each.sum() == len(rows) * len(columns)
        count += bool(each.any())
        assert len(rows) == 0 or each[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
    assert abs(count - 2000 * p) <= 4 * (2000 * p * (1 - p)) ** 0.5


@given(st.integers(-(2**64), 2**65), st.integers(0, 2**40), st.integers(0, 9), st.integers(0, 99))
def test_draws_are_those_of_numpy(seed: int, epoch: int, purpose: int, image: int) -> None:
    draws = Draws(seed, epoch, purpose, np.array([image, 0]))
    assert draws.words()[0] == stream(seed, epoch, purpose, image + 1)[image]
    key = np.array([seed % 2**64, epoch], np.uint64)
    for number in range(3):
        counter = np.array([image, 0, number, purpose], np.uint64)
        wanted = np.random.Philox(key=key, counter=counter).random_raw(4)
        assert np.array_equal(draws.blocks(number, 1)[0, 0], wanted)
