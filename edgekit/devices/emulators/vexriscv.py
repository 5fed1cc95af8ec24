"""Cycles of VexRiscv's "Full" variant (rv32im, five stages, static prediction), without its caches.

Measured on that core's Verilog with pieces of assembly that run from its caches; docs/CYCLES.md has
the table, native/memory.c what misses cost.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_WORD = 4
_ALU, _SHIFT, _LATE = 1, 2, 3
#: Cycles after the start of an instruction at which another one may use its result.
_READY = {
    "alu": _ALU,
    "shift": _SHIFT,
    "load": _LATE,
    "multiply": _LATE,
    "divide": 35,
    "csr": _LATE,
}
#: Cycles until the next instruction starts, where that is more than one.
_BUSY = {"divide": 34, "csr": 3, "flush": 131}
_PREDICTED, _MISPREDICTED = 1, 3
_KINDS = {
    0x03: "load", 0x0F: "fence", 0x13: "alu", 0x17: "alu", 0x23: "store", 0x33: "alu",
    0x37: "alu", 0x63: "branch", 0x67: "jump register", 0x6F: "jump", 0x73: "csr",
}  # fmt: skip
_NO_RESULT = ("store", "branch", "fence", "flush")
FLUSH_INSTRUCTIONS, FLUSH_DATA = 1, 2


@dataclass(frozen=True)
class Instruction:
    """One of rv32im: its kind, the registers that it reads, and the one that it writes (0: none).

    `offset` is where a branch leads, relative to itself; `flushes` which caches a fence empties.
    """

    kind: str
    reads: tuple[int, ...]
    writes: int
    offset: int = 0
    flushes: int = 0

    @property
    def memory(self) -> bool:
        return self.kind in ("load", "store")


def decode(code: bytes) -> Iterator[Instruction]:
    """The instructions of straight-line code."""
    for at in range(0, len(code) - _WORD + 1, _WORD):
        yield _decoded(int.from_bytes(code[at : at + _WORD], "little"))


def _decoded(word: int) -> Instruction:
    opcode, rd, function = word & 0x7F, word >> 7 & 31, word >> 12 & 7
    rs1, rs2 = word >> 15 & 31, word >> 20 & 31
    kind = _KINDS.get(opcode, "alu")
    reads: tuple[int, ...] = (rs1, rs2) if opcode in (0x23, 0x33, 0x63) else (rs1,)
    if opcode in (0x17, 0x37, 0x6F, 0x0F):
        reads = ()
    flushes = 0
    if opcode == 0x33 and word >> 25 == 1:
        kind = "divide" if function & 4 else "multiply"
    elif opcode in (0x13, 0x33) and function in (1, 5):
        kind = "shift"
    elif kind == "fence" and function in (1, 5):
        kind, flushes = "flush", FLUSH_INSTRUCTIONS if function == 1 else FLUSH_DATA
    writes = 0 if kind in _NO_RESULT else rd
    return Instruction(
        kind, reads, writes, _branch_offset(word) if kind == "branch" else 0, flushes
    )


def _branch_offset(word: int) -> int:
    magnitude = (word >> 8 & 15) << 1 | (word >> 25 & 63) << 5 | (word >> 7 & 1) << 11
    return magnitude - (1 << 12 if word >> 31 else 0)


@dataclass(frozen=True)
class Cost:
    """Of a block: see `cycles.BlockCost`."""

    instructions: int
    cycles: int
    refill: int
    accesses: tuple[int, ...]
    flushes: int


def cost_of(code: bytes) -> Cost:
    """The cost of straight-line code, whose last instruction may branch."""
    ready = [0] * 32
    now = count = flushes = 0
    accesses = []
    last: Instruction | None = None
    for last in decode(code):
        start = max([now, *(ready[r] for r in last.reads)])
        if last.memory:
            accesses.append(start)
        if last.writes:
            ready[last.writes] = start + _READY.get(last.kind, _ALU)
        now = start + _BUSY.get(last.kind, 1)
        flushes |= last.flushes
        count += 1
    through, taken = _branch(last)
    return Cost(count, now + through, taken - through, tuple(accesses), flushes)


def _branch(last: Instruction | None) -> tuple[int, int]:
    """Cycles more where a block falls through, and where it does not."""
    if last is None or last.kind not in ("branch", "jump", "jump register"):
        return 0, 0
    if last.kind == "branch" and last.offset < 0:  # predicted as taken
        return _MISPREDICTED, _PREDICTED
    return 0, _PREDICTED if last.kind == "jump" else _MISPREDICTED
