"""The `train` block."""

import pytest

from netc.errors import SyntaxProblem
from netc.syntax import Call, NamedValues, Recipe, parse_text


def recipe(settings: str, **defines: str) -> Recipe:
    text = 'net n(b = 8, every = 30ep, root = "data")\ninput i 1x8x8\nfc 3 | softmax_loss\n'
    return parse_text(f"{text}train {{\n{settings}\n}}", "t.net", defines).recipe


def test_all_settings() -> None:
    found = recipe(
        """
        data     imagefolder("data/imagenet")
        batch    256                # over all devices
        sgd      lr=0.01 momentum=0.9 decay=5e-4
        schedule step(every=30ep, gamma=0.1)
        epochs   90ep
        augment  shift(2) flip()
        seed     7
        clip     1
        ema      0
        accumulate b
        """
    )
    assert found == Recipe(
        data=Call("imagefolder", ("data/imagenet",)),
        batch=256,
        optimizer=Call("sgd", (), NamedValues.of(lr=0.01, momentum=0.9, decay=5e-4)),
        schedule=Call("step", (), NamedValues.of(every=30, gamma=0.1, warmup=0.0)),
        epochs=90,
        augment=(Call("shift", (2,)), Call("flip")),
        seed=7,
        clip=1.0,
        ema=0.0,
        accumulate=8,
    )
    assert dict(found.spans)["epochs"].origin == "t.net:10:9"


def test_nothing_said_is_none() -> None:
    assert recipe("") == Recipe(None, None, None, None, None, (), None)


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("data digits()", Call("digits")),
        ('data idx("data/mnist")', Call("idx", ("data/mnist",))),
        ('data cifar10(path="c:\\data")', Call("cifar10", ("c:\\data",))),
        ("data idx(root)", Call("idx", ("data",))),
        ("data idx(root, classes=b)", Call("idx", ("data",), NamedValues.of(classes=8))),
        ("data synthetic()", Call("synthetic")),
        (
            "data synthetic(train=b*2, seed=0, test=3)",
            Call("synthetic", (), NamedValues.of(train=16, test=3, seed=0)),
        ),
    ],
)
def test_data(text: str, call: Call) -> None:
    assert recipe(text).data == call


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("constant()", {"warmup": 0.0}),
        ("poly()", {"power": 1.0, "warmup": 0.0}),
        ("poly(2, warmup=5ep)", {"power": 2.0, "warmup": 5}),
        ("step(22.5ep, 0.1)", {"every": 22.5, "gamma": 0.1, "warmup": 0.0}),
        ("step(every, gamma=0.1)", {"every": 30, "gamma": 0.1, "warmup": 0.0}),
        ("cosine(warmup=0.5ep)", {"final": 0.0, "warmup": 0.5}),
        ("dexp()", {"steps": 4, "final": 0.004, "warmup": 0.0}),
        ("onecycle(0.25)", {"rise": 0.25, "start": 0.04, "final": 4e-6}),
    ],
)
def test_schedules(text: str, told: dict[str, float]) -> None:
    call = Call(text.split("(")[0], (), NamedValues.of(**told))
    assert recipe(f"schedule {text}").schedule == call


@pytest.mark.parametrize(("word", "decay"), [("adam", 0.0), ("adamw", 0.01)])
def test_adam(word: str, decay: float) -> None:
    told = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "decay": decay}
    assert recipe(word).optimizer == Call(word, (), NamedValues.of(**told))
    told |= {"beta2": 0.5, "decay": 0.25}
    assert recipe(f"{word} beta2=0.5 decay=0.25").optimizer == Call(
        word, (), NamedValues.of(**told)
    )


@pytest.mark.parametrize("word", ["momentum", "nesterov"])
def test_momentum(word: str) -> None:
    told = {"lr": 0.1, "momentum": 0.9, "decay": 0.0}
    assert recipe(f"{word} lr=0.1").optimizer == Call(word, (), NamedValues.of(**told))
    told |= {"momentum": 0.5, "decay": 0.25}
    assert recipe(f"{word} lr=0.1 momentum=0.5 decay=0.25").optimizer == Call(
        word, (), NamedValues.of(**told)
    )


def test_rmsprop() -> None:
    told = {"lr": 1e-2, "alpha": 0.99, "eps": 1e-8, "momentum": 0.0, "decay": 0.0}
    assert recipe("rmsprop").optimizer == Call("rmsprop", (), NamedValues.of(**told))
    told |= {"alpha": 0.5, "decay": 0.25}
    assert recipe("rmsprop alpha=0.5 decay=0.25").optimizer == Call(
        "rmsprop", (), NamedValues.of(**told)
    )


def test_weights() -> None:
    found = recipe('weights "*.bias" decay=0\nweights "conv1.*" frozen=true rate=0.5').weights
    told = {"decay": 0.0, "rate": 1.0, "frozen": False}, {"rate": 0.5, "frozen": True}
    assert found == (
        Call("weights", ("*.bias",), NamedValues.of(**told[0])),
        Call("weights", ("conv1.*",), NamedValues.of(decay=None, **told[1])),
    )


def test_parameters_and_defaults() -> None:
    found = recipe("batch b\nsgd lr=0.1/b\nschedule step(every=every, gamma=0.5)", every="5ep")
    assert found.batch == 8
    assert found.optimizer == Call("sgd", (), NamedValues.of(lr=0.0125, momentum=0.0, decay=0.0))
    assert found.schedule == Call("step", (), NamedValues.of(every=5, gamma=0.5, warmup=0.0))


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ("batch 0", "E014"),
        ("batch 1.5", "E014"),
        ("batch 8ep", "E014"),
        ("epochs 2.5ep", "E014"),
        ("seed -1", "E014"),
        ("clip 0", "E014"),
        ("ema 1", "E014"),
        ("accumulate 0", "E014"),
        ("clip 1 2", "E031"),
        ("clip 1\nclip 1", "E032"),
        ("sgd lr=-1e-9", "E014"),
        ("adam lr=-0.1", "E014"),
        ("adam beta1=-0.1", "E014"),
        ("adamw decay=-1", "E014"),
        ("adam momentum=0.9", "E012"),
        ("adam\nadam", "E032"),
        ("sgd momentum=0.9", "E013"),
        ("data digits(3)", "E013"),
        ("data idx(3)", "E014"),
        ('data idx("")', "E014"),
        ("data digits() digits()", "E031"),
        ("data synthetic(train=0)", "E014"),
        ("data synthetic(3)", "E013"),
        ("train=3", "E001"),
        ("augment", "E031"),
        ("augment shift(0)", "E014"),
        ("augment flip", "E031"),
        ("schedule step(every=0ep, gamma=1)", "E014"),
        ("schedule poly(power=-1)", "E014"),
        ("schedule cosine(warmup=-1)", "E014"),
        ("weights", "E031"),
        ('weights "*.bias"', "E031"),
        ("weights 3 decay=0", "E014"),
        ('weights "*.bias" rate=0', "E014"),
        ('weights "*.bias" speed=2', "E012"),
        ("batch nonsense", "E011"),
        ("adagrad lr=0.1", "E030"),
    ],
)
def test_problems(settings: str, code: str) -> None:
    with pytest.raises(SyntaxProblem) as problem:
        recipe(settings)
    assert [each.code for each in problem.value.diagnostics] == [code]
