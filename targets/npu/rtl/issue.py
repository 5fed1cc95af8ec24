"""Hands queued commands to the compute engine: reads one ahead, waits until it may start."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib.wiring import Component, In, Out

from targets.npu.isa import Window
from targets.npu.rtl.frontend import COMPUTE_BITS
from targets.npu.rtl.pipe import register

#: Bits of the command register: the words of the longest command.
COMMAND_BITS = 32 * Window.words


class Issue(Component):
    """`queue_*` is the queue's; `valid`, `taken`, `command` the engine's.

    `finished` is how many commands the other engine has finished. `number` is the number of the
    command that the engine runs, `waiting` says that one waits for the other engine, `empty` that
    there is none to come, `next_number` is the waiting one's.
    """

    def __init__(self) -> None:
        super().__init__({
            "queue_ready": In(1), "queue_word": In(32), "queue_at": Out(COMPUTE_BITS),
            "queue_release": Out(1), "finished": In(32),
            "valid": Out(1), "taken": In(1), "command": Out(COMMAND_BITS),
            "number": Out(16), "next_number": Out(16), "waiting": Out(1), "empty": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        after = self.command[16:32]
        allowed = register(m, self.finished >= after, "allowed")
        last = (1 << COMPUTE_BITS) - 1
        place = Signal(COMPUTE_BITS)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.empty.eq(~self.queue_ready)
                m.d.sync += place.eq(0)
                with m.If(self.queue_ready):
                    m.d.sync += self.queue_at.eq(1)
                    m.next = "READ"
            with m.State("READ"):
                m.d.sync += [self.queue_at.eq(self.queue_at + 1), place.eq(place + 1)]
                # Short commands leave the words behind them as they are: nobody looks at them.
                with m.If(place < Window.words):
                    m.d.sync += self.command.eq(Cat(self.command[32:], self.queue_word))
                with m.If(place == last):
                    m.d.sync += [self.next_number.eq(self.queue_word), self.queue_at.eq(0)]
                    m.d.comb += self.queue_release.eq(1)
                    m.next = "COMPARE"
            with m.State("COMPARE"):
                m.next = "WAIT"
            with m.State("WAIT"):
                m.d.comb += [self.valid.eq(allowed), self.waiting.eq(~allowed)]
                with m.If(self.taken):
                    m.d.sync += self.number.eq(self.next_number)
                    m.next = "IDLE"
        return m


__all__ = ["COMMAND_BITS", "Issue"]
