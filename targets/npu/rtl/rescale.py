"""One requantization lane: docs/ACCELERATOR.md, "Rescale", a result every cycle."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib.wiring import Component, In, Out

from targets.npu.rtl.pipe import delay, register


class Rescale(Component):
    """min(max(rescale(acc) + zero_point, low), high), LATENCY cycles after acc and its parameters.

    `zero_point`, `low` and `high` do not change while results are on their way.

    With X = 2 h, where h is the product's upper half, and e = right, f = floor(X / 2^e) and "exact"
    if no 1 was shifted out, h / 2^e rounded half away from zero is (f + c) >> 1, where c is 0 for
    a negative h that is exact and else 1: the zero point is added twice in the same addition.
    """

    LATENCY = 9

    def __init__(self) -> None:
        super().__init__({
            "acc": In(signed(32)), "bias": In(signed(32)), "multiplier": In(31),
            "left": In(5), "right": In(5),
            "zero_point": In(signed(8)), "low": In(signed(8)), "high": In(signed(8)),
            "result": Out(signed(8)),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        left = delay(m, self.left, 1, "left")[-1]
        multiplier = delay(m, self.multiplier, 2, "multiplier")[-1]
        right = delay(m, self.right, 6, "right")

        summed = register(m, (self.acc + self.bias)[:32], "summed")
        v = register(m, (summed << left)[:32].as_signed(), "v")

        # 32 x 31 bits from four products that a DSP block can make.
        v_low, v_high, m_low, m_high = v[:16], v[16:].as_signed(), multiplier[:16], multiplier[16:]
        low_low = register(m, v_low * m_low, "low_low")
        low_high = register(m, v_low * m_high, "low_high")
        high_low = register(m, v_high * m_low, "high_low")
        high_high = register(m, v_high * m_high, "high_high")

        middle = register(m, low_high + high_low, "middle")
        outer_low = register(m, low_low[16:30], "outer_low")
        # The rounding constant 2^30 of the product enters here.
        outer_high = register(m, Cat(low_low[30:], high_high).as_signed() + 1, "outer_high")
        total = Cat(outer_low, outer_high).as_signed() + middle
        h = register(m, total[15:47].as_signed(), "h")

        doubled = Cat(0, h).as_signed()
        eights = right[5][3:]
        coarse = register(m, doubled >> Cat(0, 0, 0, eights).as_unsigned(), "coarse")
        lost = Signal()
        with m.Switch(eights):
            for k in range(1, 4):
                with m.Case(k):
                    m.d.comb += lost.eq(doubled[: 8 * k].any())
        lost_coarse = register(m, lost, "lost_coarse")

        ones = right[6][:3]
        fine = register(m, coarse >> ones, "fine")
        lost_more = Signal()
        with m.Switch(ones):
            for k in range(1, 8):
                with m.Case(k):
                    m.d.comb += lost_more.eq(coarse[:k].any())
        inexact = register(m, lost_coarse | lost_more, "inexact")

        up = inexact | ~fine[-1]
        rounded = register(m, (fine + Cat(up, self.zero_point).as_signed()) >> 1, "rounded")
        below, above = rounded < self.low, rounded > self.high
        # Where `low` is above `high`, the manual's order of the two gives `high`.
        floor = register(m, Mux(self.low > self.high, self.high, self.low), "floor")
        m.d.sync += self.result.eq(Mux(below, floor, Mux(above, self.high, rounded[:8])))
        return m


__all__ = ["Rescale"]
