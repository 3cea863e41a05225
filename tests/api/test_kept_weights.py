"""Weights that are given or trained are not lost, changed or widened in silence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import netc

TEXT = """
net small(classes = 3)
input image 1x4x4
conv 3x3 4 pad=1 | relu
fc := fc classes
softmax_loss
"""


def given() -> tuple[netc.Model, dict[str, np.ndarray]]:
    model = netc.parse(TEXT)
    return model, {name: value.copy() for name, value in model.weights().items()}


def test_a_program_does_not_lose_weights(tmp_path: Path) -> None:
    model, weights = given()
    images, labels = np.zeros((6, 1, 4, 4)), np.arange(6) % 3
    plan = model.with_weights(weights).plan(batch=2)
    trained = model.run(data=(images, labels, images, labels), batch=2, steps=1)
    for one in (plan, trained):
        with pytest.raises(netc.UsageError, match="has no weights"):
            one.save(tmp_path / "x.netc")
        one.save(tmp_path / "x.safetensors")
    model.plan(batch=2).save(tmp_path / "x.netc")
    program = netc.load_program(tmp_path / "x.netc")
    with program.open(weights=tmp_path / "x.safetensors", training=False) as session:
        np.testing.assert_array_equal(session.predict(images), trained.predict(images))


def test_given_weights_are_copied() -> None:
    model, weights = given()
    with_them = model.with_weights(weights)
    before = with_them.predict(np.ones((1, 1, 4, 4)))
    weights["fc.bias"][0] += 100
    np.testing.assert_array_equal(with_them.predict(np.ones((1, 1, 4, 4))), before)


@pytest.mark.parametrize("value", [1e300, np.inf, np.nan])
def test_what_float32_does_not_hold_is_refused(value: float) -> None:
    model, weights = given()
    with pytest.raises(netc.DataError, match="not finite"):
        model.with_weights({**weights, "fc.bias": np.full(3, value)})


@pytest.mark.parametrize("array", [np.zeros(3, complex), np.zeros(3, bool)])
def test_weights_are_numbers(array: np.ndarray) -> None:
    model, weights = given()
    with pytest.raises(netc.DataError, match="weights are numbers"):
        model.with_weights({**weights, "fc.bias": array})


@pytest.mark.parametrize("count", [0, -1, 6, 2.5, "a"])
def test_no_more_classes_than_are_kept(count: object) -> None:
    model, _ = given()
    found = model.evaluate(data=(np.zeros((6, 1, 4, 4)), np.arange(6) % 3))
    assert found.top(3) == 1
    with pytest.raises(netc.UsageError, match="5 most likely"):
        found.top(count)  # type: ignore[arg-type]


def test_arrays_have_either_names() -> None:
    """As a file's: netc's, or PyTorch's with its counters."""
    model, weights = given()
    weights["fc.bias"] += 1
    torch = model.with_weights(weights).weights("torch") | {"features.1.num_batches_tracked": 3}
    assert torch.keys() != weights.keys()
    for name, value in model.with_weights(torch).weights().items():
        np.testing.assert_array_equal(value, weights[name])
    del torch["classifier.0.bias"]
    assert "fc.bias" in model.with_weights(torch, allow_missing=["classifier.*"]).weights()
    with pytest.raises(netc.DataError, match=r"no weight 'first'(?s:.)*'weights\(\)' has"):
        model.with_weights({**weights, "first": weights["fc.bias"]})


class Tensor:
    """As PyTorch's where it requires gradients."""

    detach = None

    def __array__(self, *_: object, **__: object) -> np.ndarray:
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")


def test_what_is_no_array_says_why() -> None:
    model, weights = given()
    images, labels = np.zeros((6, 1, 4, 4)), np.arange(6) % 3
    for work in (
        lambda: model.with_weights({**weights, "fc.bias": Tensor()}),
        lambda: model.predict(Tensor()),
        lambda: model.run(data=(Tensor(), labels, images, labels)),
        lambda: model.evaluate(data=(images, Tensor())),
    ):
        with pytest.raises(netc.UsageError, match=r"requires grad\.(?s:.)*\.detach\(\)"):
            work()
    with pytest.raises(netc.UsageError, match="'x_train' is no array"):
        model.run(data=([[1], [1, 2]], labels, images, labels))


def test_a_suffix_may_be_in_capitals(tmp_path: Path) -> None:
    model, weights = given()
    plan = model.plan(batch=2)
    for value, names in (
        (model, ("X.NET", "X.SAFETENSORS")),
        (plan, ("X.NETC", "X.TOML", "X.SVG")),
    ):
        for name in names:
            value.save(tmp_path / name)
    np.testing.assert_array_equal(
        model.with_weights(tmp_path / "X.SAFETENSORS").weights()["fc.bias"], weights["fc.bias"]
    )
    assert netc.load(tmp_path / "X.NET").text == model.text
    assert netc.load_program(tmp_path / "X.NETC").batch == 2
