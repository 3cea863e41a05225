"""Plans beside each other: what a step of each is predicted to take, send and hold."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from netc.errors import Diagnostic, PlanError
from netc.ir.clock import simulate
from netc.layers import sent_bytes
from netc.passes.compile_cost import CompileCost
from netc.passes.options import Options
from netc.passes.pipeline import Compiled, lower_network
from netc.passes.plan_memory import peak_bytes
from netc.planner.recompute import resolved
from netc.strategies.fixed import FIXED
from netc.syntax import Network

SCHEMES = ("a", "b", "c")
STRATEGIES = tuple(name for name in FIXED if name != "single")
"""Of several devices."""
WORTH_TELLING = 0.03
"""A plan that is faster by more than that is worth a word."""
QUICK_SECONDS = 1.0
"""In which a plan can be made, about, that is looked at unasked."""
LARGEST_BATCH = 2**16
"""Up to which it is looked for the batch at which another strategy is better."""


@dataclass(frozen=True, slots=True)
class ComparedPlan:
    """A network on some devices by a strategy, priced."""

    devices: int
    batch: int
    """Images of a step, over all devices."""
    strategy: str
    scheme: str
    """Empty where nothing is exchanged in rounds."""
    seconds: float
    """Of a step, by the clock."""
    exposed_seconds: float
    """Of it, those in which the least busy device does not compute."""
    sent_bytes: int
    """By the device that sends most."""
    peak_bytes: int
    """Of the device that needs most memory."""
    fits: bool
    """Whether a device has that."""

    @property
    def images_per_second(self) -> float:
        """Of all devices."""
        return self.batch / self.seconds

    @property
    def name(self) -> str:
        """Strategy and scheme: "hybrid, scheme b"."""
        return f"{self.strategy}, scheme {self.scheme}" if self.scheme else self.strategy


def priced(network: Network, options: Options, strategy: str) -> ComparedPlan:
    """One plan. Raises PlanError where it cannot be carried out."""
    options = resolved(network, options, must_fit=False)
    compiled = lower_network(network, replace(options, afford=lambda cost: None), verified=False)
    return described(compiled, options, strategy)


def described(compiled: Compiled, options: Options, strategy: str) -> ComparedPlan:
    """A plan that was lowered, with its price."""
    line = simulate(compiled.program)
    peak = peak_bytes(compiled.program, options.target.alignment_bytes)
    return ComparedPlan(
        options.mesh.size, options.batch, strategy, compiled.scheme, line.seconds,
        line.exposed_seconds, max(sent for sent, _ in sent_bytes(compiled.plan)), peak,
        peak <= options.cluster.memory_bytes,
    )  # fmt: skip


def faster(network: Network, options: Options, compiled: Compiled) -> ComparedPlan | None:
    """The plan of another fixed strategy, or of another scheme, whose predicted step is shortest,
    where it is by more than `WORTH_TELLING` shorter than that of `compiled` and fits. Plans that
    take long to make are left out.
    """
    others = [replace(options, strategy=name, scheme="a") for name in STRATEGIES]
    if compiled.scheme:
        own = [scheme for scheme in SCHEMES if scheme != compiled.scheme]
        others += [replace(options, scheme=scheme) for scheme in own]
    found = []
    for other in others:
        with suppress(PlanError):
            quick = replace(other, afford=_be_quick)
            lowered = lower_network(network, quick, verified=False)
            found.append(described(lowered, other, other.strategy))
    seconds = simulate(compiled.program).seconds * (1 - WORTH_TELLING)
    fits = (plan for plan in found if plan.fits and plan.seconds < seconds)
    return min(fits, key=lambda plan: plan.seconds, default=None)


def _be_quick(cost: CompileCost) -> None:
    if cost.seconds > QUICK_SECONDS:
        raise PlanError(Diagnostic("E053", "this takes longer than a word is worth."))


def crossover(
    network: Network, options: Options, small: str, large: str, of: Callable[[ComparedPlan], float]
) -> int | None:
    """The largest batch, over all devices, at which strategy `small` has less of something (its
    seconds, its bytes) than `large`; 0 where it never has, None where it still has at
    `LARGEST_BATCH`. Found by halving: what one sends grows with the batch, the other's does not.
    """

    def less(batch: int) -> bool:
        one, other = (
            of(priced(network, replace(options, batch=batch, strategy=name), name))
            for name in (small, large)
        )
        return one < other

    low, high = options.mesh.size, LARGEST_BATCH
    if not less(low):
        return 0
    if less(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if less(middle) else (low, middle)
    return low


def priced_schemes(network: Network, options: Options, strategy: str) -> list[ComparedPlan]:
    """A plan under each scheme that works for it; one where nothing is exchanged in rounds."""
    first = priced(network, replace(options, scheme="a"), strategy)
    found = [first]
    for scheme in SCHEMES[1:] if first.scheme else ():
        try:
            found.append(priced(network, replace(options, scheme=scheme), strategy))
        except PlanError:
            # Rounds that a layer or a grid forbids are no row.
            continue
    return found
