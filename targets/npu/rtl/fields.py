"""What the front end checks of each word of a command, made from the tables of targets/npu/isa.py.

Commands with the same table of fields are one kind. A word is checked alone: its reserved bits, and
fields whose values are fewer than their bits allow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Value

from targets.npu.config import Accelerator
from targets.npu.isa import KINDS, Field, Opcode


@dataclass(frozen=True)
class Range:
    """A field that may not have every value."""

    low: int
    width: int
    signed: bool
    least: int
    most: int

    def broken_by(self, word: Value) -> Any:
        """1 where the field of `word` is outside the range."""
        value: Any = word[self.low : self.low + self.width]
        value = value.as_signed() if self.signed else value
        lowest = -(1 << (self.width - 1)) if self.signed else 0
        highest = (1 << (self.width - self.signed)) - 1
        below: Any = value < self.least if self.least > lowest else 0
        if self.least == 1 and not self.signed:
            below = ~value.any()
        return below | (value > self.most if self.most < highest else 0)


@dataclass(frozen=True)
class Reserved:
    """Bits of a word that are zero."""

    mask: int

    def broken_by(self, word: Value) -> Any:
        return (word & self.mask).any()


Check = Range | Reserved


@dataclass(frozen=True)
class Kind:
    """Commands of one table of fields.

    Attributes:
        opcodes: those commands.
        words: their length.
        checks: for each word after the first one what to check of it.
    """

    opcodes: tuple[Opcode, ...]
    words: int
    fields: dict[str, Field]
    checks: tuple[tuple[Check, ...], ...]


def kinds(config: Accelerator) -> list[Kind]:
    """Kinds of commands that hardware of this configuration takes."""
    found: dict[int, list[Opcode]] = {}
    for opcode, command in KINDS.items():
        if config.tables or opcode is not Opcode.ADD:
            found.setdefault(id(command.fields), []).append(opcode)
    result = []
    for opcodes in found.values():
        command = KINDS[opcodes[0]]
        checks = tuple(tuple(_checks(command.fields, i)) for i in range(1, command.words))
        result.append(Kind(tuple(opcodes), command.words, command.fields, checks))
    return result


def _checks(fields: dict[str, Field], word: int) -> list[Check]:
    used = 0
    checks: list[Check] = []
    for field in fields.values():
        if field.word != word:
            continue
        used |= ((1 << field.width) - 1) << field.low
        lowest = -(1 << (field.width - 1)) if field.signed else 0
        highest = (1 << (field.width - field.signed)) - 1
        if field.least > lowest or field.limit < highest:
            checks.append(Range(field.low, field.width, field.signed, field.least, field.limit))
    if used != 0xFFFF_FFFF:
        checks.append(Reserved(0xFFFF_FFFF & ~used))
    return checks


__all__ = ["Check", "Kind", "Range", "Reserved", "kinds"]
