"""Several RAMs: hot buffers in the fast one, nothing lost, nothing too large."""

from __future__ import annotations

from dataclasses import replace

import pytest
from built import M4
from graphs import graphs_of
from hypothesis import given, settings
from hypothesis import strategies as st

from codegen.lower import build_program
from codegen.memory import Buffer, Sharing, aligned, plan
from codegen.regions import Memory, RegionPlan, plan_regions
from edgekit.errors import EdgekitError
from edgekit.measure import ram_regions
from targets import Region


def overlapping(found: RegionPlan, buffers: list[Buffer], sharings: list[Sharing]) -> bool:
    """Whether two buffers that are alive together lie over each other without leave."""
    leave = {(s.output, s.source): s for s in sharings}
    here = [b for b in buffers if b.name in found.plan.offsets]
    for a in here:
        for b in here:
            if a is b or not a.meets(b):
                continue
            x, y = found.plan.offsets[a.name], found.plan.offsets[b.name]
            if x >= y + b.nbytes or y >= x + a.nbytes:
                continue
            s, lower = leave.get((a.name, b.name)), (x, y)
            if s is None:
                s, lower = leave.get((b.name, a.name)), (y, x)
            near = s is not None and s.overlap is not None and lower[0] + s.overlap <= lower[1]
            if s is None or not (near or (s.in_place and x == y)):
                return True
    return False


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[Buffer], list[Sharing], dict[str, int], list[Memory]]:
    count = draw(st.integers(1, 8))
    size = st.integers(1, 200)
    buffers = [Buffer(f"v{i}", draw(size), i - 1, i) for i in range(count)]
    sharings = [
        Sharing(f"v{i + 1}", f"v{i}", draw(st.booleans()), draw(st.none() | st.integers(-50, 200)))
        for i in range(count - 1)
    ]
    traffic = {b.name: draw(st.integers(0, 9999)) for b in buffers}
    memories = [Memory("slow", draw(st.integers(0, 2000)), 3), Memory("fast", draw(size), 0)]
    return buffers, sharings, traffic, memories


@settings(max_examples=60, deadline=None)
@given(cases())
def test_each_buffer_lies_somewhere_once(
    case: tuple[list[Buffer], list[Sharing], dict[str, int], list[Memory]],
) -> None:
    buffers, sharings, traffic, memories = case
    try:
        found = plan_regions(buffers, sharings, traffic, memories)
    except EdgekitError as error:
        assert error.code == "E335"
        # The slow memory could not hold everything by itself.
        assert plan(buffers, sharings).arena_bytes > memories[0].nbytes
        return
    assert [f.memory.name for f in found] == ["fast", "slow"]
    names = [name for f in found for name in f.plan.offsets]
    assert sorted(names) == sorted(b.name for b in buffers)
    assert sum(f.traffic for f in found) == sum(traffic.values())
    for f in found:
        assert f.plan.arena_bytes <= f.memory.nbytes
        assert not overlapping(f, buffers, sharings)


def test_the_hot_buffer_is_in_the_fast_memory() -> None:
    buffers = [Buffer("big", 900, 0, 2), Buffer("hot", 90, 0, 2), Buffer("cold", 90, 0, 2)]
    traffic = {"big": 2000, "hot": 9000, "cold": 100}
    memories = [Memory("slow", 1000, 2), Memory("fast", 200, 0)]
    fast, slow = plan_regions(buffers, [], traffic, memories)
    assert set(fast.plan.offsets) == {"hot", "cold"}  # what is larger than the memory goes on
    assert fast.stall_cycles == 0
    assert slow.stall_cycles == 2 * 2000
    assert plan_regions(buffers, [], traffic, [Memory("one", 2000, 1)])[0].stall_cycles == 11_100


def test_what_fits_nowhere_is_refused() -> None:
    buffers = [Buffer("a", 500, 0, 1), Buffer("b", 100, 0, 1)]
    with pytest.raises(EdgekitError, match="1 buffers fit in no RAM") as error:
        plan_regions(buffers, [], {}, [Memory("RAM", 128), Memory("EXTRA", 256, 4)])
    assert error.value.code == "E335"


@settings(max_examples=3, deadline=None)
@given(graphs_of("conv2d"))
def test_a_board_with_two_rams(graph) -> None:  # type: ignore[no-untyped-def]
    try:
        program = build_program(graph, M4.target)
    except EdgekitError as refused:
        assert refused.code == "E310"
        return
    assert ram_regions(program, M4, 0) == ()
    slow = replace(M4.ram, wait_states=3)
    fast = Region("TCM", "ram", 0x1000_0000, 4096)
    board = replace(M4, regions=(M4.flash, slow, fast))
    found = ram_regions(program, board, 5000)
    assert [(r.name, r.wait_states) for r in found] == [("TCM", 0), (slow.name, 3)]
    assert found[1].stall_cycles == 3 * found[1].traffic
    assert found[0].arena <= 4096
    if program.arena_bytes <= 4096:
        assert (found[0].arena, found[1].arena) == (aligned(program.arena_bytes), 0)
