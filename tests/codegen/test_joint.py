"""Joint plans of random programs against the checker, which knows nothing of how they are made."""

from __future__ import annotations

from dataclasses import replace

import pytest
from chains import Step, chains, planned, program_of
from hypothesis import given, settings
from hypothesis import strategies as st
from placed import check_placed
from state_graphs import accumulator

from codegen import joint_check, memory_check
from codegen.joint import Joint, join, kept_ranges
from codegen.lower import build_program
from codegen.memory import ALIGN
from codegen.memory_check import PlanError
from codegen.program import Argument, Program
from edgekit.devices.find import find_target


@st.composite
def programs(draw: st.DrawFn) -> list[Program]:
    """Two to four programs with up to three states each."""
    found = []
    for i in range(draw(st.integers(2, 4))):
        source, steps = draw(chains())
        states = draw(st.lists(st.integers(1, 100), max_size=3))
        made, _, _ = planned(source, steps, states)
        found.append(program_of(source, steps, made, states, f"p{i}"))
    return found


def states_of(program: Program) -> int:
    return sum(-(-s.tensor.nbytes // ALIGN) * ALIGN for s in program.states)


@settings(max_examples=60, deadline=None)
@given(programs())
def test_every_joint_plan_passes_the_checker(alone: list[Program]) -> None:
    joint = join(alone)
    joint_check.check(joint.programs, joint.arena_bytes)
    kept = [states_of(p) for p in alone]
    assert list(joint.kept) == kept
    rest = max(p.arena_bytes - k for p, k in zip(alone, kept, strict=True))
    assert joint.arena_bytes == sum(kept) + rest
    for before, after in zip(alone, joint.programs, strict=True):
        for a, b in zip(before.calls, after.calls, strict=True):
            assert [x.nbytes for x in a.arguments] == [x.nbytes for x in b.arguments]
            assert [x.offset % ALIGN for x in a.arguments] == [
                x.offset % ALIGN for x in b.arguments
            ]


def moved(program: Program, what: str, by: int) -> Program:
    """`program` with its state, or with the output of its first call, `by` bytes away."""
    if what == "state":
        (state,) = program.states
        tensor = replace(state.tensor, offset=state.tensor.offset + by)
        return replace(program, states=(replace(state, tensor=tensor),))
    calls = list(program.calls)
    calls[0] = replace(
        calls[0],
        arguments=tuple(
            replace(a, offset=a.offset + by) if a.role == what else a for a in calls[0].arguments
        ),
    )
    return replace(program, calls=tuple(calls))


def pair() -> Joint:
    """Two programs of one step with scratch and one state of 32 bytes."""
    alone = []
    for name in "ab":
        steps = [Step((0,), 64, 16, False, None)]
        made, _, _ = planned(48, steps, [32])
        alone.append(program_of(48, steps, made, [32], name))
    return join(alone)


def test_the_checker_finds_what_reaches_into_another_ones_state() -> None:
    joint = pair()
    first, second = joint.programs
    assert [s.tensor.offset for p in joint.programs for s in p.states] == [0, 32]
    joint_check.check(joint.programs, joint.arena_bytes)
    scratch = next(a for a in second.calls[0].arguments if a.role == "scratch")
    with pytest.raises(PlanError, match="'b' has 'step 0' write its scratch over a state of 'a'"):
        wrong = moved(second, "scratch", -scratch.offset + 16)
        memory_check.check(wrong)  # nothing is wrong with it alone
        joint_check.check((first, wrong), joint.arena_bytes)
    with pytest.raises(PlanError, match="state 'h0' of 'b' lies in a state of 'a'"):
        calls = tuple(
            replace(c, arguments=tuple(
                replace(a, offset=0) if a.value == "h0:next" else a for a in c.arguments
            )) for c in second.calls
        )  # fmt: skip
        joint_check.check((first, moved(replace(second, calls=calls), "state", -32)), 1000)
    with pytest.raises(PlanError, match="'b' takes its input 'v0' over a state of 'a'"):
        (x,) = second.inputs
        calls = tuple(
            replace(c, arguments=tuple(
                replace(a, offset=0) if a.value == "v0" else a for a in c.arguments
            )) for c in second.calls
        )  # fmt: skip
        lower = replace(second, inputs=(replace(x, offset=0, nbytes=16),), calls=calls)
        joint_check.check((first, replace(lower, calls=(), outputs=(), states=())), 1000)
    with pytest.raises(PlanError, match="reaches to byte"):
        joint_check.check(joint.programs, joint.arena_bytes - 1)


def test_an_argument_across_a_state_moves_as_a_whole() -> None:
    """A window that begins in the state and ends in the new steps behind it stays in one piece."""
    joint = pair()
    program = joint.programs[0]
    window = Argument("input", 16, 40, "h0")
    call = replace(program.calls[0], arguments=(window, *program.calls[0].arguments[1:]))
    assert kept_ranges(program) == [(0, 32)]
    assert kept_ranges(replace(program, calls=(call,))) == [(0, 56)]


def test_one_program_alone_stays_as_large_as_it_is() -> None:
    steps = [Step((0,), 64, 16, True, None), Step((1,), 64, 0, True, None)]
    made, _, _ = planned(64, steps, [8, 24])
    program = program_of(64, steps, made, [8, 24])
    joint = join([program])
    joint_check.check(joint.programs, joint.arena_bytes)
    assert joint.arena_bytes == program.arena_bytes


def test_the_plans_of_buffers_move_along() -> None:
    graphs = [accumulator([1, 2, 3, 4]), accumulator([5, 6, 7, 8], in_place=True)]
    alone = [build_program(g, find_target("cortex-m4")) for g in graphs]
    joint = join(alone)
    for before, after in zip(alone, joint.programs, strict=True):
        check_placed(after)
        assert [b.nbytes for b in before.placed] == [b.nbytes for b in after.placed]
    kept = [b for p in joint.programs for b in p.placed if b.kind == "state"]
    assert sorted(b.offset for b in kept) == [0, ALIGN]
