"""A register between two stages whose `ready` is a register too."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib.wiring import Component, In, Out


class Skid(Component):
    """Two places: what arrives in the cycle in which the next stage stops has one of its own."""

    def __init__(self, width: int) -> None:
        self.width = width
        super().__init__({
            "in_valid": In(1), "in_ready": Out(1), "in_data": In(width),
            "out_valid": Out(1), "out_ready": In(1), "out_data": Out(width),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spare = Signal(self.width, reset_less=True)
        held = Signal()
        free = ~self.out_valid | self.out_ready
        m.d.comb += self.in_ready.eq(~held)
        with m.If(free):
            m.d.sync += [
                self.out_valid.eq(held | self.in_valid),
                self.out_data.eq(Mux(held, spare, self.in_data)),
                held.eq(0),
            ]
        with m.Elif(self.in_valid & ~held):
            m.d.sync += held.eq(1)
        with m.If(~held):
            m.d.sync += spare.eq(self.in_data)
        return m


__all__ = ["Skid"]
