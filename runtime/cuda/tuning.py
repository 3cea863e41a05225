"""The vendor's plans and the hand-written kernels timed for what programs compute, and kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from netc.errors import DeviceError
from netc.ir.kernels import KernelCall
from netc.ir.program import Launch, Program, View
from netc.ir.step import Step
from netc_kernels.cuda.clock import elapsed
from netc_kernels.cuda.conv.vendor import Product
from netc_runtime.cuda.kernels import LaunchBinder, products_of
from netc_runtime.cuda.plans import KeptPlans, Plans, race_key
from netc_runtime.cuda.timing import Room, zero_seed
from netc_runtime.io.problems import unwritable

RUNS = 5
"""Of each kernel."""


class Tuner:
    """Times what programs leave to be chosen on this GPU, each product alone and once."""

    def __init__(self, precision: str) -> None:
        import cupy

        self.precision, self.kept = precision, KeptPlans()
        self.stream = cupy.cuda.Stream(non_blocking=True)
        self.seed = zero_seed()
        self.plans = _Untimed(self.kept)
        self.binder = LaunchBinder(precision, self.plans, self.stream.ptr)

    def measure(self, programs: Sequence[Program]) -> Iterator[tuple[KernelCall, dict[str, float]]]:
        """What each product of some programs is called, with the seconds of the kernels that
        compute it; the vendor's by the fastest of its plans.
        """
        seen = set()
        for program in programs:
            for launch in program.instructions:
                if not isinstance(launch, Launch):
                    continue
                for steps, call, product in products_of(program, launch, self.precision):
                    if product not in seen:
                        seen.add(product)
                        yield call, self._timed(program, launch, steps, product)

    def keep(self) -> Path:
        """Keep what was found, for later starts. Raises DataError (E069)."""
        try:
            self.kept.keep(self.plans)
        except OSError as problem:
            raise unwritable(self.kept.path, problem) from None
        return self.kept.path

    def _timed(
        self, program: Program, launch: Launch, steps: Sequence[Step], product: Product
    ) -> dict[str, float]:
        writes, reads = (
            [self._room(program, view) for view in views] for views in (launch.writes, launch.reads)
        )
        for room in reads:
            if room.block.dtype in ("f32", "bf16"):
                room.fill(self.seed.block, self.stream.ptr)
        out, inputs = ([room.block for room in rooms] for rooms in (writes, reads))
        seconds = {}
        for variant in ("native", "vendor"):
            named = [replace(steps[0], variant=variant), *steps[1:]]
            with suppress(DeviceError):  # where the vendor has no plan
                start = self.binder.bind(named, launch.joined, out, inputs)
                run = partial(start, self.stream.ptr)
                seconds[variant] = min(elapsed(run, self.stream, RUNS))
        self.plans[race_key(product)] = min(seconds, key=seconds.__getitem__)
        return seconds

    def _room(self, program: Program, view: View) -> Room:
        return Room(view.shape, program.buffer[view.buffer].dtype, view.format == "nhwc")


class _Untimed(Plans):
    """Plans of which none is known, and those likely that others are of products like theirs."""

    def __init__(self, known: Plans) -> None:
        super().__init__()
        self.before, self.place = known.before, known.place
