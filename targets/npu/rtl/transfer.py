"""The transfer engine: LOAD and STORE between external memory and the memories A, W, P and T."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib.wiring import Component, In, Out

from targets.npu.config import BLOCK, PARAMETER_BYTES, REGIONS, TABLE_WORDS, Accelerator
from targets.npu.isa import Load, Opcode, Space
from targets.npu.rtl.bursts import Bursts
from targets.npu.rtl.bus import BURST_WORDS
from targets.npu.rtl.fifo import Fifo
from targets.npu.rtl.frontend import TRANSFER_BITS
from targets.npu.rtl.pack import Pack
from targets.npu.rtl.pipe import flag, flags, register
from targets.npu.rtl.unpack import Unpack
from targets.npu.rtl.walk import BLOCK_BITS, Addresses, Blocks, Runs

#: Words that wait for the engine: four bursts, so that a memory's latency of 64 cycles is hidden.
READ_WORDS = 4 * BURST_WORDS
WORD_COUNT_BITS = 24
#: Words of A that were asked for and not used yet.
_A_WORDS = 8
#: Bits of a product of counts, which are bytes of A or bus words. What has more is too large for
#: every memory (or reads a plane of A again and again): ADDRESS.
_PRODUCT_BITS = WORD_COUNT_BITS


def _log2(value: int) -> int:
    return value.bit_length() - 1


class Transfer(Component):
    """Takes commands from the queue one by one.

    Front end: `ready`, `word`, `at`, `release` are the queue's; `finished` is how many commands the
    other engine has finished; `bases` are the regions' addresses. `done` and `fault` are pulses,
    `number` is the command's. `waiting` says that a command waits for the other engine, `idle`
    that there is none, `active` that one runs.
    """

    def __init__(self, config: Accelerator, read_latency: int) -> None:
        self.config = config
        self.read_latency = read_latency
        a, w, p = (_log2(n) for n in (config.a_words, config.w_words, config.p_channels))
        super().__init__({
            "ready": In(1), "word": In(32), "at": Out(TRANSFER_BITS), "release": Out(1),
            "finished": In(32), "bases": In(32).array(REGIONS),
            "done": Out(1), "fault": Out(1), "number": Out(16), "waiting": Out(1), "idle": Out(1),
            "active": Out(1),
            # The bus.
            "ask_valid": Out(1), "ask_ready": In(1), "ask_we": Out(1), "ask_address": Out(30),
            "ask_len": Out(7), "read": In(1), "bus_data": In(32), "put_valid": Out(1),
            "put_ready": In(1), "put_data": Out(32), "put_strb": Out(4), "writing": In(1),
            # The memories.
            "read_valid": Out(1), "read_ready": In(1), "read_address": Out(a),
            "read_data": In(8 * BLOCK), "write_valid": Out(1), "write_ready": In(1),
            "write_address": Out(a), "write_data": Out(8 * BLOCK), "write_enable": Out(BLOCK),
            "w_enable": Out(1), "w_address": Out(w),
            "w_column": Out(range(config.word_bytes // 4)), "w_data": Out(32),
            "p_enable": Out(1), "p_address": Out(p), "p_column": Out(2), "p_data": Out(32),
            "t_enable": Out(1), "t_address": Out(_log2(TABLE_WORDS)), "t_data": Out(32),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self._begin, self._running = Signal(), Signal()
        self._fields(m)
        m.submodules.bursts = self._bursts = Bursts(BURST_WORDS, READ_WORDS, WORD_COUNT_BITS)
        m.submodules.addresses = self._addresses = Addresses()
        m.submodules.here = self._here = Blocks()
        m.submodules.ahead = self._ahead = Blocks()
        m.submodules.runs = self._runs = Runs()
        m.submodules.arrived = self._arrived = Fifo(32, READ_WORDS)
        self._connect(m)
        self._too_much = Signal()
        faults = [self._load_a(m), self._load_plain(m), self._store(m), self._too_much]
        m.d.sync += self.fault.eq(Cat(*faults).any() & self._running)
        self._control(m)
        return m

    def _fields(self, m: Module) -> None:
        """Registers of the command that is read or runs."""
        for name, field in Load.fields.items():
            setattr(self, "_" + name, Signal(field.width, name=name, reset_less=True))
        self._is_store = Signal(reset_less=True)
        self._to_a = Signal(reset_less=True)
        self._after = Signal(16, reset_less=True)
        self._last_block = Signal(BLOCK_BITS, reset_less=True)
        self._last_room = Signal(4, reset_less=True)
        self._words = Signal(WORD_COUNT_BITS, reset_less=True)

    def _connect(self, m: Module) -> None:
        bursts, here, ahead, runs = self._bursts, self._here, self._ahead, self._runs
        m.d.comb += [
            bursts.begin.eq(self._begin),
            bursts.write.eq(self._is_store),
            bursts.address.eq(self._offset[2:]),
            bursts.words.eq(self._words),
            bursts.ask_ready.eq(self.ask_ready),
            bursts.taken.eq(self._arrived.ready & self._arrived.take),
            self.ask_valid.eq(bursts.ask_valid),
            self.ask_we.eq(self._is_store),
            self.ask_address.eq(bursts.ask_address),
            self.ask_len.eq(bursts.ask_len),
            self._arrived.put.eq(self.read),
            self._arrived.put_data.eq(self.bus_data),
            self._addresses.begin.eq(self._begin),
            self._addresses.base.eq(self._base),
            self._addresses.plane.eq(self._plane),
            runs.begin.eq(self._begin),
            runs.position.eq(self._offset[:2]),
            runs.last_room.eq(self._last_room),
            runs.one_block.eq(self._last_block == 0),
            runs.next_last.eq(here.next_last),
            here.step.eq(runs.step & runs.block_done),
        ]
        for blocks in (here, ahead):
            m.d.comb += [
                blocks.begin.eq(self._begin),
                blocks.count.eq(self._count),
                blocks.last_block.eq(self._last_block),
            ]

    def _load_a(self, m: Module) -> Any:
        """Runs of arrived words go to A. Returns the fault."""
        m.submodules.unpack = unpack = Unpack(self.config)
        runs, here = self._runs, self._here
        self._fed = Signal()  # the last word was used
        go = Signal()
        end = here.end & runs.block_done
        loads = self._running & self._to_a & ~self._is_store & ~self._fed
        m.d.comb += [
            go.eq(loads & self._arrived.ready & unpack.ready),
            unpack.valid.eq(go),
            unpack.word.eq(self._arrived.data),
            unpack.at.eq(runs.at),
            unpack.place.eq(runs.place),
            unpack.take.eq(runs.take),
            unpack.fill.eq(here.last & runs.block_done),
            unpack.address.eq(self._addresses.address),
            unpack.value.eq(self._fill),
            unpack.write_ready.eq(self.write_ready),
        ]
        for name in ("write_valid", "write_address", "write_data", "write_enable"):
            m.d.comb += getattr(self, name).eq(getattr(unpack, name))
        with m.If(go):
            m.d.comb += [
                runs.step.eq(1),
                self._arrived.take.eq(runs.word_done | end),
                self._addresses.step.eq(runs.block_done),
                self._addresses.last.eq(here.last),
            ]
            with m.If(end):
                m.d.sync += self._fed.eq(1)
        self._unpacking = unpack.busy
        return unpack.fault

    def _load_plain(self, m: Module) -> Any:
        """Arrived words go to W, P or T as they are. Returns the fault."""
        bits = {Space.W: len(self.w_address), Space.P: len(self.p_address),
                Space.T: len(self.t_address) if self.config.tables else 0}  # fmt: skip
        column = Signal(range(max(self.config.word_bytes // 4, 4)))
        last_column, left = Signal.like(column), Signal(WORD_COUNT_BITS)
        to = {space: Signal(name=f"to_{space.name.lower()}") for space in bits}
        widest = self.config.word_bytes // 4
        m.d.sync += [to[space].eq(self._space == space) for space in bits]
        with m.If(to[Space.W]):
            m.d.sync += last_column.eq(Mux(self._half, widest - 2, widest - 1))
        with m.Else():
            m.d.sync += last_column.eq(Mux(to[Space.P], PARAMETER_BYTES // 4 - 1, 0))
        address = self._addresses.address
        outside = Signal()
        go = self._running & ~self._to_a & ~self._fed & self._arrived.ready
        for space, width in bits.items():
            with m.If(to[space] & (address[width:].any() if width else 1)):
                m.d.comb += outside.eq(1)
        for space, name in ((Space.W, "w"), (Space.P, "p"), (Space.T, "t")):
            port = {end: getattr(self, f"{name}_{end}") for end in ("enable", "address", "data")}
            m.d.sync += [
                port["enable"].eq(go & to[space] & ~outside),
                port["address"].eq(address),
                port["data"].eq(self._arrived.data),
            ]
        m.d.sync += [self.w_column.eq(column), self.p_column.eq(column)]
        with m.If(self._begin):
            m.d.sync += [column.eq(0), left.eq(self._words)]
        with m.If(go):
            m.d.comb += self._arrived.take.eq(1)
            m.d.sync += left.eq(left - 1)
            with m.If(left == 1):
                m.d.sync += self._fed.eq(1)
            with m.If(column == last_column):
                m.d.sync += column.eq(0)
                m.d.comb += [self._addresses.step.eq(1), self._addresses.last.eq(1)]
            with m.Else():
                m.d.sync += column.eq(column + 1 + (self._half & to[Space.W]))
        return flag(m, go & outside, "plain_outside")

    def _store(self, m: Module) -> Any:
        """Words of A are asked for ahead, cut into runs and packed. Returns the fault."""
        m.submodules.pack = pack = Pack()
        m.submodules.words = words = Fifo(8 * BLOCK, _A_WORDS)
        ahead, here, runs = self._ahead, self._here, self._runs
        address = self._addresses.address
        outside = address[len(self.read_address) :].any()
        asking, room = Signal(), Signal(range(_A_WORDS + 1), init=_A_WORDS)
        granted = self.read_valid & self.read_ready
        used = words.ready & words.take
        m.d.sync += room.eq(room - granted + used)
        m.d.comb += [
            self.read_valid.eq(asking & (room != 0) & ~outside),
            self.read_address.eq(address),
            words.put.eq(flags(m, granted, self.read_latency, "granted", 0)[-1]),
            words.put_data.eq(self.read_data),
            ahead.step.eq(granted),
        ]
        with m.If(granted):
            m.d.comb += [self._addresses.step.eq(1), self._addresses.last.eq(ahead.last)]
            with m.If(ahead.end):
                m.d.sync += asking.eq(0)
        with m.If(self._begin):
            m.d.sync += asking.eq(self._is_store)
        go = Signal()
        end = here.end & runs.block_done
        m.d.comb += [
            go.eq(self._running & self._is_store & words.ready & pack.ready),
            words.take.eq(go & runs.block_done),
            pack.valid.eq(go),
            pack.data.eq(words.data),
            pack.at.eq(runs.at),
            pack.place.eq(runs.place),
            pack.take.eq(runs.take),
            pack.flush.eq(runs.word_done | end),
            pack.write_ready.eq(self.put_ready),
            self.put_valid.eq(pack.write_valid),
            self.put_data.eq(pack.write_data),
            self.put_strb.eq(pack.write_strb),
        ]
        with m.If(go):
            m.d.comb += runs.step.eq(1)
        # Words that the bus has not taken yet.
        left = Signal(WORD_COUNT_BITS)
        with m.If(self._begin):
            m.d.sync += left.eq(self._words)
        with m.Elif(self.put_valid & self.put_ready):
            m.d.sync += left.eq(left - 1)
        self._written = register(m, (left == 0) & ~self.writing, "written")
        return flag(m, asking & outside, "store_outside")

    def _control(self, m: Module) -> None:
        allowed = register(m, self.finished >= self._after, "allowed")
        # The region is known when the command's last words are still to be read.
        region = register(m, Array(self.bases)[self._region], "region_base")
        place = Signal(TRANSFER_BITS)
        factor = Signal(16, reset_less=True)
        term, total = Signal(_PRODUCT_BITS), Signal(_PRODUCT_BITS)
        huge, term_huge = Signal(), Signal()
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.idle.eq(~self.ready)
                m.d.sync += place.eq(0)
                with m.If(self.ready):
                    m.d.sync += self.at.eq(1)
                    m.next = "READ"
            with m.State("READ"):
                m.d.sync += [self.at.eq(self.at + 1), place.eq(place + 1)]
                self._take(m, place)
                with m.If(place == (1 << TRANSFER_BITS) - 1):
                    m.d.sync += self.at.eq(0)
                    m.d.comb += self.release.eq(1)
                    m.next = "SIZES"
            with m.State("SIZES"):
                self._sizes(m, factor)
                m.d.sync += [
                    term.eq(self._count), term_huge.eq(0), total.eq(0), huge.eq(0),
                    self._offset.eq(self._offset + region),
                ]  # fmt: skip
                m.next = "MULTIPLY"
            with m.State("MULTIPLY"):
                m.d.sync += [
                    factor.eq(factor >> 1),
                    term.eq(term << 1),
                    term_huge.eq(term_huge | term[-1]),
                ]
                summed = total + term
                with m.If(factor[0]):
                    m.d.sync += [
                        total.eq(summed),
                        huge.eq(huge | term_huge | summed[_PRODUCT_BITS]),
                    ]
                with m.If(factor == 0):
                    m.next = "WORDS"
            with m.State("WORDS"):
                words = (total + self._offset[:2] + 3) >> 2
                m.d.sync += self._words.eq(Mux(self._to_a, words, total))
                m.next = "WAIT"
            with m.State("WAIT"):
                m.d.comb += self.waiting.eq(~allowed)
                with m.If(allowed & huge):
                    m.d.sync += self._running.eq(1)
                    m.next = "HUGE"
                with m.Elif(allowed):
                    m.d.comb += self._begin.eq(1)
                    m.d.sync += [self._fed.eq(0), self._running.eq(1)]
                    m.next = "START"
            with m.State("START"):
                m.next = "RUN"
            with m.State("RUN"):
                ended = Mux(self._is_store, self._written, self._fed & ~self._unpacking)
                with m.If(ended & ~self.fault):
                    m.d.sync += self._running.eq(0)
                    m.next = "DONE"
            with m.State("HUGE"):
                m.d.comb += self._too_much.eq(1)
            with m.State("DONE"):
                m.d.comb += self.done.eq(~self.fault)
                m.next = "IDLE"
        m.d.comb += self.active.eq(self._running)

    def _take(self, m: Module, place: Signal) -> None:
        """Word number `place` of the command; the last one is the command's number."""
        with m.Switch(place):
            with m.Case(0):
                m.d.sync += [
                    self._is_store.eq(self.word[:8] == Opcode.STORE),
                    self._after.eq(self.word[16:]),
                ]
            for number in range(1, Load.words):
                with m.Case(number):
                    for name, field in Load.fields.items():
                        if field.word == number:
                            value = self.word[field.low : field.low + field.width]
                            m.d.sync += getattr(self, "_" + name).eq(value)
            with m.Case(Load.words):
                m.d.sync += self.number.eq(self.word)

    def _sizes(self, m: Module, factor: Signal) -> None:
        """What follows from the fields; words (of A: bytes) are `count` times `factor`."""
        columns = self.config.word_bytes // 4
        before_last = self._channels - 1
        m.d.sync += [
            self._to_a.eq(self._space == Space.A),
            self._last_block.eq(before_last[3:16]),
            self._last_room.eq(before_last[:3] + 1),
        ]
        with m.Switch(self._space):
            with m.Case(Space.A):
                m.d.sync += factor.eq(self._channels)
            with m.Case(Space.W):
                m.d.sync += factor.eq(Mux(self._half, columns // 2, columns))
            with m.Case(Space.P):
                m.d.sync += factor.eq(PARAMETER_BYTES // 4)
            with m.Case(Space.T):
                m.d.sync += factor.eq(1)


__all__ = ["Transfer"]
