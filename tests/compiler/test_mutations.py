"""A program or plan that was changed is refused, or gives the same bits.

Random orders of execution alone miss some missing waits, and the verifier alone could be wrong
about what conflicts; so what it must refuse is known otherwise, and what it accepts is run.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TypeVar

import mutations
import pytest
from harness import compile_case, same, train
from hypothesis import given
from hypothesis import strategies as st
from random_networks import Case, cases, free_cases, round_cases

from netc.ir.plan import Plan
from netc.ir.program import Bundle, Collective, Program
from netc.ir.types import On, Partial, Placements, Replicate, Shard
from netc.ir.verify import VerifyError, verify_plan
from netc.ir.verify_program import verify_program

T = TypeVar("T")
SAMPLE = 12
"""Changes of one kind tried in one program."""
CASES = st.one_of(free_cases(), round_cases())
SEEDS = st.integers(0, 2**31)


def some(items: Iterable[T], seed: int) -> list[T]:
    found = list(items)
    return random.Random(seed).sample(found, min(SAMPLE, len(found)))


def refused_or_same(case: Case, bundle: Bundle, programs: Iterable[Program], seed: int) -> None:
    """What the verifier accepts of changed training programs gives the unchanged one's bits."""
    steps = bundle.facts.accumulate
    expected = train(case.network, bundle, case.seed, steps)
    for program in programs:
        try:
            verify_program(program)
        except VerifyError:
            continue
        changed = replace(bundle, train=program)
        run = train(case.network, changed, case.seed, steps, interleave=seed)
        assert same(run.results, expected.results)


@cases(30)
@given(CASES, SEEDS)
def test_every_wait_is_needed(case: Case, seed: int) -> None:
    bundle, _ = compile_case(case)
    for program in bundle.programs:
        for number, wait in some(mutations.waits(program), seed):
            shared = mutations.shared_classes(program, number, wait)
            with pytest.raises(VerifyError):
                verify_program(mutations.without_wait(program, number, wait), classes=shared)


@cases(20)
@given(CASES, SEEDS)
def test_operands_of_one_launch_cannot_share_bytes(case: Case, seed: int) -> None:
    bundle, _ = compile_case(case)
    for one, other in some(mutations.read_together(bundle.train), seed):
        with pytest.raises(VerifyError, match=r"M3|M4|M6"):
            verify_program(mutations.moved_onto(bundle.train, one, other))


@cases(12)
@given(CASES, SEEDS)
def test_buffers_that_share_bytes(case: Case, seed: int) -> None:
    bundle, _ = compile_case(case)
    program = bundle.train
    filled = [b for b in program.buffers if b.nbytes and b.kind == "temporary"]
    pairs = ((a.name, b.name) for a in filled for b in filled if a.class_ == b.class_ and a != b)
    changed = (mutations.moved_onto(program, *pair) for pair in some(pairs, seed))
    refused_or_same(case, bundle, changed, seed)


@cases(40)
@given(CASES, SEEDS)
def test_no_placement_can_be_another(case: Case, seed: int) -> None:
    _, made = compile_case(case)
    for index, placements in some(_other_placements(made.plan), seed):
        with pytest.raises(VerifyError, match="P"):
            verify_plan(mutations.with_placement(made.plan, index, placements))


def _other_placements(plan: Plan) -> Iterator[tuple[int, Placements]]:
    known = (Replicate(), Partial(), Partial("max"), Shard(0), Shard(1), Shard(2), On(0), On(1))
    for index, placements in enumerate(plan.placements):
        for axis, old in enumerate(placements):
            for new in known:
                if new != old:
                    yield index, (*placements[:axis], new, *placements[axis + 1 :])


@cases(25)
@given(CASES, SEEDS)
def test_wrong_collectives(case: Case, seed: int) -> None:
    bundle, _ = compile_case(case)
    changed = (
        mutations.with_instruction(bundle.train, number, wrong)
        for number, instruction in enumerate(bundle.train.instructions)
        if isinstance(instruction, Collective)
        for wrong in mutations.wrong_collectives(instruction, case.mesh.size)
    )
    refused_or_same(case, bundle, some(changed, seed), seed)


@cases(20)
@given(CASES, SEEDS)
def test_no_block_can_be_another(case: Case, seed: int) -> None:
    bundle, _ = compile_case(case)
    refused_or_same(case, bundle, some(mutations.other_blocks(bundle.train), seed), seed)


@cases(20)
@given(CASES, SEEDS)
def test_attributes_follow_from_blocks(case: Case, seed: int) -> None:
    bundle, _ = compile_case(case)
    refused_or_same(case, bundle, some(mutations.other_attributes(bundle.train), seed), seed)


@cases(12)
@given(CASES, SEEDS)
def test_every_instruction_is_needed(case: Case, seed: int) -> None:
    bundle, _ = compile_case(case)
    for program in bundle.programs:
        for number in some(range(len(program.instructions)), seed):
            with pytest.raises(VerifyError):
                verify_program(mutations.without_instruction(program, number))


@cases(8)
@given(CASES, SEEDS)
def test_swapped_instructions(case: Case, seed: int) -> None:
    bundle, _ = compile_case(case)
    program = bundle.train
    near = ((i, j) for i in range(len(program.instructions)) for j in (i + 1, i + 2, i + 9))
    pairs = [(i, j) for i, j in near if j < len(program.instructions)]
    changed = (mutations.swapped(program, *pair) for pair in some(pairs, seed))
    refused_or_same(case, bundle, changed, seed)
