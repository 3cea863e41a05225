"""Networks from Python: read, with parameters and settings, and what is said of wrong ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from api_cases import refused, tiny

import netc
from netc.cli.main import main
from netc.errors import render

TINY = """net tiny(classes = 3)
input image 1x8x8
conv 3x3 4 pad=1
relu | flatten
fc classes
softmax_loss
train { batch 4 }
"""


def test_parameters() -> None:
    model = netc.load("vgg16", classes=10, bn=True)
    assert model.name == "vgg16" and model.parameters == (("bn", "true"), ("classes", "10"))
    assert "fc 10 " in model.text
    assert repr(model).startswith("<netc.Model vgg16(bn=true, classes=10): ")
    assert (
        netc.load("vgg16", classes=np.int64(10)).network == netc.load("vgg16", classes=10).network
    )


def test_paths_texts_and_settings(tmp_path: Path) -> None:
    path = tmp_path / "tiny.net"
    path.write_text(TINY)
    given = netc.load(path, classes=5, settings={"train.batch": 8})
    assert given.network.recipe.batch == 8
    parsed = netc.parse(TINY, define={"classes": 5}, settings=["train.batch=8"])
    assert parsed.text == given.text


@pytest.mark.parametrize(
    ("words", "given"),
    [(["vgg17"], {}), (["vgg16", "-D", "clases=3"], {"clases": 3}),
     (["digits", "--set", "train.epoch=3"], {"settings": {"train.epoch": 3}})],
)  # fmt: skip
def test_mistakes_read_as_on_the_command_line(
    words: list[str], given: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    main(["check", *words])
    told = capsys.readouterr().err
    with pytest.raises(netc.NetError) as caught:
        netc.load(words[0], **given)  # type: ignore[arg-type]
    assert f"{render(caught.value.diagnostics)}\n" == told


@pytest.mark.parametrize("network", [3, "", None, b"x", "a\0b", Path("nowhere.net"), ["vgg16"]])
def test_what_is_no_network(network: object) -> None:
    with pytest.raises(netc.NetError):
        netc.load(network)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [None, [3], {}, 3j])
def test_what_is_no_value(value: object) -> None:
    with pytest.raises(netc.UsageError, match="'classes' must be a number"):
        netc.load("vgg16", classes=value)


def test_what_is_no_list_of_parameters() -> None:
    with pytest.raises(netc.UsageError, match="'define' must be parameters by name"):
        netc.load("vgg16", define=[3])  # type: ignore[arg-type]


def test_models_are_values() -> None:
    model = netc.parse(TINY)
    given = model.with_weights({"fc1.bias": np.zeros(3)}, allow_missing=["*"])
    assert model.tensors is None and given.tensors is not None
    with pytest.raises(AttributeError):
        model.file = "x"  # type: ignore[misc]


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_weights_are_numbers(value: float) -> None:
    weights = {"fc1.bias": np.array([1, value, value])}
    with pytest.raises(netc.DataError, match=r"E086.*in 1 tensor(.|\n)*fc1.bias: 2 of 3"):
        netc.parse(TINY).with_weights(weights, allow_missing=["*"])
    with netc.parse(TINY).plan().open() as session, pytest.raises(netc.DataError, match="E086"):
        session.restore(weights)


@pytest.mark.parametrize(
    ("images", "labels"),
    [(np.zeros((2, 1, 8, 8), complex), [0, 1]), (np.zeros((2, 1, 8, 8)), [0.5, 1]),
     (np.zeros((2, 1, 8, 8)), [0]), (np.zeros((0, 1, 8, 8)), np.zeros(0, int))],
)  # fmt: skip
def test_arrays_are_given_not_saved(images: object, labels: object) -> None:
    with pytest.raises(netc.DataError, match="help: give ") as caught:
        netc.parse(TINY).run(data=(images, labels, images, labels))
    assert "save" not in str(caught.value)


def test_numbers_are_not_quoted() -> None:
    wrong: dict[object, str] = {0: "not 0.", "4": "not '4'.", 2.5: "not 2.5."}
    for value, said in wrong.items():
        with pytest.raises(netc.UsageError) as caught:
            netc.parse(TINY).plan(devices=value)  # type: ignore[arg-type]
        assert said in str(caught.value)


def test_words_of_files(tmp_path: Path) -> None:
    network = netc.parse(TINY)
    for suffix, words, said in (
        (".onnx", {"names": "netc"}, "'names' is for 'save(\"X.safetensors\")'"),
        (".net", {"names": "torch"}, "'names' is for 'save(\"X.safetensors\")'"),
        (".safetensors", {"batch": 3}, "'batch' is for 'save(\"X.onnx\")'"),
        (".net", {"seed": 3}, "'seed' is of initial values"),
        (".onnx", {"batch": 0}, "batch: must be a whole number, 1 or more, not 0."),
    ):
        with pytest.raises(netc.UsageError) as caught:
            network.save(tmp_path / f"x{suffix}", **words)
        assert said in str(caught.value)
    with pytest.raises(netc.UsageError, match="'names' is for"):
        network.plan().save(tmp_path / "x.netc", names="netc")
    assert not [*tmp_path.iterdir()]


def test_initial_weights_of_a_seed(tmp_path: Path) -> None:
    network = netc.parse(TINY)
    other = netc.parse(TINY, settings={"train.seed": 7}).weights()
    assert np.array_equal(network.weights(seed=7)["fc1.weight"], other["fc1.weight"])
    assert not np.array_equal(network.weights()["fc1.weight"], other["fc1.weight"])
    network.save(tmp_path / "x.safetensors", seed=7, names="netc")
    read = network.with_weights(tmp_path / "x.safetensors")
    assert np.array_equal(read.weights()["fc1.weight"], other["fc1.weight"])
    with pytest.raises(netc.UsageError, match="'seed' is of initial values, and all weights are"):
        read.weights(seed=7)


def test_weights_are_asked_for() -> None:
    network = netc.parse(TINY)
    plan = network.plan()
    with pytest.raises(netc.UsageError, match="give what its 'weights\\(\\)' returns"):
        network.with_weights(plan)  # type: ignore[arg-type]
    with plan.open() as session, pytest.raises(netc.UsageError, match="give what its 'weights"):
        session.restore(plan)  # type: ignore[arg-type]
    given: Any = plan.weights()
    for work in (network.run, plan.run, plan.open):
        with pytest.raises(netc.UsageError, match=r"network.with_weights\(trained"):
            work(weights=given)


@pytest.mark.parametrize("settings", [4, None, [3], "train.epochs=3"])
def test_what_is_no_settings(settings: Any) -> None:
    with pytest.raises(netc.UsageError, match="'settings' must be names with values, not "):
        netc.load("digits", settings=settings)


def test_a_folder_is_no_file_to_write() -> None:
    for value in (netc.parse(TINY), netc.parse(TINY).plan()):
        with pytest.raises(netc.UsageError, match=r"as '\.'"):
            value.save(".")


@pytest.mark.parametrize(
    ("name", "said", "verbs"),
    [
        ("x.safetensors", "weights=", "load load_program"),
        ("x.onnx", "netc.from_onnx(", "load load_program"),
        ("x.toml", "strategy=", "load load_program"),
        ("x.svg", "for people", "load load_program"),
        ("x.json", "netc.load_trace(", "load load_program"),
        ("x.netc", "netc.load_program(", "load"),
        ("x.net", "network.plan", "load_program"),
        ("x.pt", "netc.from_torch(", "load load_program"),
    ],
)
def test_files_of_other_kinds(name: str, said: str, verbs: str, tmp_path: Path) -> None:
    file = tmp_path / name
    if name == "x.pt":
        file.write_bytes(b"PK")
    elif name in ("x.netc", "x.toml", "x.svg", "x.json"):
        tiny().plan().save(file)
    else:
        tiny().save(file)
    for verb in verbs.split():
        assert said in refused(lambda verb=verb: getattr(netc, verb)(file), "E057")


def test_words_of_other_tools() -> None:
    given: list[tuple[dict[str, Any], str]] = [
        ({"x_train": 1}, "data"), ({"learning_rate": 1}, "lr"), ({"batch_size": 1}, "batch"),
        ({"gpus": 1}, "devices"),
    ]  # fmt: skip
    for words, meant in given:
        assert f"did you mean '{meant}'?" in refused(
            lambda words=words: tiny().run(**words), "E051"
        )
    assert "did you mean" not in refused(lambda: tiny().tune(x_train=1), "E051")  # type: ignore[call-arg]


def test_memory_is_above_nothing() -> None:
    for size in (0, -1, "0", "much"):
        said = refused(lambda size=size: tiny().plan(memory=size), "E051")
        assert "a number of bytes above 0, or a size such as 16GiB" in said


def test_what_disagrees_with_a_strategy_file_is_named(tmp_path: Path) -> None:
    tiny().plan(mesh="2x2", strategy="data").save(tmp_path / "x.toml")
    words: dict[str, Any] = {"strategy": tmp_path / "x.toml"}
    assert "leave 'mesh' out" in refused(lambda: tiny().plan(mesh="4", **words), "E042")
    assert "leave 'devices' out" in refused(lambda: tiny().plan(devices=8, **words), "E042")


def test_layers_are_those_of_its_tables() -> None:
    assert f": {len(tiny().summary().layers)} layers, image 1x8x8>" in repr(tiny())
    # Its shapes are wrong, which is said where they are wanted.
    wrong = netc.parse("net x\ninput image 1x8x8\nconv 9x9 3\nfc 3\nsoftmax_loss\n")
    assert repr(wrong) == "<netc.Model x(): 3 layers, image 1x8x8>"


def test_texts_and_paths() -> None:
    assert "netc.parse(text)" in refused(lambda: netc.load(TINY), "E051")
    for path in ("digits", "models/digits.net"):
        assert "netc.load(network)" in refused(lambda path=path: netc.parse(path), "E051")
    refused(lambda: netc.parse(""), "E008")


@pytest.mark.parametrize(
    ("words", "meant"),
    [({"backend": "gpu"}, "cuda"), ({"precision": "float32"}, "fp32"), ({"scheme": "d"}, "")],
)
def test_choices_of_other_tools(words: dict[str, Any], meant: str) -> None:
    said = refused(lambda: tiny().plan(**words), "E051")
    assert (f"did you mean '{meant}'? choices are" in said) == bool(meant)


def test_splits_of_a_plan_are_pins() -> None:
    plan = tiny().plan(mesh="2x2", strategy="hybrid", cluster="h100")
    again = tiny().plan(mesh="2x2", strategy="data", cluster="h100", pin=plan.splits)
    assert again.splits == plan.splits != tiny().plan(mesh="2x2", strategy="data").splits


def test_no_images() -> None:
    images: list[Any] = [[], np.zeros((0, 1, 8, 8)), np.zeros((0,))]
    with tiny().plan().open() as session:
        for each in images:
            refused(lambda each=each: session.predict(each), "E065")
            refused(lambda each=each: tiny().predict(each), "E065")
