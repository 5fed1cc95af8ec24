"""Which row is taken, and the bytes that the integer program reckons with."""

from __future__ import annotations

import pytest
from built import M4
from models import DIGITS
from quantizer_small import network, samples

from codegen.lower import build_program
from edgekit import data
from edgekit.importers import load
from edgekit.search import Budget, Row
from edgekit.search.allocate import Choice
from edgekit.search.rows import best, on_front
from edgekit.search.run import alive_bytes
from quantizer import quantize
from quantizer.sensitivity import Sensitivity, sensitivity
from targets import target


def row(
    name: str,
    costs: tuple[int, int, float],
    db: float,
    agreement: float = 1.0,
    fits: bool = True,
    thrifty: bool = True,
) -> Row:
    excess = () if fits else ("flash: too much",)
    return Row(name, Choice(), *costs, db, db, agreement, excess, thrifty)


def test_the_best_that_fits_and_takes_no_more_of_what_has_no_limit() -> None:
    rows = [
        row("int8", (100, 10, 5.0), 33, fits=False),
        row("wide", (60, 20, 5.0), 31, thrifty=False),
        row("narrow", (60, 10, 5.0), 28),
        row("narrower", (50, 10, 5.0), 25),
    ]
    assert best(rows, Budget(max_flash=70)) == 2
    assert best([r for r in rows if not r.thrifty], Budget(max_flash=70)) == 0
    assert best(rows[:1], Budget(max_flash=70)) is None


def test_the_cheapest_that_agrees() -> None:
    rows = [
        row("int8", (100, 10, 5.0), 33, 0.98, fits=False),
        row("all wide", (105, 20, 5.0), 50),
        row("some wide", (102, 14, 5.0), 40),
        row("slow", (102, 14, 9.0), 45),
    ]
    assert best(rows, Budget(min_agreement=99)) == 2


def test_the_front() -> None:
    rows = [row("a", (10, 10, 1.0), 30), row("b", (11, 10, 1.0), 29), row("c", (9, 10, 1.0), 20)]
    assert [on_front(r, rows) for r in rows] == [True, False, True]
    twins = [rows[0], row("twin", (10, 10, 1.0), 30)]
    assert all(on_front(r, twins) for r in twins)


def makers_of(found: Sensitivity) -> dict[str, str]:
    return {tensor: name for name, group in found.members.items() for tensor in group}


@pytest.mark.parametrize("bits", [8, 16])
def test_bytes_alive_are_the_memory_plans(bits: int) -> None:
    """The most bytes alive at one step is the arena's lower bound, also with all tensors wide."""
    digits = load(DIGITS.path)
    assert DIGITS.calibration is not None
    cases = [(network(), samples()), (digits, data.load(DIGITS.calibration, digits).arrays)]
    for graph, arrays in cases:
        integer = quantize(graph, arrays, activation_bits=bits).graph
        program = build_program(integer, M4.target)
        steps = alive_bytes(program, integer, makers_of(sensitivity(graph, arrays)))
        most = max(scratch + sum(alive.values()) for scratch, alive in steps)
        assert most == pytest.approx(program.arena_lower_bound, abs=8 * 4)  # alignment


def test_bytes_alive_with_an_accelerator() -> None:
    """Its waits have no operands: a budget for such a target once ended in a traceback."""
    graph = load(DIGITS.path)
    assert DIGITS.calibration is not None
    arrays = data.load(DIGITS.calibration, graph).arrays
    integer = quantize(graph, arrays).graph
    npu64 = target("npu64")
    program = build_program(integer, npu64, accelerator=npu64.accelerator)
    steps = alive_bytes(program, integer, makers_of(sensitivity(graph, arrays)))
    assert len(steps) == len(program.calls)
    most = max(scratch + sum(alive.values()) for scratch, alive in steps)
    assert most == pytest.approx(program.arena_lower_bound, abs=8 * 4)
