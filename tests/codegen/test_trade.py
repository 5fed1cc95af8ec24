"""Flash spent where it saves most, routines given up where that pays."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from codegen import trade


def option(flash: int, cycles: int, **code: float) -> Any:
    """What `codegen.trade` looks at in a bundle of one layer."""
    known = SimpleNamespace(cycles=cycles, candidate=SimpleNamespace(cost=True))
    return SimpleNamespace(
        flash=flash, cycles=cycles, instructions=cycles, code=code, options={0: known}
    )


def test_flash_goes_where_it_saves_most() -> None:
    a, fast_a = option(100, 1000), option(200, 500)
    b, fast_b = option(100, 1000), option(150, 600)
    groups = [[a, fast_a], [b, fast_b]]
    assert trade.upgrade(groups, [a, b], 200) == [a, b]
    assert trade.upgrade(groups, [a, b], 260) == [a, fast_b]  # 8 cycles a byte before 5
    assert trade.upgrade(groups, [a, b], 350) == [fast_a, fast_b]
    # What is over the limit already may still get faster at no cost.
    same = option(100, 900)
    assert trade.upgrade([[a, same]], [a], 10) == [same]


def test_a_routine_is_given_up_where_another_serves() -> None:
    own = [option(0, 1000, **{f"own{i}": 3000.0}) for i in range(4)]
    shared = option(0, 1050, shared=3000.0)
    groups = [[o, shared] for o in own]
    assert trade.trim(groups, list(own), 0, trade.time_by_code) == [shared] * 4
    assert trade.trim(groups[:1], own[:1], 0, trade.time_by_code) == own[:1]
    slow = option(0, 10_000, shared=3000.0)
    assert trade.trim([[o, slow] for o in own], list(own), 0, trade.time_by_code) == own


def test_limits_hold_while_trimming() -> None:
    own = [option(0, 1000, **{f"own{i}": 3000.0}) for i in range(4)]
    heavy, slow = option(10, 1000, shared=300.0), option(0, 1100, shared=300.0)
    assert trade.trim([[o, heavy] for o in own], list(own), 5, trade.time_by_code) == own
    assert trade.trim([[o, slow] for o in own], list(own), 0, trade.time_by_code, 4000) == own
    found = trade.trim([[o, slow] for o in own], list(own), 0, trade.time_by_code, 5000)
    assert found == [slow] * 4


@given(
    st.lists(
        st.lists(
            st.builds(
                option,
                st.integers(0, 500),
                st.integers(1, 5000),
                a=st.floats(1, 4000),
                b=st.floats(1, 4000),
            ),
            min_size=1,
            max_size=4,
        ),
        min_size=1,
        max_size=5,
    ),
    st.integers(0, 2000),
)
def test_never_worse(groups: list[list[Any]], limit: int) -> None:
    start = [min(group, key=lambda o: (o.flash, o.cycles)) for group in groups]
    spent = sum(o.flash for o in start)
    upgraded = trade.upgrade(groups, start, limit)
    assert sum(o.flash for o in upgraded) <= max(limit, spent)
    assert sum(o.cycles for o in upgraded) <= sum(o.cycles for o in start)
    trimmed = trade.trim(groups, upgraded, limit, trade.time_by_code)
    assert trade.time_by_code(trimmed) <= trade.time_by_code(upgraded)
