"""Laws of joined launches: each is its parts, one after the other, in results and in work."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from random_networks import OPTIMIZERS

from netc.ir import codec
from netc.ir.calls import calls_of
from netc.ir.classes import DeviceClass
from netc.ir.joined import JOINED, NOWHERE, Joined, join, overwritten, targets_of
from netc.ir.launches import check_launch
from netc.ir.ops.base import ShapeError
from netc.ir.optimizers import OPTIMIZERS as REGISTERED
from netc.ir.program import Buffer, Launch, Program, View
from netc.ir.step import Attributes, Step
from netc.ir.types import line_mesh
from netc.work import launch_bytes, launch_flops
from netc_kernels import cpu
from netc_kernels.cpu.threads import Pool
from netc_runtime.cpu.bind import bind
from netc_runtime.cpu.kernels import CpuKernels

Array = NDArray[Any]
N, C, K, H = 6, 5, 16, 8
IMAGE, PIXELS = (N, C, H, H), N * H * H
WIDER = (N, C + 3, H, H)
MADE, POOLED = (N, K, H, H), (N, K, H // 2, H // 2)
WINDOWS: dict[str, Any] = {
    "size": (2, 2), "stride": (2, 2), "pad": (0, 0, 0, 0),
    "whole": ((H, H // 2, 0, 0), (H, H // 2, 0, 0)),
}  # fmt: skip
GROUPED: dict[str, Any] = {"group": 2, "before": 0}
TOLD: dict[str, dict[str, Any]] = {
    "bn_mean": {"count": PIXELS},
    "bn_var": {"count": PIXELS},
    "bn_dgamma": {"eps": 1e-5},
    "bn_norm": {"eps": 1e-5},
    "slice": {"dim": 1, "start": 2},
    "grouped_mean": {**GROUPED, "count": 2 * H * H},
    "grouped_var": {**GROUPED, "count": 2 * H * H},
    "grouped_dgamma": {**GROUPED, "eps": 1e-5},
    "grouped_dbeta": GROUPED,
    "conv": {"stride": (1, 1), "pad": (1, 1, 1, 1), "groups": 1, "filters": K, "first_filter": 0,
             "whole": ((H, H, 1, 1), (H, H, 1, 1))},
    "conv_dx": {"stride": (1, 1), "pad": (1, 1, 1, 1), "groups": 1, "filters": K,
                "first_filter": 0, "whole": ((H, H, 1, 1), (H, H, 1, 1))},
    "bn_sums": {"count": PIXELS},
    "maxpool": WINDOWS,
    "maxpool_places": {**WINDOWS, "relu": True},
}  # fmt: skip
UPDATES = {
    before + each.optimizer.joined: {
        op.kernel: op.in_round(0.5, 0, 1).attributes() for _, op in each.operations("kc")
    }
    for each in OPTIMIZERS
    for before in ("", "fc_dw_")
}
"""The same of each kind of update: some have an operation in common."""
WEIGHTS, DENSE, ONE, FILTERS = (K, C), (N, C), (), (K, C, 3, 3)
SHAPES: dict[str, tuple[tuple[int, ...], ...]] = {
    "bn_moments": (IMAGE,),
    "sums_moments": ((C, 2),),
    "bn_slopes": (IMAGE, (C,), (C,), IMAGE),
    "add_relu_slopes": (*[IMAGE] * 4, (C,), (C,)),
    "add_relu_two_slopes": (*[IMAGE] * 4, (C,), (C,), IMAGE, (C,), (C,)),
    "slice_relu_slopes": (WIDER, IMAGE, IMAGE, (C,), (C,)),
    "bn_norms_add_relu": 2 * (IMAGE, *[(C,)] * 4),
    "conv_moments": (IMAGE, FILTERS),
    "conv_sums": (IMAGE, FILTERS),
    "conv_dx_slopes": (MADE, FILTERS, IMAGE, IMAGE, (C,), (C,)),
    "conv_dx_add_slopes": (MADE, FILTERS, *[IMAGE] * 3, (C,), (C,)),
    "grouped_moments": (IMAGE,),
    "grouped_slopes": (IMAGE, (N // 2, C), (N // 2, C), IMAGE),
    **{
        f"{before}{each.joined}": (
            *source,
            *[WEIGHTS] * len(each.moves),
            *[ONE] * len(each.numbers),
        )
        for each in REGISTERED.values()
        for before, source in (("", (WEIGHTS,)), ("fc_dw_", (DENSE, (N, K))))
    },
    "conv_maxpool": (IMAGE, (K, C, 3, 3), (K,)),
    "conv_maxpool_places": (IMAGE, (K, C, 3, 3), (K,)),
}
"""What each reads."""
READS = {"sums_moments": "f64"}
"""What is not float32."""
CLASSES = (DeviceClass(((0,),)),)
"""The class of the one device."""
MAKES = {"conv": MADE, "bias": MADE, "relu": MADE, "maxpool": POOLED, "maxpool_places": POOLED,
         "fc_dw": WEIGHTS}  # fmt: skip
NORMS = {
    "add_relu_slopes": ("add", "relu_dx"),
    "add_relu_two_slopes": ("add", "relu_dx"),
    "slice_relu_slopes": ("slice", "relu_dx"),
    "bn_norms_add_relu": ("bn_norm", "add", "relu"),
    "conv_dx_slopes": ("conv_dx", "relu_dx"),
    "conv_dx_add_slopes": ("conv_dx", "add", "relu_dx"),
    "conv_moments": (),
    "conv_sums": (),
}
"""Joined batch norms for which only GPUs have kernels, and their operations that make images."""
EVERY = pytest.mark.parametrize("declared", JOINED.values(), ids=JOINED)


@dataclass
class Example:
    """A joined launch, and the launches of its parts."""

    program: Program
    joined: Launch
    parts: list[Launch]
    memory: dict[str, Array]

    def run(self, launch: Launch, steps: tuple[Step, ...], pool: Any) -> list[Array]:
        """What a launch writes, from the memory as it is."""
        new = [self.memory[view.buffer].copy(order="K") for view in launch.writes]
        for before, after in overwritten(launch):
            assert before is not None
            place = [view.buffer for view in launch.writes].index(after.buffer)
            new[place][...] = self.memory[before.buffer]
        reads = [self.memory[view.buffer] for view in launch.reads]
        nbytes = 0
        if steps[0].variant:
            (call, *_), kernels = calls_of(self.program, launch), CpuKernels(2)
            nbytes = kernels.workspace_bytes(call, steps[0].variant)
        work = [np.zeros(nbytes // 4, np.float32)] if nbytes else []
        bind(steps, launch.joined, [*new, *work], reads, pool)()
        return new


def example(declared: Joined) -> Example:
    """Memory of random numbers; images have their channels innermost."""
    rng, memory, buffers = np.random.default_rng(1), {}, []

    def view(name: str, shape: tuple[int, ...], dtype: str = "f32") -> View:
        whole = np.empty(
            shape, {"u8": np.uint8, "i64": np.int64, "f64": np.float64}.get(dtype, np.float32)
        )
        if len(shape) == 4 and shape[2:] != (3, 3):
            whole = np.empty((shape[0], *shape[2:], shape[1]), whole.dtype).transpose(0, 3, 1, 2)
        whole[...] = 3 if dtype == "i64" else np.abs(rng.standard_normal(shape)) + 0.1
        if dtype == "f32" and shape in (IMAGE, WIDER):
            whole *= rng.choice((-1, 1), shape)
        memory[name] = whole
        buffers.append(Buffer(name, 0, whole.nbytes, dtype, name, "temporary"))
        return View(name, 0, shape, (0,) * len(shape))

    shapes = SHAPES[declared.name]
    first = len(shapes) - len(declared.numbers)
    names = [f"read{i}" for i in range(first)] + list(declared.numbers)
    reads = [
        view(name, shape, "i64" if name == "step" else READS.get(declared.name, "f32"))
        for name, shape in zip(names, shapes, strict=True)
    ]
    launches: list[Launch] = []
    for number, part in enumerate(declared.parts):
        operands = [reads[a] if a >= 0 else launches[a].writes[0] for a in part.operands]
        made = MAKES.get(part.operation, WEIGHTS)
        if declared.name in ("conv_moments", "conv_sums"):
            made = {"conv": MADE, "bn_sums": (K, 2)}.get(part.operation, (K,))
        elif declared.name in NORMS:
            made = IMAGE if part.operation in NORMS[declared.name] else (C,)
        elif declared.name.startswith(("bn", "sums", "grouped")):
            made = (N // 2, C) if declared.name.startswith("grouped") else (C,)
        dtype = {"maxpool_places": "u8", "bn_sums": "f64"}.get(part.operation, "f32")
        step = Step(
            part.operation, tuple(range(len(operands))),
            Attributes.of(UPDATES.get(declared.name, TOLD).get(part.operation, {})), made,
        )  # fmt: skip
        launches.append(
            Launch(0, "compute", f"part{number}", "", (step,), tuple(operands),
                   (view(f"made{number}", made, dtype),), "layer", "update")
        )  # fmt: skip
    joined = join(declared.name, launches, launches[-1])
    assert joined is not None
    program = Program("p", line_mesh(1), CLASSES, tuple(buffers), (joined,), (), (), ())
    return Example(program, joined, launches, memory)


def one_by_one(example: Example) -> list[Array]:
    """The results of the parts, each through memory."""
    for part in example.parts:
        (example.memory[part.writes[0].buffer],) = example.run(part, part.steps, None)
    return [example.memory[view.buffer] for view in example.joined.writes]


def test_every_kind_has_an_example() -> None:
    assert set(SHAPES) == set(JOINED)


@EVERY
def test_declarations_are_sound(declared: Joined) -> None:
    results = [part.result for part in declared.parts if part.result != NOWHERE]
    last = declared.parts[-declared.results :]
    assert results == [part.result for part in last] == list(range(declared.results))
    read = {a for part in declared.parts for a in part.operands if a >= 0}
    assert read == set(range(declared.operands))
    assert all(part.operation in codec.kernels() for part in declared.parts)
    assert all(-place <= a for place, p in enumerate(declared.parts) for a in p.operands if a < 0)
    assert len(declared.overwritten) in (0, declared.results)


@EVERY
def test_the_reference_does_the_parts(declared: Joined) -> None:
    given = example(declared)
    check_launch(given.program, given.joined)
    found = given.run(given.joined, given.joined.steps, None)
    for one, other in zip(found, one_by_one(given), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("declared", [each for each in JOINED.values() if each.name not in NORMS])
@pytest.mark.skipif(bool(cpu.available()), reason="fast kernels cannot run here")
def test_a_fast_kernel_does_what_the_parts_do(declared: Joined) -> None:
    given = example(declared)
    head, *rest = given.joined.steps
    variant = "vector" if declared.own else "winograd"
    steps = (replace(head, variant=variant), *(replace(step, absorbed=True) for step in rest))
    with Pool(2) as pool:
        found = given.run(given.joined, steps, pool)
    for one, other in zip(found, one_by_one(given), strict=True):
        if one.dtype == np.uint8:
            assert np.mean(one != other) < 1e-2
        else:
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


@EVERY
def test_its_work_is_that_of_its_parts(declared: Joined) -> None:
    given = example(declared)
    assert launch_flops(given.joined) == sum(map(launch_flops, given.parts)) > 0
    views = {*given.joined.reads, *given.joined.writes}
    moved = sum(given.program.buffer[view.buffer].nbytes for view in views)
    unread = 4 * (prod(WIDER) - prod(IMAGE)) * (given.joined.reads[0].shape == WIDER)
    assert launch_bytes(given.program, given.joined) == moved - unread


@EVERY
def test_other_parts_are_refused(declared: Joined) -> None:
    given = example(declared)
    steps = given.joined.steps
    for place, part in enumerate(declared.parts):
        without = (*steps[:place], *steps[place + 1 :])
        other = replace(steps[place], operands=steps[place].operands[::-1] or (0,))
        changed = (*steps[:place], other, *steps[place + 1 :])
        for wrong in (without, changed):
            if (wrong is without and part.optional) or wrong == steps:
                continue
            with pytest.raises(ShapeError):
                check_launch(given.program, replace(given.joined, steps=wrong))


@EVERY
def test_results_go_where_they_are_declared(declared: Joined) -> None:
    given = example(declared)
    assert targets_of(given.joined) == tuple(part.result for part in declared.parts)
    taken = [given.joined.reads.index(old) for old, _ in overwritten(given.joined) if old]
    assert tuple(taken) == declared.overwritten


@EVERY
def test_results_take_over_blocks_like_their_own(declared: Joined) -> None:
    given = example(declared)
    assert set(given.joined.in_place) == set(declared.in_place) <= set(range(declared.operands))
    for place in declared.in_place:
        assert given.joined.reads[place].shape == given.joined.writes[0].shape
    other = next(i for i in range(len(given.joined.reads)) if i not in declared.in_place)
    with pytest.raises(ShapeError, match="cannot take over"):
        check_launch(given.program, replace(given.joined, in_place=(other,)))
