"""The registers that a CPU sees, and the state that STATUS shows."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib.wiring import Component, In, Out

from targets.npu.config import REGIONS, Accelerator
from targets.npu.isa import MAGIC


class Register(IntEnum):
    """Byte offsets; BASE1 to BASE7 follow BASE0."""

    ID = 0x00
    CONFIG = 0x04
    CONTROL = 0x08
    STATUS = 0x0C
    STREAM = 0x10
    LENGTH = 0x14
    COMPUTED = 0x18
    TRANSFERRED = 0x1C
    CYCLES = 0x20
    STEPS = 0x24
    WAITED = 0x28
    MOVED = 0x2C
    STALLED = 0x30
    BASE0 = 0x40


#: Counters, in the order of `Registers.count`.
COUNTERS = (Register.COMPUTED, Register.TRANSFERRED, Register.STEPS, Register.WAITED,
            Register.MOVED, Register.STALLED)  # fmt: skip
START, RESET = 1, 2


class Registers(Component):
    """`begin` and `reset` are pulses; `end` with `failed` says how a stream ended.

    `count` are pulses of the registers `COUNTERS`. `busy` is high from a start to `end`.
    """

    def __init__(self, config: Accelerator) -> None:
        self.config = config
        super().__init__({
            "s_stb": In(1), "s_we": In(1), "s_adr": In(6), "s_dat_w": In(32),
            "s_dat_r": Out(32), "s_ack": Out(1), "irq": Out(1),
            "begin": Out(1), "reset": Out(1), "busy": Out(1),
            "end": In(1), "failed": In(1), "error": In(8), "command": In(16),
            "count": In(len(COUNTERS)),
            "computed": Out(32), "transferred": Out(32), "stream": Out(30), "length": Out(32),
            "bases": Out(32).array(REGIONS),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        done, failed = Signal(), Signal()
        error, command = Signal(8), Signal(16)
        counters = self._counters(m)
        address, data, write = self._access(m)

        def written(register: int) -> Any:
            return write & (address == register // 4)

        control = written(Register.CONTROL)
        m.d.comb += [
            self.reset.eq(control & data[1]),
            self.begin.eq(control & (data[:2] == START) & ~self.busy & ~failed),
        ]
        with m.If(written(Register.STREAM)):
            m.d.sync += self.stream.eq(data[2:])
        with m.If(written(Register.LENGTH)):
            m.d.sync += self.length.eq(data)
        for number, base in enumerate(self.bases):
            with m.If(written(Register.BASE0 + 4 * number)):
                m.d.sync += base.eq(data)
        with m.If(self.reset):
            m.d.sync += [self.busy.eq(0), done.eq(0), failed.eq(0), error.eq(0), command.eq(0)]
        with m.Elif(self.begin):
            m.d.sync += [self.busy.eq(1), done.eq(0)]
        with m.Elif(self.end & self.busy):
            m.d.sync += [self.busy.eq(0), done.eq(~self.failed), failed.eq(self.failed)]
            with m.If(self.failed):
                m.d.sync += [error.eq(self.error), command.eq(self.command)]
        m.d.sync += self.irq.eq(done | failed)
        values: dict[int, Any] = {
            Register.ID: MAGIC,
            Register.CONFIG: self.config.word,
            Register.STATUS: Cat(self.busy, done, failed, Signal(5), error, command),
            Register.STREAM: Cat(Signal(2), self.stream),
            Register.LENGTH: self.length,
            **counters,
            **{Register.BASE0 + 4 * i: base for i, base in enumerate(self.bases)},
        }
        with m.Switch(address):
            for register, value in values.items():
                with m.Case(register // 4):
                    m.d.sync += self.s_dat_r.eq(value)
            with m.Default():
                m.d.sync += self.s_dat_r.eq(0)
        return m

    def _access(self, m: Module) -> tuple[Signal, Signal, Signal]:
        """An access takes two cycles: it is registered, then done and acknowledged.

        Returns its address, its data and, for one cycle, that it writes.
        """
        address, data = Signal(6, reset_less=True), Signal(32, reset_less=True)
        taken, write = Signal(), Signal()
        m.d.sync += [
            taken.eq(self.s_stb & ~taken & ~self.s_ack),
            write.eq(self.s_stb & self.s_we & ~taken & ~self.s_ack),
            address.eq(self.s_adr),
            data.eq(self.s_dat_w),
            self.s_ack.eq(taken),
        ]
        return address, data, write

    def _counters(self, m: Module) -> dict[int, Any]:
        count = Signal(len(COUNTERS))
        m.d.sync += count.eq(self.count)
        values = {r: Signal(32, name=r.name.lower()) for r in COUNTERS}
        cycles = Signal(32)
        for number, value in enumerate(values.values()):
            m.d.sync += value.eq(Mux(self.begin, 0, value + (count[number] & self.busy)))
        m.d.sync += cycles.eq(Mux(self.begin, 0, cycles + self.busy))
        m.d.comb += [
            self.computed.eq(values[Register.COMPUTED]),
            self.transferred.eq(values[Register.TRANSFERRED]),
        ]
        return {int(Register.CYCLES): cycles, **{int(r): v for r, v in values.items()}}


__all__ = ["COUNTERS", "RESET", "START", "Register", "Registers"]
