"""Cuts a transfer's words into bursts of the bus."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib.wiring import Component, In, Out


class Bursts(Component):
    """Asks for `words` words, a number of `bits` bits, from word `address` on.

    A burst has up to `burst` words, a power of two, and crosses no multiple of that. Reads are
    asked for while `burst` of the `places` are free, which the words take that have not come or
    have not been `taken`; with `write` they do not count.
    """

    def __init__(self, burst: int, places: int, bits: int) -> None:
        self.burst, self.places, self.bits = burst, places, bits
        super().__init__({
            "begin": In(1), "write": In(1), "address": In(30), "words": In(bits),
            "taken": In(1), "ask_valid": Out(1), "ask_ready": In(1), "ask_address": Out(30),
            "ask_len": Out(7),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        free = Signal(range(self.places + 1), init=self.places)
        left = Signal(self.bits)
        asked = self.ask_valid & self.ask_ready
        read = Mux(asked & ~self.write, self.ask_len, 0)
        m.d.sync += free.eq(free + self.taken - read)
        enough = self.write | (free >= self.burst)
        to_edge = self.burst - self.ask_address[: self.burst.bit_length() - 1]
        with m.If(self.begin):
            m.d.sync += [self.ask_address.eq(self.address), left.eq(self.words)]
        with m.Elif(asked):
            m.d.sync += [
                self.ask_valid.eq(0),
                self.ask_address.eq(self.ask_address + self.ask_len),
                left.eq(left - self.ask_len),
            ]
        with m.Elif(~self.ask_valid & (left != 0) & enough):
            m.d.sync += [
                self.ask_valid.eq(1),
                self.ask_len.eq(Mux(left < to_edge, left[:7], to_edge)),
            ]
        return m


__all__ = ["Bursts"]
