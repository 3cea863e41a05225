"""Training from end to end: the newcomer's run, resuming, interrupting, compiled programs."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from saved import newest

import netc_models
from netc.cli.main import main
from netc_runtime.io.checkpoint import latest, load, meta_of
from netc_runtime.train.folder import BEST

DIGITS = str(Path(netc_models.__file__).parent / "digits.net")


def train(*options):
    """Run the digits network; the exit code."""
    return main(["run", DIGITS, "--json", *map(str, options)])


def events(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def weights(folder):
    return load(newest(folder))[0]


def test_digits_reach_98_percent_on_four_devices(tmp_path, capsys):
    assert train("--strategy", "hybrid", "--devices", 4, "--out", tmp_path) == 0
    *_, last = events(capsys)
    assert last["event"] == "result"
    assert last["test_accuracy"] >= 0.98
    assert last["test_images"] == 360
    assert "360 held-out images" in last["held_out"]
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["test_accuracy"] == last["test_accuracy"]
    assert sum("loss" in row for row in rows) == last["step"]


@pytest.mark.parametrize(("strategy", "devices"), [("data", 3), ("model", 2)])
def test_training_does_not_depend_on_the_strategy(tmp_path, strategy, devices):
    """In float64 the weights after some steps agree to rounding, dropout and shuffling included."""
    common = ("--precision", "fp64", "--steps", 6)
    assert train(*common, "--out", tmp_path / "one") == 0
    assert (
        train(*common, "--strategy", strategy, "--devices", devices, "--out", tmp_path / "many")
        == 0
    )
    one, many = weights(tmp_path / "one"), weights(tmp_path / "many")
    assert set(one) == set(many)
    for name, value in one.items():
        np.testing.assert_allclose(many[name], value, rtol=1e-9, atol=1e-12, err_msg=name)


def test_resuming_equals_never_having_stopped(tmp_path):
    """20 steps equal 9 + resume + 11, to the bit, in the middle of an epoch."""
    assert train("--steps", 20, "--out", tmp_path / "whole") == 0
    assert train("--steps", 9, "--out", tmp_path / "parts") == 0
    assert train("--steps", 20, "--out", tmp_path / "parts", "--resume") == 0
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(np.array_equal(whole[name], parts[name]) for name in whole)
    steps = [json.loads(row) for row in (tmp_path / "parts" / "metrics.jsonl").open()]
    assert [row["step"] for row in steps if "loss" in row] == list(range(1, 21))


@pytest.mark.parametrize("kernels", ["reference", "fast"])
def test_resuming_adam_equals_never_having_stopped(tmp_path, kernels):
    """Its corrections go on from the step, as its moments do; on two devices, with rounds."""
    network = tmp_path / "adam.net"
    text = Path(DIGITS).read_text().replace("sgd", "adam lr=2e-3 decay=1e-4 # sgd")
    network.write_text(text)
    plan = ("--devices", "2", "--strategy", "hybrid", "--scheme", "b", "--fc-update", "round")

    def run(folder, *options):
        common = ("--out", str(tmp_path / folder), "--kernels", kernels, "--json", *plan)
        return main(["run", str(network), *common, *options])

    assert run("whole", "--steps", "8") == 0
    assert run("parts", "--steps", "3") == 0
    assert run("parts", "--steps", "8", "--resume") == 0
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert {name.rpartition(".")[2] for name in whole} == {"weight", "bias", "moment1", "moment2"}
    assert all(np.array_equal(whole[name], parts[name]) for name in whole)


def test_another_optimizer_cannot_go_on(tmp_path, capsys):
    assert train("--steps", 1, "--out", tmp_path) == 0
    network = tmp_path / "adam.net"
    network.write_text(Path(DIGITS).read_text().replace("sgd", "adam # sgd"))
    options = ("--steps", "2", "--out", str(tmp_path), "--resume", "--json")
    assert main(["run", str(network), *options]) == 5
    message = events(capsys)[-1]["diagnostics"][0]["message"]
    assert "'fc1.bias.moment1' is missing" in message


@pytest.mark.parametrize("kernels", ["reference", "fast"])
def test_resuming_with_sharded_updates(tmp_path, kernels):
    """To the bit: sums are made in the same order, and files hold whole tensors."""
    common = ("--devices", 3, "--batch", 90, "--strategy", "data", "--kernels", kernels)

    def run(folder, steps, updates, *options):
        how = (*common, "--steps", steps, "--updates", updates, *options)
        assert train(*how, "--out", tmp_path / folder) == 0

    run("whole", 6, "replicated")
    run("parts", 2, "replicated")
    run("parts", 4, "sharded", "--resume")
    run("parts", 6, "replicated", "--resume")
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(np.array_equal(whole[name], parts[name]) for name in whole)


def test_resuming_under_another_strategy(tmp_path):
    assert train("--precision", "fp64", "--steps", 4, "--out", tmp_path) == 0
    other = ("--strategy", "hybrid", "--devices", 2, "--resume")
    assert train("--precision", "fp64", "--steps", 8, "--out", tmp_path, *other) == 0
    assert train("--precision", "fp64", "--steps", 8, "--out", tmp_path / "straight") == 0
    mine, straight = weights(tmp_path), weights(tmp_path / "straight")
    for name, value in straight.items():
        np.testing.assert_allclose(mine[name], value, rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize(
    ("change", "message"),
    [(("--seed", 9), "with seed 9"), (("-D", "width=64"), "does not fit this network")],
)
def test_resuming_another_training_is_refused(tmp_path, capsys, change, message):
    assert train("--steps", 1, "--out", tmp_path) == 0
    assert train("--steps", 2, "--out", tmp_path, "--resume", *change) == 5
    assert message in events(capsys)[-1]["diagnostics"][0]["message"]


def test_resuming_from_nothing_is_refused(tmp_path, capsys):
    assert train("--out", tmp_path, "--resume") == 5
    assert "there is no checkpoint" in events(capsys)[-1]["diagnostics"][0]["message"]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_an_interruption_saves_after_its_step(tmp_path, number, code):
    command = [sys.executable, "-m", "netc.cli.main", "run", DIGITS, "--epochs", "500", "--plain"]
    running = subprocess.Popen(
        [*command, "--out", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Where the tests themselves run under nohup it is ignored, and so by all that they start.
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "metrics.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    running.send_signal(number)
    out, err = running.communicate(timeout=60)
    assert running.returncode == code
    assert "interrupted after step" in out
    assert "Traceback" not in err
    assert latest(tmp_path) is not None


def test_nohup_is_respected(tmp_path):
    command = [sys.executable, "-m", "netc.cli.main", "run", DIGITS, "--epochs", "3", "--quiet"]
    running = subprocess.Popen(
        ["nohup", *command, "--out", "o"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True, cwd=tmp_path, env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (tmp_path / "o" / "metrics.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGHUP)
    out, _ = running.communicate(timeout=60)
    assert running.returncode == 0
    told = [line.split()[0] for line in out.splitlines()]
    assert told == ["test", "step", "saved", "best"]


def test_patience_ends_a_training_and_the_best_is_kept(tmp_path, capsys):
    """Where nothing moves, no epoch is better than the first."""
    still = ("--lr", 0.0, "--epochs", 9, "--patience", 2, "--out", tmp_path)
    assert train(*still) == 0
    result = events(capsys)[-1]
    assert (result["epoch"], result["gave_up"], result["interrupted"]) == (3, True, False)
    assert result["best_accuracy"] == result["test_accuracy"]
    assert result["best_step"] == result["step"] / 3
    assert meta_of(tmp_path / BEST)["step"] == str(result["best_step"])


def test_a_training_that_goes_on_knows_what_was_best(tmp_path, capsys):
    assert train("--epochs", 2, "--out", tmp_path) == 0
    before = events(capsys)[-1]
    assert train("--epochs", 4, "--lr", 0.0, "--out", tmp_path, "--resume") == 0
    after = events(capsys)[-1]
    assert (after["best_step"], after["best_accuracy"]) == (
        before["best_step"], before["best_accuracy"]
    )  # fmt: skip
    assert meta_of(tmp_path / BEST)["step"] == str(before["best_step"])


def test_a_loss_that_explodes_is_an_error(tmp_path, capsys):
    assert train("--lr", 1e6, "--steps", 40, "--out", tmp_path) == 5
    assert "the loss is" in events(capsys)[-1]["diagnostics"][0]["message"]


def test_a_compiled_program_runs_without_the_compiler(tmp_path):
    file = tmp_path / "digits.netc"
    assert main(["compile", DIGITS, "--devices", "2", "-o", str(file), "--json"]) == 0
    script = (
        "import sys; from netc.cli.main import main; "
        f"code = main(['run', {str(file)!r}, '--steps', '3', '--json', '--out', "
        f"{str(tmp_path)!r}, '--trace', {str(tmp_path / 't.json')!r}]); "
        "loaded = [m for m in sys.modules if m.startswith(('netc.passes', 'netc.syntax', "
        "'netc.strategies', 'netc.cost', 'lark', 'networkx'))]; print(loaded); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    *_, result, loaded = done.stdout.splitlines()
    assert json.loads(result)["step"] == 3
    assert json.loads(result)["trace"] == str(tmp_path / "t.json")
    assert loaded == "[]"


@pytest.mark.parametrize(
    "change", [("--batch", 48), ("--devices", 4), ("--strategy", "data"), ("--precision", "fp64"),
               ("--scheme", "b"), ("--fc-update", "round"), ("-D", "classes=3"), ("--pin", "fc1=n"),
               ("--updates", "sharded")]
)  # fmt: skip
def test_what_was_compiled_cannot_be_changed(tmp_path, capsys, change):
    file = tmp_path / "digits.netc"
    assert main(["compile", DIGITS, "--devices", "2", "-o", str(file), "--json"]) == 0
    capsys.readouterr()
    assert main(["run", str(file), "--json", *map(str, change)]) == 2
    (error,) = events(capsys)
    assert error["diagnostics"][0]["help"] == "compile the network again."


def test_a_damaged_compiled_program_is_refused(tmp_path, capsys):
    file = tmp_path / "digits.netc"
    assert main(["compile", DIGITS, "-o", str(file), "--json"]) == 0
    text = file.read_text()
    random = np.random.default_rng(3)
    for cut in (20, len(text) // 2, len(text) - 30, *random.integers(12, len(text) - 1, 8)):
        file.write_text(text[:cut])
        capsys.readouterr()
        assert main(["run", str(file), "--json", "--out", str(tmp_path)]) == 5, f"cut at {cut}"


def test_null_backend_predicts_and_computes_nothing(capsys):
    assert main(["run", "vgg16", "--devices", "8", "--backend", "null", "--cluster", "h100",
                 "--json"]) == 0  # fmt: skip
    (result,) = events(capsys)
    assert result["test_accuracy"] is None
    assert 0 < result["step_seconds"] < 10
    assert len(result["sent_bytes"]) == 8


def test_json_alone_is_on_stdout(tmp_path):
    command = [sys.executable, "-m", "netc.cli.main", "run", DIGITS, "--steps", "2", "--json"]
    environment = os.environ | {"COLUMNS": "40"}
    done = subprocess.run([*command, "--out", str(tmp_path)], capture_output=True, text=True,
                          check=True, env=environment)  # fmt: skip
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [e["event"] for e in found] == ["start", "result"]
