"""Estimated cycles of basic blocks: which model a core has, and what a block costs.

The cores without dual issue are in `in_order`, Cortex-M7 and M33 in `dual_issue`, VexRiscv in
`vexriscv` and its caches in `caches`. docs/CYCLES.md has the assumptions, their sources, and what
the models were checked against.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.devices.emulators import dual_issue, in_order, vexriscv
from edgekit.devices.emulators.caches import VEXRISCV, CacheCosts
from edgekit.devices.emulators.instructions import decode

CYCLE_MODELS = (*in_order.COSTS, *dual_issue.CORES, "vexriscv", "instructions")


@dataclass(frozen=True)
class BlockCost:
    """A block's instructions, its cycles when it falls through, and those more when it does not.

    `accesses` are cycles from its start to each of its accesses to memory, and `flushes` the caches
    that it empties, for cores with caches.
    """

    instructions: int
    cycles: int
    refill: int
    accesses: tuple[int, ...] = ()
    flushes: int = 0


class CycleModel:
    """Cycle costs of one core; `name` is a target's ``cycle_model``.

    The model "instructions" prices every instruction at 1, so that a cycle counter on the virtual
    board counts instructions; it reads any instruction set whose instructions begin as RISC-V's or
    Thumb's do, `thumb` says which.
    """

    def __init__(self, name: str, thumb: bool = True) -> None:
        if name not in CYCLE_MODELS:
            raise ValueError(f"no cycle model '{name}'; known: {', '.join(CYCLE_MODELS)}")
        self.name, self._thumb = name, thumb

    @property
    def caches(self) -> CacheCosts | None:
        """Of the core's caches, where their misses are counted."""
        return VEXRISCV if self.name == "vexriscv" else None

    def block(self, code: bytes, address: int = 0) -> BlockCost:
        """The cost of straight-line code, whose last instruction may branch."""
        if self.name == "instructions":
            count = count_instructions(code, self._thumb)
            return BlockCost(count, count, 0)
        if self.name == "vexriscv":
            cost = vexriscv.cost_of(code)
            return BlockCost(
                cost.instructions, cost.cycles, cost.refill, cost.accesses, cost.flushes
            )
        instructions = list(decode(code, address))
        if not instructions:
            return BlockCost(0, 0, 0)
        jumps = instructions[-1].jumps
        if self.name in in_order.COSTS:
            costs = in_order.COSTS[self.name]
            cycles, refill = in_order.cycles_of(instructions, costs), costs.refill
        else:
            core = dual_issue.CORES[self.name]
            cycles, refill = dual_issue.cycles_of(instructions, core), core.refill
        return BlockCost(len(instructions), cycles, refill if jumps else 0)


def count_instructions(code: bytes, thumb: bool = True) -> int:
    """Instructions in `code`, by their lengths alone: Thumb's, or RISC-V's with 16 and 32 bits."""
    position = count = 0
    while position < len(code):
        if thumb:
            # A first halfword of 0b11101, 0b11110 or 0b11111 starts a 32-bit instruction.
            position += 4 if code[position + 1] >> 3 >= 0b11101 else 2
        else:
            position += 4 if code[position] & 3 == 3 else 2
        count += 1
    return count
