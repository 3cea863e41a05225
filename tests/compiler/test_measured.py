"""What was measured takes what it took, and what is like it nearly that."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from harness import options, tiny

from netc.cost import (
    STRIDED,
    Cluster,
    LaunchTable,
    LinkLevel,
    Links,
    Measured,
    MeasuredExchange,
    MeasuredLaunch,
    MeasuredPlan,
    Nccl,
    at_devices,
    cluster_toml,
    exchange_price,
    launch_seconds,
    launch_text,
    like_measured,
    measured_json,
    read_cluster,
    setting,
)
from netc.cost.measured import parse_measured
from netc.errors import UsageError
from netc.ir.calls import calls_of, variants_of
from netc.ir.clock import simulate
from netc.ir.kernels import KernelCall
from netc.ir.program import Collective, Launch, Program
from netc.ir.text import bundle_text, parse_bundle
from netc.ir.types import line_mesh, named_mesh
from netc.ir.verify_program import verify_program
from netc.passes.options import Options
from netc.passes.pipeline import compile_network, lower_network
from netc.planner.calibration import MeasuredStep, fit_keeps, fit_link, fit_reached, keeping
from netc.planner.exchanges import KINDS, exchange_program

MACHINE = Cluster(
    "bench", {"f32": 1e11, "f64": 5e10}, 2e10, 8e9, 1e-6,
    Links((LinkLevel("wire", None, 1e9, 1e-5),)), "made up", machine="bench", cores=4,
)  # fmt: skip
HERE = setting("cpu", "fp32", "reference", 1, 2)


def conv(batch: int, channels: int = 16) -> str:
    """A convolution's text, its result first."""
    images, filters = (batch, channels, 8, 8), (32, channels, 3, 3)
    call = KernelCall("conv", "f32", (("stride", (1, 1)),), (0, 1), (images, filters),
                      (batch, 32, 8, 8))  # fmt: skip
    return launch_text((call,), ("",))


def work(batch: int, channels: int = 16) -> tuple[int, int]:
    """Operations and bytes of that convolution."""
    flops = 2 * batch * 32 * 64 * channels * 9
    return flops, 4 * (batch * 64 * (channels + 32) + 32 * channels * 9)


def table(batches: Iterable[int], off: float) -> LaunchTable:
    """Convolutions that take so many times what the roofline says."""
    found = {}
    for batch in batches:
        flops, nbytes = work(batch)
        seconds = off * launch_seconds(MACHINE, "conv", "f32", flops, nbytes)
        found[conv(batch)] = MeasuredLaunch(seconds, flops, nbytes)
    return LaunchTable(found)


def test_what_was_measured_takes_that_and_others_are_off_alike() -> None:
    known = table((8, 16, 64), 1.7)
    flops, nbytes = work(16)
    assert (
        like_measured(MACHINE, known, conv(16), flops, nbytes) == known.launches[conv(16)].seconds
    )
    for batch, channels in ((32, 16), (128, 16), (16, 24)):
        flops, nbytes = work(batch, channels)
        roofline = launch_seconds(MACHINE, "conv", "f32", flops, nbytes)
        found = like_measured(MACHINE, known, conv(batch, channels), flops, nbytes)
        assert found == pytest.approx(1.7 * roofline, rel=1e-9)


def test_the_nearest_say_most() -> None:
    near, far = table((32,), 2.0).launches, table((1024,), 1.0).launches
    flops, nbytes = work(40)
    roofline = launch_seconds(MACHINE, "conv", "f32", flops, nbytes)
    found = like_measured(MACHINE, LaunchTable({**near, **far}), conv(40), flops, nbytes)
    assert found is not None and 1.7 * roofline < found < 2.0 * roofline


def test_other_kernels_say_nothing() -> None:
    known = table((8,), 1.7)
    assert like_measured(MACHINE, known, conv(8).replace("conv.", "conv.other"), 1, 1) is None
    assert like_measured(MACHINE, known, conv(8).replace("f32", "bf16"), 1, 1) is None


def test_texts_tell_apart_what_takes_other_times() -> None:
    call = KernelCall("conv", "f32", (("stride", (1, 1)),), (0, 1), ((2, 3), (3, 4)), (2, 4))
    texts = {
        launch_text((call,), ("",)),
        launch_text((call,), ("fast",)),
        launch_text((call,), (None,)),
        launch_text((replace(call, dtype="bf16"),), ("",)),
        launch_text((replace(call, result=(2, 5)),), ("",)),
        launch_text((replace(call, operands=((2, 3), (3, 5))),), ("",)),
        launch_text((replace(call, attributes=(("stride", (2, 1)),)),), ("",)),
        launch_text((call, call), ("", "")),
    }
    assert len(texts) == 8


def test_an_exchange_is_off_as_those_that_were_measured() -> None:
    """At sizes that were measured it takes that; elsewhere the model, as far off as there."""
    one = MeasuredExchange("all_reduce", 2, ((1000, 1e-4), (100_000, 1e-3), (200_000, 2e-3)))

    def model(nbytes: int) -> float:
        return 2e-5 + nbytes / 4e8

    for nbytes, seconds in one.points:
        assert model(nbytes) * one.off(nbytes, model) == pytest.approx(seconds)
    for nbytes, nearest in ((1, 1000), (999, 1000), (400_000, 200_000), (10**9, 200_000)):
        assert one.off(nbytes, model) == pytest.approx(one.off(nearest, model))
    sizes = [model(int(n)) * one.off(int(n), model) for n in np.geomspace(500, 1e7, 200)]
    assert sizes == sorted(sizes)


def test_a_measured_exchange_is_priced_so_and_other_kinds_by_the_link() -> None:
    mesh, moved = line_mesh(2), ((100_000, 100_000), (100_000, 100_000))
    known = MeasuredExchange("all_gather", 2, ((1000, 1e-3), (100_000, 5e-3)))
    links = replace(MACHINE.links, measured=(known,))
    found = exchange_price(links, mesh, (0,), "all_gather", moved)
    assert found.algorithm == "measured" and found.seconds == pytest.approx(5e-3)
    assert found.ports[0][0] == pytest.approx(100_000 / 1e9 / 5e-3, rel=1e-9)
    assert exchange_price(links, mesh, (0,), "all_reduce", moved).algorithm == "direct"
    assert exchange_price(links, mesh, (0,), "all_reduce", moved) == exchange_price(
        MACHINE.links, mesh, (0,), "all_reduce", moved
    )


def test_strided_exchanges_are_priced_by_their_own_measurements() -> None:
    """And by those of whole runs of bytes, where they were not measured; programs say which."""
    mesh, moved = line_mesh(2), ((100_000, 100_000),) * 2
    runs = MeasuredExchange("all_gather", 2, ((1000, 1e-3), (100_000, 5e-3)))
    strided = MeasuredExchange(STRIDED + "all_gather", 2, ((1000, 2e-3), (100_000, 8e-3)))
    for known, whole, apart in (((runs, strided), 5e-3, 8e-3), ((runs,), 5e-3, 5e-3)):
        links = replace(MACHINE.links, measured=known)
        for asked, seconds in ((False, whole), (True, apart)):
            found = exchange_price(links, mesh, (0,), "all_gather", moved, strided=asked)
            assert found.seconds == pytest.approx(seconds)
        machine = replace(MACHINE, links=links)
        for kind, seconds in (("all_gather", whole), (STRIDED + "all_gather", apart)):
            made = exchange_program(kind, 100_000, 1, mesh, machine)
            (each,) = (i for i in made.program.instructions if isinstance(i, Collective))
            assert each.seconds == pytest.approx(seconds, rel=0.05)


@pytest.mark.parametrize("algorithms", [("direct",), ("ring", "tree"), ("nccl",), ("cuda",)])
def test_groups_of_other_sizes_are_off_as_the_nearest_that_was_measured(
    algorithms: tuple[str, ...],
) -> None:
    """One rule for all ways: the model of a machine that is wrong by a factor is put right."""
    bare = replace(MACHINE.links, algorithms=algorithms, nccl=Nccl("hopper", 18))
    sizes, known = (1000, 10**6, 10**8), []
    for devices, off in ((2, 1.7), (8, 3.0)):
        mesh = line_mesh(devices)
        points = tuple(
            (n, off * exchange_price(bare, mesh, (0,), "all_gather", ((n, n),) * devices).seconds)
            for n in sizes
        )
        known.append(MeasuredExchange("all_gather", devices, points))
    links = replace(bare, measured=tuple(known))
    for devices, off in ((2, 1.7), (3, 1.7), (6, 3.0), (16, 3.0)):
        for nbytes in (100, 30_000, 10**7, 10**9):
            moved = ((nbytes, nbytes),) * devices
            plain, found = (
                exchange_price(each, line_mesh(devices), (0,), "all_gather", moved)
                for each in (bare, links)
            )
            assert found.seconds == pytest.approx(off * plain.seconds, rel=1e-9)
            inside = devices == 2 and 1000 <= nbytes <= 10**8
            assert found.algorithm == ("measured" if inside else plain.algorithm)


def test_measurements_over_inner_links_are_not_those_of_outer_ones() -> None:
    inner, outer = LinkLevel("inner", 2, 1e9, 1e-5), LinkLevel("outer", 4, 1e8, 1e-4)
    known = MeasuredExchange("all_gather", 2, ((1000, 1e-3), (100_000, 5e-3)))
    links, grid = Links((inner, outer), measured=(known,)), named_mesh((2, 2))
    moved = ((100_000, 100_000),) * 4
    assert exchange_price(links, grid, (1,), "all_gather", moved).algorithm == "measured"
    assert exchange_price(links, grid, (0,), "all_gather", moved).algorithm == "direct"


def test_files_are_read_back(tmp_path: Path) -> None:
    known = MeasuredExchange("reduce", 2, ((1000, 1e-3), (100_000, 5e-3)))
    plan = MeasuredPlan(
        "data", 0.5, (2, 2), "a", "sharded", (("conv1", ("n", "k")), ("fc1", ("n", "n")))
    )
    machine = replace(
        MACHINE,
        launches={HERE: table((8, 16), 1.3)},
        links=Links((LinkLevel("a", 2, 1e9, 1e-5), LinkLevel("b", None, 1e8, 1e-4, 2e8)),
                    ("direct", "ring", "nccl"), (known,), Nccl("hopper", 18, "amd")),
        reached=fit_reached([(MACHINE, table((8, 16), 1.3).launches)]),
        while_exchanging=0.0, error=0.125, plans={"digits 8": (plan, replace(plan, scheme=""))},
    )  # fmt: skip
    measured = Measured(machine.launches, machine.links.measured, machine.plans)
    assert parse_measured(measured_json(measured)) == measured
    (tmp_path / "m.json").write_text(measured_json(measured))
    (tmp_path / "m.toml").write_text(cluster_toml(machine, "m.json"))
    found = read_cluster(tmp_path / "m.toml")
    assert {**_plain(found), "reached": None} == {**_plain(machine), "reached": None}
    for kind, reached in machine.reached.items():
        assert found.reached[kind].flops == pytest.approx(reached.flops, rel=1e-5)


def _plain(cluster: Cluster) -> dict[str, object]:
    return {name: getattr(cluster, name) for name in Cluster.__dataclass_fields__}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "cannot read the measurements"),
        ("{}", "it is no file of measurements"),
        ('{"netc_measured": 7}', "not of version"),
        ('{"netc_measured": 1, "launches": {"a": {"b": [0, 1, 1]}}, "exchanges": []}', "seconds"),
        ('{"netc_measured": 1, "launches": {"a": {"b": [1]}}, "exchanges": []}', "no file of"),
        ('{"netc_measured": 1, "launches": {}, "exchanges": [["send",2,[[1,1]]]]}', "two s"),
        ('{"netc_measured": 1, "launches": {}, "exchanges": [["send",2,[[2,1],[1,1]]]]}', "a"),
        ('{"netc_measured": 1, "launches": {}, "exchanges": [["send",2,[[1,0],[2,1]]]]}', "ta"),
        ('{"netc_measured": 1, "launches": {}, "exchanges": [["x",2,[[1,1],[2,1]]]]}', "no ex"),
        (
            '{"netc_measured": 1, "launches": {}, "exchanges": '
            '[["send",2,[[1, 1], [2, 1]]], ["send", 2, [[1, 1], [2, 1]]]]}',
            "twice",
        ),
        (
            '{"netc_measured": 1, "launches": {}, "exchanges": [], '
            '"plans": {"a": [["data", 0, [2], "a", "sharded", {}]]}}',
            "a step takes seconds",
        ),
        ('{"netc_measured": 1, "launches": {}, "exchanges": [], "plans": {"a": [1]}}', "no file"),
        (
            '{"netc_measured": 1, "launches": {}, "exchanges": [], '
            '"plans": {"a": [["data", 1, [2], "a", "sharded", {"fc1": "n,k"}]]}}',
            "on every axis",
        ),
        ("[" * 100_000, "measurements"),
    ],
)  # fmt: skip
def test_what_is_no_measurement_is_told_with_its_place(
    content: str, told: str, tmp_path: Path
) -> None:
    (tmp_path / "m.json").write_text(content)
    (tmp_path / "m.toml").write_text(cluster_toml(MACHINE, "m.json"))
    with pytest.raises(UsageError) as problem:
        read_cluster(tmp_path / "m.toml")
    (found,) = problem.value.diagnostics
    assert found.code == "E055" and told in found.message and found.span is not None


def test_devices_share_cores_and_memory() -> None:
    for devices, cores in ((1, 4), (2, 2), (3, 1), (4, 1), (8, 0.5)):
        seen = at_devices(MACHINE, devices)
        assert seen.flops("f32") == pytest.approx(1e11 * cores)
        assert seen.memory_bytes * devices == MACHINE.memory_bytes
        assert seen.memory_bytes_per_second * devices == MACHINE.memory_bytes_per_second
    apart = replace(MACHINE, cores=None)
    assert at_devices(apart, 4) is apart


@pytest.mark.parametrize("devices", [2, 3, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_programs_that_only_exchange_are_sound(kind: str, devices: int) -> None:
    for nbytes in (4096, 1_000_000):
        made = exchange_program(kind, nbytes, 3, line_mesh(devices), MACHINE)
        verify_program(made.program)
        kinds = [i.kind for i in made.program.instructions if isinstance(i, Collective)]
        assert kinds == [kind.removeprefix(STRIDED)] * 3
        assert nbytes / 3 <= made.nbytes <= 3 * nbytes


def _measured_machine(chosen: Options, off: float) -> tuple[Cluster, Program]:
    """A machine on which every launch of a program takes so many times what is foreseen."""
    program = lower_network(tiny(), chosen).program
    launches = [i for i in program.instructions if isinstance(i, Launch)]
    known = {
        launch_text(calls_of(program, each), variants_of(each)): MeasuredLaunch(
            off * each.seconds, 1, 1
        )
        for each in launches
    }
    target = chosen.target
    here = setting(target.name, chosen.precision, target.kernels, target.threads or
                   target.blas_threads, chosen.mesh.size)  # fmt: skip
    return replace(chosen.cluster, launches={here: LaunchTable(known)}), program


def test_programs_carry_what_was_measured() -> None:
    chosen = options(tiny(), 2, 8)
    machine, before = _measured_machine(chosen, 3.0)
    after = lower_network(tiny(), replace(chosen, cluster=machine)).program
    for old, new in zip(before.instructions, after.instructions, strict=True):
        factor = 3.0 if isinstance(old, Launch) else 1.0
        assert new.seconds == pytest.approx(factor * old.seconds, rel=1e-6)


def test_rates_and_links_that_were_there_are_found() -> None:
    made = {}
    for batch in (1, 4, 16, 64, 256):
        flops, nbytes = work(batch)
        seconds = max((flops + 1e7) / (0.5 * 1e11), nbytes / (0.25 * 2e10), 1e-6)
        made[conv(batch)] = MeasuredLaunch(seconds, flops, nbytes)
    fitted = replace(MACHINE, reached=fit_reached([(MACHINE, made)]))
    for each in made.values():
        found = launch_seconds(fitted, "conv", "f32", each.flops, each.nbytes)
        assert found == pytest.approx(each.seconds, rel=0.15)
    level = MACHINE.links.levels[0]
    exchange = MeasuredExchange("all_gather", 2, ((1000, 3e-5), (10**8, 10**8 / 4e9)))
    assert fit_link(level, [exchange]).bytes_per_second == pytest.approx(4e9)
    assert fit_link(level, [exchange]).latency_seconds == pytest.approx(3e-5)
    assert fit_link(level, []) == level


@pytest.mark.parametrize("keeps", [0.0, 0.5, 1.0])
def test_what_computing_keeps_while_exchanging_is_found(keeps: float) -> None:
    chosen = options(tiny(), 2, 8)
    program = lower_network(tiny(), chosen).program
    took = simulate(keeping(program, keeps)).seconds
    found = fit_keeps([MeasuredStep(program, took)])
    assert simulate(keeping(program, found)).seconds == pytest.approx(took, rel=0.02)


def test_a_program_whose_devices_stand_still_while_exchanging_is_read_back() -> None:
    chosen = options(tiny(), 2, 8, strategy="data", precision="fp32")
    still = replace(chosen, cluster=replace(chosen.cluster, while_exchanging=0.0), fetch=())
    bundle, _ = compile_network(tiny(), still)
    assert any(isinstance(i, Collective) and not i.keeps for i in bundle.train.instructions)
    assert bundle_text(parse_bundle(bundle_text(bundle))) == bundle_text(bundle)


def test_computing_may_stand_still_while_exchanging() -> None:
    program = lower_network(tiny(), options(tiny(), 2, 8)).program
    still, free = (simulate(keeping(program, keeps)).seconds for keeps in (0.0, 1.0))
    apart = simulate(program, overlap=False).seconds
    assert free <= still <= apart * (1 + 1e-9)
