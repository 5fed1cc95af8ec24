"""The memory plan against its checker, which replays bytes and knows nothing of lifetimes."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codegen import memory_check
from codegen.kernel import Kernel, KernelSpec, Operand
from codegen.memory import ALIGN, Buffer, Plan, Sharing, plan
from codegen.memory_run import live_before
from codegen.program import Argument, Call, Program, Tensor


@dataclass(frozen=True)
class Step:
    """One call: the values it reads by index (0 is the program's input), and what it makes."""

    reads: tuple[int, ...]
    nbytes: int
    scratch: int
    in_place: bool
    overlap: int | None


@st.composite
def chains(draw: st.DrawFn) -> tuple[int, list[Step]]:
    """Bytes of the program's input, and steps of which each reads one or two earlier values."""
    steps: list[Step] = []
    sizes = st.integers(1, 200)
    for i in range(draw(st.integers(1, 9))):
        first = draw(st.one_of(st.just(i), st.integers(0, i)))
        others = draw(st.lists(st.integers(0, i), max_size=1))
        overlap = draw(st.one_of(st.none(), st.integers(-64, 200)))
        scratch = draw(st.one_of(st.just(0), st.integers(1, 80)))
        steps.append(Step((first, *others), draw(sizes), scratch, draw(st.booleans()), overlap))
    return draw(sizes), steps


def planned(source: int, steps: list[Step]) -> tuple[Plan, list[Buffer], list[Sharing]]:
    sizes = [source, *(s.nbytes for s in steps)]
    last = [max([i for i, s in enumerate(steps) if v in s.reads], default=max(v - 1, -1))
            for v in range(len(sizes))]  # fmt: skip
    last[-1] = len(steps)
    buffers = [Buffer(f"v{v}", n, v - 1, last[v]) for v, n in enumerate(sizes)]
    buffers += [Buffer(f"s{i}", s.scratch, i, i) for i, s in enumerate(steps) if s.scratch]
    sharings = [
        Sharing(f"v{i + 1}", f"v{s.reads[0]}", s.in_place, s.overlap)
        for i, s in enumerate(steps)
        if last[s.reads[0]] == i and s.reads[0] not in s.reads[1:]
        if s.in_place or s.overlap is not None
    ]
    return plan(buffers, sharings), buffers, sharings


def program_of(source: int, steps: list[Step], made: Plan) -> Program:
    sizes = [source, *(s.nbytes for s in steps)]

    def argument(role: str, name: str, nbytes: int) -> Argument:
        return Argument(role, made.offsets[name], nbytes, name if name[0] == "v" else "")

    calls = []
    for i, s in enumerate(steps):
        arguments = [argument("input", f"v{v}", sizes[v]) for v in s.reads]
        arguments.append(argument("output", f"v{i + 1}", s.nbytes))
        if s.scratch:
            arguments.append(argument("scratch", f"s{i}", s.scratch))
        operands = tuple(Operand(f"o{k}", "int8", a.nbytes, a.role)
                         for k, a in enumerate(arguments) if a.role != "scratch")  # fmt: skip
        kernel = Kernel(KernelSpec("any", "c99", operands, {}), "", s.scratch)
        calls.append(Call(f"step {i}", "any", kernel, tuple(arguments), s.in_place, s.overlap,
                          (), (), 0, ""))  # fmt: skip

    def tensor(name: str, nbytes: int) -> Tensor:
        return Tensor(name, (1, nbytes), "int8", 1.0, 0, made.offsets[name], nbytes)

    return Program(
        "chain", "cortex-m4", tuple(calls), made.arena_bytes, made.lower_bound, b"",
        (tensor("v0", source),), (tensor(f"v{len(steps)}", sizes[-1]),),
    )  # fmt: skip


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
