"""The CFU's instructions: their encoding, and a model of what they do.

They are R-type instructions of the opcode custom-0. funct3 says which one it is, funct7 has a pixel
in bits 2 to 6 and a channel in bits 0 and 1. docs/CFU.md has the table.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

#: Major opcode of the instructions, bits 0 to 6.
CUSTOM_0 = 0x0B
#: Channels of a tile: the bytes of a word.
CHANNELS = 4
#: Pixels of a tile that the kernels count on.
PIXELS = 8
#: The most that funct7 can name.
MAX_PIXELS = 32
#: VexRiscv traps on custom-0 until bit 31 of this register is set.
ENABLE_CSR = 0xBC0
ENABLE = 1 << 31


class Op(IntEnum):
    """funct3."""

    DOT = 0
    LANES = 1
    CLEAR = 2
    BIAS = 3
    SCALE = 4
    OUTPUT = 5
    RESULT = 6


def encode(
    op: Op, pixel: int = 0, channel: int = 0, rd: int = 0, rs1: int = 0, rs2: int = 0
) -> int:
    """The instruction as a 32-bit word; registers by number."""
    function = pixel << 2 | channel
    return function << 25 | rs2 << 20 | rs1 << 15 | op << 12 | rd << 7 | CUSTOM_0


def signed(value: int, bits: int = 32) -> int:
    """The low `bits` of `value` as a number in two's complement."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> bits - 1 else value


def signed_bytes(word: int) -> list[int]:
    """The four bytes of a word, the lowest first, as int8."""
    return [signed(word >> 8 * i, 8) for i in range(4)]


def output(zero_point: int, low: int, high: int) -> int:
    """rs1 of OUTPUT."""
    return (zero_point & 255) | (low & 255) << 8 | (high & 255) << 16


def rescale(acc: int, multiplier: int, right: int) -> int:
    """SPEC's two roundings for a right shift of 0 to 31 and a multiplier of 0 to 2^31 - 1."""
    high = (acc * multiplier + (1 << 30)) >> 31
    if right == 0:
        return high
    return (high + (1 << right - 1) - (high < 0)) >> right


@dataclass
class Model:
    """The CFU in whole numbers: what each instruction does to its state and returns in rd."""

    pixels: int = PIXELS
    acc: list[list[int]] = field(default_factory=list)
    bias: list[int] = field(default_factory=lambda: [0] * CHANNELS)
    scale: list[tuple[int, int]] = field(default_factory=lambda: [(0, 0)] * CHANNELS)
    output: tuple[int, int, int] = (0, 0, 0)

    def __post_init__(self) -> None:
        self.acc = [[0] * CHANNELS for _ in range(self.pixels)]

    def run(self, op: Op, function: int, a: int, b: int) -> int:
        """Execute one instruction; `function` is funct7, `a` and `b` are rs1 and rs2."""
        pixel, channel = (function >> 2) % self.pixels, function & 3
        products = [x * y for x, y in zip(signed_bytes(a), signed_bytes(b), strict=True)]
        row = self.acc[pixel]
        if op == Op.DOT:
            row[channel] = signed(row[channel] + sum(products))
        elif op == Op.LANES:
            self.acc[pixel] = [signed(x + p) for x, p in zip(row, products, strict=True)]
        elif op == Op.CLEAR:
            self.acc = [[0] * CHANNELS for _ in range(self.pixels)]
        elif op == Op.BIAS:
            self.bias[channel] = signed(a)
        elif op == Op.SCALE:
            self.scale[channel] = (a & 0x7FFF_FFFF, b & 31)
        elif op == Op.OUTPUT:
            zero_point, low, high, _ = signed_bytes(a)
            self.output = (zero_point, low, high)
        elif op == Op.RESULT:
            return sum(self._result(row[c], c) << 8 * c for c in range(CHANNELS))
        return 0

    def _result(self, acc: int, channel: int) -> int:
        zero_point, low, high = self.output
        value = rescale(signed(acc + self.bias[channel]), *self.scale[channel])
        return min(max(value + zero_point, low), high) & 255
