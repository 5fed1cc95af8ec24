"""A routine in A64: instructions, loops, and what they cost.

A `Routine` is one C function, printed as assembly at file scope with its C prototype: GCC and clang
assemble the same text and allocate no register in it. Loops are structured, hence the number of
executed instructions is known for any trip counts.

Arguments arrive in x0 to x7 (32-bit ones in w0 to w7, whose upper halves hold anything). What a
routine uses of x19 to x30 and v8 to v15 is saved and restored around it; x18 belongs to the
platform. The routine ends after its last instruction.
"""

from __future__ import annotations

import re
from fractions import Fraction

from codegen.kernel import Cost
from codegen.routine import Block, StructuredRoutine

#: Arguments in registers; there are no others.
PARAMETERS = 8
_CORE = re.compile(r"\b[xw](\d+)\b")
_VECTOR = re.compile(r"\b[vqdshb](\d+)\b")

_SMMLA = re.compile(r"smmla v(\d+)\.4s, v(\d+)\.16b, v(\d+)\.16b")
_SDOT = re.compile(r"sdot v(\d+)\.4s, v(\d+)\.16b, v(\d+)\.(?:16b|4b\[(\d)\])")


class Routine(StructuredRoutine):
    """A `StructuredRoutine` whose parameters are all in registers."""

    branch = "b."

    def __init__(self, stem: str, *parameters: str) -> None:
        if len(parameters) > PARAMETERS:
            raise ValueError(f"{stem}: {len(parameters)} parameters, registers hold {PARAMETERS}")
        super().__init__(stem, *parameters)
        self.stack_bytes = 0

    def reserve(self, nbytes: int) -> None:
        """Room on the stack, from sp on, for the whole routine."""
        self.stack_bytes = -(-nbytes // 16) * 16

    def constant(self, register: str, value: int) -> None:
        """Load a constant of 32 bits (into a w register) or 64 (into an x register)."""
        bits = 32 if register[0] == "w" else 64
        ones = (1 << bits) - 1
        value &= ones
        halves = [(value >> at) & 0xFFFF for at in range(0, bits, 16)]
        move, skip = "movz", 0
        if halves.count(0xFFFF) > halves.count(0):
            move, skip = "movn", 0xFFFF
        kept = [(16 * i, half) for i, half in enumerate(halves) if half != skip] or [(0, skip)]
        for i, (at, half) in enumerate(kept):
            given = half ^ skip if i == 0 else half
            shift = f", lsl #{at}" if at else ""
            self(f"{'movk' if i else move} {register}, #{given}{shift}")

    def add(self, to: str, source: str, value: int, spare: str = "x17") -> None:
        """to = source + value; `spare` may be overwritten where the value is no immediate."""
        size, name = abs(value), "sub" if value < 0 else "add"
        if size == 0 and to == source:
            return
        if size < 4096:
            self(f"{name} {to}, {source}, #{size}")
        elif size < 1 << 24:
            self(f"{name} {to}, {source}, #{size >> 12}, lsl #12")
            if size & 0xFFF:
                self(f"{name} {to}, {to}, #{size & 0xFFF}")
        else:
            self.constant(spare, size)
            self(f"{name} {to}, {source}, {spare}")

    # ---- results

    @property
    def lines(self) -> list[str]:
        """All instructions and labels in order."""
        enter, leave = self._frame()
        return [*enter, *self.body.flat(), *leave]

    def _frame(self) -> tuple[list[str], list[str]]:
        """What saves and restores the caller's registers."""
        text = "\n".join(self.body.flat())
        core = {int(n) for n in _CORE.findall(text)}
        if 18 in core:
            raise ValueError(f"{self.stem}: x18 belongs to the platform")
        saved = [f"x{n}" for n in range(19, 31) if n in core]
        vectors = {int(n) for n in _VECTOR.findall(text)}
        groups = [saved, [f"d{n}" for n in range(8, 16) if n in vectors]]
        pairs = [group[i : i + 2] for group in groups for i in range(0, len(group), 2)]
        size = 16 * len(pairs)
        enter: list[str] = []
        leave: list[str] = []
        for i, pair in enumerate(pairs):
            suffix, registers = "p" if len(pair) == 2 else "r", ", ".join(pair)
            first = f"[sp, #-{size}]!" if i == 0 else f"[sp, #{16 * i}]"
            last = f"[sp], #{size}" if i == 0 else f"[sp, #{16 * i}]"
            enter.append(f"st{suffix} {registers}, {first}")
            leave.insert(0, f"ld{suffix} {registers}, {last}")
        if self.stack_bytes:
            enter.append(f"sub sp, sp, #{self.stack_bytes}")
            leave.insert(0, f"add sp, sp, #{self.stack_bytes}")
        return enter, [*leave, "ret"]

    def cost(self, **trips: int | Fraction) -> Cost:
        """Instructions of one call, given each loop's trips by name; cycles are not modelled.

        Trips of `when` and `part` may be shares of one. The caller's share of the call (setting
        arguments) is not in it.
        """
        enter, leave = self._frame()
        count = round(len(enter) + len(leave) + _count(self.body, trips))
        return Cost(count, count)

    def text(self) -> str:
        """The prototype and the function. The symbol is local to the file that it is printed in."""
        name = self.name
        head = [
            f'.pushsection .text.{name}, \\"ax\\", %progbits',
            ".p2align 4",
            f".type {name}, %function",
            f"{name}:",
        ]
        lines = [*head, *map(_assembled, self.lines), f".size {name}, . - {name}", ".popsection"]
        assembly = "\n".join(f'    "{line}\\n"' for line in lines)
        hidden = '__attribute__((visibility("hidden")))'
        return f"{hidden} void {name}({', '.join(self.parameters)});\n__asm__(\n{assembly});\n"


def _assembled(line: str) -> str:
    """The line as every assembler takes it.

    Dot products and matrix products are printed as words: GNU as refuses the names unless it is
    told an architecture, which would then hold for the compiler's own instructions after these.
    """
    if match := _SMMLA.fullmatch(line):
        d, n, m = map(int, match.groups())
        return f".inst {0x4E80A400 | m << 16 | n << 5 | d:#x} // {line}"
    if match := _SDOT.fullmatch(line):
        d, n, m, index = (int(group or 0) for group in match.groups())
        by_element = 0x4F80E000 | (index & 1) << 21 | (index >> 1) << 11
        word = 0x4E809400 if match[4] is None else by_element
        return f".inst {word | m << 16 | n << 5 | d:#x} // {line}"
    return line


def _count(block: Block, trips: dict[str, int | Fraction]) -> int | Fraction:
    total: int | Fraction = 0
    for item in block.items:
        if isinstance(item, Block):
            total += trips[item.loop] * _count(item, trips)
        elif not item.endswith(":"):
            total += 1
    return total
