"""What a person chooses: strategy files, pins, clusters, names, values to fetch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from harness import compiled, data, options, session, tiny
from hypothesis import given
from networks import Maker
from random_networks import GRIDS, Case, cases, free_cases

import netc_clusters
from netc.cost import read_cluster
from netc.errors import NetError, PlanError, SyntaxProblem, UsageError
from netc.ir.optimizers import choose_optimizer
from netc.ir.types import line_mesh
from netc.passes.build_graph import build_graph
from netc.passes.choose_splits import Pin, choose_splits
from netc.passes.differentiate import differentiate
from netc.strategies.file import read_strategy, write_strategy
from netc.syntax.network import Layer, Network

CLUSTERS = Path(netc_clusters.__file__).parent


def said(error: pytest.ExceptionInfo[NetError]) -> list[str]:
    """Line, message and help of every diagnostic."""
    found = error.value.diagnostics
    return [f"{d.span.line if d.span else 0}: {d.message} {d.help}".strip() for d in found]


@cases(30)
@given(case=free_cases())
def test_a_strategy_file_gives_back_the_plan(
    tmp_path_factory: pytest.TempPathFactory, case: Case
) -> None:
    graph = build_graph(case.network, case.batch)
    splits = choose_splits(graph, case.mesh, "hybrid", case.pins)
    path = tmp_path_factory.mktemp("strategy") / "s.toml"
    again = tuple(splits)[case.seed % 3 :: 2]
    write_strategy(path, "net", case.mesh.shape, splits, "b", "round", case.updates, again)
    file = read_strategy(path)
    pins = tuple(Pin(*line) for line in file.splits)
    assert choose_splits(graph, case.mesh, "single", pins) == splits
    assert (file.mesh, file.scheme, file.fc_update) == (case.mesh.shape, "b", "round")
    assert file.updates == case.updates
    assert file.recompute == again


SPLITS = "\n[splits]\nfc1 = 'k'"
DEVICES = "a whole number, 1 to 1,024"
MESH = f"'mesh' must be devices along one to 3 axes, such as [2, 2]: {DEVICES} in all."
MEASURE = "a number from 1e-15 to 1e24"
KEYS = "keys are: netc_strategy, devices, mesh, scheme, fc_update, updates, recompute, splits."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["1: no [splits] in the strategy file."]),
        ("[splits]\nfc1 = 3\n", ["2: the split of 'fc1' must be text such as \"k\"."]),
        (f"mesh = [2, 0]{SPLITS}", [f"1: {MESH}"]),
        (f"mesh = 4{SPLITS}", [f"1: {MESH}"]),
        (f"devices = true{SPLITS}", [f"1: 'devices' must be {DEVICES}."]),
        (f"devices = 2000{SPLITS}", [f"1: 'devices' must be {DEVICES}."]),
        (f"mesh = [2, 2, 2, 2]{SPLITS}", [f"1: {MESH}"]),
        (f"mesh = [40, 40]{SPLITS}", [f"1: {MESH}"]),
        (f"mesh = [2, true]{SPLITS}", [f"1: {MESH}"]),
        (f"mesh = [2, 2]\ndevices = 3{SPLITS}",
         ["2: 'devices' and 'mesh' disagree: 4 devices are on the mesh. leave 'devices' out."]),
        (f"netc_strategy = true{SPLITS}",
         ["1: 'netc_strategy' must be 1, the version of its format."]),
        ("[splits]\na.b = 'k'\n", ["2: the split of 'a' must be text such as \"k\". "
                                   "a name with dots stands in quotes."]),
        ("scheme = 'a'\n[splits]\nscheme = 1\n",
         ["3: the split of 'scheme' must be text such as \"k\"."]),
        (f"\nscheme = 'd'{SPLITS}", ["2: 'scheme' must be a, b or c."]),
        (f"fc_update = 1{SPLITS}", ["1: 'fc_update' must be step or round."]),
        (f"updates = 'zero'{SPLITS}", ["1: 'updates' must be replicated or sharded."]),
        (f"recompute = 'relu1'{SPLITS}",
         ["1: 'recompute' must be a list of layers, or patterns of them."]),
        (
            f"netc_strategy = 2{SPLITS}",
            ["1: 'netc_strategy' must be 1, the version of its format."],
        ),
        ("splits = 'k'\n", ["1: 'splits' must be a table: write [splits]."]),
        (f"scheem = 'a'\nmesh = []{SPLITS}",
         [f"1: unknown key 'scheem'. did you mean 'scheme'? {KEYS}", f"2: {MESH}"]),
    ],
)  # fmt: skip
def test_malformed_strategy_files(tmp_path: Path, text: str, expected: list[str]) -> None:
    path = tmp_path / "s.toml"
    path.write_text(text)
    with pytest.raises(SyntaxProblem) as error:
        read_strategy(path)
    assert said(error) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read the strategy file .*: No such file or directory"),
        (
            b"\xff\xfe",
            "cannot read .*: it is not UTF-8: byte 0, on line 1, is 0xff",
        ),
        (b"[splits\n", "not valid TOML: Expected ']' .*\n  --> s.toml:1:1"),
        (b"a = 1\nb = \n", "not valid TOML: Invalid value .*\n  --> s.toml:2:1"),
        (b"a = 1\na = 2\n", "not valid TOML: Cannot overwrite a value .*\n  --> s.toml:2:1"),
        (b"a = 1\rb = \r", "not valid TOML: Invalid value .*\n  --> s.toml:2:1"),
        (b"a = " + b"1" * 5000, "not valid TOML"),
        (b"a = " + b"[" * 5000, "cannot read the strategy file .*: it nests too deeply"),
        (b"#" * (2**24 + 1), "cannot read the strategy file .*: it is longer than 16 MiB"),
    ],
)
def test_unreadable_strategy_files(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "s.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SyntaxProblem, match=message):
        read_strategy(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("memory_bytes = 20e9", "", "the cluster file 'c.toml' has no 'memory_bytes'."),
        (
            "memory_bytes = 20e9",
            "memory_bytes = -1",
            f"'memory_bytes' must be {MEASURE}.",
        ),
        *(
            (
                "launch_seconds = 10e-6",
                f"launch_seconds = {each}",
                f"'launch_seconds' must be {MEASURE}.",
            )
            for each in ("nan", "inf", "1e400", "0", "true", "'1e-6'", "[]", "1" + "0" * 400)
        ),
        ("f32 = 70e9", "f32 = 'x'", f"'flops_per_second.f32' must be {MEASURE}."),
        ("f32 = 70e9", "", "'flops_per_second' must name f32 and f64."),
        ("f32 = 70e9", "f32 = 1e9\nbf17 = 1e9", "unknown key 'bf17'."),
        ('source = "', 'source = 5 # "', "'source' must be text."),
        ('source = "', 'source = "a"\nsauce = "', "unknown key 'sauce'."),
    ],
)  # fmt: skip
def test_malformed_clusters(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = (CLUSTERS / "local.toml").read_text()
    assert old in text
    path = tmp_path / "c.toml"
    path.write_text(text.replace(old, new))
    with pytest.raises(UsageError) as error:
        read_cluster(path)
    assert [d.message for d in error.value.diagnostics] == [message]


@pytest.mark.parametrize("path", sorted(CLUSTERS.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_clusters(path: Path) -> None:
    assert read_cluster(path).name == path.stem


def named(first: str, second: str) -> Network:
    """Two fully connected layers of these names."""
    net = Maker(2, 4, 4)
    network = net.loss(net.fc(net.fc("image", 4), 3))
    one, two, loss = network.layers
    layers = (
        Layer(first, one.kind, one.options, one.inputs),
        Layer(second, two.kind, two.options, (first,)),
        Layer(loss.name, loss.kind, loss.options, (second,)),
    )
    return Network("net", network.inputs, layers)


@pytest.mark.parametrize(("pattern", "inside"), [("fc1", "n"), ("fc?", "k"), ("head1.*", "k")])
def test_a_whole_name_pins_that_layer_only(pattern: str, inside: str) -> None:
    graph = build_graph(named("head1.fc1", "fc1"), 4)
    splits = choose_splits(graph, line_mesh(2), "data", (Pin(pattern, "k"),))
    assert splits["head1.fc1"] == (inside,)


@pytest.mark.parametrize(
    ("split", "message"),
    [("k", "'k' is not a split of 'fc1'."), ("k,@3", "'fc1' is pinned to @3, but there are")],
)
def test_pins_on_two_axes(split: str, message: str) -> None:
    chosen = options(tiny(), GRIDS[1], 4, pins=(Pin("fc1", split),))
    with pytest.raises(PlanError, match=message):
        compiled(tiny(), chosen)


@pytest.mark.parametrize(
    "name", ["seed", "labels", "labels2", "share", "loss", "lr", "scalars", "correct"]
)
def test_names_that_every_program_has(name: str) -> None:
    with pytest.raises(SyntaxProblem) as error:
        build_graph(named(name, "fc1"), 2)
    assert said(error) == [
        f"0: the name '{name}' has a meaning already in every compiled network. take another name."
    ]


def test_a_layer_named_as_the_call_of_a_block() -> None:
    with pytest.raises(SyntaxProblem) as error:
        build_graph(named("head1.weight", "head1"), 2)
    assert said(error) == [
        "0: 'head1' names both a layer and the call of a block. give one another name."
    ]


def test_images_flattened_on_the_way_keep_out_of_other_names() -> None:
    net = Maker(2, 4, 4)
    x = net.add(net.fc("image", 3), net.fc(net.flatten("image"), 3))
    graph = build_graph(net.loss(x), 2)
    assert [layer for layer in graph.layers if "flatten" in layer] == ["flatten2", "flatten1"]


def test_any_value_can_be_fetched() -> None:
    """In every scheme it is the value on one device; state that the step overwrites cannot."""
    network, batch = tiny(), 8
    values = differentiate(build_graph(network, batch), choose_optimizer("sgd")).nodes
    overwritten = {n.inputs[n.op.alias] for n in values if n.op.alias is not None}
    wanted = tuple(n.name for n in values if n.name not in overwritten)
    results = []
    for devices, scheme in ((1, None), (2, "a"), (2, "b"), (2, "c")):
        chosen = options(network, devices, batch, strategy="hybrid", scheme=scheme, fetch=wanted)
        made = session(compiled(network, chosen)[0])
        images, labels = data(network, batch, 0)
        results.append(made.step(images, labels, step=0, seed=0, learning_rate=0.1))
    for result in results:
        assert result.keys() == results[0].keys() >= {"relu1", "fc2.weight.grad", "relu3.grad"}
        for name, value in result.items():
            np.testing.assert_allclose(value, results[0][name], rtol=1e-9, atol=1e-12)
    with pytest.raises(UsageError, match="cannot be fetched: the step overwrites it"):
        compiled(network, options(network, 1, batch, fetch=("fc1.weight",)))
