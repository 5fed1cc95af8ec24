"""The loop nest of a window command, a step every cycle, and the addresses that it reads.

Counters run down and know one cycle ahead that they are at their end. Which loop moves on is
registered; from it the addresses follow by one addition each, in the next cycle.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib.wiring import Component, In, Out

from targets.npu.config import BANKS, BLOCK, Accelerator
from targets.npu.rtl.command import COMMAND
from targets.npu.rtl.memory import address_bits
from targets.npu.rtl.pipe import flag, register

#: Bits of a coordinate: signed, at most 4094 * 15 + 254 * 63 + 3.
COORDINATE_BITS = 18
#: Loops from the inside out.
LOOPS = ("block", "kernel_x", "kernel_y", "x", "y", "group")


class _Counter:
    """One loop: `last` in its last round. The limit is there in the cycle of `load`."""

    def __init__(self, m: Module, limit: Value, name: str, load: Value) -> None:
        self._m, self._limit = m, limit
        self._left = Signal(len(limit), name=f"{name}_left", reset_less=True)
        self._single = register(m, limit == 1, f"{name}_single")
        self.last = Signal(name=f"{name}_last", reset_less=True)
        with m.If(load):
            m.d.sync += [self._left.eq(limit), self.last.eq(limit == 1)]

    def advance(self) -> None:
        """The next round, or the first one again."""
        with self._m.If(self.last):
            self._m.d.sync += [self._left.eq(self._limit), self.last.eq(self._single)]
        with self._m.Else():
            self._m.d.sync += [self._left.eq(self._left - 1), self.last.eq(self._left == 2)]


class Window(Component):
    """Steps of the held `command`, the first of them two cycles after `start`.

    `gap` is one less than the cycles that a pixel takes at least. In the cycle of `valid`, `first`
    and `last` say whether the step is its pixel's first or last, `group_last` whether it is the
    last pixel of a group, `final` of the command, `weight` the step's word of W.
    READ_LATENCY cycles later `at`, `use` and `live` are what ActivationMemory takes; `other` reads
    one word in place of a step, OTHER_LATENCY cycles later. `offset` is the byte of the group's
    first channel, for DEPTHWISE. `fault` is high when a word outside A or W is read.
    """

    READ_LATENCY, OTHER_LATENCY = 2, 1

    def __init__(self, config: Accelerator) -> None:
        self.config = config
        self._live = Signal(BANKS, reset_less=True)
        super().__init__({
            "command": In(COMMAND), "clear": In(1), "start": In(1), "gap": In(range(32)),
            "valid": Out(1), "first": Out(1), "last": Out(1),
            "group_last": Out(1), "final": Out(1), "offset": Out(range(BLOCK)),
            "weight": Out(address_bits(config.w_words)),
            "other_valid": In(1), "other_address": In(21),
            "at": Out(address_bits(config.a_words)), "use": Out(BANKS), "live": Out(BANKS),
            "fault": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        loops = self._loops(m)
        x, y = self._coordinates(m, loops)
        block = self._block(m, loops)
        weight_fault = self._weight(m, loops)
        address_fault = self._read(m, x, y, block)
        m.d.comb += self.fault.eq(weight_fault | address_fault)
        return m

    def _loops(self, m: Module) -> dict[str, Signal]:
        """Which loop moves on after this step, as one of the signals of the dictionary."""
        c: Any = self.command
        limits = (c.blocks, c.kernel_groups, c.kernel_h, c.out_w, c.out_h, c.groups)
        counters = [_Counter(m, n, k, self.start) for n, k in zip(limits, LOOPS, strict=True)]
        last = [counter.last for counter in counters]
        pixel, image = Cat(last[:3]).all(), Cat(last[3:5]).all()
        running, hold, first = Signal(), Signal(), Signal(reset_less=True)
        gap = Signal(range(32), reset_less=True)
        issue = Signal()
        m.d.comb += issue.eq(running & ~(pixel & hold))

        moves = Signal(len(LOOPS))
        inner = (~last[0], last[0], Cat(last[:2]).all(), pixel, pixel & last[3], pixel & image)
        for i, counter in enumerate(counters):
            m.d.comb += moves[i].eq(inner[i] & ~last[i] if i else ~last[0])
            with m.If(issue & (inner[i] if i else 1)):
                counter.advance()
        final = pixel & image & last[5]
        with m.If(issue):
            m.d.sync += first.eq(pixel)
            with m.If(final):
                m.d.sync += running.eq(0)
        with m.If(issue & pixel):
            m.d.sync += [gap.eq(self.gap), hold.eq(self.gap != 0)]
        with m.Elif(hold):
            m.d.sync += [gap.eq(gap - 1), hold.eq(gap != 1)]
        with m.If(self.start):
            m.d.sync += [running.eq(1), first.eq(1), hold.eq(0)]
        with m.If(self.clear):
            m.d.sync += running.eq(0)

        m.d.sync += [
            self.valid.eq(issue & ~self.clear),
            self.first.eq(first),
            self.last.eq(pixel),
            self.group_last.eq(pixel & image),
            self.final.eq(final),
        ]
        m.d.sync += self._live.eq(Mux(last[1], c.tail, c.taps))
        moved = register(m, Mux(issue, moves, 0), "moved")
        return {name: moved[i] for i, name in enumerate(LOOPS)}

    def _coordinates(self, m: Module, loops: dict[str, Signal]) -> tuple[Value, Value]:
        """Column and row of the step's first pixel in the image, with its padding."""
        c: Any = self.command
        restart = self.start | loops["group"]
        x = _coordinate(
            m, "x", -c.pad_left, restart | loops["y"],
            (loops["kernel_x"], c.step_w), loops["kernel_y"], (loops["x"], c.stride_w),
        )  # fmt: skip
        y = _coordinate(
            m, "y", -c.pad_top, restart,
            (loops["kernel_y"], c.step_h), loops["x"], (loops["y"], c.stride_h),
        )  # fmt: skip
        return x, y

    def _block(self, m: Module, loops: dict[str, Signal]) -> Value:
        """Address of the step's block, with a bit more that says that it is outside of A."""
        c: Any = self.command
        bits = len(self.at)
        group = self.config.depthwise_lanes
        block, base = Signal(bits + 1, reset_less=True), Signal(bits + 1, reset_less=True)
        offset = Signal(range(BLOCK), reset_less=True)
        m.d.comb += self.offset.eq(offset)
        following = saturating(block, c.a_plane)
        wrap = ~c.conv & (offset == BLOCK - group)
        outer = loops["kernel_x"] | loops["kernel_y"] | loops["x"] | loops["y"]
        with m.If(loops["block"]):
            m.d.sync += block.eq(following)
        with m.If(outer):
            m.d.sync += block.eq(base)
        with m.If(loops["group"]):
            m.d.sync += block.eq(Mux(wrap, following, base))
            m.d.sync += base.eq(Mux(wrap, following, base))
            m.d.sync += offset.eq(Mux(c.conv, 0, offset + group))
        with m.If(self.start):
            start = saturating(0, c.a_base, bits)
            m.d.sync += [block.eq(start), base.eq(start), offset.eq(0)]
        return block

    def _weight(self, m: Module, loops: dict[str, Signal]) -> Value:
        """The step's word of W; a fault where it is outside. It never jumps, so that a bit more
        than an address has is enough."""
        c: Any = self.command
        bits = len(self.weight)
        word, base = Signal(bits + 1, reset_less=True), Signal(bits + 1, reset_less=True)
        following = word + 1
        with m.If(self.valid):
            m.d.sync += word.eq(Mux(loops["x"] | loops["y"], base, following))
        with m.If(loops["group"]):
            m.d.sync += base.eq(following)
        with m.If(self.start):
            first = saturating(0, c.w_base, bits)
            m.d.sync += [word.eq(first), base.eq(first)]
        m.d.comb += self.weight.eq(word)
        reads = self.valid & ~c.sum & ~c.max
        return flag(m, reads & word[bits], "weight_fault", self.clear)

    def _read(self, m: Module, x: Value, y: Value, block: Value) -> Value:
        """The read of the step, two cycles later; returns the fault, two cycles later still."""
        c: Any = self.command
        bits = len(self.at)
        room = (c.in_w - x)[:COORDINATE_BITS]
        positive, far = ~room[-1], room[2:-1].any()
        inside = [
            positive & (far | (room[:2] > t))
            & (~x[-1] | (x[2:-1].all() & (x[:2] >= BANKS - t) if t else 0))
            for t in range(BANKS)
        ]  # fmt: skip
        inside_y = y.as_unsigned() < c.in_h
        use = flag(m, self._live & Cat(inside) & (self.valid & inside_y).replicate(BANKS),
                   "use_next", self.clear)  # fmt: skip
        live = register(m, self._live, "live_next")
        # Exact where a pixel of the step is inside.
        row = register(m, y[:12].as_unsigned() * c.in_w, "row")
        column = register(m, x[:13].as_signed() + block[:bits], "column")
        over = register(m, block[bits], "over_next")

        other = self.other_valid
        m.d.sync += [
            self.use.eq(Mux(self.clear, 0, use | other)),
            self.live.eq(live | other),
        ]
        at = register(m, Mux(other, self.other_address, row + column), "place")
        over = register(m, over & ~other, "over")
        m.d.comb += self.at.eq(at[:bits])

        # Words after the last one of a row of four banks may already be outside.
        above, full = at[bits:], at[2:bits].all()
        here = register(m, over | above.any(), "outside_here")
        behind = register(m, over | Mux(full, ~above.all(), above.any()), "outside_behind")
        used = flag(m, self.use, "used", self.clear)
        first = register(m, at[:2], "first_bank")
        wrong = [
            used[t] & Mux(first >= BANKS - t, behind, here) if t else used[0] & here
            for t in range(BANKS)
        ]
        return flag(m, Cat(wrong).any(), "address_fault", self.clear)


def saturating(value: Value | int, step: Value, bits: int = 0) -> Value:
    """`value` + `step`, where the top bit of `value` says that it was too large and stays set."""
    bits = bits or len(Value.cast(value)) - 1
    total = Value.cast(value)[:bits] + step
    over = total[bits:].any()
    if not isinstance(value, int):
        over = over | value[bits]
    return Cat(total[:bits], over)


def _coordinate(
    m: Module,
    name: str,
    origin: Value,
    restart: Value,
    inner: tuple[Value, Value],
    back: Value,
    outer: tuple[Value, Value],
) -> Signal:
    """A sum of the rounds of an inner and an outer loop: (moves on, step) of either.

    With `back` the inner loop begins again in the same round of the outer one.
    """
    value, begins = (
        Signal(signed(COORDINATE_BITS), name=n, reset_less=True) for n in (name, f"{name}_begins")
    )
    moves, step = outer
    total = Mux(moves, begins, value) + Mux(moves, step, inner[1])
    with m.If(restart):
        m.d.sync += [value.eq(origin), begins.eq(origin)]
    with m.Elif(moves):
        m.d.sync += [value.eq(total), begins.eq(total)]
    with m.Elif(back):
        m.d.sync += value.eq(begins)
    with m.Elif(inner[0]):
        m.d.sync += value.eq(total)
    return value


__all__ = ["Window", "saturating"]
