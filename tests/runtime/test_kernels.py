"""Fast kernels in programs: what they are called, that they compute what the reference does."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from random_networks import OPTIMIZERS, SGD

import netc_clusters
import netc_models
from netc.api.kernels import kernels_text
from netc.cost import Cluster, read_cluster
from netc.ir.joined import results_of
from netc.ir.kernels import KernelCall
from netc.ir.optimizers import Chosen
from netc.ir.program import Bundle, Launch, Program
from netc.ir.step import Step
from netc.ir.types import line_mesh
from netc.passes.assign_formats import Target
from netc.passes.options import Options
from netc.passes.pipeline import compile_network
from netc.syntax import Network, parse_text
from netc.work import launch_flops
from netc_kernels import cpu
from netc_kernels.cpu.shape import ConvShape
from netc_runtime.cpu.backend import CpuBackend, CpuExecutable
from netc_runtime.cpu.bind import bind
from netc_runtime.cpu.kernels import CpuKernels
from netc_runtime.session import Session

MODELS = Path(netc_models.__file__).parent
THREADS = 2
CLUSTER: Cluster = read_cluster(Path(netc_clusters.__file__).parent / "local.toml")
MIXED = """net mixed(classes = 7)
include "blocks/resnet.net"
input image 3x23x21
conv 5x5 18 /2 pad=2 bias=false | bn | relu | lrn 5 | maxpool 3x3 /2 ceil=true
bottleneck(8, project=true)
conv 3x3 20 pad=same groups=2 | tanh
conv 3x3 24 pad=0x1 | relu | avgpool 3x3 /1 pad=1
concat { conv 1x1 8 | relu ; maxpool 2x2 /1 pad=1 | conv 2x2 8 bias=false ; conv 3x3 32 pad=1 }
bn | dropout 0.3
maxpool 2x2
fc 40 | relu | dropout 0.5
fc classes | softmax_loss
"""

POOLED = """net pooled(classes = 7)
input image 8x20x24
conv 3x3 32 pad=1 | relu | maxpool 2x2
conv 3x3 48 pad=1 bias=false | maxpool 2x2
conv 3x3 16 pad=1 | relu | maxpool 2x2 /2
fc 40 | relu
fc classes | softmax_loss
"""
"""Of its poolings the last has an odd number of rows."""


def network(text: str) -> Network:
    return parse_text(text, str(MODELS / "mixed.net"))


class Fastest(dict[KernelCall, dict[str, float]]):
    """A table in which one variant is the only one measured, for every call."""

    def __init__(self, variant: str) -> None:
        super().__init__()
        self.variant = variant

    def get(self, call: KernelCall, default: Any = None) -> Any:
        return {self.variant: 1.0}


EVERY_OPTIMIZER = pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)


def compiled(
    net: Network, batch: int, devices: int = 1, fast: bool = True, threads: int = THREADS,
    optimizer: Chosen = SGD, measured: Mapping[KernelCall, Mapping[str, float]] = {},
) -> Bundle:  # fmt: skip
    kernels = CpuKernels(threads, measured)
    target = Target("cpu", "nhwc", choose=kernels.choose) if fast else Target("cpu")
    options = Options(line_mesh(devices), batch, CLUSTER, optimizer=optimizer, target=target)
    return compile_network(net, options)[0]


def session(bundle: Bundle) -> Session:
    programs = (bundle.init, bundle.train, bundle.eval)
    opened = Session(bundle, CpuBackend(programs, poison=True, threads=THREADS))
    opened.initialize(3)
    return opened


def images(bundle: Bundle) -> tuple[NDArray[Any], NDArray[np.int64]]:
    shape = next(p.shape for p in bundle.train.inputs if len(p.shape) == 4)
    rng = np.random.default_rng(5)
    return rng.standard_normal(shape).astype("f4"), rng.integers(0, 7, shape[0])


def launches(bundle: Bundle) -> list[Launch]:
    return [i for i in bundle.train.instructions if isinstance(i, Launch)]


def names(launch: Launch) -> list[str]:
    """The kernels of a launch; a step that another does as well is named without a variant."""
    return kernels_text(launch).split(" + ")


def plainly(launch: Launch) -> list[Step]:
    """The steps of a launch with the reference's kernels."""
    return [replace(step, variant="", absorbed=False) for step in launch.steps]


def test_programs_name_every_kernel() -> None:
    found = {name for launch in launches(compiled(network(MIXED), 6)) for name in names(launch)}
    wanted = """conv.winograd conv.direct conv_dx.winograd conv_dw.winograd bias relu
        relu_dx add bn_norm.vector bn_moments.vector bn_slopes.vector lrn_dx.vector
        dropout.vector maxpool_dx.vector avgpool.vector concat.vector slice.vector add.vector
        fc_dw_sgd.vector sgd.vector tanh.reference"""
    assert set(wanted.split()) <= found


def test_reference_programs_name_none() -> None:
    bundle = compiled(network(MIXED), 6, fast=False)
    found = {name.partition(".")[2] for launch in launches(bundle) for name in names(launch)}
    assert found == {"reference"}


@pytest.mark.parametrize(
    ("text", "batch", "optimizer", "variant"),
    [
        (MIXED, 6, SGD, ""),
        (MIXED, 1, SGD, ""),
        *((MIXED, 6, each, "") for each in OPTIMIZERS[1:]),
        (MIXED, 6, SGD, "blas"),
        (MIXED, 6, SGD, "direct"),
        (POOLED, 6, SGD, ""),
        (POOLED, 6, replace(SGD, clip=0.01, ema=0.9), ""),
    ],
    ids=["sgd", "one image", *map(str, OPTIMIZERS[1:]), "blas", "direct", "pooled", "clipped"],
)
def test_every_launch_of_a_step_equals_the_reference(
    text: str, batch: int, optimizer: Chosen, variant: str
) -> None:
    """On the values that it meets, so that nothing that came before adds to its error."""
    bundle = compiled(network(text), batch, optimizer=optimizer, measured=Fastest(variant))
    assert variant in str([names(launch) for launch in launches(bundle)])
    opened, (x, y) = session(bundle), images(bundle)
    # Adam and RMSprop move every weight by about the rate.
    rate = 1e-3 if "eps" in dict(optimizer.options) else 0.1
    opened.step(x, y, step=0, seed=3, learning_rate=rate)
    assert opened.train.program is bundle.train
    assert isinstance(opened.train, CpuExecutable) and isinstance(opened.eval, CpuExecutable)
    checked = differ_little(opened.train)
    if text is POOLED:
        opened.evaluate(x, y, batch)
        checked += differ_little(opened.eval)
    assert checked > (40 if text is MIXED else 20)


def largest_sum(launch: Launch, reads: list[Any], shape: tuple[int, ...]) -> float:
    """What a tanh or sigmoid is of, at its largest, whose error the result has; 0 for others."""
    *before, last = plainly(launch)
    if not before or last.operation not in ("tanh", "sigmoid"):
        return 0.0
    sums = np.empty(shape, np.float32)
    bind(before, "", [sums], reads, None)()
    return float(np.abs(sums).max())


def differ_little(executable: CpuExecutable) -> int:
    """Compare every launch of a program that ran; count those of fast kernels."""
    checked = 0
    for launch in executable.program.instructions:
        assert isinstance(launch, Launch)
        reads = [executable.open(0, view).copy() for view in launch.reads]
        wanted = [np.empty_like(executable.open(0, view)) for view in launch.writes]
        executable._kernel(launch, 0)()
        bind(plainly(launch), launch.joined, wanted, reads, None)()
        for view, right in zip(launch.writes[: results_of(launch)], wanted, strict=False):
            found = executable.open(0, view)
            if found.dtype == np.uint8:  # the place of one of two that are nearly equal may differ
                assert np.mean(found != right) < 1e-3, names(launch)
                continue
            difference = np.abs(found - right).max()
            scale = max(1.0, np.abs(right).max(), largest_sum(launch, reads, right.shape))
            assert difference <= 2e-5 * scale, (names(launch), difference)
        checked += bool(launch.steps[0].variant)
    return checked


def test_results_repeat_to_the_bit_and_hardly_depend_on_the_plan() -> None:
    text = MIXED.replace("relu", "sigmoid").replace("maxpool", "avgpool")
    losses = []
    for devices in (1, 1, 3):
        bundle = compiled(network(text), 6, devices)
        opened, (x, y) = session(bundle), images(bundle)
        steps = (opened.step(x, y, step=n, seed=3, learning_rate=0.1) for n in range(4))
        losses.append([float(results["loss"]) for results in steps])
    assert losses[0] == losses[1]
    np.testing.assert_allclose(losses[0], losses[2], rtol=1e-4)


def test_a_measured_table_decides() -> None:
    asked: list[Any] = []
    kernels = CpuKernels(THREADS)

    def choose(calls: Any) -> Any:
        asked.append(calls)
        return kernels.choose(calls)

    target = Target("cpu", "nhwc", choose=choose)
    options = Options(line_mesh(1), 4, CLUSTER, target=target)
    compile_network(network(MIXED), options)
    (calls,) = {c for c in asked if c[0].kernel == "conv_dw" and len(kernels.variants(c[0])) > 1
                and c[0].result == (32, 24, 3, 3)}  # fmt: skip
    for times, best in (({"winograd": 2.0, "direct": 1.0}, "direct"),
                        ({"winograd": 1.0, "direct": 2.0, "gone": 0.5}, "winograd")):  # fmt: skip
        choice = CpuKernels(THREADS, {calls[0]: times}).choose(calls)
        assert choice is not None
        assert (choice.variants, choice.seconds) == ((best,), 1.0)


def test_what_is_usual_depends_on_the_shape() -> None:
    text = """net usual
        input image 512x14x14
        conv 1x1 64
        conv 3x3 512 pad=1
        conv 1x1 2048 /2
        conv 1x1 64 /2
        fc 10
        softmax_loss"""
    for batch, deep in ((8, "blas"), (2, "direct")):
        chosen = [n for launch in launches(compiled(network(text), batch)) for n in names(launch)]
        forward = [name for name in chosen if name.startswith("conv.")]
        assert forward == ["conv.direct", "conv.winograd", f"conv.{deep}", "conv.direct"]


ABSENT = """
import sys
sys.modules["numba"] = None
from netc.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def without_numba(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", ABSENT, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_without_numba_numpy_runs_and_says_so_once(tmp_path: Path) -> None:
    asked = ("run", "digits", "--steps", "2", "--plain", "--devices", "2", "--kernels", "fast")
    done = without_numba(tmp_path, *asked)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Numba is not installed, so NumPy's kernels run") == 1
    for kernels in ("reference", "auto"):
        quiet = without_numba(tmp_path, *asked, "--kernels", kernels, "--replace")
        assert (quiet.returncode, quiet.stderr) == (0, "")


def test_a_program_compiled_with_fast_kernels_runs_without_numba(tmp_path: Path) -> None:
    from netc.cli.main import main

    file = str(tmp_path / "digits.netc")
    assert main(["compile", "digits", "-o", file, "--kernels", "fast"]) == 0
    assert re.search('"(winograd|direct|blas)"', Path(file).read_text())
    done = without_numba(tmp_path, "run", file, "--steps", "2", "--plain")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Numba is not installed") == 1


def test_changing_kernels_of_a_compiled_program_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from netc.cli.main import main

    file = str(tmp_path / "digits.netc")
    assert main(["compile", "digits", "-o", file, "--kernels", "reference"]) == 0
    assert main(["run", file, "--kernels", "auto"]) == 2
    assert "'--kernels' cannot change a compiled program" in capsys.readouterr().err


@EVERY_OPTIMIZER
def test_updates_are_joined_only_where_nobody_else_reads_the_gradient(
    optimizer: Chosen,
) -> None:
    name = {"adamw": "adam"}.get(optimizer.optimizer.word, optimizer.optimizer.word)
    bundle = compiled(network(MIXED), 6, devices=2, optimizer=optimizer)
    by_device = [[la for la in launches(bundle) if la.class_ == d] for d in (0, 1)]
    for own in by_device:
        kernels = [name for launch in own for name in names(launch)]
        # Convolutions are split by the batch: their gradients are summed over the devices first.
        assert f"{name}.vector" in kernels
        assert not any(kernel.startswith(("sgd_", "adam_")) for kernel in kernels)
    target = Target("cpu", "nhwc", choose=CpuKernels(THREADS).choose)
    options = Options(
        line_mesh(1), 6, CLUSTER, optimizer=optimizer, fetch=("fc2.weight.grad",), target=target
    )
    fetched = compile_network(network(MIXED), options)[0]
    updates = {la.node: names(la)[0] for la in launches(fetched) if name in names(la)[0]}
    assert updates["fc2.weight.next"] == f"{name}.vector"
    assert updates["fc1.weight.next"] == f"fc_dw_{name}.vector"


def test_convolutions_pool_what_nobody_else_reads() -> None:
    def found(program: Program) -> list[str]:
        own = (i for i in program.instructions if isinstance(i, Launch))
        return [name for i in own for name in names(i) if "maxpool" in name]

    at_once, apart = "maxpool", ["maxpool.vector"]
    bundle = compiled(network(POOLED), 6)
    noted, plain = [at_once, "maxpool_places"], [at_once]
    last = ["maxpool_dx.vector"]  # with its relu
    assert found(bundle.train) == [*noted, *noted, *apart, *last, *["maxpool_places_dx.vector"] * 2]
    assert found(bundle.eval) == [*plain, *plain, *apart]
    places = [b for b in bundle.train.buffers if b.name.endswith(".places@0")]
    assert [b.nbytes for b in places] == [6 * 32 * 10 * 12, 6 * 48 * 5 * 6]
    target = Target("cpu", "nhwc", choose=CpuKernels(THREADS).choose)
    asked = Options(line_mesh(1), 6, CLUSTER, target=target, fetch=("relu1",))
    fetched = compile_network(network(POOLED), asked)[0]
    assert found(fetched.train).count(at_once) == 1
    split = compiled(network(POOLED), 6, devices=2)
    assert found(split.train).count(at_once) == 4
    forward = [
        sum(launch_flops(launch) for launch in launches(each) if launch.phase == "forward")
        for each in (compiled(network(POOLED), 6, fast=False), bundle)
    ]
    assert forward[0] == forward[1] > 0


def test_pooling_at_once_trains_alike() -> None:
    losses = []
    for devices, fast in ((1, False), (1, True), (2, True), (3, True)):
        bundle = compiled(network(POOLED), 6, devices, fast)
        opened, (x, y) = session(bundle), images(bundle)
        steps = (opened.step(x, y, step=n, seed=3, learning_rate=0.05) for n in range(4))
        losses.append([float(results["loss"]) for results in steps])
    for other in losses[1:]:
        np.testing.assert_allclose(losses[0], other, rtol=1e-4)


def test_without_numba_a_convolution_that_pools_is_the_references(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle = compiled(network(POOLED), 6)
    x, y = images(bundle)
    losses = []
    for absent in ("", "Numba is not installed"):
        monkeypatch.setattr(cpu, "available", lambda absent=absent: absent)
        opened = session(bundle)
        steps = (opened.step(x, y, step=n, seed=3, learning_rate=0.05) for n in range(2))
        losses.append([float(results["loss"]) for results in steps])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    assert losses[0] != losses[1]


def test_statistics_are_joined_where_nothing_is_exchanged_between() -> None:
    def counts(devices: int) -> Counter[str]:
        return Counter(
            names(la)[0].partition(".")[0] for la in launches(compiled(text, 6, devices))
        )

    text = network(MIXED)
    alone, apart = counts(1), counts(2)
    assert alone["bn_moments"] == alone["bn_slopes"] > 0
    assert not alone["bn_mean"] + alone["bn_var"] + alone["bn_dgamma"]
    # Each device has half of the batch: sums of both are added up.
    assert apart["bn_sums"] == apart["sums_moments"] == apart["bn_slopes"]
    assert apart["bn_slopes"] == 2 * alone["bn_slopes"]
    assert not apart["bn_moments"] + apart["bn_mean"] + apart["bn_var"]
    assert not alone["bn_sums"] + alone["sums_moments"]


def test_training_curves_are_those_of_the_direct_kernels() -> None:
    """Twenty steps, by Winograd and BLAS beside direct convolutions."""
    curves = {}
    for variant in ("", "direct", "blas"):
        bundle = compiled(network(MIXED), 6, measured=Fastest(variant))
        opened, (x, y) = session(bundle), images(bundle)
        steps = (opened.step(x, y, step=n, seed=3, learning_rate=0.02) for n in range(20))
        curves[variant] = np.array([float(results["loss"]) for results in steps])
        opened.close()
    assert curves["direct"][-1] < 0.7 * curves["direct"][0]
    for curve in curves.values():
        np.testing.assert_allclose(curve, curves["direct"], rtol=1e-3)


def test_every_launch_has_the_workspace_that_its_own_block_needs() -> None:
    """The smaller of two shards may need more: here 10 images need more than 11."""
    from netc_kernels.cpu.winograd import workspace

    text = "net n\ninput image 512x14x14\nconv 3x3 512 pad=1 | relu\nfc 3 | softmax_loss\n"
    bundle = compiled(network(text), 21, devices=2, threads=1)
    found = {}
    for launch in launches(bundle):
        if names(launch)[0] == "conv.winograd":
            images = launch.reads[0].shape[0]
            shape = ConvShape(images, 512, 512, (14, 14), (3, 3), (1, 1), (1, 1, 1, 1))
            buffer = bundle.train.buffer[launch.writes[1].buffer]
            found[images] = (buffer.nbytes, workspace(shape, 1))
    assert found.keys() == {10, 11}
    assert all(given >= needed for given, needed in found.values())
