"""The CFU in Amaranth: accumulators, a pipeline that rescales them, and the bus to VexRiscv.

A command goes through two stages of registers, so that everything takes effect in the order of the
program: operands, products, then the accumulators. RESULT reads the four accumulators of a pixel
one after the other and sends them through the rescaling pipeline; it is the only command whose
answer takes longer than a cycle, and further ones may follow before it has come.
"""

from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from targets.cfu.isa import CHANNELS, MAX_PIXELS, PIXELS, Op


class Accumulators(wiring.Component):
    """`pixels` x 4 sums of 32 bits: a memory for each channel, read and written in one cycle.

    With `add`, the pixel's four sums grow by `addends`. `clear` makes all of them zero at once: a
    pixel is `fresh` until something is added to it, and reads as zero until then.
    """

    def __init__(self, pixels: int) -> None:
        self.pixels = pixels
        width = (pixels - 1).bit_length()
        super().__init__(
            {
                "add": In(1),
                "clear": In(1),
                "pixel": In(width),
                **{f"addend{c}": In(signed(18)) for c in range(CHANNELS)},
                **{f"sum{c}": Out(signed(32)) for c in range(CHANNELS)},
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        fresh = Signal(self.pixels, init=(1 << self.pixels) - 1)
        for c in range(CHANNELS):
            m.submodules[f"bank{c}"] = bank = Memory(shape=signed(32), depth=self.pixels, init=[])
            read, write = bank.read_port(domain="comb"), bank.write_port()
            total = getattr(self, f"sum{c}")
            m.d.comb += [
                read.addr.eq(self.pixel),
                write.addr.eq(self.pixel),
                total.eq(Mux(fresh.bit_select(self.pixel, 1), 0, read.data)),
                write.data.eq(total + getattr(self, f"addend{c}")),
                write.en.eq(self.add),
            ]
        with m.If(self.clear):
            m.d.sync += fresh.eq(~Const(0, self.pixels))
        with m.Elif(self.add):
            m.d.sync += fresh.bit_select(self.pixel, 1).eq(0)
        return m


class Rescaler(wiring.Component):
    """SPEC's requantization of one number per cycle in five stages, while `advance` is set.

    `acc` and `bias` are added in the first stage; `out_valid` and `out` follow `valid` by five
    cycles. `tag` comes out with its number. The right shift is 0 to 31.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "advance": In(1),
                "valid": In(1),
                "tag": In(1),
                "acc": In(signed(32)),
                "bias": In(signed(32)),
                "multiplier": In(31),
                "right": In(5),
                "zero_point": In(signed(8)),
                "low": In(signed(8)),
                "high": In(signed(8)),
                "out_valid": Out(1),
                "out_tag": Out(1),
                "out": Out(signed(8)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        stages = 5
        valid, tag = Signal(stages), Signal(stages)
        right = [Signal(5, name=f"right{i}") for i in range(3)]
        biased, multiplier = Signal(signed(32)), Signal(31)
        product, rounded = Signal(signed(64)), Signal(signed(34))
        shifted = Signal(signed(35))

        # floor((p + 2^30) / 2^31), less one where that is negative and a shift follows: halves then
        # go away from zero. (p >> 31) = -1 with bit 30 set is 0, and one less is harmless there,
        # since -1 / 2^right rounds to 0 as well.
        high = product >> 31
        fix = (high < 0) & (right[1] != 0)
        # A shift by `right` with rounding: shift twice the number, add one, halve.
        result = ((shifted + 1) >> 1) + self.zero_point
        with m.If(self.advance):
            m.d.sync += [
                valid.eq(Cat(self.valid, valid[:-1])),
                tag.eq(Cat(self.tag, tag[:-1])),
                *(r.eq(before) for r, before in zip(right, (self.right, *right), strict=False)),
                biased.eq(self.acc + self.bias),
                multiplier.eq(self.multiplier),
                product.eq(biased * multiplier),
                rounded.eq(high + product[30] - fix),
                shifted.eq((rounded << 1) >> right[2]),
                self.out.eq(
                    Mux(result < self.low, self.low, Mux(result > self.high, self.high, result))
                ),
            ]
        m.d.comb += [self.out_valid.eq(valid[-1]), self.out_tag.eq(tag[-1])]
        return m


class Cfu(wiring.Component):
    """The custom function unit, with the ports of VexRiscv's CfuPlugin under flat names.

    Args:
        pixels: rows of accumulators, a power of two from 2 to 32. The kernels want 8.
    """

    def __init__(self, pixels: int = PIXELS) -> None:
        if pixels not in (2, 4, 8, 16, MAX_PIXELS):
            raise ValueError(f"{pixels} pixels; a power of two from 2 to {MAX_PIXELS}")
        self.pixels = pixels
        super().__init__(
            {
                "cmd_valid": In(1),
                "cmd_ready": Out(1),
                "cmd_function": In(10),
                "cmd_a": In(32),
                "cmd_b": In(32),
                "rsp_valid": Out(1),
                "rsp_ready": In(1),
                "rsp_data": Out(32),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.accumulators = sums = Accumulators(self.pixels)
        m.submodules.rescaler = rescaler = Rescaler()
        function = Signal(10)  # of the command in the second stage
        a, b, operands = Signal(32), Signal(32), Signal(10)
        first, second = Signal(), Signal()  # whether the stages hold a command
        accept, results = Signal(), Signal(2)  # RESULTs without an answer yet
        is_result = self.cmd_function[:3] == Op.RESULT
        free = ~self.rsp_valid | self.rsp_ready

        m.d.comb += accept.eq(self.cmd_valid & self.cmd_ready)
        with m.If(rescaler.advance):
            m.d.sync += [first.eq(accept), second.eq(first), function.eq(operands)]
        with m.If(accept):
            m.d.sync += [a.eq(self.cmd_a), b.eq(self.cmd_b), operands.eq(self.cmd_function)]
        self._sum(m, sums, a, b, function, second)
        self._parameters(m, rescaler, a, b, operands, first)
        waits, word = self._sequence(m, sums, rescaler, first, operands, function, second)

        # A RESULT may follow a RESULT; everything else waits until the last word is out.
        able = Mux(is_result, ~waits & rescaler.advance, (results == 0) & free)
        # While its pipeline stands, VexRiscv takes a low `cmd_ready` for a refusal even after the
        # command was taken, and then offers the next instruction as a command, whatever it is.
        m.d.comb += self.cmd_ready.eq(able | ~self.cmd_valid)
        answered = Signal()
        m.d.comb += [
            answered.eq(rescaler.out_valid & rescaler.out_tag & free),
            # Stages and pipeline stand while a word has nowhere to go.
            rescaler.advance.eq(~(rescaler.out_valid & rescaler.out_tag) | free),
        ]
        with m.If(self.rsp_ready):
            m.d.sync += self.rsp_valid.eq(0)
        with m.If(answered):
            m.d.sync += [self.rsp_valid.eq(1), self.rsp_data.eq(word)]
        with m.Elif(accept & ~is_result):
            m.d.sync += [self.rsp_valid.eq(1), self.rsp_data.eq(0)]
        m.d.sync += results.eq(results + (accept & is_result) - answered)
        return m

    def _sum(self, m: Module, sums: Any, a: Any, b: Any, function: Any, second: Any) -> None:
        """Products into the second stage; there, what DOT and LANES add."""
        products = [Signal(signed(16), name=f"product{c}") for c in range(CHANNELS)]
        for c, product in enumerate(products):
            x, y = a.word_select(c, 8).as_signed(), b.word_select(c, 8).as_signed()
            m.d.sync += product.eq(x * y)
        op, channel = function[:3], function[3:5]
        total = Signal(signed(18))
        m.d.comb += [
            total.eq(sum(products[1:], products[0])),
            sums.add.eq(second & ((op == Op.DOT) | (op == Op.LANES))),
            sums.clear.eq(second & (op == Op.CLEAR)),
        ]
        for c, product in enumerate(products):
            mine = Mux(op == Op.LANES, product, Mux(channel == c, total, 0))
            m.d.comb += getattr(sums, f"addend{c}").eq(mine)

    def _parameters(
        self, m: Module, rescaler: Any, a: Any, b: Any, operands: Any, first: Any
    ) -> None:
        """BIAS, SCALE and OUTPUT, from the first stage."""
        op, channel = operands[:3], operands[3:5]
        m.submodules.bias = bias = Memory(shape=32, depth=CHANNELS, init=[])
        m.submodules.scale = scale = Memory(shape=36, depth=CHANNELS, init=[])
        ports = (bias.write_port(), a, Op.BIAS), (scale.write_port(), Cat(a[:31], b[:5]), Op.SCALE)
        for port, data, wanted in ports:
            m.d.comb += [port.addr.eq(channel), port.data.eq(data)]
            m.d.comb += port.en.eq(first & (op == wanted))
        with m.If(first & (op == Op.OUTPUT)):
            m.d.sync += Cat(rescaler.zero_point, rescaler.low, rescaler.high).eq(a[:24])
        self._bias, self._scale = bias.read_port(domain="comb"), scale.read_port(domain="comb")

    def _sequence(
        self,
        m: Module,
        sums: Any,
        rescaler: Any,
        first: Any,
        operands: Any,
        function: Any,
        second: Any,
    ) -> tuple[Any, Any]:
        """RESULT: the four accumulators of a pixel into the pipeline, four bytes out of it.

        Returns:
            whether the next RESULT has to wait, and the word made of the last bytes.
        """
        running, lane = Signal(), Signal(2)
        starts, goes = Signal(), Signal()
        pixel = Signal.like(sums.pixel)
        m.d.comb += [
            starts.eq(second & (function[:3] == Op.RESULT)),
            goes.eq(running & rescaler.advance),
            sums.pixel.eq(Mux(running, pixel, function[5:])),
            self._bias.addr.eq(lane),
            self._scale.addr.eq(lane),
            rescaler.valid.eq(running),
            rescaler.tag.eq(lane == CHANNELS - 1),
            rescaler.acc.eq(Array(getattr(sums, f"sum{c}") for c in range(CHANNELS))[lane]),
            rescaler.bias.eq(self._bias.data),
            rescaler.multiplier.eq(self._scale.data[:31]),
            rescaler.right.eq(self._scale.data[31:]),
        ]
        with m.If(goes):
            m.d.sync += [lane.eq(lane + 1), running.eq(lane != CHANNELS - 1)]
        with m.If(starts):
            m.d.sync += [running.eq(1), pixel.eq(function[5:])]
        before = Signal(24)  # the bytes of the word's first three results
        with m.If(rescaler.out_valid & rescaler.advance):
            m.d.sync += before.eq(Cat(before[8:], rescaler.out))
        # From the command to its first lane are three cycles, four lanes take four.
        coming = first & (operands[:3] == Op.RESULT)
        waits = coming | starts | (running & (lane < CHANNELS - 3))
        return waits, Cat(before, rescaler.out)
