"""Options that exclude each other, or do nothing: refused from Python as on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from api_cases import ARRAYS, IMAGES, LABELS, TINY, refused, tiny
from safetensors.numpy import save_file

import netc
from netc.cli.main import main

DATA: dict[str, Any] = {"data": ARRAYS}
INFERENCE: dict[str, Any] = {"goal": "inference"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"keep": 3}, "'keep' is of checkpoints"),
        ({"save_every": 3}, "'save_every' is of checkpoints"),
        ({"on_nan": "rollback"}, "'on_nan=\"rollback\"' is of checkpoints"),
        ({"replace": True}, "'replace=True' is of checkpoints"),
        ({"resume": True}, "'resume=True' is of checkpoints"),
        ({"resume": "auto"}, "is of checkpoints"),
        ({"allow_missing": ["x"]}, "need 'weights'"),
        ({"trace_steps": 2}, "'trace_steps' needs a trace"),
        ({"steps": 11}, "'steps=11' is more than there are: 2 epochs have 10 steps."),
        ({"steps": 6, "epochs": 1}, "'steps=6' is more than there are: 1 epoch has 5 steps."),
        ({"share_gpus": True}, "'share_gpus=True' puts devices on one GPU, and the backend is cpu"),
        (INFERENCE, "'tiny' was planned for inference, and does not train."),
    ],
)
def test_a_training(words: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert said in refused(lambda: tiny().run(**DATA, **words), "E051")
    if "share_gpus" not in words and "goal" not in words:
        assert said in refused(lambda: tiny().plan().train(**DATA, **words), "E051")


def test_all_that_is_wrong_is_said_at_once() -> None:
    words: dict[str, Any] = {"keep": 2, "save_every": 3, "trace_steps": 2, "allow_missing": ["x"]}
    with pytest.raises(netc.UsageError) as caught:
        tiny().run(**DATA, **words)
    assert len(caught.value.diagnostics) == 4


def test_epochs_say_the_schedule_and_steps_the_end() -> None:
    """Both have something to say, so they go together."""
    network = tiny(settings={"train.schedule": "cosine()"})
    with network.train(**DATA, epochs=4, steps=3) as training:
        rates = [event.learning_rate for event in training if isinstance(event, netc.StepDone)]
    with network.train(**DATA, epochs=1, steps=3) as training:
        faster = [event.learning_rate for event in training if isinstance(event, netc.StepDone)]
    assert len(rates) == len(faster) == 3
    assert rates[-1] > faster[-1]


@pytest.mark.parametrize(
    "words", [{"scheme": "b"}, {"updates": "sharded"}, {"fc_update": "round"}, {"recompute": "all"}]
)
def test_inference_moves_no_weights(words: dict[str, Any]) -> None:
    said = "is of a training, and inference has neither updates nor gradients."
    assert said in refused(lambda: tiny().plan(**INFERENCE, devices=2, **words), "E051")
    assert said in refused(lambda: tiny().predict(IMAGES, devices=2, **words), "E051")


def test_a_plan_for_inference_does_not_train(tmp_path: Path) -> None:
    plan = tiny().plan(goal="inference")
    plan.save(tmp_path / "x.netc")
    for program in (plan, netc.load_program(tmp_path / "x.netc")):
        for work in (
            lambda program=program: program.run(**DATA),
            lambda program=program: program.train(**DATA),
            lambda program=program: program.profile(),
            lambda program=program: program.save_trace(tmp_path / "x.json"),
        ):
            assert "leave out 'goal=\"inference\"'" in refused(work, "E051")
        with program.open() as session:
            assert session.predict(IMAGES[:2]).shape == (2, 3)
            assert session.evaluate(IMAGES, LABELS).images == 96
            refused(lambda session=session: session.step(IMAGES[:16], LABELS[:16]), "E051")
        assert set(program.weights()) == {"conv1.bias", "conv1.weight", "fc1.bias", "fc1.weight"}
    assert {row.phase for row in plan.kernels()} == {"forward"}
    assert not (tmp_path / "x.json").exists()


def test_a_parameter_is_given_once() -> None:
    said = "the parameter 'classes' is given twice."
    assert said in refused(lambda: tiny(classes=4, define={"classes": 3}), "E051")
    assert said in refused(lambda: netc.load("vgg16", classes=4, define={"classes": 4}), "E051")


def test_patterns_of_no_file() -> None:
    with tiny().plan().open():
        pass
    assert "need 'weights'" in refused(lambda: tiny().plan().open(allow_missing=["x"]), "E051")


def test_a_crossover_is_of_several_devices() -> None:
    work = lambda: tiny().crossovers("hybrid", "data", devices=[1, 2], cluster="h100")  # noqa: E731
    assert "on one all strategies are the same" in refused(work, "E051")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "NET", "--steps", "11"], "'--steps 11' is more than there are: 2 epochs have 10"),
        (["run", "NET", "--share-gpus"], "'--share-gpus' puts devices on one GPU"),
        (["run", "NET", "--backend", "null", "--share-gpus"], "and the backend is null."),
        (["run", "NET", "--allow-missing", "x"], "need '--weights'"),
        (["check", "NET", "-D", "classes=3", "-D", "classes=4"], "'classes' is given twice."),
        (["plan", "NET", "--goal", "inference", "--updates", "sharded", "-o", "x.svg"],
         "'--updates sharded' is of a training"),
        (["eval", "NET", "--recompute", "all"], "'--recompute all' is of a training"),
        (["compare", "NET", "--crossover", "hybrid,data", "--devices", "1"],
         "on one all strategies are the same"),
    ],
)  # fmt: skip
def test_the_command_line_says_the_same(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.net").write_text(
        TINY.replace("epochs 2", "epochs 2; data synthetic(train=80, test=16)")
    )
    assert main([each.replace("NET", "tiny.net") for each in arguments]) == 2
    assert said in capsys.readouterr().err


def test_the_command_line_does_not_train_what_is_for_inference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.net").write_text(TINY)
    assert main(["compile", "tiny.net", "--goal", "inference", "-o", "x.netc"]) == 0
    for verb in (["run"], ["run", "--backend", "null"], ["run", "--dry-run"], ["profile"]):
        assert main([verb[0], "x.netc", *verb[1:]]) == 2
        assert "leave out '--goal inference'" in capsys.readouterr().err


NOTED: list[tuple[dict[str, Any], str]] = [
    ({"scheme": "c"}, "scheme c has nothing to do"),
    ({"scheme": "b", "devices": 2, "strategy": "data"}, "scheme b has nothing to do"),
    ({"updates": "sharded"}, "sharded updates have nothing to do"),
]


@pytest.mark.parametrize(("words", "said"), NOTED)
def test_what_a_plan_has_no_use_for_is_noted(
    words: dict[str, Any], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whether there is a use depends on the plan: a strategy file, or a search, may have one."""
    assert said in "".join(tiny().plan(**words).notes)
    trained = tiny().run(**DATA, steps=1, **words)
    assert said in "".join(trained.notes) and said in trained._repr_html_()
    with tiny().train(**DATA, steps=1, **words) as training:
        assert said in "".join(training.notes)
    (tmp_path / "tiny.net").write_text(TINY)
    options = [part for name, value in words.items() for part in (f"--{name}", str(value))]
    assert main(["compile", str(tmp_path / "tiny.net"), *options]) == 0
    assert said in capsys.readouterr().err


def test_one_device_shares_no_gpu() -> None:
    said = "'share_gpus=True' has nothing to do"
    words: dict[str, Any] = {"backend": "cuda", "share_gpus": True}
    assert said in "".join(tiny().plan(**words).notes)
    assert said not in "".join(tiny().plan(**words, devices=2).notes)


def test_what_a_training_is_told_is_noted(tmp_path: Path) -> None:
    """Of names in PyTorch's wrappers, as the command line says it."""
    wrapped = {f"module.{name}": value for name, value in tiny().weights("torch").items()}
    save_file(wrapped, tmp_path / "x.safetensors")
    trained = tiny().run(**DATA, steps=1, weights=tmp_path / "x.safetensors")
    assert "begin with 'module.', which is left off" in "".join(trained.notes)
    assert tiny().run(**DATA, steps=1).notes == ()


def test_fast_kernels_have_their_precision() -> None:
    words: dict[str, Any] = {"kernels": "fast", "precision": "fp64"}
    assert "computes in fp32, and 'precision=\"fp64\"'" in refused(
        lambda: tiny().plan(**words), "E051"
    )
