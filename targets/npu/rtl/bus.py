"""The accelerator's side of the memory bus: two that ask for bursts, one bus.

Asking: a burst is taken in a cycle in which `*_valid` and `*_ready` are high. Who asks for a read
must have room for all of its words: they come when they come, one in each cycle of `fetch_read` or
`move_read`, in `read_data`. Words to write are taken from `write_*` after their command.

`drain` stops everything: no further burst is asked for, words that are still read are dropped and
words that are still to be written are sent without strobes, until `busy` is low.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib.wiring import Component, In, Out

#: Words of the longest burst.
BURST_WORDS = 64
#: Bursts of reads that may be under way.
_READS = 8


#: The accelerator's port to memory (docs/ACCELERATOR.md, "Ports").
MASTER = {
    "m_cmd_valid": Out(1), "m_cmd_ready": In(1), "m_cmd_we": Out(1), "m_cmd_addr": Out(32),
    "m_cmd_len": Out(7), "m_r_valid": In(1), "m_r_ready": Out(1), "m_r_data": In(32),
    "m_w_valid": Out(1), "m_w_ready": In(1), "m_w_data": Out(32), "m_w_strb": Out(4),
}  # fmt: skip


class Bus(Component):
    """See above. Addresses count words."""

    def __init__(self) -> None:
        super().__init__({
            "fetch_valid": In(1), "fetch_ready": Out(1), "fetch_address": In(30),
            "fetch_len": In(7), "fetch_read": Out(1),
            "move_valid": In(1), "move_ready": Out(1), "move_we": In(1), "move_address": In(30),
            "move_len": In(7), "move_read": Out(1), "read_data": Out(32),
            "write_valid": In(1), "write_ready": Out(1), "write_data": In(32), "write_strb": In(4),
            "writing": Out(1), "moved": Out(1), "drain": In(1), "busy": Out(1),
            **MASTER,
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        draining = Signal()
        owed = self._writes(m, draining)
        many = Signal()  # words are still to be written: no further burst of them yet
        m.d.comb += many.eq(owed >= BURST_WORDS)
        room = self._commands(m, draining, many)
        reading = self._reads(m, draining, room)
        with m.If(self.drain):
            m.d.sync += draining.eq(1)
        with m.Elif(~self.m_cmd_valid & ~reading & (owed == 0) & ~self.m_w_valid):
            m.d.sync += draining.eq(0)
        m.d.comb += self.busy.eq(draining)
        return m

    def _commands(self, m: Module, draining: Signal, many: Signal) -> Signal:
        """Commands go out one after the other; the fetch's first, they are few and short.

        Returns a signal that the caller sets where a read may be asked for.
        """
        room = Signal()
        free = ~self.m_cmd_valid & ~draining & ~self.drain
        fetch = self.fetch_valid & room
        m.d.comb += [
            self.fetch_ready.eq(free & room),
            self.move_ready.eq(free & ~self.fetch_valid & Mux(self.move_we, ~many, room)),
        ]
        with m.If(self.m_cmd_valid & self.m_cmd_ready):
            m.d.sync += self.m_cmd_valid.eq(0)
        with m.If(free & (fetch | (self.move_valid & self.move_ready))):
            m.d.sync += [
                self.m_cmd_valid.eq(1),
                self.m_cmd_we.eq(~self.fetch_valid & self.move_we),
                self.m_cmd_addr[2:].eq(
                    Mux(self.fetch_valid, self.fetch_address, self.move_address)
                ),
                self.m_cmd_len.eq(Mux(self.fetch_valid, self.fetch_len, self.move_len)),
            ]
        return room

    def _reads(self, m: Module, draining: Signal, room: Signal) -> Signal:
        """Whose the words are that come: the bursts asked for, in order.

        Returns 1 where some are still to come.
        """
        waiting = [Signal(8, name=f"burst{i}", reset_less=True) for i in range(_READS)]
        level = Signal(range(_READS + 1))
        left, mine, active = Signal(7), Signal(), Signal()
        asked = Signal()
        m.d.comb += [
            asked.eq(
                (self.fetch_valid & self.fetch_ready)
                | (self.move_valid & self.move_ready & ~self.move_we)
            ),
            room.eq(level != _READS),
        ]
        burst = Mux(self.fetch_valid, Cat(self.fetch_len, 0), Cat(self.move_len, 1))
        word = self.m_r_valid & active
        take = (level != 0) & (~active | (word & (left == 1)))
        with m.If(take):
            m.d.sync += [Cat(left, mine).eq(waiting[0]), active.eq(1)]
            m.d.sync += [waiting[i].eq(waiting[i + 1]) for i in range(_READS - 1)]
        with m.Elif(word):
            m.d.sync += [left.eq(left - 1), active.eq(left != 1)]
        place = Mux(take, level - 1, level)
        for i in range(_READS):
            with m.If(asked & (place == i)):
                m.d.sync += waiting[i].eq(burst)
        m.d.sync += level.eq(level + asked - take)
        keep = word & ~draining & ~self.drain
        m.d.sync += [
            self.fetch_read.eq(keep & ~mine),
            self.move_read.eq(keep & mine),
            self.read_data.eq(self.m_r_data),
        ]
        m.d.comb += self.m_r_ready.eq(active)
        wrote = self.m_w_valid & self.m_w_ready
        m.d.sync += self.moved.eq((word & mine) | wrote)
        return active | (level != 0)

    def _writes(self, m: Module, draining: Signal) -> Signal:
        """Words of the bursts that were asked for. Returns how many are still to be sent."""
        owed = Signal(range(4 * BURST_WORDS))
        granted = self.m_cmd_valid & self.m_cmd_ready & self.m_cmd_we
        free = (owed != 0) & (~self.m_w_valid | self.m_w_ready)
        m.d.comb += self.write_ready.eq(free & ~draining)
        send = free & (self.write_valid | draining)
        m.d.sync += owed.eq(owed + Mux(granted, self.m_cmd_len, 0) - send)
        with m.If(send):
            m.d.sync += [
                self.m_w_valid.eq(1),
                self.m_w_data.eq(self.write_data),
                self.m_w_strb.eq(Mux(draining, 0, self.write_strb)),
            ]
        with m.Elif(self.m_w_ready):
            m.d.sync += self.m_w_valid.eq(0)
        m.d.comb += self.writing.eq(self.m_w_valid | (owed != 0))
        return owed


__all__ = ["BURST_WORDS", "Bus"]
