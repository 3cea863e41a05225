"""Trainings from Python: whole, step by step, dropped, interrupted, in threads; and clean."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from api_cases import ARRAYS, IMAGES, LABELS, refused, tiny
from PIL import Image

import netc
from netc_runtime.train.augment import order
from netc_runtime.train.events import EpochDone, Finished, StepDone


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before, handlers = set(threading.enumerate()), signal.getsignal(signal.SIGINT)
    yield
    assert set(threading.enumerate()) <= before
    assert signal.getsignal(signal.SIGINT) is handlers


def command(*words: str) -> None:
    """Run netc in a process of its own: it keeps a watch on it until it ends."""
    subprocess.run([sys.executable, "-m", "netc.cli.main", *words, "--json"], check=True)


def test_a_run_is_that_of_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--devices", "2", "--strategy", "data", "--steps", "6", "--out", str(tmp_path / "a")]
    command("run", "digits", *words)
    capsys.readouterr()
    given: dict[str, Any] = {"devices": 2, "strategy": "data", "steps": 6}
    trained = netc.load("digits").run(out=tmp_path / "b", **given)
    assert capsys.readouterr() == ("", "")
    for name in ("step-00000006.safetensors", "metrics.jsonl"):
        assert (tmp_path / "a" / name).exists() and (tmp_path / "b" / name).exists(), name
    of_cli = netc.load("digits").with_weights(tmp_path / "a").weights()
    for name, value in trained.weights().items():
        np.testing.assert_array_equal(value, of_cli[name])
    assert trained.checkpoint == tmp_path / "b" / "step-00000006.safetensors"
    command("eval", "digits", "--out", str(tmp_path / "b"))


def test_it_learns_and_tells() -> None:
    events: list[object] = []
    trained = tiny().run(data=ARRAYS, epochs=6, devices=2, callbacks=[events.append])
    assert trained.accuracy is not None and trained.accuracy > 0.9 and trained.loss is not None
    kinds = [type(each) for each in events]
    assert kinds.count(StepDone) == trained.steps == 30 and kinds.count(EpochDone) == 6
    assert kinds[-1] is Finished and len(trained.epochs) == 6
    assert trained.evaluate(data=ARRAYS).accuracy == trained.accuracy
    assert trained.evaluate().accuracy == trained.accuracy
    assert trained.predict(IMAGES).argmax(axis=1).tolist() == LABELS.tolist()
    assert repr(trained).startswith("<netc.Trained tiny: 30 steps, accuracy ")


def test_it_goes_on_from_its_weights() -> None:
    first = tiny().run(data=ARRAYS, epochs=3)
    second = first.run(data=ARRAYS, steps=1, lr=0)
    for name, value in first.weights().items():
        np.testing.assert_array_equal(value, second.weights()[name])
    other = tiny().with_weights(first.weights()).run(data=ARRAYS, steps=1, lr=0, devices=2)
    np.testing.assert_allclose(other.weights()["fc1.weight"], first.weights()["fc1.weight"])


@pytest.mark.parametrize("true", [True, np.True_])
def test_callbacks_end_it(true: object) -> None:
    told: list[object] = []

    def third(event: Any) -> object:
        told.append(event)
        return true if event.step == 3 else "go on"

    trained = tiny().run(data=ARRAYS, epochs=50, callbacks=[third])
    assert trained.steps == 3 and trained.finished is not None and trained.finished.interrupted


@pytest.mark.parametrize("kind", [KeyError, KeyboardInterrupt, SystemExit])
def test_what_callbacks_raise_comes_through(kind: type[BaseException]) -> None:
    def fail(event: object) -> None:
        raise kind("mine")

    with pytest.raises(kind, match="mine"):
        tiny().run(data=ARRAYS, devices=2, callbacks=[fail])


def test_one_step_at_a_time() -> None:
    """Whoever asks in the middle of a step is told so, and may stop the training."""
    inside, go = threading.Event(), threading.Event()

    def wait(_: Any) -> None:
        inside.set()
        assert go.wait(60)

    training = tiny().train(data=ARRAYS, devices=2, callbacks=[wait])
    found: list[Any] = []
    one = threading.Thread(target=lambda: found.extend(training))
    one.start()
    assert inside.wait(60)
    for call in (training.close, lambda: next(training)):
        assert "in the middle of a step" in refused(call, "E051")
    training.stop()
    go.set()
    one.join(60)
    assert [type(event) for event in found] == [StepDone, Finished]
    training.close()


def test_dropped_halfway() -> None:
    training = tiny().train(data=ARRAYS, devices=2)
    assert isinstance(next(training), StepDone)
    assert threading.active_count() > 1
    weights = training.weights()
    del training
    assert np.isfinite(weights["fc1.bias"]).all()


def test_never_begun(tmp_path: Path) -> None:
    training = tiny().train(data=ARRAYS, devices=2, out=tmp_path)
    refused(lambda: training.result, "E051")
    assert "another run" in refused(lambda: tiny().train(data=ARRAYS, out=tmp_path), "E083")
    training.close()
    training.close()
    assert list(training) == []
    refused(training.weights, "E051")
    tiny().train(data=ARRAYS, out=tmp_path).close()


def test_a_block_that_is_left_ends_it() -> None:
    with tiny().train(data=ARRAYS, devices=2) as training:
        next(training)
    assert next(training, None) is None
    training = tiny().train(data=ARRAYS, devices=2)
    with pytest.raises(ZeroDivisionError):
        _fail_within(training)
    refused(lambda: training.result, "E051")


def _fail_within(training: netc.OpenTraining) -> None:
    with training:
        for _ in training:
            raise ZeroDivisionError


def test_folders_are_resumed_and_replaced(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert tiny().run(data=ARRAYS, epochs=1, out=out).steps == 5
    refused(lambda: tiny().run(data=ARRAYS, epochs=1, out=out), "E083")
    assert tiny().run(data=ARRAYS, epochs=3, out=out, resume=True).steps == 15
    assert tiny().run(data=ARRAYS, epochs=1, out=out, replace=True).steps == 5
    assert tiny().run(data=ARRAYS, epochs=2, out=out, resume="auto").steps == 10
    refused(lambda: tiny().run(data=ARRAYS, resume=True), "E051")


def test_in_a_thread_and_in_three() -> None:
    found: list[netc.Trained] = []
    threads = [
        threading.Thread(target=lambda: found.append(tiny().run(data=ARRAYS, devices=2)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert len({each.weights()["fc1.bias"].tobytes() for each in found}) == 1


def test_interrupted_in_the_middle() -> None:
    """By a signal that the caller has not asked netc to handle."""
    # Who starts the tests in the background has it ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            tiny().run(data=ARRAYS, devices=2, epochs=10**6)
    finally:
        timer.join()
        signal.signal(signal.SIGINT, before)
    assert tiny().run(data=ARRAYS, devices=2, steps=2).steps == 2


def test_blas_gets_its_threads_back() -> None:
    code = (
        "import numpy, netc; from threadpoolctl import threadpool_info, threadpool_limits\n"
        "def of():\n"
        "    pools = (p for p in threadpool_info() if p['user_api'] == 'blas')\n"
        "    return {p['num_threads'] for p in pools}\n"
        "numpy.ones((9, 9)) @ numpy.ones((9, 9)); threadpool_limits(3, 'blas')\n"
        "first, second = (netc.load('digits').plan(devices=2).open() for _ in 'ab')\n"
        "held = of(); first.close(); still = of(); second.close(); print(held, still, of())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "{1} {1} {3}\n"


def test_memory_is_given_back() -> None:
    import gc
    from weakref import ref

    training = tiny().train(data=ARRAYS, devices=2)
    next(training)
    backend = training._run.source.trainer.session.backend
    arena = ref(backend.arenas[0])
    del backend, training
    gc.collect()
    assert arena() is None


NOT = [np.nan * IMAGES, IMAGES.astype(int), IMAGES[:, :, :7], [], None, IMAGES > 0]


@pytest.mark.parametrize("images", NOT, ids=lambda each: getattr(each, "dtype", type(each)))
def test_wrong_images(images: Any) -> None:
    with pytest.raises(netc.DataError, match="'x_train' "):
        tiny().run(data=(images, LABELS, IMAGES, LABELS))


@pytest.mark.parametrize(
    ("arrays", "code"),
    [((IMAGES, LABELS[:5], IMAGES, LABELS), "E063"), ((IMAGES, LABELS + 1, IMAGES, LABELS), "E064"),
     ((IMAGES, LABELS * 1.0, IMAGES, LABELS), "E062"), (ARRAYS[:3], "E051"), (3, "E051"),
     ((IMAGES[:5], LABELS[:5], IMAGES, LABELS), "E067"), ({"x_train": IMAGES}, "E051"),
     (dict(zip(("x_train", "y_train", "x_test", "z"), ARRAYS, strict=True)), "E051"),
     ("nowhere", "E061"), ("digits", "E067")],
)  # fmt: skip
def test_wrong_data(arrays: Any, code: str) -> None:
    refused(lambda: tiny().run(data=arrays), code)


def test_layouts_of_arrays() -> None:
    bytes_ = (IMAGES * 60 + 60).clip(0, 255).astype(np.uint8)
    last = np.moveaxis(IMAGES, 1, -1)
    for images in (bytes_, last, IMAGES[:, 0], IMAGES.astype(np.float16), IMAGES.tolist()):
        trained = tiny().run(data=(images, LABELS, images, LABELS), steps=1)
        assert trained.steps == 1
        assert trained.predict(images).shape == (96, 3)
    named = dict(zip(("x_train", "y_train", "x_test", "y_test"), ARRAYS, strict=True))
    classes = np.array(["a", "b", "c"])
    assert tiny().run(data={**named, "classes": classes}, steps=1).classes == ("a", "b", "c")


WRONG = [
    {"epochs": 0}, {"epochs": 1.5}, {"lr": -1}, {"lr": float("nan")}, {"seed": -1}, {"out": 3},
    {"steps": "3"}, {"on_nan": "x"}, {"allow_missing": ["x"]}, {"epoch": 3}, {"callbacks": 3},
    {"callbacks": [3]}, {"callbacks": "ab"}, {"replace": True}, {"skip_bad": -1}, {"weights": 3},
    {"patience": 0}, {"keep": 0}, {"save_every": 0},
]  # fmt: skip


@pytest.mark.parametrize("words", WRONG, ids=str)
def test_wrong_choices(words: dict[str, Any]) -> None:
    refused(lambda: tiny().run(data=ARRAYS, **words), "E051")


def test_numbers_that_explode() -> None:
    said = refused(lambda: tiny().run(data=ARRAYS, lr=1e30, epochs=3), "E075")
    assert "--replace" not in said and "take a smaller learning rate" in said


def test_no_data_is_named() -> None:
    refused(lambda: tiny().run(), "E060")


def test_a_program_runs_without_the_compiler(tmp_path: Path) -> None:
    tiny().plan(devices=2).save(tmp_path / "tiny.netc")
    train, labels, test, known = ARRAYS
    np.savez(tmp_path / "a.npz", x_train=train, y_train=labels, x_test=test, y_test=known)
    code = (
        "import netc, sys; program = netc.load_program('tiny.netc'); "
        "done = program.run(data='a.npz', steps=3); "
        "print(done.steps, program.devices, [m for m in sys.modules if m.startswith(("
        "'netc.passes', 'netc.syntax', 'netc.planner', 'netc.cli', 'lark', 'networkx', "
        "'argparse'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          cwd=tmp_path)  # fmt: skip
    assert done.stdout == "3 2 []\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "tiny.netc"]


def test_what_was_undone_is_said(tmp_path: Path) -> None:
    images = IMAGES[:80].astype(np.float32)
    images[7] = 3e38
    arrays = images, *ARRAYS[1:]
    given: dict[str, Any] = {"on_nan": "rollback", "out": tmp_path / "o"}
    trained = tiny().run(data=arrays, epochs=1, seed=0, **given)
    bad = int(np.flatnonzero(order(0, 0, 80) == 7)[0]) // 16 + 1
    (told,) = trained.rollbacks
    assert (told.step, told.back_to, trained.undone, trained.steps) == (bad, 0, bad, 5)
    assert f"5 steps ({bad} of them undone), accuracy" in repr(trained)
    assert "undone" not in repr(tiny().run(data=ARRAYS, epochs=1))


def test_the_largest_batch_is_one_that_the_images_fill() -> None:
    assert tiny().run(data=ARRAYS, batch="auto", epochs=1).batch == 80
    with tiny().train(data=ARRAYS, batch="auto", epochs=1, devices=3) as training:
        assert "batch 78" in "".join(training.notes)


@pytest.mark.parametrize("out", [None, "o"])
def test_what_ended_says_what_is_saved(
    out: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures of which one cannot be read in the second epoch; without a folder nothing is."""
    monkeypatch.chdir(tmp_path)
    for index, image in enumerate((IMAGES * 50).clip(0, 255).astype(np.uint8)):
        (place := tmp_path / "pictures" / f"{index % 3}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0]).save(place / f"{index}.png")

    def spoil(event: netc.EpochDone) -> None:
        for each in tmp_path.glob("pictures/*/*.png"):
            each.write_text("spoilt")

    words: dict[str, Any] = {} if out is None else {"out": out}
    callbacks = [lambda event: spoil(event) if isinstance(event, EpochDone) else None]
    said = refused(
        lambda: tiny().run(data="pictures", epochs=3, callbacks=callbacks, **words), "E066"
    )
    assert ("nothing of the training is saved" in said) == (out is None)
    assert ("the training is saved up to step" in said) == (out is not None)
