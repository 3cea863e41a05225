"""The kernels that a plan could use, timed; from then on plans choose by these times."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from netc.api.calls import checked_calls
from netc.api.choices import PlanChoices
from netc.api.figures import html_table, seconds_text, shape_text, table, terminal_columns
from netc.api.request import Request
from netc.api.targets import target_name
from netc.errors import DeviceError, Diagnostic
from netc.ir.kernels import KernelCall, KernelChoice
from netc.passes.pipeline import compile_network
from netc_kernels import cpu, cuda
from netc_runtime.cpu.kernels import CpuKernels
from netc_runtime.measure.tuning import measure, save_times

_HEADER = ("operation", "operands", "fastest", "times")


@dataclass(frozen=True, slots=True)
class TimedCall:
    """An operation on operands of some shapes, and what each kernel for it took."""

    call: KernelCall
    seconds: Mapping[str, float]
    """By the kernel's name."""

    @property
    def fastest(self) -> str:
        """The name of the kernel that is chosen from now on."""
        return min(self.seconds, key=self.seconds.__getitem__)

    @property
    def text(self) -> str:
        """One line: operation, shapes, the fastest kernel, and what each took."""
        return f"{' '.join((self.call.kernel, self._operands)):44}  {self.fastest:9}  {self._times}"

    @property
    def _operands(self) -> str:
        return " ".join(map(shape_text, self.call.operands))

    @property
    def _times(self) -> str:
        return "  ".join(f"{name} {seconds_text(s)}" for name, s in sorted(self.seconds.items()))

    def cells(self) -> tuple[str, ...]:
        """The same as cells of a table."""
        return self.call.kernel, self._operands, self.fastest, self._times


@checked_calls
@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Tuning:
    """What kernels took on this machine; a table of that."""

    calls: tuple[TimedCall, ...]
    path: Path
    """The table of times that every plan for this machine chooses by."""

    @property
    def footing(self) -> str:
        """Where the times are kept."""
        if not self.calls:
            return "there is nothing to choose: each launch has one kernel"
        return f"kept {len(self.calls)} times in {self.path}; fast kernels are chosen by them"

    def table(self, columns: int | None = None) -> str:
        """A row an operation, as wide as so many columns."""
        return table(_HEADER, (each.cells() for each in self.calls), 4, columns=columns)

    def __repr__(self) -> str:
        """All of it, as wide as the terminal."""
        return f"{self.table(terminal_columns())}\n\n{self.footing}"

    def _repr_html_(self) -> str:
        return html_table("", _HEADER, (each.cells() for each in self.calls), 4, [self.footing])


def kernels_to_tune(choices: PlanChoices) -> str | None:
    """Which kernels are meant where nobody says: on a CPU those that there are several of."""
    fast = target_name(choices, 1) == "cpu" and choices.precision in (None, "fp32")
    return choices.kernels or ("fast" if fast else None)


def tuned(asked: Request, told: Callable[[TimedCall], None] = lambda _: None) -> Tuning:
    """Compile, time what could be chosen otherwise, telling each, and keep the times.

    Raises DeviceError (E077) where there is nothing to choose from.
    """
    if asked.options.target.name == "cuda":
        return _tuned_gpu(asked, told)
    threads = asked.options.target.threads
    if not threads:
        reason = cpu.available() or (
            "'--kernels reference', '--precision fp64' and '--cluster' leave none"
        )
        raise DeviceError(Diagnostic("E077", f"there are no kernels to choose from: {reason}."))
    found = []
    for call, seconds in measure(_calls(asked, threads), threads):
        found.append(TimedCall(call, seconds))
        told(found[-1])
    path = save_times(threads, {each.call: each.seconds for each in found})
    return Tuning(tuple(found), path)


def _tuned_gpu(asked: Request, told: Callable[[TimedCall], None]) -> Tuning:
    """Time what the plan's programs leave to be chosen on this machine's GPU."""
    if reason := cuda.available():
        raise DeviceError(Diagnostic("E077", f"there are no kernels to choose from: {reason}."))
    # Imported here: programs for the CPU need none of it.
    from netc_runtime.cuda.tuning import Tuner

    bundle, _ = compile_network(asked.network, asked.options)
    tuner, found = Tuner(bundle.facts.precision), []
    for call, seconds in tuner.measure((bundle.train, bundle.eval)):
        found.append(TimedCall(call, seconds))
        told(found[-1])
    return Tuning(tuple(found), tuner.keep())


def _calls(asked: Request, threads: int) -> tuple[KernelCall, ...]:
    """What a plan computes that several kernels could."""
    kernels = CpuKernels(threads)
    seen: dict[KernelCall, None] = {}

    def choose(calls: tuple[KernelCall, ...]) -> KernelChoice | None:
        seen.update((c, None) for c in calls if len(kernels.variants(c)) > 1)
        return kernels.choose(calls)

    target = replace(asked.options.target, choose=choose)
    compile_network(asked.network, replace(asked.options, target=target))
    return tuple(seen)
