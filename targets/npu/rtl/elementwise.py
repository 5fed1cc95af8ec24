"""The reads and look-ups of ADD: two words, then their bytes' entries in the tables."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib.wiring import Component, In, Out

from targets.npu.config import BLOCK, Accelerator
from targets.npu.rtl.command import COMMAND
from targets.npu.rtl.memory import ActivationMemory
from targets.npu.rtl.pipe import delay, flags
from targets.npu.rtl.window import Window

#: Bits of a sum of a base and a count.
_ADDRESS_BITS = 21


class Elementwise(Component):
    """Sequences ADD: a word takes PERIOD cycles, in the first two of which its operands are read.

    `read` and `address` are what Window takes as `other`; `word` is the first word that
    ActivationMemory returns, WORD_LATENCY cycles after its `read`. `a` and `b` are then the bytes
    of `requant_lanes` lanes for TableMemory, a word's slices one after the other; `slices` is high
    in the cycle before the first of them, with `final` for the last word.
    """

    WORD_LATENCY = Window.OTHER_LATENCY + ActivationMemory.WINDOW_LATENCY

    def __init__(self, config: Accelerator) -> None:
        self.lanes = config.requant_lanes
        self.period = max(2, BLOCK // self.lanes)
        super().__init__({
            "command": In(COMMAND), "clear": In(1), "start": In(1),
            "read": Out(1), "address": Out(_ADDRESS_BITS), "word": In(8 * BLOCK),
            "a": Out(8).array(self.lanes), "b": Out(8).array(self.lanes),
            "slices": Out(1), "final": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c: Any = self.command
        running, phase = Signal(), Signal(range(self.period), reset_less=True)
        left, last = Signal(20, reset_less=True), Signal(reset_less=True)
        address, other = (Signal(_ADDRESS_BITS, name=n, reset_less=True) for n in ("turn", "other"))
        reading = Signal()
        m.d.comb += reading.eq(running & (phase < 2))
        m.d.comb += [self.read.eq(reading & ~self.clear), self.address.eq(address)]
        with m.If(reading):
            # The two addresses take turns.
            m.d.sync += [address.eq(other), other.eq(address + 1)]
        with m.If(running):
            m.d.sync += phase.eq(phase + 1)
            with m.If(phase == self.period - 1):
                m.d.sync += [phase.eq(0), left.eq(left - 1), last.eq(left == 2)]
                with m.If(last):
                    m.d.sync += running.eq(0)
        with m.If(self.start):
            m.d.sync += [running.eq(1), phase.eq(0), left.eq(c.count), last.eq(c.count == 1)]
            m.d.sync += [address.eq(c.a_base), other.eq(c.b_base)]
        with m.If(self.clear):
            m.d.sync += running.eq(0)

        second = self.read & (phase == 1)
        m.d.comb += self.slices.eq(flags(m, second, self.WORD_LATENCY, "second", self.clear)[-1])
        m.d.comb += self.final.eq(delay(m, last, self.WORD_LATENCY, "final")[-1])
        self._slices(m)
        return m

    def _slices(self, m: Module) -> None:
        """The bytes of both words, a lane's next one a shift away."""
        before, left, right = (
            Signal(8 * BLOCK, name=n, reset_less=True) for n in ("before", "left", "right")
        )
        m.d.sync += before.eq(self.word)
        step = 8 * self.lanes
        m.d.sync += [
            left.eq(Mux(self.slices, before, left >> step)),
            right.eq(Mux(self.slices, self.word, right >> step)),
        ]
        for i in range(self.lanes):
            m.d.comb += [
                self.a[i].eq(left[8 * i : 8 * i + 8]),
                self.b[i].eq(right[8 * i : 8 * i + 8]),
            ]


__all__ = ["Elementwise"]
