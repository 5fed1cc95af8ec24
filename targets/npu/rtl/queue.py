"""Commands that wait for their engine, in a memory of a few slots."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

#: Commands that wait; one more is held by the engine.
SLOTS = 4


class CommandQueue(Component):
    """`SLOTS` commands of up to 2^`bits` words, written and read word by word.

    `put` writes word `put_word` of the slot that is filled; `commit` ends it. `word` is the word
    `at` of the oldest command, a cycle later, while `ready`; `release` ends that.
    """

    def __init__(self, bits: int) -> None:
        self.bits = bits
        super().__init__({
            "put": In(1), "put_word": In(bits), "put_data": In(32), "commit": In(1),
            "full": Out(1), "ready": Out(1), "at": In(bits), "word": Out(32), "release": In(1),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # A slot that is written is not read yet.
        m.submodules.memory = memory = Memory(
            shape=32, depth=SLOTS << self.bits, init=[], attrs={"no_rw_check": 1}
        )
        write, read = memory.write_port(), memory.read_port()
        head, tail, level = Signal(range(SLOTS)), Signal(range(SLOTS)), Signal(range(SLOTS + 1))
        m.d.comb += [
            write.addr.eq(Cat(self.put_word, tail)),
            write.data.eq(self.put_data),
            write.en.eq(self.put),
            read.addr.eq(Cat(self.at, head)),
            self.word.eq(read.data),
            self.full.eq(level == SLOTS),
            self.ready.eq(level != 0),
        ]
        m.d.sync += level.eq(level + self.commit - self.release)
        with m.If(self.commit):
            m.d.sync += tail.eq(tail + 1)
        with m.If(self.release):
            m.d.sync += head.eq(head + 1)
        return m


__all__ = ["SLOTS", "CommandQueue"]
