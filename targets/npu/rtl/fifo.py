"""A queue in a memory whose words come out of a register."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out


class Fifo(Component):
    """`depth` words, a power of two, beside the one or two on their way out.

    `put` is for who knows that there is room; a word may be taken, by `take`, while `ready`. A word
    that is put into an empty queue is there three cycles later. `level` is how many words the
    memory holds.
    """

    def __init__(self, width: int, depth: int) -> None:
        self.width, self.depth = width, depth
        super().__init__({
            "put": In(1), "put_data": In(width), "ready": Out(1), "data": Out(width),
            "take": In(1), "level": Out(range(depth + 1)),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # A word is read in a later cycle than it is written.
        m.submodules.memory = memory = Memory(
            shape=self.width, depth=self.depth, init=[], attrs={"no_rw_check": 1}
        )
        write, read = memory.write_port(), memory.read_port()
        head, tail = Signal(range(self.depth)), Signal(range(self.depth))
        read_out = Signal()  # the memory's own register holds a word
        moves = read_out & (~self.ready | self.take)
        reads = (self.level != 0) & (~read_out | moves)
        m.d.comb += [
            write.addr.eq(tail),
            write.data.eq(self.put_data),
            write.en.eq(self.put),
            read.addr.eq(head),
            read.en.eq(reads),
        ]
        m.d.sync += [
            tail.eq(tail + self.put),
            head.eq(head + reads),
            self.level.eq(self.level + self.put - reads),
            read_out.eq(reads | (read_out & ~moves)),
        ]
        with m.If(moves):
            m.d.sync += [self.data.eq(read.data), self.ready.eq(1)]
        with m.Elif(self.take):
            m.d.sync += self.ready.eq(0)
        return m


__all__ = ["Fifo"]
