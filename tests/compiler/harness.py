"""Compile a network, run it on the cpu backend, and compare what comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from networks import Maker
from numpy.typing import NDArray
from random_networks import SGD, Case

import netc_clusters
from netc.cost import plan_traffic, read_cluster
from netc.errors import PlanError
from netc.ir.augmentations import mixes
from netc.ir.graph import Node
from netc.ir.ops import Parameter, RowArgmax
from netc.ir.optimizers import Chosen
from netc.ir.plan import Plan
from netc.ir.program import Bundle
from netc.ir.types import Mesh, line_mesh
from netc.passes.build_graph import build_graph
from netc.passes.options import Options
from netc.passes.pipeline import Compiled, compile_network
from netc.syntax.network import Network
from netc_runtime.backend import Backend
from netc_runtime.cpu.backend import CpuBackend, CpuExecutable
from netc_runtime.session import Session

Array = NDArray[Any]
CLUSTER = read_cluster(Path(netc_clusters.__file__).parent / "local.toml")
SMALLEST_SCALE = 1e-2
"""Differences are relative to the largest element, but not to less than this."""


@dataclass
class Run:
    """What a few steps of training gave."""

    results: dict[str, Array] = field(default_factory=dict)
    """Losses, gradients, state and evaluation by name."""
    moved: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    """Bytes (sent, received) by device."""
    """Bytes of one training step by (giver, taker)."""


def classes(network: Network) -> int:
    graph = build_graph(network, 1, mode="eval")
    return next(n.op.classes for n in graph.nodes if isinstance(n.op, RowArgmax))


def gradients(network: Network, optimizer: Chosen) -> tuple[str, ...]:
    """The names of the gradients of all parameters that are trained."""
    nodes = (n for n in build_graph(network, 1).nodes if isinstance(n.op, Parameter))
    return tuple(f"{n.name}.grad" for n in nodes if not optimizer.rule(n.name).frozen)


def options(network: Network, mesh: Mesh | int, batch: int, **changes: Any) -> Options:
    """Options in float64 that put out every gradient."""
    mesh = line_mesh(mesh) if isinstance(mesh, int) else mesh
    plain = Options(mesh, batch, CLUSTER, "single", precision="fp64", optimizer=SGD)
    made = replace(plain, **changes)
    return made if "fetch" in changes else replace(made, fetch=gradients(network, made.optimizer))


def compiled(network: Network, chosen: Options) -> tuple[Bundle, Compiled]:
    return compile_network(network, chosen)


def compile_case(case: Case, apart: bool = False) -> tuple[Bundle, Compiled]:
    """A case as it is, or with another scheme where its own is refused."""
    chosen = options(
        case.network, case.mesh, case.batch, pins=case.pins, scheme=case.scheme,
        target=case.target, optimizer=case.optimizer, updates=case.updates, apart=apart,
    )  # fmt: skip
    try:
        return compiled(case.network, chosen)
    except PlanError as refused:
        codes = {diagnostic.code for diagnostic in refused.diagnostics}
    assert codes == {"E043"}
    assert case.scheme in ("b", "c")
    return compiled(case.network, replace(chosen, scheme=None))


def case_options(case: Case) -> Options:
    """How a case is compiled, with another scheme where its own is refused."""
    chosen = options(
        case.network, case.mesh, case.batch, pins=case.pins, scheme=case.scheme,
        target=case.target, optimizer=case.optimizer,
    )  # fmt: skip
    _, made = compile_case(case)
    return replace(chosen, scheme=case.scheme if case.scheme == made.scheme else None)


def total_traffic(
    plan: Plan, wanted: Callable[[Node], bool] = lambda node: True
) -> list[tuple[int, int]]:
    """Bytes that every device is predicted to send and receive, for some communication nodes."""
    moved = [t for name, t in plan_traffic(plan).items() if wanted(plan.graph[name])]
    return [
        (sum(m[device][0] for m in moved), sum(m[device][1] for m in moved))
        for device in range(plan.mesh.size)
    ]


def session(bundle: Bundle, backend: Backend | None = None) -> Session:
    """On devices whose unused bytes are NaN, with biases moved away from all ties."""
    programs = bundle.programs
    made = Session(bundle, backend or CpuBackend(programs, poison=True))
    made.initialize(seed=3)
    rng, state = np.random.default_rng(1), made.state()
    for name in sorted(state):
        if name.endswith(("bias", "weight")):
            state[name] = state[name] + 0.1 * rng.standard_normal(state[name].shape)
    made.restore(state)
    return made


def data(network: Network, batch: int, seed: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    images = rng.standard_normal((batch, *network.inputs[0].shape))
    return images, rng.integers(0, classes(network), batch)


def mixed(network: Network, batch: int, seed: int) -> tuple[Array, ...]:
    """What a step of mixed images has besides: labels and shares, at times of one image alone."""
    if not mixes(call.name for call in network.recipe.augment):
        return ()
    rng = np.random.default_rng((seed, 1))
    shares = np.clip(1.5 * rng.random(batch) - 0.25, 0, 1)
    return rng.integers(0, classes(network), batch), shares


def train(
    network: Network, bundle: Bundle, seed: int, steps: int = 3, interleave: int | None = None,
    backend: Backend | None = None,
) -> Run:  # fmt: skip
    """Some steps on random data, and an evaluation; in a random order for a seed of those."""
    made = session(bundle, backend)
    if interleave is not None:
        _interleave(made, interleave)
    batch = made.bundle.train.inputs
    rows = next(port.shape[0] for port in batch if port.name == "labels")
    run = Run({f"initial {k}": v for k, v in made.state().items()})
    for step in range(steps):
        given = *data(network, rows, seed + step), *mixed(network, rows, seed + step)
        out = made.step(*given, step=step, seed=seed, learning_rate=0.05)
        run.results |= {f"{name} at {step}": value for name, value in out.items()}
        run.moved = made.last.traffic
    run.results |= made.state()
    evaluated = made.evaluate(*data(network, rows, seed), count=max(rows - 2, 1))
    run.results |= {"evaluated": np.asarray(evaluated), "scores": made.scores()}
    return run


def _interleave(made: Session, seed: int) -> None:
    for executable in (made.train, made.part, made.eval):
        assert isinstance(executable, CpuExecutable)
        executable.run = partial(executable.run_interleaved, seed)  # type: ignore[method-assign]


def difference(one: Run, other: Run) -> float:
    """The largest relative difference of any result; both have the same ones."""
    assert one.results.keys() == other.results.keys()
    return max(_apart(value, other.results[name]) for name, value in one.results.items())


def same(one: dict[str, Array], other: dict[str, Array]) -> bool:
    """Equal to the bit."""
    assert one.keys() == other.keys()
    return all(np.array_equal(value, other[name]) for name, value in one.items())


def _apart(a: Array, b: Array) -> float:
    assert a.shape == b.shape
    assert np.isfinite(a).all()
    assert np.isfinite(b).all()
    scale = max(np.abs(b).max(initial=0.0), SMALLEST_SCALE)
    return float(np.abs(a - b).max(initial=0.0) / scale)


def single(network: Network, batch: int, seed: int, **changes: Any) -> Run:
    """The same on one device."""
    bundle, _ = compiled(network, options(network, 1, batch, **changes))
    return train(network, bundle, seed)


def tiny(filters: int = 8, classes: int = 10) -> Network:
    """Two convolutions and two fully connected layers, as in most examples."""
    net = Maker(1, 8, 8, name="tiny")
    x = net.relu(net.conv("image", filters, pad=1))
    x = net.pool(net.relu(net.conv(x, 12, pad=1, groups=2)), 2)
    x = net.dropout(net.relu(net.fc(x, 24)), 0.3)
    return net.loss(net.fc(x, classes))
