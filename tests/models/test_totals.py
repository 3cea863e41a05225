"""Parameters and multiply-adds of the shipped networks equal those of their papers' networks."""

from pathlib import Path

import pytest

import netc_models
from netc.passes.build_graph import build_graph
from netc.report import layer_facts
from netc.syntax import parse_file

MODELS = Path(netc_models.__file__).parent
TOTALS = {
    "vgg16": (138_357_544, 15.470),
    "alexnet": (60_965_224, 0.724),
    "alexnet_owt": (61_100_840, 0.714),
}


@pytest.mark.parametrize(("name", "totals"), TOTALS.items())
def test_totals(name, totals):
    network = parse_file(MODELS / f"{name}.net")
    facts = layer_facts(network, build_graph(network, batch=1))
    assert sum(f.parameters for f in facts) == totals[0]
    assert round(sum(f.multiply_adds for f in facts) / 1e9, 3) == totals[1]


def test_every_shipped_network_builds_and_mentions_its_source():
    files = sorted(MODELS.glob("*.net"))
    assert {"digits", "lenet", "alexnet", "alexnet_owt", "vgg16"} <= {f.stem for f in files}
    for file in files:
        build_graph(parse_file(file), batch=2, mode="train")
        build_graph(parse_file(file), batch=2, mode="eval")
        assert file.read_text().startswith("#"), f"{file.name} does not say where it comes from"
