"""LOAD into A: bytes of bus words to bytes of words of A."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import Component, In, Out

from targets.npu.config import BLOCK, Accelerator
from targets.npu.rtl.skid import Skid
from targets.npu.rtl.walk import ADDRESS_BITS

#: A run of bytes as `Runs` cuts them, the bus word that has it, and the word of A that gets it.
_RUN = StructLayout({
    "word": 32, "at": 2, "place": 3, "take": 3, "fill": 1, "address": ADDRESS_BITS,
})  # fmt: skip


class Unpack(Component):
    """Writes a run in each cycle of `valid` and `ready`; with `fill`, `value` behind it."""

    def __init__(self, config: Accelerator) -> None:
        self.bits = config.a_words.bit_length() - 1
        super().__init__({
            "valid": In(1), "ready": Out(1), "word": In(32), "at": In(2), "place": In(3),
            "take": In(3), "fill": In(1), "address": In(ADDRESS_BITS), "value": In(8),
            "busy": Out(1), "fault": Out(1),
            "write_valid": Out(1), "write_ready": In(1), "write_address": Out(self.bits),
            "write_data": Out(8 * BLOCK), "write_enable": Out(BLOCK),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.skid = skid = Skid(_RUN.size)
        run = Signal(_RUN)
        m.d.comb += [
            run[name].eq(getattr(self, name)) for name in _RUN.members
        ]  # fmt: skip
        m.d.comb += [
            skid.in_valid.eq(self.valid),
            skid.in_data.eq(run),
            self.ready.eq(skid.in_ready),
            self.busy.eq(skid.out_valid | ~skid.in_ready | self.write_valid),
        ]
        held = Signal(_RUN)
        free = ~self.write_valid | self.write_ready
        outside = held["address"][self.bits :].any()
        m.d.comb += [held.eq(skid.out_data), skid.out_ready.eq(free)]
        with m.If(free):
            m.d.sync += self.write_valid.eq(skid.out_valid & ~outside)
        m.d.sync += self.fault.eq(skid.out_valid & outside)
        turn = (held["at"] - held["place"])[:2]
        end = held["place"] + held["take"]
        lanes, enables = [], []
        for lane in range(BLOCK):
            behind = lane >= end
            byte = held["word"].word_select((turn + lane)[:2], 8)
            lanes.append(Mux(behind, self.value, byte))
            enables.append((lane >= held["place"]) & (~behind | held["fill"]))
        with m.If(free):
            m.d.sync += [
                self.write_address.eq(held["address"]),
                self.write_data.eq(Cat(*lanes)),
                self.write_enable.eq(Cat(*enables)),
            ]
        return m


__all__ = ["Unpack"]
