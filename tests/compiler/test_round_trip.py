"""What is printed parses back to an equal value, and equal inputs give equal bytes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from harness import compile_case, compiled, options, tiny
from hypothesis import given
from hypothesis import strategies as st
from random_networks import GRIDS, Case, cases, free_cases, round_cases

from netc.ir.text import (
    bundle_text,
    graph_text,
    parse_bundle,
    parse_graph,
    parse_plan,
    parse_program,
    plan_text,
    program_text,
)
from netc.passes.build_graph import build_graph
from netc.passes.init_graph import init_plan


@cases(25)
@given(st.one_of(free_cases(), free_cases(GRIDS), round_cases()))
def test_of_random_values(case: Case) -> None:
    bundle, made = compile_case(case)
    for mode in ("train", "eval"):
        graph = build_graph(case.network, case.batch, mode=mode)
        assert parse_graph(graph_text(graph)) == graph
    assert parse_graph(graph_text(made.graph)) == made.graph
    for plan in (made.plan, init_plan(made.plan)):
        assert parse_plan(plan_text(plan)) == plan
    assert parse_program(program_text(bundle.train)) == bundle.train
    text = bundle_text(bundle)
    assert parse_bundle(text) == bundle
    assert bundle_text(parse_bundle(text)) == text
    assert bundle_text(compile_case(case)[0]) == text


PRINT = """
from harness import compiled, options, tiny
from netc.ir.text import bundle_text
chosen = options(tiny(), 3, 9, strategy="hybrid", scheme="c")
print(bundle_text(compiled(tiny(), chosen)[0]), end="")
"""


def test_bytes_do_not_depend_on_the_process() -> None:
    texts = {_in_a_process(hash_seed) for hash_seed in ("0", "1", "2")}
    chosen = options(tiny(), 3, 9, strategy="hybrid", scheme="c")
    assert texts == {bundle_text(compiled(tiny(), chosen)[0])}


def _in_a_process(hash_seed: str) -> str:
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": path}
    command = [sys.executable, "-c", PRINT]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("text", ["", "netc bundle 0\n", "netc bundle 8\nprogram x\n"])
def test_what_is_not_a_bundle(text: str) -> None:
    with pytest.raises(ValueError, match="compiled program"):
        parse_bundle(text)
