"""From accumulators to bytes of A: slices of R channels, rescaled and written word by word."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib.wiring import Component, In, Out

from targets.npu.config import BLOCK, Accelerator
from targets.npu.rtl.command import COMMAND
from targets.npu.rtl.memory import WORD_BITS, ParameterMemory, address_bits
from targets.npu.rtl.pipe import delay, flag, flags, register
from targets.npu.rtl.rescale import Rescale
from targets.npu.rtl.window import saturating

#: Cycles from `start` to the one in which the results are taken, and to the first slice.
LOAD_LATENCY, SLICE_LATENCY = 2, 3


class Drain(Component):
    """Rescales a pixel's results, a slice of R channels each cycle, and writes them to A.

    `start` comes LOAD_LATENCY cycles before the cycle in which `results` are taken, and not within
    the `gap` + 1 cycles of the last pixel's slices; with it `group_last` and `final`, as Window
    has them. In ADD the slices are `sums`, the first of them SLICE_LATENCY - 1 cycles after
    `start`. `begin` comes before a command's first pixel.
    `put_*` writes A. `done` is high after the command's last write, `fault` after a word outside
    of A or P.
    """

    def __init__(self, config: Accelerator) -> None:
        self.config = config
        lanes = config.requant_lanes
        super().__init__({
            "command": In(COMMAND), "clear": In(1), "begin": In(1), "gap": Out(range(32)),
            "start": In(1), "group_last": In(1), "final": In(1),
            "results": In(signed(32)).array(config.out_lanes),
            "sums": In(32).array(lanes),
            "p_address": Out(address_bits(config.p_words)),
            "bias": In(32).array(lanes), "multiplier": In(31).array(lanes),
            "left": In(5).array(lanes), "right": In(5).array(lanes),
            "put_valid": Out(1), "put_address": Out(address_bits(config.a_words)),
            "put_data": Out(WORD_BITS), "put_enable": Out(BLOCK),
            "done": Out(1), "fault": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c: Any = self.command
        lanes = self.config.requant_lanes
        conv, group, add = (
            n // lanes - 1 for n in (self.config.out_lanes, self.config.depthwise_lanes, BLOCK)
        )
        m.d.sync += self.gap.eq(Mux(c.add, add, Mux(c.conv, conv, group)))

        late, p_fault = self._sequence(m)
        values = self._slices(m)
        results = []
        for lane in range(lanes):
            m.submodules[f"rescale{lane}"] = rescale = Rescale()
            m.d.comb += [
                rescale.acc.eq(values[lane]), rescale.bias.eq(self.bias[lane]),
                rescale.multiplier.eq(self.multiplier[lane]),
                rescale.left.eq(self.left[lane]), rescale.right.eq(self.right[lane]),
                rescale.zero_point.eq(c.zero_point), rescale.low.eq(c.low), rescale.high.eq(c.high),
            ]  # fmt: skip
            results.append(rescale.result)
        o_fault = self._write(m, late, Cat(results))
        m.d.comb += self.fault.eq(p_fault | o_fault)
        return m

    def _sequence(self, m: Module) -> tuple[dict[str, Value], Value]:
        """Slices of a pixel and their words of P.

        Returns the flags of a slice one cycle before its result, and the fault.
        """
        c: Any = self.command
        active, ends = Signal(), Signal(reset_less=True)
        left = Signal(range(32), reset_less=True)
        group_last, final = Signal(reset_less=True), Signal(reset_less=True)
        # Never jump, so that a bit more than an address has is enough.
        bits = len(self.p_address)
        word, base = Signal(bits + 1, reset_less=True), Signal(bits + 1, reset_less=True)
        with m.If(active):
            m.d.sync += [left.eq(left - 1), ends.eq(left == 1)]
            with m.If(ends):
                m.d.sync += active.eq(0)
            with m.If(~c.uniform):
                m.d.sync += word.eq(word + 1)
        with m.If(self.start):
            m.d.sync += [active.eq(1), left.eq(self.gap), ends.eq(self.gap == 0), word.eq(base)]
            m.d.sync += [group_last.eq(self.group_last), final.eq(self.final)]
            with m.If(self.group_last & ~c.uniform):
                m.d.sync += base.eq(base + self.gap + 1)
        with m.If(self.begin):
            m.d.sync += base.eq(saturating(0, c.p_base, bits))
        with m.If(self.clear):
            m.d.sync += active.eq(0)
        m.d.comb += self.p_address.eq(word)
        outside = active & word[bits]

        cycles = ParameterMemory.LATENCY + Rescale.LATENCY - 1
        named = {"ends": ends, "group_last": group_last, "final": final}
        late = {k: delay(m, v, cycles, k)[-1] for k, v in named.items()}
        late["valid"] = flags(m, active, cycles, "active", self.clear)[-1]
        return late, flag(m, outside, "p_fault", self.clear)

    def _slices(self, m: Module) -> list[Value]:
        """Results that wait, R of them in use."""
        c: Any = self.command
        lanes, n = self.config.requant_lanes, self.config.out_lanes
        load = delay(m, self.start, LOAD_LATENCY, "load")[-1]
        waiting = [Signal(signed(32), name=f"waiting{i}", reset_less=True) for i in range(n)]
        for i in range(n):
            following: Value = waiting[i + lanes] if i + lanes < n else waiting[i]
            if i < lanes:
                following = Mux(c.add, self.sums[i].as_signed(), following)
            m.d.sync += waiting[i].eq(Mux(load & ~c.add, self.results[i], following))
        return list(waiting[:lanes])

    def _write(self, m: Module, late: dict[str, Value], result: Value) -> Value:
        """Address and bytes of each slice; a word is written with its last slice."""
        c: Any = self.command
        lanes = self.config.requant_lanes
        bits = len(self.put_address)
        # Never jumps: with one bit more than an address it is outside before it wraps.
        pixel = Signal(bits + 1, reset_less=True)
        # Block address, first byte, and how many blocks may still be written: now and where the
        # group begins.
        now = _Place(bits, "now")
        begins = _Place(bits, "begins")
        at = register(m, now.block[:bits] + pixel, "at")
        over = register(m, now.block[bits], "over")
        byte = register(m, now.byte, "byte")
        wraps = now.byte == BLOCK - lanes
        ready = late["valid"] & (wraps | late["ends"]) & now.open
        emits = flag(m, ready, "emits", self.clear)

        following = now.following(wraps, c.o_plane, lanes)
        with m.If(late["valid"]):
            m.d.sync += now.take(following)
            with m.If(late["ends"] & late["group_last"]):
                m.d.sync += [*begins.take(following), pixel.eq(0)]
            with m.Elif(late["ends"]):
                m.d.sync += [*now.take(begins.values), pixel.eq(pixel + 1)]
        with m.If(self.begin):
            start = [saturating(0, c.o_base, bits), 0, c.o_blocks, 1]
            m.d.sync += [*now.take(start), *begins.take(start), pixel.eq(0)]

        # Here the results arrive.
        valid = register(m, late["valid"], "arrived")
        ends = register(m, late["ends"], "arrived_last")
        data, enable = Signal(WORD_BITS), Signal(BLOCK)
        kept, kept_enable = Signal(WORD_BITS, reset_less=True), Signal(BLOCK, reset_less=True)
        here = [
            byte[lanes.bit_length() - 1 :] == i // lanes if lanes < BLOCK else 1
            for i in range(BLOCK)
        ]
        for i in range(BLOCK):
            fresh = result.word_select(i % lanes, 8)
            m.d.comb += data.word_select(i, 8).eq(Mux(here[i], fresh, kept.word_select(i, 8)))
            m.d.comb += enable[i].eq(here[i] | kept_enable[i])
        with m.If(valid):
            complete = ends | (byte == BLOCK - lanes)
            m.d.sync += [kept.eq(data), kept_enable.eq(Mux(complete, 0, enable))]
        with m.If(self.begin):
            m.d.sync += kept_enable.eq(0)
        outside = over | at[bits:].any()
        m.d.comb += [
            self.put_valid.eq(emits & ~outside),
            self.put_address.eq(at[:bits]),
            self.put_data.eq(data),
            self.put_enable.eq(enable),
        ]
        wrong = emits & outside
        last = flag(m, late["valid"] & late["ends"] & late["final"], "last", self.clear)
        m.d.sync += self.done.eq(last & ~wrong & ~self.clear)
        return flag(m, wrong, "o_fault", self.clear)


class _Place:
    """Where channels are written: block address, first byte, blocks left, and whether any is."""

    def __init__(self, bits: int, name: str) -> None:
        self.block = Signal(bits + 1, name=f"{name}_block", reset_less=True)
        self.byte = Signal(range(BLOCK), name=f"{name}_byte", reset_less=True)
        self.left = Signal(12, name=f"{name}_left", reset_less=True)
        self.open = Signal(name=f"{name}_open", reset_less=True)
        self.values: list[Any] = [self.block, self.byte, self.left, self.open]

    def following(self, wraps: Value, plane: Value, lanes: int) -> list[Any]:
        """Values for the next slice of the pixel."""
        return [
            Mux(wraps, saturating(self.block, plane), self.block),
            (self.byte + lanes)[: len(self.byte)],
            Mux(wraps, self.left - 1, self.left)[: len(self.left)],
            self.open & ~(wraps & (self.left == 1)),
        ]

    def take(self, values: list[Any]) -> list[Any]:
        return [mine.eq(value) for mine, value in zip(self.values, values, strict=True)]


__all__ = ["LOAD_LATENCY", "SLICE_LATENCY", "Drain"]
