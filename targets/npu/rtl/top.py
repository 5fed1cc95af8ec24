"""The whole accelerator, with the ports that docs/ACCELERATOR.md lists."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal
from amaranth.lib.wiring import Component, In, Out

from targets.npu.config import Accelerator
from targets.npu.isa import Error
from targets.npu.rtl.bus import MASTER, Bus
from targets.npu.rtl.compute import Compute
from targets.npu.rtl.frontend import Frontend
from targets.npu.rtl.issue import Issue
from targets.npu.rtl.memory import READ_LATENCY
from targets.npu.rtl.registers import Registers
from targets.npu.rtl.transfer import Transfer

#: Cycles after which engines that both wait will wait for ever: more than a finished command needs
#: to be counted and compared.
_STUCK_CYCLES = 16
_BUS = ("m_cmd_valid", "m_cmd_we", "m_cmd_addr", "m_cmd_len", "m_r_ready", "m_w_valid", "m_w_data",
        "m_w_strb")  # fmt: skip
_FROM_BUS = ("m_cmd_ready", "m_r_valid", "m_r_data", "m_w_ready")


class Top(Component):
    """An accelerator of one configuration."""

    def __init__(self, config: Accelerator) -> None:
        self.config = config
        super().__init__({
            "s_stb": In(1), "s_we": In(1), "s_adr": In(6), "s_dat_w": In(32), "s_dat_r": Out(32),
            "s_ack": Out(1), "irq": Out(1),
            **MASTER,
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        # Everything between two streams: engines and front end start each of them from reset.
        self._clear = clear = Signal()
        renewed = ResetInserter(clear)
        self._registers = m.submodules.registers = Registers(config)
        self._bus = m.submodules.bus = Bus()
        self._compute = m.submodules.compute = Compute(config)
        self._frontend, self._transfer = Frontend(config), Transfer(config, READ_LATENCY)
        self._issue = Issue()
        m.submodules.frontend = renewed(self._frontend)
        m.submodules.transfer = renewed(self._transfer)
        m.submodules.issue = renewed(self._issue)
        self._ports(m)
        self._fetch(m)
        self._moves(m)
        self._computes(m)
        self._ends(m)
        return m

    def _ports(self, m: Module) -> None:
        registers, bus = self._registers, self._bus
        for name in ("s_stb", "s_we", "s_adr", "s_dat_w"):
            m.d.comb += getattr(registers, name).eq(getattr(self, name))
        for name in ("s_dat_r", "s_ack", "irq"):
            m.d.comb += getattr(self, name).eq(getattr(registers, name))
        for name in _BUS:
            m.d.comb += getattr(self, name).eq(getattr(bus, name))
        for name in _FROM_BUS:
            m.d.comb += getattr(bus, name).eq(getattr(self, name))

    def _fetch(self, m: Module) -> None:
        registers, bus, frontend = self._registers, self._bus, self._frontend
        # A start waits until the bus has finished what the last stream left behind.
        pending = Signal()
        with m.If(registers.reset):
            m.d.sync += pending.eq(0)
        with m.Elif(registers.begin):
            m.d.sync += pending.eq(1)
        with m.Elif(frontend.begin):
            m.d.sync += pending.eq(0)
        m.d.sync += frontend.begin.eq(pending & ~self._clear & ~bus.busy & ~frontend.begin)
        m.d.comb += [
            frontend.address.eq(registers.stream),
            frontend.length.eq(registers.length),
            bus.fetch_valid.eq(frontend.ask_valid),
            bus.fetch_address.eq(frontend.ask_address),
            bus.fetch_len.eq(frontend.ask_len),
            frontend.ask_ready.eq(bus.fetch_ready),
            frontend.read.eq(bus.fetch_read),
            frontend.read_data.eq(bus.read_data),
        ]

    def _moves(self, m: Module) -> None:
        bus, compute, transfer = self._bus, self._compute, self._transfer
        queue = self._frontend.transfers
        m.d.comb += [
            transfer.ready.eq(queue.ready),
            transfer.word.eq(queue.word),
            queue.at.eq(transfer.at),
            queue.release.eq(transfer.release),
            transfer.finished.eq(self._registers.computed),
            *(mine.eq(base) for mine, base in
              zip(transfer.bases, self._registers.bases, strict=True)),
            bus.move_valid.eq(transfer.ask_valid),
            bus.move_we.eq(transfer.ask_we),
            bus.move_address.eq(transfer.ask_address),
            bus.move_len.eq(transfer.ask_len),
            transfer.ask_ready.eq(bus.move_ready),
            transfer.read.eq(bus.move_read),
            transfer.bus_data.eq(bus.read_data),
            bus.write_valid.eq(transfer.put_valid),
            bus.write_data.eq(transfer.put_data),
            bus.write_strb.eq(transfer.put_strb),
            transfer.put_ready.eq(bus.write_ready),
            transfer.writing.eq(bus.writing),
        ]  # fmt: skip
        for name in ("read_ready", "read_data", "write_ready"):
            m.d.comb += getattr(transfer, name).eq(getattr(compute, name))
        names = ["read_valid", "read_address", "write_valid", "write_address", "write_data",
                 "write_enable", "w_column", "p_column"]  # fmt: skip
        names += [f"{memory}_{end}" for memory in "wpt" for end in ("enable", "address", "data")]
        for name in names:
            m.d.comb += getattr(compute, name).eq(getattr(transfer, name))

    def _computes(self, m: Module) -> None:
        compute, issue, queue = self._compute, self._issue, self._frontend.computes
        m.d.comb += [
            issue.queue_ready.eq(queue.ready),
            issue.queue_word.eq(queue.word),
            queue.at.eq(issue.queue_at),
            queue.release.eq(issue.queue_release),
            issue.finished.eq(self._registers.transferred),
            issue.taken.eq(compute.valid & compute.ready),
            compute.valid.eq(issue.valid),
            compute.command.eq(issue.command),
            compute.clear.eq(self._clear),
        ]

    def _ends(self, m: Module) -> None:
        """How a stream ends: both engines are through, or an error."""
        registers, bus, frontend = self._registers, self._bus, self._frontend
        compute, transfer, issue = self._compute, self._transfer, self._issue
        running = Signal()
        with m.If(self._clear | compute.done | compute.fault):
            m.d.sync += running.eq(0)
        with m.Elif(issue.taken):
            m.d.sync += running.eq(1)
        through = frontend.finished & transfer.idle & issue.empty & ~running
        waits = transfer.waiting | issue.waiting
        stuck = (
            waits
            & (transfer.waiting | transfer.idle)
            & (issue.waiting | issue.empty)
            & (frontend.blocked | frontend.finished)
            & ~running
        )
        patience = Signal(range(_STUCK_CYCLES), init=_STUCK_CYCLES - 1)
        m.d.sync += patience.eq(Mux(stuck, patience - 1, _STUCK_CYCLES - 1))
        token = stuck & (patience == 0)
        first = Signal(16)
        m.d.sync += first.eq(
            Mux(
                issue.waiting & (~transfer.waiting | (issue.next_number < transfer.number)),
                issue.next_number,
                transfer.number,
            )
        )
        failures = [
            (transfer.fault, Error.ADDRESS, transfer.number),
            (compute.fault, Error.ADDRESS, issue.number),
            (frontend.failed, frontend.error, frontend.command),
            (token, Error.TOKEN, first),
        ]
        error, command = Signal(8), Signal(16)
        for condition, code, number in reversed(failures):
            with m.If(condition):
                m.d.comb += [error.eq(code), command.eq(number)]
        failed = Cat(*(condition for condition, _, _ in failures)).any()
        m.d.sync += [
            registers.end.eq((failed | through) & registers.busy & ~registers.end & ~self._clear),
            registers.failed.eq(failed),
            registers.error.eq(error),
            registers.command.eq(command),
            self._clear.eq(registers.reset | (registers.end & registers.busy)),
        ]
        m.d.comb += [
            bus.drain.eq(self._clear),
            registers.count.eq(
                Cat(
                    compute.done, transfer.done, compute.step, compute.idle, bus.moved,
                    transfer.active & ~bus.moved,
                )
            ),
        ]  # fmt: skip


__all__ = ["Top"]
