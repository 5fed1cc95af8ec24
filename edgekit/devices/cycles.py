"""Estimated cycles of Thumb-2 basic blocks on a Cortex-M4.

Costs are those of the Cortex-M4 Technical Reference Manual (ARM DDI 0439, r0p1), tables 3-1 and
7-1, with zero-wait-state memory. Taken as means where the manual gives ranges: a pipeline refill
2 (1 to 3), a division 6 (2 to 12). Not modelled: flash wait states, caches, bus contention.
Checked only against published CoreMark figures (about 10-15 % pessimistic), so +-20 %.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import capstone
from capstone import arm_const as arm

REFILL = 2
_FIXED = {
    "alu": 1,
    "multiply": 1,
    "branch": 1,
    "divide": 6,
    "float": 1,
    "float multiply-add": 3,
    "float divide": 14,
    "barrier": 3,
}
_FLOAT_RESULT = ("float", "float multiply-add", "float divide")
_KINDS: tuple[tuple[str, str], ...] = (
    (r"vldr", "load"),
    (r"vstr", "store"),
    (r"vldm\w*|vpop|ldm\w*|pop", "load many"),
    (r"vstm\w*|vpush|stm\w*|push", "store many"),
    (r"vdiv|vsqrt", "float divide"),
    (r"vn?ml[as]|vfn?m[as]", "float multiply-add"),
    (r"v\w+", "float"),
    (r"ldrex\w*|ldr(b|h|sb|sh)?t?", "load"),
    (r"str(b|h|ex\w*)?t?", "store"),
    (r"ldrd", "load many"),
    (r"strd", "store many"),
    (r"[su]div", "divide"),
    (r"mul|ml[as]|[su]ml\w*|smu\w*|umu\w*|umaal|smm\w*", "multiply"),
    (r"b|bl|blx|bx|cbn?z|tb[bh]", "branch"),
    (r"d[sm]b|isb", "barrier"),
)
_PATTERNS = tuple((re.compile(pattern), kind) for pattern, kind in _KINDS)
_CONDITION = re.compile(r"(\w+?)(eq|ne|cs|hs|cc|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le)")


@dataclass(frozen=True)
class BlockCost:
    """A block's instructions, its cycles when it falls through, and those more when it does not."""

    instructions: int
    cycles: int
    refill: int


CYCLE_MODELS = ("cortex-m4", "instructions")


class CycleModel:
    """Cycle costs of one core; `name` is a target's ``cycle_model``.

    The model "instructions" prices every instruction at 1, so that a cycle counter on the virtual
    board counts instructions.
    """

    def __init__(self, name: str) -> None:
        if name not in CYCLE_MODELS:
            raise ValueError(f"no cycle model '{name}'; known: {', '.join(CYCLE_MODELS)}")
        self._flat = name == "instructions"
        mode = capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS
        self._decoder = capstone.Cs(capstone.CS_ARCH_ARM, mode)
        self._decoder.detail = True

    def block(self, code: bytes, address: int = 0) -> BlockCost:
        """The cost of straight-line code, whose last instruction may branch."""
        if self._flat:
            count = count_instructions(code)
            return BlockCost(count, count, 0)
        cycles, kind, last = 0, "", None
        written: set[int] = set()
        count = 0
        for instruction in self._decoder.disasm(code, address):
            previous, kind = kind, kind_of(instruction)
            read, now_written = map(set, instruction.regs_access())
            cycles += self._cost(instruction, kind, previous, bool(read & written))
            written = now_written
            last, count = instruction, count + 1
        if last is None:
            return BlockCost(0, 0, 0)
        jumps = kind == "branch" or arm.ARM_REG_PC in last.regs_access()[1]
        return BlockCost(count, cycles, REFILL if jumps else 0)

    def aligned_only(self, code: bytes) -> str:
        """The mnemonic of the first instruction where it faults on an unaligned address, or "".

        On Armv7-M LDRD, STRD, LDM, STM and the floating-point loads and stores always do
        (reference manual, A3.2.1); LDR, STR and their halfword forms do not.
        """
        for instruction in self._decoder.disasm(code, 0, count=1):
            kind = kind_of(instruction)
            if kind in ("load many", "store many") or instruction.mnemonic.startswith("v"):
                return str(instruction.mnemonic)
        return ""

    @staticmethod
    def _cost(instruction: Any, kind: str, previous: str, depends: bool) -> int:
        """Cycles of one instruction; `depends` says that it reads what the last one wrote."""
        if kind in ("load many", "store many"):
            return 1 + _words(instruction)
        stall = 1 if depends and previous in _FLOAT_RESULT else 0
        if kind == "load":
            # Loads in a row overlap: N independent ones take N + 1 cycles.
            pipelined = previous in ("load", "store") and not (depends and previous == "load")
            double = ".64" in instruction.mnemonic or instruction.op_str.startswith("d")
            return (1 if pipelined else 2) + (1 if double else 0)
        if kind == "store":
            return 1 + stall  # the write buffer takes it
        return _FIXED[kind] + stall


def kind_of(instruction: Any) -> str:
    """The row of the cost table for a capstone instruction."""
    name = instruction.mnemonic.split(".")[0]
    bare = _CONDITION.fullmatch(name)
    names = (name, bare[1]) if bare else (name,)
    for candidate in names:
        for pattern, kind in _PATTERNS:
            if pattern.fullmatch(candidate):
                return kind
    return "alu"


def _words(instruction: Any) -> int:
    """32-bit words moved by an LDM, STM, LDRD, STRD or their floating-point forms."""
    if instruction.mnemonic.startswith(("ldrd", "strd")):
        return 2
    inside = "{" in instruction.op_str and not instruction.op_str.startswith("{")
    registers = [o.reg for o in instruction.operands if o.type == arm.ARM_OP_REG]
    if inside:
        registers = registers[1:]  # the base
    double = [r for r in registers if arm.ARM_REG_D0 <= r <= arm.ARM_REG_D31]
    return len(registers) + len(double)


def count_instructions(code: bytes) -> int:
    """Thumb instructions in `code`, by their lengths alone."""
    position = count = 0
    while position < len(code):
        # A first halfword of 0b11101, 0b11110 or 0b11111 starts a 32-bit instruction.
        position += 4 if code[position + 1] >> 3 >= 0b11101 else 2
        count += 1
    return count
