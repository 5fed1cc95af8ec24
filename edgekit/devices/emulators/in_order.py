"""Cycles of Cortex-M0, M0+, M3 and M4: one instruction after the other, by Arm's tables.

Sources, with zero-wait-state memory: M0 ARM DDI 0432C, table 3-1; M0+ ARM DDI 0484C, table 3-1
(both with the single-cycle multiplier); M3 ARM DDI 0337I, table 3-1; M4 ARM DDI 0439, tables 3-1
and 7-1. Taken as means where a manual gives ranges: a pipeline refill of M3 and M4 is 2 (1 to 3), a
division 6 (2 to 12), a long multiplication of M3 4 (3 to 5) and with accumulation 5 (4 to 7).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgekit.devices.emulators.instructions import Instruction

_FLOAT_RESULT = ("float", "float multiply-add", "float divide")


@dataclass(frozen=True)
class Costs:
    """Cycles of one core.

    Attributes:
        refill: more where the last instruction of a block branches away.
        load, store: one word.
        pipelined: loads and stores that follow each other overlap: N of them take N + 1 cycles.
        pop_pc: more where a load of several registers includes the program counter.
        fixed: by kind of instruction; 1 where a kind is not named.
    """

    refill: int
    load: int
    store: int
    pipelined: bool
    pop_pc: int
    fixed: Mapping[str, int]


_M4 = {"divide": 6, "float multiply-add": 3, "float divide": 14, "barrier": 3}
_M3 = {"divide": 6, "accumulate": 2, "multiply long": 4, "accumulate long": 5, "barrier": 3}
COSTS = {
    "cortex-m0": Costs(2, 2, 2, False, 1, {"call": 2, "barrier": 4, "special register": 4}),
    "cortex-m0plus": Costs(1, 2, 2, False, 1, {"call": 2, "barrier": 3, "special register": 3}),
    "cortex-m3": Costs(2, 2, 1, True, 0, _M3),
    "cortex-m4": Costs(2, 2, 1, True, 0, _M4),
}


def cycles_of(instructions: Sequence[Instruction], costs: Costs) -> int:
    """Cycles of straight-line code that falls through."""
    total = 0
    previous: Instruction | None = None
    for instruction in instructions:
        total += _cost(instruction, previous, costs)
        previous = instruction
    return total


def _cost(instruction: Instruction, previous: Instruction | None, costs: Costs) -> int:
    kind = instruction.kind
    if kind in ("load many", "store many"):
        return 1 + instruction.words + (costs.pop_pc if instruction.jumps else 0)
    depends = previous is not None and bool(instruction.reads & previous.writes)
    stall = 1 if depends and previous is not None and previous.kind in _FLOAT_RESULT else 0
    if kind == "load":
        double = instruction.words - 1
        before = previous.kind if previous is not None else ""
        overlaps = before == "store" or (before == "load" and not depends)
        return (1 if costs.pipelined and overlaps else costs.load) + double
    if kind == "store":
        return costs.store + stall
    return costs.fixed.get(kind, 1) + stall
