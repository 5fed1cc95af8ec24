"""The front end: fetches the stream, checks it word by word and hands commands to two queues."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib.wiring import Component, In, Out

from targets.npu.config import Accelerator
from targets.npu.isa import TRANSFERS, Error, Opcode
from targets.npu.rtl.bursts import Bursts
from targets.npu.rtl.checker import LATENCY, Checker, kind_of
from targets.npu.rtl.fifo import Fifo
from targets.npu.rtl.queue import CommandQueue

#: Words of a burst of the fetch, and of its buffer.
FETCH_WORDS = 16
BUFFER_WORDS = 2 * FETCH_WORDS
#: Bits of the number of a word of a command: the last one that they allow is the command's number.
TRANSFER_BITS, COMPUTE_BITS = 3, 4


class Fetch(Component):
    """Words of memory from `address` on, `length` of them, in `data` while `ready`."""

    def __init__(self) -> None:
        super().__init__({
            "begin": In(1), "address": In(30), "length": In(32),
            "data": Out(32), "ready": Out(1), "take": In(1),
            "ask_valid": Out(1), "ask_ready": In(1), "ask_address": Out(30), "ask_len": Out(7),
            "read": In(1), "read_data": In(32),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.buffer = buffer = Fifo(32, BUFFER_WORDS)
        m.d.comb += [
            buffer.put.eq(self.read),
            buffer.put_data.eq(self.read_data),
            buffer.take.eq(self.take),
            self.data.eq(buffer.data),
            self.ready.eq(buffer.ready),
        ]
        m.submodules.bursts = bursts = Bursts(FETCH_WORDS, BUFFER_WORDS, 32)
        m.d.comb += [
            bursts.begin.eq(self.begin),
            bursts.address.eq(self.address),
            bursts.words.eq(self.length),
            bursts.taken.eq(self.take & self.ready),
            bursts.ask_ready.eq(self.ask_ready),
        ]
        for name in ("ask_valid", "ask_address", "ask_len"):
            m.d.comb += getattr(self, name).eq(getattr(bursts, name))
        return m


class Frontend(Component):
    """Runs a stream's words from `begin` on, until `finished` or `failed`.

    `finished` says that all commands were handed over; `failed` comes with `error` and `command`.
    `blocked` says that the next one waits for a place in a full queue. The outer logic resets the
    whole before every stream.
    """

    def __init__(self, config: Accelerator) -> None:
        self.config = config
        self.transfers = CommandQueue(TRANSFER_BITS)
        self.computes = CommandQueue(COMPUTE_BITS)
        super().__init__({
            "begin": In(1), "address": In(30), "length": In(32),
            "finished": Out(1), "blocked": Out(1),
            "failed": Out(1), "error": Out(8), "command": Out(16),
            "ask_valid": Out(1), "ask_ready": In(1), "ask_address": Out(30), "ask_len": Out(7),
            "read": In(1), "read_data": In(32),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.fetch = fetch = Fetch()
        m.submodules.checker = checker = Checker(self.config)
        m.submodules.transfers = self.transfers
        m.submodules.computes = self.computes
        for name in ("begin", "address", "length", "read", "read_data", "ask_ready"):
            m.d.comb += getattr(fetch, name).eq(getattr(self, name))
        for name in ("ask_valid", "ask_address", "ask_len"):
            m.d.comb += getattr(self, name).eq(getattr(fetch, name))
        m.d.comb += checker.length.eq(self.length)
        self._decode(m, fetch, checker)
        return m

    def _decode(self, m: Module, fetch: Fetch, checker: Checker) -> None:
        kinds = checker.kinds
        first = Signal(32, reset_less=True)
        left = Signal(32)  # words that were not taken from the fetch
        none_left = Signal()
        inside = Signal()  # HEAD was there
        m.d.sync += none_left.eq(left == 0)
        kind = Signal(len(kinds))
        at = Signal(4)
        put, put_word, put_data = Signal(), Signal(4), Signal(32)
        is_move, is_head, is_end = Signal(), Signal(), Signal()
        m.d.comb += [
            checker.kind.eq(kind),
            checker.opcode.eq(first[:8]),
            checker.at.eq(at),
            checker.word.eq(fetch.data),
        ]
        for queue, mine in ((self.transfers, is_move), (self.computes, ~is_move)):
            m.d.comb += [
                queue.put.eq(put & mine),
                queue.put_word.eq(put_word),
                queue.put_data.eq(put_data),
            ]
        full = Mux(is_move, self.transfers.full, self.computes.full) & ~is_head & ~is_end
        # A command's length and whether the stream ends within it, a cycle after its kind.
        expected = Signal(8)
        wrong_length, cut = Signal(), Signal()
        few = Signal()
        m.d.sync += few.eq(left[4:] == 0)
        m.d.comb += expected.eq(
            sum((Mux(kind[i], k.words, 0) for i, k in enumerate(kinds)), start=0)
        )
        m.d.sync += [
            wrong_length.eq(first[8:16] != expected),
            cut.eq(few & (left[:4] < (expected - 1)[:4])),
        ]
        settle = Signal(range(LATENCY + 1))
        with m.If(fetch.take & fetch.ready):
            m.d.sync += left.eq(left - 1)

        def fail(error: Error) -> None:
            m.d.sync += [self.failed.eq(1), self.error.eq(error)]
            m.next = "STOPPED"

        with m.FSM():
            with m.State("STOPPED"), m.If(self.begin):
                m.d.sync += left.eq(self.length)
                m.next = "START"
            with m.State("START"):
                # `none_left` is of the cycle before.
                m.next = "FIRST"
            with m.State("FIRST"):
                m.d.comb += [fetch.take.eq(~none_left), checker.begin.eq(1)]
                m.d.sync += [first.eq(fetch.data), at.eq(1)]
                with m.If(none_left):
                    fail(Error.TRUNCATED)
                with m.Elif(fetch.ready):
                    m.next = "KIND"
            with m.State("KIND"):
                m.d.sync += [kind[i].eq(kind_of(first[:8], k)) for i, k in enumerate(kinds)]
                m.d.sync += [
                    is_move.eq(_one_of(first[:8], TRANSFERS)),
                    is_head.eq(first[:8] == Opcode.HEAD),
                    is_end.eq(first[:8] == Opcode.END),
                ]
                m.next = "LENGTH"
            with m.State("LENGTH"):
                m.next = "JUDGE"
            with m.State("JUDGE"):
                m.d.comb += [put_word.eq(0), put_data.eq(first)]
                with m.If(is_head == inside):
                    fail(Error.HEAD)
                with m.Elif(~kind.any()):
                    fail(Error.OPCODE)
                with m.Elif(wrong_length):
                    fail(Error.LENGTH)
                with m.Elif(cut):
                    fail(Error.TRUNCATED)
                with m.Elif(full):
                    m.d.comb += self.blocked.eq(1)
                with m.Else():
                    m.d.comb += put.eq(~is_head & ~is_end)
                    m.d.sync += settle.eq(LATENCY)
                    with m.If(is_end):
                        m.next = "SETTLE"
                    with m.Else():
                        m.next = "BODY"
            with m.State("BODY"):
                m.d.comb += [
                    fetch.take.eq(1),
                    checker.valid.eq(fetch.ready),
                    put.eq(fetch.ready & ~is_head),
                    put_word.eq(at),
                    put_data.eq(fetch.data),
                ]
                with m.If(fetch.ready):
                    m.d.sync += at.eq(at + 1)
                    with m.If(at == (expected - 1)[:4]):
                        m.next = "SETTLE"
            with m.State("SETTLE"):
                m.d.comb += [
                    put.eq(~is_head & ~is_end),
                    put_word.eq(15),
                    put_data.eq(self.command),
                ]
                m.d.sync += settle.eq(settle - 1)
                with m.If(settle == 0):
                    m.next = "VERDICT"
            with m.State("VERDICT"):
                after = first[16:] != 0
                with m.If(checker.head):
                    fail(Error.HEAD)
                with m.Elif(checker.short):
                    fail(Error.TRUNCATED)
                with m.Elif(checker.count | ((is_head | is_end) & after)):
                    fail(Error.COUNT)
                with m.Elif(is_end):
                    m.next = "ENDED"
                    with m.If(~none_left):
                        m.d.sync += self.command.eq(self.command + 1)
                        fail(Error.LENGTH)
                with m.Else():
                    m.d.sync += [self.command.eq(self.command + 1), inside.eq(1)]
                    m.d.comb += [
                        self.transfers.commit.eq(is_move),
                        self.computes.commit.eq(~is_move & ~is_head),
                    ]
                    m.next = "FIRST"
            with m.State("ENDED"):
                m.d.comb += self.finished.eq(1)


def _one_of(opcode: Any, codes: tuple[Opcode, ...]) -> Any:
    result: Any = 0
    for code in codes:
        result = result | (opcode == int(code))
    return result


__all__ = ["Fetch", "Frontend"]
