"""What docs/training.md says of the order of images and of updates is what happens."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from netc_kernels import reference
from netc_runtime.train.augment import augment, examples, order
from netc_runtime.train.class_folders import held_out
from netc_runtime.train.datasets import open_dataset
from netc_runtime.train.images import ByteImages, Split, SplitImages

PAGE = (Path(__file__).parents[2] / "docs" / "training.md").read_text()
MASK = 2**64 - 1
SEEDS = st.integers(-3, 2**65)
EPOCHS = st.integers(0, 2**33)


def example() -> dict[str, Any]:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    return names


SHOWN = example()


def philox(counter: tuple[int, ...], key: tuple[int, int]) -> tuple[int, ...]:
    """Philox4x64-10, from the paper (Salmon et al. 2011, section 3.3 and table 2)."""
    a, b, c, d = counter
    left, right = key
    for _ in range(10):
        first, second = 0xD2E7470EE14C6C93 * a, 0xCA5A826395121157 * c
        a, b, c, d = second >> 64 ^ b ^ left, second & MASK, first >> 64 ^ d ^ right, first & MASK
        left, right = left + 0x9E3779B97F4A7C15 & MASK, right + 0xBB67AE8584CAA73B & MASK
    return a, b, c, d


def word(seed: int, epoch: int, purpose: int, number: int) -> int:
    """As the page says it in words."""
    return philox((number // 4 + 1, 0, 0, purpose), (seed % 2**64, epoch))[number % 4]


@given(SEEDS, EPOCHS, st.integers(0, 5), st.integers(1, 9))
def test_words(seed: int, epoch: int, purpose: int, count: int) -> None:
    wanted = [word(seed, epoch, purpose, number) for number in range(count)]
    assert SHOWN["words"](seed, epoch, purpose, count).tolist() == wanted


@given(SEEDS, st.integers(1, 30), st.integers(1, 30), st.integers(0, 90))
def test_order(seed: int, images: int, size: int, step: int) -> None:
    size = min(size, images)
    epoch, place = step // (images // size), step % (images // size)
    ranked = sorted(range(images), key=lambda image: (word(seed, epoch, 0, image), image))
    assert order(seed, epoch, images).tolist() == ranked
    wanted = ranked[place * size : place * size + size]
    assert SHOWN["batch"](seed, step, size, images).tolist() == wanted


@given(SEEDS, EPOCHS, st.integers(0, 40), st.integers(1, 3))
def test_augmentation(seed: int, epoch: int, image: int, pixels: int) -> None:
    """A flip after a shift: the second has the words of purpose 2."""
    height, width = 5, 7
    given_image = np.arange(1.0, 36.0).reshape(1, 1, height, width)
    specs: Any = [("shift", (pixels,), {}), ("flip", (), {})]
    (found,) = augment(given_image, [image], seed, epoch, specs)
    first, second = (word(seed, epoch, purpose, image) for purpose in (1, 2))
    down = first // 2**32 % (2 * pixels + 1) - pixels
    right = first % 2**32 % (2 * pixels + 1) - pixels
    assert (down, right) == SHOWN["moved"](seed, epoch, 0, image, pixels)
    assert second % 2 == SHOWN["mirrored"](seed, epoch, 1, image)
    padded = np.pad(given_image[0, 0], pixels)
    wanted = padded[pixels - down :, pixels - right :][:height, :width]
    assert np.array_equal(found[0], wanted[:, ::-1] if second % 2 else wanted)


KEYS = (SEEDS, EPOCHS, st.integers(0, 40))
SIDES = st.tuples(st.integers(1, 40), st.integers(1, 40))
SHARES = st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)).map(sorted)


@given(*KEYS, st.integers(0, 3), st.integers(0, 11))
def test_blocks(seed: int, epoch: int, image: int, position: int, number: int) -> None:
    counter = (image + 1, 0, number, 1 + position)
    wanted = list(philox(counter, (seed % 2**64, epoch)))
    assert SHOWN["block"](seed, epoch, position, image, number) == wanted


@given(*KEYS, SIDES, SHARES, st.floats(0.01, 1), st.sampled_from([1, 3]))
def test_resized_crop(
    seed: int,
    epoch: int,
    image: int,
    sides: tuple[int, int],
    shares: list[float],
    ratio: float,
    channels: int,
) -> None:
    """Pillow's weights are whole numbers too, so a pixel may differ by 1 after each pass."""
    pixels = np.random.default_rng(image).integers(0, 256, (41, channels, *sides), np.uint8)
    part = SplitImages((pixels,), np.zeros(41, np.int64))
    dataset = ByteImages("", "", ("",), (0.0,), (1.0,), part, part)
    told = {"min": shares[0], "max": shares[1], "ratio": ratio}
    specs: Any = [("resized_crop", (), told)]
    (found,), _ = examples(dataset, [image], np.float64, seed, epoch, specs)
    window = SHOWN["window"](seed, epoch, image, *sides, *shares, ratio)
    for channel, shown in zip(pixels[image], found, strict=True):
        assert np.abs(SHOWN["scaled"](channel, *window, *sides) - shown).max() <= 2


@given(SIDES, SIDES, st.integers(0, 9))
def test_scaled_down_too(sides: tuple[int, int], size: tuple[int, int], seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, sides, np.uint8)
    top, left = seed % sides[0], seed % sides[1]
    high, wide = sides[0] - top, sides[1] - left
    shown = Image.fromarray(pixels).resize(
        size[::-1], Image.Resampling.BILINEAR, (left, top, left + wide, top + high)
    )
    wanted = SHOWN["scaled"](pixels, top, left, high, wide, *size)
    assert np.abs(wanted - np.asarray(shown)).max() <= 2


@given(*KEYS, st.integers(0, 2), *[st.floats(0, 1)] * 3)
def test_jitter(
    seed: int,
    epoch: int,
    image: int,
    position: int,
    brightness: float,
    contrast: float,
    saturation: float,
) -> None:
    pixels = np.random.default_rng(image).integers(0, 256, (3, 5, 7)).astype(float)
    mean, std = np.array([120.0, 100.0, 90.0]), np.array([60.0, 50.0, 55.0])
    normal = ((pixels.T - mean) / std).T
    told = {"brightness": brightness, "contrast": contrast, "saturation": saturation}
    specs: Any = [("flip", (), {})] * position + [("jitter", (), told)]
    scale: Any = (mean, std)
    (found,) = augment(normal[None], [image], seed, epoch, specs, scale)
    if sum(SHOWN["mirrored"](seed, epoch, place, image) for place in range(position)) % 2:
        found = found[..., ::-1]
    wanted = SHOWN["jittered"](
        pixels, seed, epoch, position, image, brightness, contrast, saturation
    )
    assert np.allclose((found.T * std + mean).T, wanted, atol=1e-9)


@given(*KEYS, SIDES, st.floats(0, 1), SHARES, st.floats(0.01, 1))
def test_erase(
    seed: int,
    epoch: int,
    image: int,
    sides: tuple[int, int],
    p: float,
    shares: list[float],
    ratio: float,
) -> None:
    told = {"p": p, "min": shares[0], "max": shares[1], "ratio": ratio}
    (found,) = augment(np.ones((1, 2, *sides)), [image], seed, epoch, [("erase", (), told)])
    wanted = np.ones((2, *sides))
    gone = SHOWN["erased"](seed, epoch, 0, image, *sides, p, *shares, ratio)
    if gone is not None:
        top, left, high, wide = gone
        wanted[:, top : top + high, left : left + wide] = 0
    assert np.array_equal(found, wanted)


WAYS = st.lists(st.sampled_from(["mixup", "cutmix"]), min_size=1, max_size=2, unique=True)


@given(*KEYS, st.integers(0, 2), WAYS, SIDES, st.floats(0.01, 100), st.floats(0, 1))
def test_mixing(
    seed: int,
    epoch: int,
    image: int,
    position: int,
    words: list[str],
    sides: tuple[int, int],
    alpha: float,
    p: float,
) -> None:
    """Behind flips, which turn each image by its own number."""
    pixels = np.random.default_rng(image).integers(0, 256, (41, 2, *sides), np.uint8)
    part = SplitImages((pixels,), np.arange(41) % 7)
    dataset = ByteImages("", "", ("",) * 7, (100.0,), (50.0,), part, part)
    before: Any = [("flip", (), {})] * position
    specs: Any = [*before, *((word, (), {"alpha": alpha, "p": p}) for word in words)]
    plain, labels = examples(dataset, range(41), np.float64, seed, epoch, before)
    (found,), (own,), (other,), (share,) = examples(
        dataset, [image], np.float64, seed, epoch, specs
    )
    place = 0
    if len(words) == 2 and not SHOWN["first_of_both"](seed, epoch, position, image):
        place = 1
    cuts = words[place] == "cutmix"
    at = position + place
    mixed = SHOWN["mixed"](seed, epoch, at, image, 41, *sides, alpha, p, cuts)
    wanted = plain[image]
    assert own == labels[image]
    if mixed is None:
        assert share == 1
    else:
        partner, kept, box = mixed
        assert share == pytest.approx(kept, abs=1e-12)
        assert other == labels[partner] or share == 1
        if box is None:
            wanted = kept * wanted + (1 - kept) * plain[partner]
        else:
            top, bottom, left, right = box
            wanted[:, top:bottom, left:right] = plain[partner][:, top:bottom, left:right]
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


@given(
    st.integers(0, 2**63 - 1), st.sampled_from(["train", "test"]), st.integers(0, 99),
    st.tuples(st.integers(1, 3), st.integers(1, 7), st.integers(1, 7)), st.integers(1, 9),
)  # fmt: skip
def test_synthetic(
    seed: int, split: Split, image: int, shape: tuple[int, int, int], classes: int
) -> None:
    def random_byte(purpose: int, number: int, j: int) -> int:
        block = philox((j // 32 + 1, 0, purpose, number), (seed, 0))
        return block[j // 8 % 4] >> 8 * (j % 8) & 255

    dataset = open_dataset("synthetic", (), {"seed": seed}, shape, classes)
    (found,), (label,) = dataset.load(split, [image], np.float64)
    assert label == image % classes
    c, y, x = (side - 1 for side in shape)
    field = 16 * c + 4 * (4 * y // shape[1]) + 4 * x // shape[2]
    p = random_byte(0, int(label), field)
    q = random_byte(1 + (split == "test"), image, (c * shape[1] + y) * shape[2] + x)
    assert found[c, y, x] == (p // 2 + q // 2 - 127) / 52.25


@given(
    st.lists(st.text("abcé猫", min_size=1), min_size=1, unique=True), st.floats(1e-3, 0.999)
)  # fmt: skip
def test_held_out(names: list[str], share: float) -> None:
    place = Path("/photos")
    paths = [f"cat/{name}.jpg" for name in names]
    found = held_out(place, [place / path for path in paths], share)
    assert found == {place / path for path in SHOWN["held_out"](paths, share)}


def netc_sgd(rates: list[float], momentum: float, decay: float) -> Iterator[NDArray[Any]]:
    """The weights after each step, by the reference kernels."""
    w, v = np.ones(3), np.zeros(3)
    for rate, g in zip(rates, gradients(), strict=False):
        reference.KERNELS["sgd_velocity"](
            v, v, w, g, np.array(rate), momentum=momentum, decay=decay, scale=1.0
        )
        reference.KERNELS["sgd_apply"](w, w, v)
        yield w.copy()


def netc_momentum(rates: list[float], momentum: float, decay: float) -> Iterator[NDArray[Any]]:
    """The weights after each step, by the reference kernels."""
    w, v = np.ones(3), np.zeros(3)
    for rate, g in zip(rates, gradients(), strict=False):
        reference.KERNELS["momentum_velocity"](
            v, v, w, g, momentum=momentum, decay=decay, scale=1.0
        )
        reference.KERNELS["velocity_apply"](w, w, v, np.array(rate), scale=1.0)
        yield w.copy()


def torch_sgd(rates: list[float], momentum: float, decay: float) -> Iterator[NDArray[Any]]:
    """As the page has PyTorch's rule."""
    w, b = np.ones(3), np.zeros(3)
    for rate, g in zip(rates, gradients(), strict=False):
        b = momentum * b + g + decay * w
        w = w - rate * b
        yield w


def gradients() -> Iterator[NDArray[Any]]:
    rng = np.random.default_rng(0)
    while True:
        yield rng.standard_normal(3)


def test_sgd_beside_pytorch() -> None:
    assert "`sgd` (v := momentum v - lr (g + decay w); w := w + v)" in PAGE
    assert "(b := momentum b + g + decay w; w := w - lr b)" in PAGE
    for stays in ([0.1] * 5, [0.3] * 5):
        for mine, theirs in zip(netc_sgd(stays, 0.9, 0.1), torch_sgd(stays, 0.9, 0.1), strict=True):
            assert mine == pytest.approx(theirs, rel=1e-12)
    changes = [0.1, 0.1, 0.01]
    assert np.allclose([*netc_momentum(changes, 0.9, 0.1)], [*torch_sgd(changes, 0.9, 0.1)])
    *same, mine = netc_sgd(changes, 0.9, 0.1)
    *like, theirs = torch_sgd(changes, 0.9, 0.1)
    assert np.allclose(same, like) and not np.allclose(mine, theirs)
    first, second = np.diff([np.ones(3), *same], axis=0)[-1], mine - same[-1]
    assert np.abs(second).max() > 0.5 * np.abs(first).max()
