"""What is fixed at compile time, and what a step computes by it, in words."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from netc.cost import Cluster, setting
from netc.ir.augmentations import mixes
from netc.ir.optimizers import Chosen, choose_optimizer
from netc.ir.programs import TRAIN
from netc.ir.types import Mesh
from netc.passes.assign_formats import Target
from netc.passes.choose_splits import Pin
from netc.passes.compile_cost import CompileCost
from netc.syntax import Network, Recipe, network_text


@dataclass(frozen=True, slots=True)
class Options:
    """What is fixed at compile time besides the network."""

    mesh: Mesh
    batch: int
    """Images of a step, over all devices."""
    cluster: Cluster
    """The machine to plan for."""
    strategy: str = "hybrid"
    pins: tuple[Pin, ...] = ()
    scheme: str | None = None
    """a, b or c; None takes the usual one (`usual_scheme`)."""
    fc_update: str = "step"
    goal: str = TRAIN
    """The program whose step is planned for: training's, or "eval" for inference."""
    updates: str | None = None
    """One of `UPDATES`; None is replicated, and leaves a search free."""
    recompute: tuple[str, ...] = ()
    """Layers, by name or pattern, whose values the backward pass computes again; or one word of
    `netc.planner.recompute`, which that makes layers of."""
    precision: str = "fp32"
    optimizer: Chosen = field(default_factory=lambda: choose_optimizer("sgd"))
    target: Target = field(default_factory=lambda: Target("cpu"))
    afford: Callable[[CompileCost], None] = lambda cost: None
    """Called before a training plan becomes a program; raises what forbids it."""
    fetch: tuple[str, ...] = ()
    """More values to put out of a training step, such as "conv1.weight.grad"."""
    apart: bool = False
    """Whether every device is a class of its own, also where it is equal to others."""

    @property
    def setting(self) -> str:
        """What the times of launches depend on besides the launch (`netc.cost.launch.setting`)."""
        target = self.target
        threads = target.threads or target.blas_threads
        return setting(target.name, self.precision, target.kernels, threads, self.mesh.size)


def usual_scheme(fc_update: str) -> str:
    """What is taken where none is asked for: rounds only for who updates after each of them."""
    return "b" if fc_update == "round" else "a"


def task(network: Network, options: Options) -> str:
    """What a step computes, and on what, whatever its plan: what measured plans are kept under."""
    rule = options.optimizer
    told = ", ".join((rule.optimizer.word, *(f"{name} {value}" for name, value in rule.options)))
    told += "".join(f", {each}" for each in rule.besides)
    told += ", mixed images" if mixes(call.name for call in network.recipe.augment) else ""
    rounds = ", fc-update round" if options.fc_update == "round" else ""
    step = f"{network.name} {digest(network)}, batch {options.batch}, {told}{rounds}"
    goal = "" if options.goal == TRAIN else ", inference"
    again = "".join(f", {layer} again" for layer in options.recompute)
    return f"{step}{again}{goal}: {options.setting}, {options.mesh.size} devices"


def digest(network: Network) -> str:
    """What tells networks apart: a hash of the layers as text, whatever the recipe."""
    text = network_text(replace(network, recipe=Recipe()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
