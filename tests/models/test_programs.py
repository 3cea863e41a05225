"""The hybrid programs of all shipped networks: every wait is needed; compiling is repeatable."""

import os
import subprocess
import sys
from pathlib import Path

import mutations
import pytest
from harness import compiled, options

import netc_models
from netc.ir.text import (
    bundle_text,
    graph_text,
    parse_bundle,
    parse_graph,
    parse_plan,
    plan_text,
)
from netc.ir.verify import VerifyError
from netc.ir.verify_program import verify_program
from netc.syntax import network_text, parse_file, parse_text

MODELS = Path(netc_models.__file__).parent
SMALL = ("digits", "lenet", "alexnet", "alexnet_owt", "vgg16")


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("scheme", ["b", "c"])
def test_every_single_wait_of_the_hybrid_program_is_needed(name, scheme):
    network = parse_file(MODELS / f"{name}.net")
    bundle, _ = compiled(
        network, options(network, 3, 18, strategy="hybrid", scheme=scheme, fetch=())
    )
    tried = 0
    for program in (bundle.train, bundle.eval, bundle.init):
        for number, wait in mutations.waits(program):
            shared = mutations.shared_classes(program, number, wait)
            with pytest.raises(VerifyError):
                verify_program(mutations.without_wait(program, number, wait), classes=shared)
            tried += 1
    assert tried > (30 if name in ("digits", "lenet") else 50)


@pytest.mark.parametrize("name", sorted(p.stem for p in MODELS.glob("*.net")))
def test_printed_forms_parse_back(name):
    network = parse_file(MODELS / f"{name}.net")
    assert parse_text(network_text(network)) == network
    if name not in SMALL:
        return
    bundle, made = compiled(network, options(network, 3, 18, strategy="hybrid", fetch=()))
    assert parse_graph(graph_text(made.graph)) == made.graph
    assert parse_plan(plan_text(made.plan)) == made.plan
    text = bundle_text(bundle)
    assert parse_bundle(text) == bundle
    assert bundle_text(parse_bundle(text)) == text


def test_compiling_twice_gives_equal_bytes(tmp_path):
    files = []
    for seed in ("1", "77"):
        file = tmp_path / f"{seed}.netc"
        command = [sys.executable, "-m", "netc.cli.main", "compile", "alexnet", "--devices", "4"]
        subprocess.run([*command, "-o", str(file)], check=True, capture_output=True,
                       env=os.environ | {"PYTHONHASHSEED": seed})  # fmt: skip
        files.append(file.read_bytes())
    assert files[0] == files[1]
