"""Thumb instructions as the cycle models see them: kind, registers read and written, words."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import capstone
from capstone import arm_const as arm

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
    (r"[su]mull|umaal", "multiply long"),
    (r"[su]mlal\w*|smlsld\w*", "accumulate long"),
    (r"mul|smul\w*|smuad\w*|smusd\w*|smmul\w*", "multiply"),
    (r"ml[as]|sml\w*|smml\w*", "accumulate"),
    (r"bl|blx", "call"),
    (r"b|bx|cbn?z|tb[bh]", "branch"),
    (r"d[sm]b|isb", "barrier"),
    (r"mrs|msr", "special register"),
    (r"[su]sat|ssat16|usat16|q\w+|uq\w+", "saturate"),
    (r"[su]h?(add|sub)(8|16)|[su]h?(asx|sax)|[su]xt\w+|pkh\w\w|sel|usada?8|rev\w*|rbit|[su]bfx|clz",
     "media"),
)  # fmt: skip
_PATTERNS = tuple((re.compile(pattern), kind) for pattern, kind in _KINDS)
_CONDITION = re.compile(r"(\w+?)(eq|ne|cs|hs|cc|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le)")
#: Bytes of a load by the end of its name.
_NARROW = {"b": 1, "sb": 1, "bt": 1, "sbt": 1, "h": 2, "sh": 2, "ht": 2, "sht": 2}
JUMPS = ("branch", "call")


@dataclass(frozen=True)
class Instruction:
    """What a cycle model needs of one instruction.

    Attributes:
        kind: a row of the cost tables; "alu" where no other fits.
        bytes: its length.
        reads, writes: numbers of registers, the flags included.
        accumulator: the register that it adds a product to, or 0.
        address: registers that an access takes its address from.
        words: 32-bit words that it moves, rounded up.
        data_bytes: bytes that it moves.
        narrow_load: a byte or halfword load, which the Cortex-M7 extends a stage later.
        shifted: an operand passes the shifter first.
        jumps: whether it ends a block by writing the program counter.
        literal: whether it loads from an address relative to the program counter.
    """

    kind: str
    bytes: int
    reads: frozenset[int]
    writes: frozenset[int]
    accumulator: int
    address: frozenset[int]
    words: int
    data_bytes: int
    narrow_load: bool
    shifted: bool
    jumps: bool
    literal: bool

    @property
    def memory(self) -> bool:
        return self.kind in ("load", "store", "load many", "store many")


@functools.cache
def decoder() -> Any:
    """capstone for Thumb-2 of every Cortex-M that has a cycle model."""
    mode = capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS | capstone.CS_MODE_V8
    found = capstone.Cs(capstone.CS_ARCH_ARM, mode)
    found.detail = True
    return found


def name_of(register: int) -> str:
    """A register's name in assembly by capstone's number."""
    return str(decoder().reg_name(register))


def decode(code: bytes, address: int = 0) -> Iterator[Instruction]:
    """The instructions of straight-line code."""
    for instruction in decoder().disasm(code, address):
        yield _described(instruction)


def _described(instruction: Any) -> Instruction:
    kind = kind_of(instruction)
    reads, writes = (frozenset(r) for r in instruction.regs_access())
    operands = instruction.operands
    registers = [o.reg for o in operands if o.type == arm.ARM_OP_REG]
    address = frozenset(
        r for o in operands if o.type == arm.ARM_OP_MEM for r in (o.mem.base, o.mem.index) if r
    )
    if kind in ("load many", "store many") and not address:
        address = reads & {registers[0], arm.ARM_REG_SP}
    accumulator = 0
    if kind == "accumulate":
        accumulator = registers[3] if len(registers) > 3 else 0
    elif kind == "float multiply-add":
        accumulator = registers[0]
    words = _words(instruction, kind)
    jumps = kind in JUMPS or arm.ARM_REG_PC in writes
    return Instruction(
        kind=kind,
        bytes=instruction.size,
        reads=reads,
        writes=writes,
        accumulator=accumulator,
        address=address,
        words=words,
        data_bytes=_NARROW.get(instruction.mnemonic.split(".")[0].removeprefix("ldr"), 4 * words),
        narrow_load=kind == "load" and bool(re.match(r"ldrs?[bh]", instruction.mnemonic)),
        shifted=kind == "alu" and any(o.shift.type for o in operands),
        jumps=jumps,
        literal=kind == "load" and arm.ARM_REG_PC in address,
    )


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


def _words(instruction: Any, kind: str) -> int:
    """32-bit words moved by a load or store of any kind."""
    if kind in ("load", "store"):
        # Only floating-point ones move 64 bits at once.
        return 2 if ".64" in instruction.mnemonic or instruction.op_str.startswith("d") else 1
    if kind not in ("load many", "store many"):
        return 0
    if instruction.mnemonic.startswith(("ldrd", "strd")):
        return 2
    inside = "{" in instruction.op_str and not instruction.op_str.startswith("{")
    registers = [o.reg for o in instruction.operands if o.type == arm.ARM_OP_REG]
    if inside:
        registers = registers[1:]  # the base
    double = [r for r in registers if arm.ARM_REG_D0 <= r <= arm.ARM_REG_D31]
    return len(registers) + len(double)
