"""Fast kernels of programs that are split: on each device's blocks they do what the reference does,
and write nowhere else.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from harness import options
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from random_networks import GRIDS, Case, cases, free_cases

from netc.ir.codec import kernels
from netc.ir.joined import overwritten, results_of
from netc.ir.program import Launch, Program, View
from netc.ir.types import ITEM_BYTES
from netc.passes.assign_formats import Target
from netc.passes.choose_splits import Pin
from netc.passes.options import Options
from netc.passes.pipeline import compile_network
from netc.syntax import parse_text
from netc_kernels import cpu
from netc_kernels.cpu.threads import Pool
from netc_runtime.cpu.bind import bind
from netc_runtime.cpu.kernels import CpuKernels

pytestmark = pytest.mark.skipif(bool(cpu.available()), reason=cpu.available() or "Numba is here")
Array = NDArray[Any]
THREADS = 2
GUARD_BYTES = 1024
GUARD = 0xA5
NUMPY = {"f32": np.float32, "f64": np.float64, "i64": np.int64, "u8": np.uint8}


def guarded(program: Program, view: View) -> tuple[Array, Array]:
    """A block of poison, as it lies in memory, and the bytes that it is in."""
    dtype = program.buffer[view.buffer].dtype
    nbytes = int(np.prod(view.shape)) * ITEM_BYTES[dtype]
    memory = np.full(nbytes + 2 * GUARD_BYTES, GUARD, np.uint8)
    memory[GUARD_BYTES : GUARD_BYTES + nbytes] = 0xFF
    flat = memory[GUARD_BYTES : GUARD_BYTES + nbytes].view(NUMPY[dtype])
    if view.format != "nhwc":
        return flat.reshape(view.shape), memory
    n, c, h, w = view.shape
    return flat.reshape(n, h, w, c).transpose(0, 3, 1, 2), memory


def filled(program: Program, view: View, rng: np.random.Generator) -> Array:
    """A block with numbers; vectors are positive, as variances are."""
    array, _ = guarded(program, view)
    drawn = rng.standard_normal(view.shape)
    whole = array.dtype.kind in "iu"
    array[...] = rng.integers(0, 3, view.shape) if whole else drawn if drawn.ndim > 1 else (
        np.abs(drawn) + 0.5
    )  # fmt: skip
    return array


OF_GROUPS = ("grouped_norm", "grouped_dgamma", "grouped_dx")
"""What reads variances that are no vectors."""


def check(program: Program, launch: Launch, pool: Pool, rng: np.random.Generator) -> None:
    reads = [filled(program, view, rng) for view in launch.reads]
    for variances in {s.operands[2] for s in launch.steps if s.operation in OF_GROUPS}:
        reads[variances][...] = np.abs(reads[variances]) + 0.5
    for sums in (each for each in reads if each.dtype == np.float64):
        # Those of x and of its square, of which a variance is made.
        sums[..., 1] = sums[..., 0] ** 2 + np.abs(sums[..., 1]) + 0.5
    found = [guarded(program, view) for view in launch.writes]
    wanted = [guarded(program, view)[0] for view in launch.writes[: results_of(launch)]]
    bind(launch.steps, launch.joined, [array for array, _ in found], reads, pool)()
    plain = [replace(step, variant="", absorbed=False) for step in launch.steps]
    bind(plain, launch.joined, wanted, reads, None)()
    for (array, memory), right in zip(found, wanted, strict=False):
        ends = np.concatenate([memory[:GUARD_BYTES], memory[-GUARD_BYTES:]])
        assert (ends == GUARD).all(), f"{launch.name} wrote beside its result"
        if array.dtype == np.uint8:
            continue  # of two maxima that are nearly equal either may be noted
        scale = max(1.0, float(np.abs(right).max(initial=0)))
        np.testing.assert_allclose(array, right, 0, 1e-4 * scale, err_msg=repr(launch))
    for (_, memory), view in list(zip(found, launch.writes, strict=True))[len(wanted) :]:
        ends = np.concatenate([memory[:GUARD_BYTES], memory[-GUARD_BYTES:]])
        assert (ends == GUARD).all(), f"{launch.name} wrote beside its workspace {view}"


def fast(options_: Options) -> Options:
    target = Target("cpu", "nhwc", choose=CpuKernels(THREADS).choose)
    return replace(options_, precision="fp32", target=target, fetch=())


def check_all(program: Program, seed: int) -> int:
    """Every launch with fast kernels, of every device; their number."""
    rng, checked = np.random.default_rng(seed), 0
    with Pool(THREADS) as pool:
        for device in range(program.mesh.size):
            for each in program.of(device).instructions.values():
                if not isinstance(each, Launch) or not any(step.variant for step in each.steps):
                    continue
                if overwritten(each) or any(kernels()[s.operation].unread for s in each.steps):
                    continue  # state that is overwritten; tests of updates hold these
                check(program, each, pool, rng)
                checked += 1
    return checked


@cases(60)
@given(case=st.one_of(free_cases(), free_cases(GRIDS)))
def test_any_split(case: Case) -> None:
    asked = options(
        case.network, case.mesh, case.batch, pins=case.pins, optimizer=case.optimizer
    )  # fmt: skip
    check_all(compile_network(case.network, fast(asked))[0].train, case.seed)


@pytest.mark.parametrize("devices", [2, 3, 4, 8])
@pytest.mark.parametrize(("channels", "size"), [(8, 7), (8, 3), (12, 5), (6, 5), (96, 5), (33, 4)])
def test_lrn_of_some_channels(channels: int, size: int, devices: int) -> None:
    """The first device's own channels begin where those that its sums read do."""
    text = f"net n\ninput image 1x8x8\nconv 3x3 {channels} pad=1\nlrn {size}\nfc 5\nsoftmax_loss\n"
    network = parse_text(text)
    asked = options(network, devices, 6, strategy="data", pins=(Pin("lrn*", "k"),))
    assert check_all(compile_network(network, fast(asked))[0].train, 1) > 0
