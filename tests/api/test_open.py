"""Loops of one's own: steps, evaluations and predictions of arrays, and weights."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from api_cases import ARRAYS, IMAGES, LABELS, TINY, refused, tiny
from PIL import Image

import netc
from netc.api.images import image_floats
from netc_runtime.choose import BackendChoice
from netc_runtime.train.augment import order
from netc_runtime.train.digits import digits
from netc_runtime.train.idx import PICTURES


def test_a_loop_equals_a_training() -> None:
    """The same batches in the same order: the same weights, to the bit."""
    trained = tiny().run(data=ARRAYS, epochs=2, lr=0.03, seed=0, devices=2)
    with tiny(settings={"train.seed": 0}).plan(devices=2).open() as program:
        for epoch in range(2):
            rows = order(0, epoch, 80)
            for start in range(0, 80, 16):
                batch = rows[start : start + 16]
                program.step(IMAGES[batch], LABELS[batch], lr=0.03)
        assert program.steps == 10
        mine = program.weights()
    for name, value in trained.weights().items():
        np.testing.assert_array_equal(mine[name], value)


def test_any_plan_gives_the_same() -> None:
    found = []
    for words in ({"devices": 1}, {"devices": 3, "strategy": "hybrid"},
                  {"mesh": "2x2", "strategy": "data"}):  # fmt: skip
        with tiny().plan(**words).open() as program:
            found.append([program.step(IMAGES[:16], LABELS[:16]).loss for _ in range(4)])
    np.testing.assert_allclose(found, [found[0]] * 3, rtol=1e-5)


def test_evaluations_of_any_number() -> None:
    with tiny().plan(batch=16, devices=2).open(training=False) as program:
        whole = program.evaluate(IMAGES, LABELS)
        assert whole.images == 96
        parts = [program.evaluate(IMAGES[a:b], LABELS[a:b]) for a, b in ((0, 5), (5, 96))]
        mean = sum(each.loss * each.images for each in parts) / 96
        np.testing.assert_allclose(whole.loss, mean, rtol=1e-5)
        shares = program.predict(IMAGES)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-6)
    right = (shares.argmax(axis=1) == LABELS).mean()
    assert whole.accuracy == pytest.approx(right)
    own = -np.log(shares[np.arange(96), LABELS]).mean()
    assert whole.loss == pytest.approx(own, rel=1e-4)


@pytest.mark.parametrize(
    ("recipe", "mean", "deviation"),
    [
        ("", 127.5, 127.5),
        ("data synthetic()", 127.5, 127.5),
        ("data digits()", *digits().mean, *digits().std),
        ('data idx("gone")', *PICTURES.mean, *PICTURES.std),
        ('data cifar10("gone")', 127.5, 127.5),
    ],
)
def test_bytes_are_scaled_alike_by_all_that_take_them(
    recipe: str, mean: float, deviation: float
) -> None:
    """Where the recipe's data are of three channels and the network takes one, as without any."""
    bytes_ = (IMAGES * 60 + 60).clip(0, 255).astype(np.uint8)
    floats = ((bytes_ - mean) / deviation).astype(np.float32)
    network = netc.parse(TINY.replace("epochs 2", f"epochs 2; {recipe}"))
    given, same = ((each, LABELS, each, LABELS) for each in (bytes_, floats))
    trained = network.run(data=given)
    assert trained.loss == pytest.approx(network.run(data=same).loss, rel=1e-4)
    wanted, score = trained.predict(floats), trained.evaluate(data=(floats, LABELS)).loss
    for each in (trained, network.with_weights(trained.weights())):
        np.testing.assert_allclose(each.predict(bytes_), wanted, rtol=1e-4)
        assert each.evaluate(data=(bytes_, LABELS)).loss == pytest.approx(score, rel=1e-4)
    with network.with_weights(trained.weights()).plan().open() as session:
        np.testing.assert_allclose(session.predict(bytes_), wanted, rtol=1e-4)
        assert session.step(bytes_[:16], LABELS[:16], lr=0.0).loss == pytest.approx(
            session.step(floats[:16], LABELS[:16], lr=0.0).loss, rel=1e-4
        )


def test_bytes_are_scaled_as_what_was_trained_on() -> None:
    """Also where that was another data set than the recipe's."""
    bytes_ = (IMAGES * 5 + 5).clip(0, 16).astype(np.uint8)
    network = netc.load("digits", settings={"train.data": "synthetic(train=64,test=8)"})
    trained = network.run(data="digits", steps=1)
    floats = ((bytes_ - digits().mean[0]) / digits().std[0]).astype(np.float32)
    again = trained.run(data=(bytes_, LABELS, bytes_, LABELS), steps=1)
    for each in (trained, again):
        np.testing.assert_allclose(each.predict(bytes_), each.predict(floats), rtol=1e-4)


def test_numbers_that_are_too_large() -> None:
    large = IMAGES * 1e300
    for work in (
        lambda: tiny().run(data=(large, LABELS, IMAGES, LABELS)),
        lambda: tiny().evaluate(data=(large, LABELS)),
    ):
        assert "holds numbers that are too large for float32" in refused(work, "E062")


def test_weights_of_all_kinds(tmp_path: Path) -> None:
    trained = tiny().run(data=ARRAYS, steps=5)
    names, torch = set(trained.weights()), set(trained.weights("torch"))
    assert names == {"conv1.weight", "conv1.bias", "fc1.weight", "fc1.bias"} != torch
    for name in ("netc", "torch"):
        trained.save(tmp_path / f"{name}.safetensors", names=name)
        again = tiny().with_weights(tmp_path / f"{name}.safetensors")
        np.testing.assert_array_equal(again.weights()["fc1.bias"], trained.weights()["fc1.bias"])
        with tiny().plan().open(weights=tmp_path / f"{name}.safetensors") as program:
            np.testing.assert_array_equal(
                program.weights()["fc1.bias"], trained.weights()["fc1.bias"]
            )
    again = tiny().with_weights(trained.weights())
    np.testing.assert_allclose(again.predict(IMAGES), trained.predict(IMAGES), rtol=1e-4)
    again.weights()["fc1.bias"][:] = 7
    assert again.weights()["fc1.bias"].max() < 7
    with tiny().plan().open() as program:
        program.restore(trained.weights())
        np.testing.assert_allclose(program.predict(IMAGES), trained.predict(IMAGES), rtol=1e-5)


def test_averages_are_the_weights_that_are_given() -> None:
    """With `ema` and batch statistics: what is evaluated is what is handed on."""
    text = TINY.replace("epochs 2", "epochs 2; ema 0.9").replace("pad=1", "pad=1 | bn")
    network = netc.parse(text)
    trained = network.run(data=ARRAYS, epochs=3, devices=2)
    assert trained.tensors is not None and "fc1.bias.average" in trained.tensors
    given = trained.weights()
    np.testing.assert_array_equal(given["fc1.bias"], trained.tensors["fc1.bias.average"])
    assert (given["fc1.bias"] != trained.tensors["fc1.bias"]).any()
    assert set(given) == set(network.weights()) and "bn1.running_mean" in given
    again = network.with_weights(given).evaluate(data=ARRAYS)
    assert again.loss == pytest.approx(trained.loss, rel=1e-4)
    for training in (True, False):
        with network.with_weights(given).plan(devices=2).open(training=training) as program:
            np.testing.assert_array_equal(program.weights()["fc1.bias"], given["fc1.bias"])


def test_initial_weights_are_those_of_the_seed() -> None:
    first, second = (tiny(settings={"train.seed": seed}).weights() for seed in (0, 1))
    assert (first["fc1.weight"] != second["fc1.weight"]).any()
    with tiny(settings={"train.seed": 1}).plan(devices=2).open() as program:
        np.testing.assert_array_equal(program.weights()["fc1.weight"], second["fc1.weight"])


@pytest.mark.parametrize(
    ("images", "labels", "words", "code"),
    [(IMAGES[:15], LABELS[:15], {}, "E067"), (IMAGES[:16], LABELS[:15], {}, "E063"),
     (IMAGES[:16], LABELS[:16] + 5, {}, "E064"), (IMAGES[:16], LABELS[:16] - 1, {}, "E064"),
     (IMAGES[:16] * np.nan, LABELS[:16], {}, "E062"),
     (IMAGES[:16], LABELS[:16], {"lr": "a"}, "E051"),
     (IMAGES[:16], None, {}, "E062"), (IMAGES[:16], np.eye(3)[LABELS[:16]], {}, "E062"),
     (IMAGES[:16, :, :7], LABELS[:16], {}, "E067"), ({"image": IMAGES}, LABELS, {}, "E062"),
     (IMAGES[:16] * 1e38, LABELS[:16], {}, "E075"), ([[1, 2], [3]], LABELS, {}, "E051")],
)  # fmt: skip
def test_wrong_steps(images: Any, labels: Any, words: dict[str, Any], code: str) -> None:
    with tiny().plan(devices=2).open() as program:
        refused(lambda: program.step(images, labels, **words), code)
        assert not program.closed


def test_wrong_predictions() -> None:
    with tiny().plan().open(training=False) as program:
        refused(lambda: program.predict(IMAGES[:0]), "E065")
        refused(lambda: program.predict("a.png"), "E051")
        refused(lambda: program.predict(["a.png"]), "E066")
        refused(lambda: program.predict(IMAGES.astype(object)), "E062")
        refused(lambda: program.step(IMAGES[:16], LABELS[:16]), "E051")


def test_numbers_that_are_too_large_are_the_images_fault(recwarn: pytest.WarningsRecorder) -> None:
    huge = np.full((2, *IMAGES.shape[1:]), 1e300)
    with tiny().plan().open() as program:
        assert "too large" in refused(lambda: program.predict(huge), "E062")
    assert not recwarn.list


def test_wrong_weights() -> None:
    refused(lambda: tiny().with_weights({"q": 1}), "E081")
    refused(lambda: tiny().with_weights({"fc1.bias": np.zeros(4)}), "E082")
    refused(lambda: tiny().with_weights(3), "E051")  # type: ignore[arg-type]
    part = {"fc1.bias": np.zeros(3)}
    told = refused(lambda: tiny().with_weights(part), "E080")
    assert "'weights' lacks" in told and "allow_missing" in told
    refused(lambda: tiny().with_weights({}), "E080")
    tiny().with_weights(part, allow_missing=["conv*", "fc1.weight"])
    tiny().with_weights({**part, "q": 1}, allow_missing=["*"], allow_unexpected=["q"])
    refused(lambda: tiny().weights("keras"), "E051")  # type: ignore[arg-type]
    with tiny().plan().open() as program:
        refused(lambda: program.restore({"fc9": np.zeros(4)}), "E081")
        refused(lambda: program.restore(3), "E051")  # type: ignore[arg-type]


def test_weights_of_other_classes(tmp_path: Path) -> None:
    tiny(classes=5).save(tmp_path / "five.safetensors")
    refused(lambda: tiny().with_weights(tmp_path / "five.safetensors"), "E082")
    mine = tiny().with_weights(tmp_path / "five.safetensors", allow_missing=["fc1.*"])
    assert mine.tensors is not None and set(mine.tensors) == {"conv1.weight", "conv1.bias"}
    np.testing.assert_array_equal(mine.weights()["fc1.weight"], tiny().weights()["fc1.weight"])
    with mine.plan(devices=2).open() as program:
        own = program.weights()
    np.testing.assert_array_equal(own["conv1.weight"], tiny(classes=5).weights()["conv1.weight"])


def test_a_session_is_of_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if there were two: nothing of them is touched."""
    monkeypatch.setattr("netc.api.held.choose", lambda *_: BackendChoice("cuda", "as if"))
    said = refused(lambda: tiny().plan(devices=2).open(), "E071")
    assert "let 'run' and 'train' start the processes" in said and "share_gpus=True" in said


def test_a_session_is_one_thread_s_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads in one session waited for each other, and so did who closed it."""
    inside, go = threading.Event(), threading.Event()
    images = image_floats

    def slow(*given: Any) -> Any:
        inside.set()
        assert go.wait(60)
        return images(*given)

    monkeypatch.setattr("netc.api.session.image_floats", slow)
    with tiny().plan(devices=2).open() as program:
        found: list[float] = []
        one = threading.Thread(
            target=lambda: found.append(program.step(IMAGES[:16], LABELS[:16]).loss)
        )
        one.start()
        assert inside.wait(60)
        for call in (
            lambda: program.step(IMAGES[:16], LABELS[:16]), lambda: program.predict(IMAGES),
            program.weights, program.close,
        ):  # fmt: skip
            assert "another thread" in refused(call, "E051")
        go.set()
        one.join(60)
        assert len(found) == 1 and not program.closed
        program.step(IMAGES[:16], LABELS[:16])
    assert program.closed


def test_closed_is_closed() -> None:
    before = threading.active_count()
    program = tiny().plan(devices=2).open()
    program.step(IMAGES[:16], LABELS[:16])
    program.close()
    program.close()
    assert program.closed and threading.active_count() == before
    refused(lambda: program.step(IMAGES[:16], LABELS[:16]), "E051")
    refused(program.weights, "E051")
    assert repr(program) == "<netc.OpenProgram tiny: batch 16, closed>"


def test_let_go_without_a_word() -> None:
    before = threading.active_count()
    program = tiny().plan(devices=2).open()
    program.step(IMAGES[:16], LABELS[:16])
    assert threading.active_count() > before
    del program
    assert threading.active_count() == before


def test_several_inputs() -> None:
    two = netc.parse(
        "net two\ninput left 1x8x8\ninput right 1x8x8\n"
        "concat { $left | conv 3x3 4 pad=1 | avgpool global ; $right | conv 3x3 4 pad=1 | "
        "avgpool global }\nfc 3\nsoftmax_loss\ntrain { batch 16; sgd lr=0.1 }\n"
    )
    with two.plan(devices=2).open() as program:
        given = {"left": IMAGES[:16], "right": IMAGES[:16]}
        first = program.step(given, LABELS[:16])
        assert program.step(given, LABELS[:16]).loss < first.loss
        refused(lambda: program.step(IMAGES[:16], LABELS[:16]), "E051")
        refused(lambda: program.step({**given, "right": IMAGES[:5]}, LABELS[:16]), "E063")


def test_what_was_trained_needs_its_data_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for an evaluation of them: bytes are still scaled as theirs."""
    monkeypatch.chdir(tmp_path)
    bytes_ = (IMAGES * 60 + 60).clip(0, 255).astype(np.uint8)
    for index, (image, label) in enumerate(zip(bytes_, LABELS, strict=True)):
        place = tmp_path / "pictures" / f"class {label}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0]).save(place / f"{index}.png")
    trained = tiny().run(data="pictures", epochs=1)
    before, score = trained.predict(bytes_), trained.evaluate()
    assert score.loss == pytest.approx(trained.loss)
    shutil.rmtree("pictures")
    np.testing.assert_array_equal(trained.predict(bytes_), before)
    assert trained.predict(IMAGES).shape == (96, 3)
    assert trained.run(data=ARRAYS, steps=1).steps == 1
    refused(trained.evaluate, "E061")


def test_one_image_is_told_from_another_shape() -> None:
    assert "image[None]" in refused(lambda: tiny().predict(np.zeros((8, 8, 1))), "E067")
    assert "image[None]" not in refused(lambda: tiny().predict(np.zeros((2, 1, 9, 9))), "E067")
