"""Images that are mixed with others of their data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from harness import compiled, data, options, session, tiny
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import DTypeLike, NDArray

from netc.errors import DataError, Diagnostic
from netc.syntax.network import Call, NamedValues, Network, Recipe
from netc_runtime.train.augment import Spec, augment, examples
from netc_runtime.train.images import Split
from netc_runtime.train.mixing import symmetric_beta
from netc_runtime.train.philox import Draws, units
from netc_runtime.train.skipping import Skipping
from netc_runtime.train.windows import Window

SIZE, SIDES = 50, (9, 7)
WAYS = ["mixup", "cutmix"]
every_way = pytest.mark.parametrize("word", WAYS)


class Numbered:
    """Images that hold their number in every pixel, and have it as their label."""

    name, description, inputs, image_shape = "numbered", "numbers", 1, (2, *SIDES)
    classes = ("0",) * SIZE
    train_size, test_size = SIZE, SIZE
    mean, std = (0.0,), (1.0,)

    def __init__(self, bad: set[int] | None = None) -> None:
        self.bad = bad or set()
        self.loaded: list[int] = []

    def load(
        self,
        split: Split,
        indices: Sequence[int] | NDArray[np.int64],
        dtype: DTypeLike,
        windows: Sequence[Window] | None = None,
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        rows = np.array(indices, np.int64)
        wrong = [row for row in rows.tolist() if row in self.bad]
        if wrong:
            raise DataError(*(Diagnostic("E066", f"bad {row}.") for row in wrong))
        self.loaded += rows.tolist()
        return np.ones((len(rows), *self.image_shape), dtype) * rows[:, None, None, None], rows


def spec(word: str, alpha: float = 1.0, p: float = 1.0) -> Spec:
    return word, (), {"alpha": alpha, "p": p}


def mixed(*specs: Spec, rows: Any = range(SIZE), of: Any = None, epoch: int = 0) -> Any:
    return examples(of or Numbered(), rows, np.float64, 3, epoch, specs)


def apart(one: NDArray[Any], other: NDArray[Any]) -> float:
    """The largest distance of two samples' distributions (Kolmogorov and Smirnov)."""
    every = np.sort(np.concatenate((one, other)))
    shares = (np.searchsorted(np.sort(x), every, "right") / len(x) for x in (one, other))
    return float(np.abs(np.subtract(*shares)).max())


@pytest.mark.parametrize("alpha", [0.01, 0.1, 0.2, 0.5, 1.0, 3.0, 100.0])
def test_the_distribution_is_beta(alpha: float) -> None:
    count = 20_000
    words = Draws(1, 0, 1, np.arange(count)).blocks(0, 1)[:, 0]
    found = symmetric_beta(alpha, units(words[:, 2]), units(words[:, 3]))
    assert ((found >= 0) & (found <= 1)).all()
    wanted = np.random.default_rng(0).beta(alpha, alpha, count)
    # Near 1 numbers are coarser than near 0.
    assert apart(np.round(found, 12), np.round(wanted, 12)) < 0.02


def test_the_ends_of_what_may_be_drawn() -> None:
    least, most = 0.0, 1 - 2.0**-53
    grid = [(u, v) for u in (least, 0.5, most) for v in (least, 0.25, 0.5, 0.75, most)]
    for alpha in (0.01, 1.0, 100.0):
        found = symmetric_beta(alpha, *np.array(grid).T)
        assert ((found >= 0) & (found <= 1)).all()


@every_way
def test_an_image_is_what_its_labels_say(word: str) -> None:
    """Mixed pixel by pixel, or in a rectangle, by the share of the first label."""
    images, labels, others, shares = mixed(spec(word))
    assert labels.tolist() == list(range(SIZE))
    assert len(set(others.tolist())) > SIZE // 3
    wanted = shares * labels + (1 - shares) * others
    np.testing.assert_allclose(images.mean(axis=(1, 2, 3)), wanted, rtol=1e-12)
    for image, own, other in zip(images, labels, others, strict=True):
        if word == "mixup":
            assert np.ptp(image) < 1e-9
        else:
            assert set(image.ravel().tolist()) <= {float(own), float(other)}
            rows, columns = np.nonzero((image[0] == other) & (own != other))
            area = (np.ptp(rows) + 1) * (np.ptp(columns) + 1) if len(rows) else 0
            assert area == len(rows)


@every_way
def test_p_and_partners(word: str) -> None:
    """As many images as p says are mixed, each with any other as often."""
    found = [mixed(spec(word, p=0.3), epoch=epoch) for epoch in range(60)]
    others = np.concatenate([each[2] for each in found])
    shares = np.concatenate([each[3] for each in found])
    own = np.tile(np.arange(SIZE), 60)
    assert 0.25 < (shares < 1).mean() < 0.35
    assert np.array_equal(others[shares == 1], own[shares == 1])
    counts = np.bincount(others[shares < 1], minlength=SIZE)
    assert counts.min() > 0 and counts.max() < 4 * counts.mean()


def test_of_both_each_image_gets_one() -> None:
    kinds = []
    for epoch in range(40):
        images, labels, others, shares = mixed(spec("cutmix"), spec("mixup"), epoch=epoch)
        for image, own, other, share in zip(images, labels, others, shares, strict=True):
            if share < 1 and own != other:
                kinds.append(np.isclose(image, share * own + (1 - share) * other).all())
                assert kinds[-1] or set(image.ravel().tolist()) <= {float(own), float(other)}
    assert 0.4 < np.mean(kinds) < 0.6
    assert (mixed(spec("cutmix", p=0.0), spec("mixup", p=0.0))[3] == 1).all()


@given(st.sets(st.integers(0, SIZE - 1), min_size=1), st.sampled_from(WAYS))
def test_only_partners_are_loaded_besides(rows: set[int], word: str) -> None:
    """Each image once, whoever takes it."""
    dataset = Numbered()
    _, _, others, shares = mixed(spec(word, p=0.5), rows=sorted(rows), of=dataset)
    assert sorted(dataset.loaded) == sorted(rows | set(others[shares < 1].tolist()))


@every_way
def test_what_stands_before_changes_partners_too(word: str) -> None:
    """By their own numbers: as it makes them where they are not mixed."""
    erase: Spec = ("erase", (), {"p": 0.5, "min": 1.0, "max": 1.0, "ratio": 1.0})
    jitter: Spec = ("jitter", (), {"brightness": 0.5, "contrast": 0, "saturation": 0})
    before, _ = mixed(jitter, erase)
    images, _, others, shares = mixed(jitter, erase, spec(word))
    wanted = [x.mean() * s + before[o].mean() * (1 - s)
              for x, s, o in zip(before, shares, others, strict=True)]  # fmt: skip
    np.testing.assert_allclose(images.mean(axis=(1, 2, 3)), wanted, atol=1e-9)


@given(st.sets(st.integers(0, SIZE - 1), max_size=SIZE - 1), st.sampled_from(WAYS))
def test_a_partner_that_cannot_be_read(bad: set[int], word: str) -> None:
    """The next one stands in its place, with its label."""
    _, _, usual, _ = mixed(spec(word))
    images, labels, others, shares = mixed(spec(word), of=Skipping(Numbered(bad), SIZE))

    def instead(row: int) -> int:
        return next(n % SIZE for n in range(row, row + SIZE) if n % SIZE not in bad)

    assert labels.tolist() == [instead(row) for row in range(SIZE)]
    assert others.tolist() == [instead(row) for row in usual.tolist()]
    wanted = shares * labels + (1 - shares) * others
    np.testing.assert_allclose(images.mean(axis=(1, 2, 3)), wanted, rtol=1e-12)


def test_wrong_recipes(complains: Callable[..., Any]) -> None:
    images = np.zeros((0, 2, *SIDES))
    for specs, said in (
        ([spec("mixup"), ("flip", (), {})], "'flip' must be before 'mixup': images are mixed when"),
        ([spec("cutmix"), spec("mixup"), spec("cutmix")], "'cutmix' is there twice: an image is"),
        ([spec("mixup", alpha=0)], "'alpha' of 'mixup' is 0, not a number from 0.01 to 100."),
    ):
        with complains("E060", said):
            augment(images, [], 0, 0, specs)


def test_a_step_is_given_images_that_are_not_mixed_where_nothing_is_said() -> None:
    for precision in ("fp64", "fp32"):
        network = tiny()
        plain = train_once(network, precision)
        call = Call("cutmix", (), NamedValues.of(alpha=1.0, p=1.0))
        assert train_once(with_recipe(call), precision) == pytest.approx(plain, rel=1e-6)


def with_recipe(*calls: Call) -> Network:
    return replace(tiny(), recipe=Recipe(augment=calls))


def train_once(network: Network, precision: str) -> float:
    bundle, _ = compiled(network, options(network, 2, 6, strategy="data", precision=precision))
    images, labels = data(network, 6, 0)
    made = session(bundle)
    given_images = images.astype(made.dtype)
    return float(made.step(given_images, labels, step=0, seed=0, learning_rate=0.1)["loss"])
