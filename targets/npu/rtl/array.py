"""The multipliers: lane selection, products, adder trees, accumulators and maxima."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib.wiring import Component, In, Out

from targets.npu.config import BANKS, BLOCK, Accelerator
from targets.npu.rtl.command import COMMAND
from targets.npu.rtl.pipe import delay, register


def lut_product(m: Module, a: Value, b: Value, name: str) -> Signal:
    """Signed 8 x 8 bits from carry chains, LUT_LATENCY cycles later.

    It leaves the FPGA's multipliers to others. Registers between the additions keep synthesis from
    making one large sum of them, which takes more than twice the logic.
    """
    rows = [Mux(b[i], a, 0) << i for i in range(8)]
    rows[7] = -rows[7]
    while len(rows) > 1:
        rows = [
            register(m, (rows[i] + rows[i + 1])[:16].as_signed(), f"{name}_{len(rows)}_{i}")
            for i in range(0, len(rows), 2)
        ]
    return rows[0]


#: Cycles of a product, from logic and from a multiplier of the FPGA.
LUT_LATENCY, DSP_LATENCY = 3, 1


class MultiplierArray(Component):
    """N x 8 products of a step are added to N accumulators, `latency` cycles after `words`.

    `words` and `channels` are ActivationMemory's; `weights`, valid in the same cycle, the word of
    W. `valid` and `first` belong to the step whose sum is added in this cycle, one less than
    `latency` cycles after its `words`. `results` are the accumulators, or the maxima in a MAX.
    """

    def __init__(self, config: Accelerator) -> None:
        self.config = config
        self._product = LUT_LATENCY if config.lut_multipliers else DSP_LATENCY
        self.latency = 4 + self._product
        n = config.out_lanes
        super().__init__({
            "command": In(COMMAND),
            "words": In(8 * BLOCK).array(BANKS),
            "channels": In(8 * config.depthwise_lanes).array(BANKS),
            "weights": In(8 * config.word_bytes), "valid": In(1), "first": In(1),
            "results": Out(signed(32)).array(n),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        packed, channels = self._lanes()
        for n in range(self.config.out_lanes):
            self._lane(m, n, packed, channels[n] if n < len(channels) else None)
        return m

    def _lanes(self) -> tuple[list[Value], list[list[Value]]]:
        """Operands of CONV, the same in each output lane, and of each depthwise channel."""
        two, four = self.command.two, self.command.four

        def byte(t: int, k: int) -> Value:
            return self.words[t][8 * k : 8 * k + 8]

        packed = [
            Mux(four, byte(j // 2, j % 2), Mux(two, byte(j // 4, j % 4), byte(0, j)))
            for j in range(BLOCK)
        ]
        channels = [
            [self.channels[t][8 * n : 8 * n + 8] for t in range(BANKS)]
            for n in range(self.config.depthwise_lanes)
        ]
        return packed, channels

    def _lane(self, m: Module, n: int, packed: list[Value], taps: list[Value] | None) -> None:
        """One output lane; `taps` are its channel's bytes where it has one."""
        conv = self.command.conv
        products = []
        for j in range(BLOCK):
            value = packed[j]
            if taps is not None:
                value = Mux(conv, value, taps[j] if j < BANKS else 0)
            operand = register(m, value[:8].as_signed(), f"operand{n}_{j}")
            factor: Value = self.weights.word_select(n * BLOCK + j, 8)
            if taps is not None and j < BANKS:
                factor = Mux(self.command.sum, 1, factor)
            weight = register(m, factor[:8].as_signed(), f"weight{n}_{j}")
            if self.config.lut_multipliers:
                products.append(lut_product(m, operand, weight, f"product{n}_{j}"))
            else:
                products.append(register(m, operand * weight, f"product{n}_{j}"))
            if taps is not None and j < BANKS:
                taps[j] = operand
        low = register(m, (products[0] + products[1]) + (products[2] + products[3]), f"low{n}")
        high = register(m, (products[4] + products[5]) + (products[6] + products[7]), f"high{n}")
        total = register(m, low + high, f"total{n}")
        acc = Signal(signed(32), name=f"acc{n}", reset_less=True)
        with m.If(self.valid):
            m.d.sync += acc.eq(Mux(self.first, 0, acc) + total)
        result: Value = acc
        if taps is not None:
            result = Mux(self.command.max, self._maximum(m, n, taps), acc)
        m.d.comb += self.results[n].eq(result)

    def _maximum(self, m: Module, n: int, operands: list[Value]) -> Signal:
        """The largest operand of a pixel's steps, as wide as it is."""
        pairs = [
            register(m, _larger(operands[i], operands[i + 1]), f"larger{n}_{i}") for i in (0, 2)
        ]
        largest = delay(m, _larger(*pairs), self._product + 1, f"largest{n}")[-1]
        maximum = Signal(signed(8), name=f"maximum{n}", reset_less=True)
        with m.If(self.valid):
            m.d.sync += maximum.eq(Mux(self.first, largest, _larger(largest, maximum)))
        return maximum


def _larger(a: Value, b: Value) -> Value:
    return Mux(a > b, a, b)


__all__ = ["MultiplierArray", "lut_product"]
