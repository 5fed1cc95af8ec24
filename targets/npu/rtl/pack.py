"""STORE from A: bytes of words of A to bus words with strobes."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib.wiring import Component, In, Out

from targets.npu.config import BLOCK
from targets.npu.rtl.fifo import Fifo
from targets.npu.rtl.pipe import flag, register

#: Bus words that wait to be written. A run that starts now is in the buffer four cycles later.
_WORDS = 16
_ROOM = _WORDS - 6


class Pack(Component):
    """Takes a run in each cycle of `valid`, which may be high in the cycle after `ready` only.

    `flush` says that the run ends its bus word.
    """

    def __init__(self) -> None:
        super().__init__({
            "valid": In(1), "ready": Out(1), "data": In(8 * BLOCK), "at": In(2), "place": In(3),
            "take": In(3), "flush": In(1),
            "write_valid": Out(1), "write_ready": In(1), "write_data": Out(32),
            "write_strb": Out(4),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.words = words = Fifo(36, _WORDS)
        m.d.sync += self.ready.eq(words.level <= _ROOM)
        # First stage: which byte of the block comes to which lane of the bus word.
        valid = flag(m, self.valid, "valid_in")
        data = register(m, self.data, "data_in")
        turn = register(m, (self.place - self.at)[: BLOCK.bit_length() - 1], "turn")
        end = self.at + self.take
        lanes = Cat((lane >= self.at) & (lane < end) for lane in range(4))
        mask = register(m, Mux(self.valid, lanes, 0), "mask_in")
        flush = flag(m, self.valid & self.flush, "flush_in")
        # Second stage: the bytes in their lanes.
        chosen = [data.word_select((turn + lane)[:3], 8) for lane in range(4)]
        data2 = register(m, Cat(*chosen), "data_turned")
        mask2 = flag(m, Mux(valid, mask, 0), "mask_turned")
        flush2 = flag(m, flush, "flush_turned")
        # Third stage: a word is put together.
        held, strobes = Signal(32), Signal(4)
        merged = Cat(
            Mux(mask2[i], data2.word_select(i, 8), held.word_select(i, 8)) for i in range(4)
        )
        m.d.sync += [held.eq(merged), strobes.eq(Mux(flush2, 0, strobes | mask2))]
        m.d.comb += [
            words.put_data.eq(Cat(merged, strobes | mask2)),
            words.put.eq(flush2),
            words.take.eq(self.write_ready),
            self.write_valid.eq(words.ready),
            Cat(self.write_data, self.write_strb).eq(words.data),
        ]
        return m


__all__ = ["Pack"]
