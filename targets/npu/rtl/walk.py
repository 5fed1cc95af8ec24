"""Where the next byte of an image is: counters of pixels, blocks and bytes."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib.wiring import Component, In, Out

#: Bits of a command's `base` and `plane`, and one for what is beyond.
ADDRESS_BITS = 21
COUNT_BITS = 24
#: Bits of the number of a pixel's last block.
BLOCK_BITS = 13


class Blocks(Component):
    """Counts the blocks of all pixels: the blocks of a pixel, then the next pixel.

    `begin` takes `count` pixels of blocks 0 to `last_block`. `step` goes to the next block. `last`
    says that this one is its pixel's last, `next_last` that the next one will be its, `end` that
    it is the last one of all.
    """

    def __init__(self) -> None:
        super().__init__({
            "begin": In(1), "count": In(COUNT_BITS), "last_block": In(BLOCK_BITS), "step": In(1),
            "last": Out(1), "next_last": Out(1), "end": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        left, pixels, final = Signal(BLOCK_BITS), Signal(COUNT_BITS), Signal()
        m.d.comb += [
            self.next_last.eq(Mux(self.last, self.last_block == 0, left == 1)),
            self.end.eq(self.last & final),
        ]
        with m.If(self.begin):
            m.d.sync += [
                left.eq(self.last_block),
                pixels.eq(self.count),
                self.last.eq(self.last_block == 0),
                final.eq(self.count == 1),
            ]
        with m.Elif(self.step):
            m.d.sync += [
                left.eq(Mux(self.last, self.last_block, left - 1)),
                self.last.eq(self.next_last),
            ]
            with m.If(self.last):
                m.d.sync += [pixels.eq(pixels - 1), final.eq(pixels == 2)]
        return m


class Addresses(Component):
    """The word of each block: `base` + block * `plane` + pixel, in step with a `Blocks`.

    An address at or beyond 2^20 has bit 20 set.
    """

    def __init__(self) -> None:
        super().__init__({
            "begin": In(1), "base": In(20), "plane": In(20), "step": In(1), "last": In(1),
            "address": Out(ADDRESS_BITS),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        pixel = Signal(ADDRESS_BITS)  # the first block of the next pixel
        with m.If(self.begin):
            m.d.sync += [self.address.eq(self.base), pixel.eq(self.base + 1)]
        with m.Elif(self.step):
            with m.If(self.last):
                m.d.sync += [self.address.eq(pixel), pixel.eq(pixel + 1)]
            with m.Else():
                m.d.sync += self.address.eq(self.address + self.plane)
        return m


class Runs(Component):
    """Cuts bytes into runs that lie in one bus word and one block.

    `begin` takes the first byte's place in its bus word (`position`) and the bytes of a pixel's
    last block (`last_room`). The run is `take` bytes from byte `place` of the block, byte `at` of
    the bus word; `word_done` and `block_done` say what it fills, `step` goes on.
    """

    def __init__(self) -> None:
        super().__init__({
            "begin": In(1), "position": In(2), "last_room": In(4), "one_block": In(1),
            "step": In(1), "next_last": In(1),
            "at": Out(2), "place": Out(3), "take": Out(3), "word_done": Out(1),
            "block_done": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # Bytes that are left of the word and of the block.
        word, room = Signal(3), Signal(4)
        m.d.comb += [
            self.word_done.eq(word <= room),
            self.block_done.eq(room <= word),
            self.take.eq(Mux(self.word_done, word, room)),
        ]
        with m.If(self.begin):
            m.d.sync += [
                self.at.eq(self.position),
                word.eq(4 - self.position),
                self.place.eq(0),
                room.eq(Mux(self.one_block, self.last_room, 8)),
            ]
        with m.Elif(self.step):
            m.d.sync += self.at.eq(self.at + self.take)
            m.d.sync += word.eq(Mux(self.word_done, 4, word - room))
            m.d.sync += self.place.eq(Mux(self.block_done, 0, self.place + self.take))
            following = Mux(self.next_last, self.last_room, 8)
            m.d.sync += room.eq(Mux(self.block_done, following, room - word))
        return m


__all__ = ["ADDRESS_BITS", "BLOCK_BITS", "COUNT_BITS", "Addresses", "Blocks", "Runs"]
