"""The compute engine: takes one command at a time (CONV, DEPTHWISE, SUM, MAX, ADD) and runs it.

`Compute(config)` holds the memories A, W, P and T. Its ports, all of one clock:

Commands, from the front end, which has checked opcode, length and fields:
    valid, ready    a command is taken in a cycle in which both are high
    command[448]    its 14 words, word i in bits 32 i and up; bits beyond an ADD are not looked at
    done            pulse: the command is finished; reads that are granted from the next cycle on
                    find all that it wrote
    fault           pulse: the command reads or writes outside A, W or P (ADDRESS); the engine
                    drops it and is idle
    clear           drops whatever is going on; memories keep their content
    step            a step of the array or a read of ADD in this cycle (register STEPS)
    idle            no command in this cycle (register WAITED)
Memories, from the transfer engine, which has checked the addresses:
    read_valid, read_ready, read_address        a word of A is asked for; `read_data`[64] holds it
                    in the cycle READ_LATENCY after the one in which both were high
    write_valid, write_ready, write_address, write_data[64], write_enable[8]
                    bytes of a word of A; written in the cycle after both were high
    w_enable, w_address, w_column, w_data[32]   bytes 4 w_column and up of a word of W
    p_enable, p_address, p_column, p_data[32]   a channel's bias, multiplier or shifts (0, 1, 2)
    t_enable, t_address, t_data[32]             a word of T
Reads of commands go before those of the transfer engine in each bank of A, writes in all of them.

A step's way, in cycles after it leaves the loop nest (products from logic take two more):
    0   window.py       counters, which loop moves on
    1                   coordinates, block, word of W
    2                   row times width, column plus block, what is inside the image
    3                   address of the first pixel
    4   memory.py       rows of the four banks
    5                   words
    6                   words in a register
    7                   words in the window's order, padded
    8   array.py        operands and weights of the lanes
    9                   products
    10, 11              sums of four, of eight
    12                  accumulators
    13  drain.py        results that wait, R of them in use, with their parameters
    14 - 22 rescale.py  R results
    23  memory.py       a word to write
A pixel's later slices follow in the next cycles. Nothing on this way ever waits: a pixel's last
step is held back in the loop nest until the drain is free for it.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib.wiring import Component, In, Out

from targets.npu.config import BLOCK, TABLE_WORDS, Accelerator
from targets.npu.rtl.array import MultiplierArray
from targets.npu.rtl.command import COMMAND_BITS, take
from targets.npu.rtl.drain import LOAD_LATENCY, SLICE_LATENCY, Drain
from targets.npu.rtl.elementwise import Elementwise
from targets.npu.rtl.memory import (
    WORD_BITS,
    ActivationMemory,
    ParameterMemory,
    TableMemory,
    WeightMemory,
    address_bits,
)
from targets.npu.rtl.pipe import delay, flags
from targets.npu.rtl.window import Window

#: Cycles from Window's `valid` to the words of that step.
_WORDS = Window.READ_LATENCY + ActivationMemory.WINDOW_LATENCY
#: Cycles from Elementwise's `slices` to the `start` that lets the first sum be the first slice.
_LOOKED_UP = 1 + TableMemory.SUM_LATENCY - (SLICE_LATENCY - 1)


class Compute(Component):
    """The engine and its memories; the module's docstring describes the ports."""

    def __init__(self, config: Accelerator) -> None:
        self.config = config
        super().__init__({
            "valid": In(1), "ready": Out(1), "command": In(COMMAND_BITS),
            "done": Out(1), "fault": Out(1), "clear": In(1), "step": Out(1), "idle": Out(1),
            "read_valid": In(1), "read_ready": Out(1),
            "read_address": In(address_bits(config.a_words)), "read_data": Out(WORD_BITS),
            "write_valid": In(1), "write_ready": Out(1),
            "write_address": In(address_bits(config.a_words)),
            "write_data": In(WORD_BITS), "write_enable": In(BLOCK),
            "w_enable": In(1), "w_address": In(address_bits(config.w_words)),
            "w_column": In(range(config.word_bytes // 4)), "w_data": In(32),
            "p_enable": In(1), "p_address": In(address_bits(config.p_channels)),
            "p_column": In(2), "p_data": In(32),
            "t_enable": In(1), "t_address": In(address_bits(TABLE_WORDS)), "t_data": In(32),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.a = self._a = ActivationMemory(config)
        m.submodules.w = self._w = WeightMemory(config)
        m.submodules.p = self._p = ParameterMemory(config)
        m.submodules.window = self._window = Window(config)
        m.submodules.array = self._array = MultiplierArray(config)
        m.submodules.drain = self._drain = Drain(config)
        self._clear = Signal()
        self._begin = Signal()
        self._command: Any = None
        self._control(m)
        self._memories(m)
        self._steps(m)
        if config.tables:
            self._elementwise(m)
        return m

    def _control(self, m: Module) -> None:
        """One command at a time, until its last write or a fault."""
        busy, begin, fault = Signal(), self._begin, Signal()
        window, drain = self._window, self._drain
        taken = Signal()
        m.d.comb += taken.eq(self.valid & self.ready)
        self._command = command = take(m, self.command, taken)
        m.d.sync += begin.eq(taken & ~self.clear)
        with m.If(taken):
            m.d.sync += busy.eq(1)
        with m.Elif(drain.done | fault):
            m.d.sync += busy.eq(0)
        with m.If(self.clear):
            m.d.sync += busy.eq(0)
        wrong = window.fault | drain.fault
        if not self.config.tables:
            wrong = wrong | (begin & command.add)
        m.d.sync += fault.eq(wrong & busy & ~self._clear)
        m.d.comb += [
            self._clear.eq(self.clear | fault),
            self.ready.eq(~busy),
            self.idle.eq(~busy & ~self.valid),
            self.done.eq(drain.done & busy & ~fault),
            self.fault.eq(fault),
            *(part.command.eq(command) for part in (window, self._array, drain)),
            *(part.clear.eq(self._clear) for part in (window, drain)),
            window.start.eq(begin & ~command.add),
            window.gap.eq(drain.gap),
            drain.begin.eq(begin),
        ]

    def _memories(self, m: Module) -> None:
        """The transfer engine's ports, and the drain's."""
        a, w, p, drain = self._a, self._w, self._p, self._drain
        m.d.comb += [
            a.read_valid.eq(self.read_valid), self.read_ready.eq(a.read_ready),
            a.read_address.eq(self.read_address), self.read_data.eq(a.read_data),
            a.write_valid.eq(self.write_valid), self.write_ready.eq(a.write_ready),
            a.write_address.eq(self.write_address), a.write_data.eq(self.write_data),
            a.write_enable.eq(self.write_enable),
            w.enable.eq(self.w_enable), w.write_address.eq(self.w_address),
            w.column.eq(self.w_column), w.write_data.eq(self.w_data),
            p.enable.eq(self.p_enable), p.channel.eq(self.p_address),
            p.column.eq(self.p_column), p.write_data.eq(self.p_data),
            a.put_valid.eq(drain.put_valid), a.put_address.eq(drain.put_address),
            a.put_data.eq(drain.put_data), a.put_enable.eq(drain.put_enable),
            p.address.eq(drain.p_address),
        ]  # fmt: skip
        for lane in range(self.config.requant_lanes):
            for name in ("bias", "multiplier", "left", "right"):
                m.d.comb += getattr(drain, name)[lane].eq(getattr(p, name)[lane])

    def _steps(self, m: Module) -> None:
        """A step on its way: words, products, sums, slices."""
        a, w, window, array, drain = self._a, self._w, self._window, self._array, self._drain
        command = self._command
        m.d.comb += [
            a.at.eq(window.at), a.use.eq(window.use), a.live.eq(window.live),
            a.pad.eq(command.pad), a.neutral.eq(command.max << 7),
            # The memory's own register is the last one on the way to the multipliers.
            w.address.eq(delay(m, window.weight, _WORDS - 1, "weight")[-1]),
            array.weights.eq(w.data),
            a.offset.eq(delay(m, window.offset, Window.READ_LATENCY, "offset")[-1]),
            *(array.words[t].eq(word) for t, word in enumerate(a.words)),
            *(array.channels[t].eq(some) for t, some in enumerate(a.channels)),
            *(drain.results[n].eq(result) for n, result in enumerate(array.results)),
        ]  # fmt: skip
        summed = _WORDS + array.latency
        valid = flags(m, window.valid, summed - 1, "valid", self._clear)
        m.d.comb += [
            array.valid.eq(valid[summed - 1]),
            array.first.eq(delay(m, window.first, summed - 1, "first")[-1]),
        ]
        cycles = summed - LOAD_LATENCY
        last, group_last, final = (
            delay(m, getattr(window, name), cycles, name)[-1]
            for name in ("last", "group_last", "final")
        )
        m.d.comb += [
            drain.start.eq(valid[cycles] & last),
            drain.group_last.eq(group_last),
            drain.final.eq(final),
            self.step.eq(window.valid),
        ]

    def _elementwise(self, m: Module) -> None:
        """ADD: reads through the window's way to A, sums of table entries into the drain."""
        m.submodules.t = t = TableMemory(self.config)
        m.submodules.elementwise = add = Elementwise(self.config)
        window, drain, command = self._window, self._drain, self._command
        m.d.comb += [
            t.enable.eq(self.t_enable), t.write_address.eq(self.t_address),
            t.write_data.eq(self.t_data),
            add.command.eq(command), add.clear.eq(self._clear),
            add.start.eq(self._begin & command.add), add.word.eq(self._a.words[0]),
            window.other_valid.eq(add.read), window.other_address.eq(add.address),
            *(t.a[i].eq(byte) for i, byte in enumerate(add.a)),
            *(t.b[i].eq(byte) for i, byte in enumerate(add.b)),
            *(drain.sums[i].eq(value) for i, value in enumerate(t.sum)),
        ]  # fmt: skip
        slices = flags(m, add.slices, _LOOKED_UP, "slices", self._clear)[-1]
        final = delay(m, add.final, _LOOKED_UP, "add_final")[-1]
        with m.If(command.add):
            m.d.comb += [drain.start.eq(slices), drain.final.eq(final)]
            m.d.comb += [drain.group_last.eq(0), self.step.eq(add.read)]


__all__ = ["Compute"]
