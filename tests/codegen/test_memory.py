"""The memory plan against its checker, which replays bytes and knows nothing of lifetimes."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from chains import Step, chains, planned, program_of
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_run import live_before

from codegen import memory_check
from codegen.kernel import Kernel, KernelSpec, Operand
from codegen.memory import ALIGN, Buffer, Sharing, plan
from codegen.program import Argument, Call, Program, Tensor


@settings(max_examples=60, deadline=None)
@given(chains())
def test_every_plan_passes_the_checker(chain: tuple[int, list[Step]]) -> None:
    made, buffers, sharings = planned(*chain)
    program = program_of(*chain, made)
    memory_check.check(program)
    assert made.arena_bytes >= made.lower_bound
    assert all(o % ALIGN == 0 for o in made.offsets.values())
    apart = plan(buffers)
    assert made.lower_bound <= apart.lower_bound
    assert made == plan(buffers, sharings)


@settings(max_examples=60, deadline=None)
@given(chains(), st.data())
def test_the_checker_finds_what_is_moved(
    chain: tuple[int, list[Step]], data: st.DataObject
) -> None:
    """One buffer elsewhere: refused exactly where a byte that is read later would be written."""
    source, steps = chain
    made, buffers, _ = planned(source, steps)
    name = data.draw(st.sampled_from(sorted(made.offsets)))
    size = next(b.nbytes for b in buffers if b.name == name)
    at = data.draw(st.integers(0, max(made.arena_bytes - size, 0) // 8)) * 8
    moved = replace(made, offsets={**made.offsets, name: at})
    program = program_of(source, steps, moved)
    try:
        memory_check.check(program)
    except memory_check.PlanError:
        return
    # Accepted: then what a call writes is alive for no later one, its own shared input aside.
    live = [*live_before(program)[1:], None]
    for call, after in zip(program.calls, live, strict=True):
        if after is None:
            continue
        for a in call.arguments:
            if a.role == "scratch":
                assert not after[a.offset : a.offset + a.nbytes].any()


def test_places_are_chosen_together() -> None:
    """In place, the second result would force the third apart; the plan sees all of it at once."""
    buffers = [Buffer("x", 800, -1, 0), Buffer("a", 1600, 0, 1), Buffer("b", 1600, 1, 2),
               Buffer("c", 400, 2, 3)]  # fmt: skip
    sharings = [Sharing("a", "x", overlap=796), Sharing("b", "a", in_place=True),
                Sharing("c", "b", in_place=True)]  # fmt: skip
    made = plan(buffers, sharings)
    assert made.arena_bytes == made.lower_bound == 1600
    assert plan(buffers).arena_bytes == 3200


def test_planning_is_quick() -> None:
    """Thirty layers with scratch under half a second, however far the bound is."""
    chance = np.random.default_rng(3)
    buffers, sharings = [Buffer("v0", 20_000, -1, 0)], []
    for i in range(30):
        buffers.append(Buffer(f"v{i + 1}", int(chance.integers(1000, 40_000)), i, i + 1))
        buffers.append(Buffer(f"s{i}", int(chance.integers(100, 5000)), i, i))
        sharings.append(Sharing(f"v{i + 1}", f"v{i}", False, int(chance.integers(-500, 20_000))))
    start = time.process_time()
    made = plan(buffers, sharings)
    assert time.process_time() - start < 0.5
    assert made.arena_bytes <= 1.15 * made.lower_bound


@pytest.mark.parametrize("distance", [0, 8, 800])
def test_the_checker_knows_windows(distance: int) -> None:
    """A 3x3 convolution in the order of rows, 10x10x8: a row and a pixel have to lie between."""
    p = {"H": 10, "W": 10, "C": 8, "OH": 10, "OW": 10, "kernel": [3, 3], "strides": [1, 1],
         "dilations": [1, 1], "pads": [1, 1, 1, 1], "tile": 1}  # fmt: skip
    operands = (Operand("x", "int8", 800, "input", True), Operand("y", "int8", 800, "output", True))
    kernel = Kernel(KernelSpec("conv2d", "c99", operands, p), "", 0)

    def check(distance: int) -> None:
        arguments = (Argument("input", distance, 800, "x"), Argument("output", 0, 800, "y"))
        # The call claims that any distance will do.
        call = Call("conv", "conv2d", kernel, arguments, False, -800, (), (), 0, "")
        x = Tensor("x", (1, 800), "int8", 1.0, 0, distance, 800)
        y = replace(x, name="y", offset=0)
        memory_check.check(Program("p", "t", (call,), 2000, 0, b"", (x,), (y,)))

    if distance < 88:
        with pytest.raises(memory_check.PlanError, match="over 'x'"):
            check(distance)
    else:
        check(distance)
    check(88)
    with pytest.raises(memory_check.PlanError):
        check(87)
