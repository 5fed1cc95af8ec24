"""The memories A, W, P and T: block RAM with registers before and behind it."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from targets.npu.config import BANKS, BLOCK, TABLE_WORDS, Accelerator
from targets.npu.rtl.pipe import delay, flag, register

WORD_BITS = 8 * BLOCK
#: Cycles from a granted read of the transfer engine to its data.
READ_LATENCY = 4


def address_bits(words: int) -> int:
    """Bits of an address of a memory of `words` words, a power of two."""
    return words.bit_length() - 1


def _ram(bits: int, depth: int) -> Memory:
    """Block RAM, without the logic that gives the old word where one is read and written at once.

    Streams without a race never do that. `no_rw_check` is synthesis.py's to read.
    """
    return Memory(shape=unsigned(bits), depth=depth, init=[], attrs={"no_rw_check": 1})


class ActivationMemory(Component):
    """Memory A in four banks: word i is in bank i % 4.

    A window's read takes the words `at` .. `at` + 3: `use`[t] says that word t is read, `live`[t]
    that it counts; `words`[t] is, WINDOW_LATENCY cycles later, the word where it is used, `pad`
    where it only counts, else `neutral`. `channels`[t] are the bytes of a depthwise group, from
    byte `offset` of the word on; where they are less than a word, of `words`[t] only the
    WORD_BYTES[t] bytes that CONV packs are there. `put_*` writes a word for the compute engine.
    """

    WORD_BYTES = (8, 4, 2, 2)

    WINDOW_LATENCY = 4

    def __init__(self, config: Accelerator) -> None:
        self.config = config
        bits = address_bits(config.a_words)
        super().__init__({
            "at": In(bits), "offset": In(range(BLOCK)), "use": In(BANKS), "live": In(BANKS),
            "pad": In(8), "neutral": In(8),
            "words": Out(WORD_BITS).array(BANKS),
            "channels": Out(8 * config.depthwise_lanes).array(BANKS),
            "put_valid": In(1), "put_address": In(bits),
            "put_data": In(WORD_BITS), "put_enable": In(BLOCK),
            "read_valid": In(1), "read_ready": Out(1), "read_address": In(bits),
            "read_data": Out(WORD_BITS),
            "write_valid": In(1), "write_ready": Out(1), "write_address": In(bits),
            "write_data": In(WORD_BITS), "write_enable": In(BLOCK),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        write = self._write_register(m)
        banks = [self._bank(m, number, write) for number in range(BANKS)]
        self._rotate(m, banks)
        # A read of the transfer engine: its bank's register holds the word three cycles later.
        bank = delay(m, self.read_address[:2], READ_LATENCY - 1, "read_bank")[-1]
        m.d.sync += self.read_data.eq(Array(banks)[bank])
        return m

    def _write_register(self, m: Module) -> tuple[Signal, Signal, Signal]:
        """Address, data and byte enables of the one write of this cycle."""
        mine = self.put_valid
        m.d.comb += self.write_ready.eq(~mine)
        enable = Mux(mine, self.put_enable, Mux(self.write_valid, self.write_enable, 0))
        address = Mux(mine, self.put_address, self.write_address)
        data = Mux(mine, self.put_data, self.write_data)
        return (
            register(m, address, "written_address"),
            register(m, data, "written_data"),
            flag(m, enable, "written_enable"),
        )

    def _bank(self, m: Module, number: int, write: tuple[Signal, Signal, Signal]) -> Value:
        """The bank's word, three cycles after its address: register, memory, register."""
        address, data, enable = write
        memory = _ram(WORD_BITS, self.config.a_words // BANKS)
        m.submodules[f"bank{number}"] = memory
        port = memory.write_port(granularity=8)
        m.d.comb += [
            port.addr.eq(address[2:]),
            port.data.eq(data),
            port.en.eq(Mux(address[:2] == number, enable, 0)),
        ]
        # Word t = (number - at) % 4 of the window is in this bank, in the next row after a wrap.
        used = Signal(name=f"used{number}")
        wrapped = Signal(name=f"wrapped{number}")
        with m.Switch(self.at[:2]):
            for first in range(BANKS):
                with m.Case(first):
                    m.d.comb += used.eq(self.use[(number - first) % BANKS])
                    m.d.comb += wrapped.eq(number < first)
        row = self.at[2:] + wrapped
        with m.If(self.read_address[:2] == number):
            m.d.comb += self.read_ready.eq(~used)
        read = memory.read_port()
        chosen = Mux(used, row, self.read_address[2:])[: len(read.addr)]
        m.d.comb += read.addr.eq(register(m, chosen, f"row{number}"))
        return register(m, read.data, f"word{number}")

    def _rotate(self, m: Module, banks: list[Value]) -> None:
        """Words in the window's order, filled up."""
        first = delay(m, self.at[:2], 3, "first")[-1]
        use = delay(m, self.use, 3, "use")[-1]
        live = delay(m, self.live, 2, "live")[-1]
        group = self.config.depthwise_lanes
        offset = delay(m, self.offset[group.bit_length() - 1 :], 3, "offset")[-1]
        parts = [bank.word_select(offset, 8 * group) if group < BLOCK else bank for bank in banks]
        for t in range(BANKS):
            fill = register(m, Mux(live[t], self.pad, self.neutral), f"fill{t}")

            def window(of: list[Value], count: int, t: int = t, fill: Value = fill) -> Value:
                word = Array(of[(number + t) % BANKS] for number in range(BANKS))[first]
                return Mux(use[t], word, fill.replicate(count))[: 8 * count]

            if group == BLOCK:
                m.d.sync += self.words[t].eq(window(banks, BLOCK))
                m.d.comb += self.channels[t].eq(self.words[t])
            else:
                m.d.sync += self.words[t].eq(window(banks, self.WORD_BYTES[t]))
                m.d.sync += self.channels[t].eq(window(parts, group))


class WeightMemory(Component):
    """Memory W: `data` is the word of the address of the cycle before."""

    def __init__(self, config: Accelerator) -> None:
        self.config = config
        bits = address_bits(config.w_words)
        columns = config.word_bytes // 4
        super().__init__({
            "address": In(bits), "data": Out(8 * config.word_bytes),
            "enable": In(1), "write_address": In(bits), "column": In(range(columns)),
            "write_data": In(32),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits = 8 * self.config.word_bytes
        m.submodules.memory = memory = _ram(bits, self.config.w_words)
        read, write = memory.read_port(), memory.write_port(granularity=32)
        m.d.comb += [read.addr.eq(self.address), self.data.eq(read.data)]
        columns = bits // 32
        enables = Cat(self.enable & (self.column == i) for i in range(columns))
        m.d.comb += [
            write.addr.eq(register(m, self.write_address, "address_in")),
            write.data.eq(register(m, self.write_data, "data_in").replicate(columns)),
            write.en.eq(flag(m, enables, "enable_in")),
        ]
        return m


#: Bits of a channel that are kept of bias, multiplier and shifts.
_PARAMETER_BITS = (32, 31, 10)


class ParameterMemory(Component):
    """Memory P: words of `requant_lanes` channels, LATENCY cycles after their address."""

    LATENCY = 2

    def __init__(self, config: Accelerator) -> None:
        self.config = config
        lanes = config.requant_lanes
        super().__init__({
            "address": In(address_bits(config.p_words)),
            "bias": Out(32).array(lanes), "multiplier": Out(31).array(lanes),
            "left": Out(5).array(lanes), "right": Out(5).array(lanes),
            "enable": In(1), "channel": In(address_bits(config.p_channels)),
            "column": In(2), "write_data": In(32),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        lanes = self.config.requant_lanes
        lane_bits = lanes.bit_length() - 1
        data = register(m, self.write_data, "data_in")
        shifts = Cat(data[:5], data[8:13])
        lane, word = self.channel[:lane_bits], register(m, self.channel[lane_bits:], "word_in")
        for column, bits in enumerate(_PARAMETER_BITS):
            memory = _ram(lanes * bits, self.config.p_words)
            m.submodules[f"column{column}"] = memory
            read, write = memory.read_port(), memory.write_port(granularity=bits)
            chosen = self.enable & (self.column == column)
            enables = Cat(chosen & (lane == i if lane_bits else 1) for i in range(lanes))
            value = shifts if column == 2 else data[:bits]
            m.d.comb += [
                read.addr.eq(self.address),
                write.addr.eq(word),
                write.data.eq(Cat([value] * lanes)),
                write.en.eq(flag(m, enables, f"enable_in{column}")),
            ]
            held = register(m, read.data, f"held{column}")
            for i in range(lanes):
                part = held.word_select(i, bits)
                if column == 0:
                    m.d.comb += self.bias[i].eq(part)
                elif column == 1:
                    m.d.comb += self.multiplier[i].eq(part)
                else:
                    m.d.comb += [self.left[i].eq(part[:5]), self.right[i].eq(part[5:])]
        return m


class TableMemory(Component):
    """Memory T: for each lane the sum of an entry of either table, SUM_LATENCY cycles later.

    Every lane has its own copy, so that all can look up at once.
    """

    SUM_LATENCY = 3

    def __init__(self, config: Accelerator) -> None:
        self.lanes = config.requant_lanes
        super().__init__({
            "a": In(8).array(self.lanes), "b": In(8).array(self.lanes),
            "sum": Out(32).array(self.lanes),
            "enable": In(1), "write_address": In(address_bits(TABLE_WORDS)), "write_data": In(32),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        half = TABLE_WORDS // 2
        address = register(m, self.write_address, "address_in")
        data = register(m, self.write_data, "data_in")
        enable = flag(m, self.enable, "enable_in")
        for lane in range(self.lanes):
            entries: list[Any] = []
            for table, index in enumerate((self.a[lane], self.b[lane])):
                memory = _ram(32, half)
                m.submodules[f"table{table}_{lane}"] = memory
                read, write = memory.read_port(), memory.write_port()
                m.d.comb += [
                    read.addr.eq(index),
                    write.addr.eq(address[:8]),
                    write.data.eq(data),
                    write.en.eq(enable & (address[8] == table)),
                ]
                entries.append(register(m, read.data, f"entry{table}_{lane}"))
            m.d.sync += self.sum[lane].eq(entries[0] + entries[1])
        return m


__all__ = ["READ_LATENCY", "WORD_BITS", "ActivationMemory", "ParameterMemory", "TableMemory",
           "WeightMemory", "address_bits"]  # fmt: skip
