"""Depthwise convolution: sixteen channels of four output pixels at a time.

Products of int8 are added up in 16 bits as long as they fit (`codegen.a64.groups`) and then widened
into 32. The four pixels share what they read: along a row of the kernel one column after the other
is loaded once. An image with padding is copied to scratch with its padding, a band of rows at a
time; no pixel is special after that.

* Images are walked along their rows, and threads share the rows. A series (one output column) is
  walked along its height, and threads share blocks of channels.
* With 8, 4, 2 or 1 channels a vector holds as many neighbouring pixels as fit, at stride 1.
* What is left of the channels beyond a multiple of 16 is computed with the 16 last ones.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from codegen.a64 import groups, padding, requant
from codegen.a64.addresses import Addresses, Reader
from codegen.a64.cores import fetch
from codegen.a64.requant import VectorRequant
from codegen.a64.routine import Routine
from codegen.channels import Channels, analyse
from codegen.int8 import int8_weights
from codegen.kernel import (
    Candidate,
    Cost,
    KernelSpec,
    Layer,
    NotApplicable,
    Operand,
    Template,
    Written,
)
from codegen.schedules import _window

LANES = 16
#: Vectors of results at a time: 16 registers of accumulators, 8 of products.
BLOCK = 4
#: Bytes of scratch that a band of rows may take, unless a single one takes more.
SCRATCH = 16384
#: Taps that a routine may have; its code grows with them.
TAPS = 128
#: Registers of products, of weights, and of what was read.
PRODUCTS, WEIGHTS, READ = range(16, 24), range(24, 28), range(28, 32)
#: Instructions of the C around: of a call, and of a band.
CALL, BAND = 14, 12


class _Plan:
    """Where everything lies, from a kernel's params."""

    def __init__(self, p: dict[str, Any]) -> None:
        self.p = p
        self.how = VectorRequant.of(p)
        self.groups: list[list[int]] = p["groups"]
        self.pixels = LANES // p["C"] if p["C"] < LANES else 1
        self.tall = p["OW"] == 1 and p["OH"] > 1 and self.pixels == 1
        (kh, kw), (sh, sw), (dh, dw) = p["kernel"], p["strides"], p["dilations"]
        self.top, self.left, *_ = p["pads"]
        c = p["C"]
        #: Rows and columns that are read: of a whole image here.
        self.columns = (p["OW"] - 1) * sw + (kw - 1) * dw + 1
        self.real = min(p["W"], self.columns - self.left)
        if self.real <= 0:
            raise NotApplicable("all taps lie in the padding")
        reach = (p["OH"] - 1) * sh + (kh - 1) * dh + 1
        self.padded = (
            self.columns > p["W"] or self.left > 0 or self.top > 0 or reach - self.top > p["H"]
        )
        self.pitch = (self.columns if self.padded else p["W"]) * c
        self.offsets = [ky * dh * self.pitch + kx * dw * c for ky in range(kh) for kx in range(kw)]
        if self.tall:
            self.along, self.x_step, self.y_step = p["OH"], sh * self.pitch, c
        else:
            self.along, self.x_step, self.y_step = p["OW"], sw * c * self.pixels, c * self.pixels
        if self.pixels > 1 and (sw != 1 or self.along < self.pixels):
            raise NotApplicable(f"{c} channels of {self.along} columns at stride {sw}")

    @property
    def stream(self) -> int:
        """Bytes of the constants of a block of channels."""
        return (4 + len(self.offsets) + 4 * self.how.operands) * LANES

    @property
    def blocks(self) -> int:
        """Whole blocks of channels."""
        return max(self.p["C"] // LANES, 1)

    @property
    def tail(self) -> bool:
        return self.p["C"] > LANES and self.p["C"] % LANES != 0

    @property
    def band(self) -> int:
        """Output rows that are computed at a time."""
        p = self.p
        if self.tall or not self.padded:
            return int(p["OH"])
        span = (p["kernel"][0] - 1) * p["dilations"][0] + 1
        rows = (SCRATCH // self.pitch - span) // p["strides"][0] + 1
        return int(min(max(rows, 1), p["OH"]))

    def rows(self, lines: int) -> int:
        """Rows that so many output rows read."""
        p = self.p
        return int((lines - 1) * p["strides"][0] + (p["kernel"][0] - 1) * p["dilations"][0] + 1)

    @property
    def scratch_bytes(self) -> int:
        return self.rows(self.p["OH"] if self.tall else self.band) * self.pitch * self.padded

    @property
    def units(self) -> int:
        return self.blocks + self.tail if self.tall else int(self.p["OH"])

    @property
    def starts(self) -> list[int]:
        """Vectors along a line, in pixels; the last may begin within the one before."""
        return [min(i, self.along - self.pixels) for i in range(0, self.along, self.pixels)]

    @property
    def loops(self) -> int:
        """Rounds of whole blocks of vectors along a line; the rest is written out."""
        uneven = self.along % self.pixels != 0
        return (len(self.starts) - uneven) // BLOCK

    @cached_property
    def sizes(self) -> tuple[int, int, int]:
        """Bytes of a padded row: before, real, after."""
        c = self.p["C"]
        right = self.columns - self.left - self.real
        return self.left * c, self.real * c, right * c

    @cached_property
    def pad(self) -> Routine:
        return padding.rows(*self.sizes, self.p["W"] * self.p["C"], self.p["zx"])

    @cached_property
    def routine(self) -> Routine:
        """Lines of results in blocks of channels."""
        r = Routine(
            "a64_depthwise", "const int8_t *x", "int8_t *y", "const int8_t *w", "int32_t lines",
            "int32_t blocks",
        )  # fmt: skip
        starts, loops = self.starts, self.loops
        with r.loop("blocks", "w4"):
            r("mov x5, x0", "mov x6, x1", "mov w7, w3")
            with r.loop("lines", "w7"):
                r("mov x8, x5", "mov x9, x6")
                if loops > 1:
                    r(f"mov x10, #{loops}")
                    with r.loop("along", "x10"):
                        self._round(r)
                elif loops:
                    self._round(r)
                if rest := [s - loops * BLOCK * self.pixels for s in starts[loops * BLOCK :]]:
                    self._vectors(r, rest)
                r.add("x5", "x5", self.p["strides"][0] * self.pitch)
                r.add("x6", "x6", self.p["OW"] * self.p["C"])
            r(f"add x0, x0, #{LANES}", f"add x1, x1, #{LANES}")
            r.add("x2", "x2", self.stream)
        return r

    def _round(self, r: Routine) -> None:
        self._vectors(r, [i * self.pixels for i in range(BLOCK)])
        r.add("x8", "x8", BLOCK * self.x_step)
        r.add("x9", "x9", BLOCK * self.y_step)

    def _vectors(self, r: Routine, pixels: list[int]) -> None:
        """Results at `pixels` from x9 on, from what is at x8."""
        count = len(pixels)
        step = self.x_step // self.pixels
        x = Reader(Addresses(r, "x8", "x11"), READ, [
            pixel * step + self.offsets[tap] for group in self.groups for tap in group
            for pixel in pixels
        ])  # fmt: skip
        biases = range(4 * (count - 1), 4 * count)
        r("mov x12, x2")
        fetch(r, biases[0], 4, "x12")
        left = sum(map(len, self.groups))
        fetched: list[int] = []
        for i, group in enumerate(self.groups):
            for j in range(len(group)):
                if not fetched:
                    fetched = list(WEIGHTS[: min(left, len(WEIGHTS))])
                    fetch(r, fetched[0], len(fetched), "x12")
                    left -= len(fetched)
                w = fetched.pop(0)
                name = "smlal" if j else "smull"
                for k in range(count):
                    v = x.next()
                    low, high = PRODUCTS[2 * k : 2 * k + 2]
                    r(f"{name} v{low}.8h, v{v}.8b, v{w}.8b")
                    r(f"{name}2 v{high}.8h, v{v}.16b, v{w}.16b")
            for k in range(count):
                for j in range(4):
                    half, lanes = PRODUCTS[2 * k + j // 2], ("4h", "8h")[j % 2]
                    source = 4 * k + j if i else biases[j]
                    r(f"saddw{'2' if j % 2 else ''} v{4 * k + j}.4s, v{source}.4s, v{half}.{lanes}")
        operands = [*PRODUCTS, *WEIGHTS][: 4 * self.how.operands]
        for i in range(0, len(operands), 4):
            fetch(r, operands[i], 4, "x12")
        vectors = [(4 * k + j, operands[j::4]) for j in range(4) for k in range(count)]
        requant.emit(r, self.how, vectors, READ[-1])
        requant.fixed(r, self.how, READ[0])
        for k in range(count):
            requant.pack(r, self.how, range(4 * k, 4 * k + 4), READ[0])
        y = Addresses(r, "x9", "x11")
        for k, pixel in enumerate(pixels):
            y.store(f"q{4 * k}", pixel * self.y_step // self.pixels)

    @cached_property
    def cost(self) -> Cost:
        """Of all units in one call."""
        p = self.p
        total = Cost(0, 0)
        calls = 1 + self.tail
        for first in range(0, 1 if self.tall else p["OH"], self.band):
            lines = 1 if self.tall else min(self.band, p["OH"] - first)
            if self.padded:
                total += padding.cost(self.pad, self.sizes, *self._split(first, lines))
            total += self.routine.cost(blocks=self.blocks, lines=lines, along=self.loops)
            if self.tail:
                total += self.routine.cost(blocks=1, lines=lines, along=self.loops)
            total += calls * Cost(CALL, CALL) + Cost(BAND, BAND)
        return total

    def _split(self, first: int, lines: int) -> tuple[int, int, int]:
        """Rows above, inside and below the image, of those that a band reads."""
        p = self.p
        rows = self.rows(p["OH"] if self.tall else lines)
        start = first * p["strides"][0] - self.top
        above = min(max(-start, 0), rows)
        below = min(max(start + rows - p["H"], 0), rows - above)
        return above, rows - above - below, below


def params_of(layer: Layer) -> tuple[Channels, dict[str, Any]]:
    """The layer's integers, and what a kernel's text depends on.

    Raises:
        NotApplicable: for layers that are not int8, or have no filter of a few taps per channel.
    """
    int8_weights(layer)
    kh, kw, channels = layer.inputs[1].shape
    if layer.inputs[1].name not in layer.constants:
        raise NotApplicable("weights that are no constants")
    window = _window.params(layer, (kh, kw))
    if window["C"] != channels:
        raise NotApplicable(f"{channels} channels of {window['C']}")
    if channels < LANES and LANES % channels:
        raise NotApplicable(f"{channels} channels")
    if kh * kw > TAPS:
        raise NotApplicable(f"{kh * kw} taps")
    c = analyse(layer)
    taps = c.weights.T.reshape(kh, kw, channels)
    return c, {
        "template": "a64_depthwise",
        **window,
        **c.types,
        **requant.plan(c).params,
        "zx": c.input_zero_point,
        "groups": groups.partition(taps, _steps(window)),
    }


def _steps(window: dict[str, Any]) -> tuple[int, int]:
    """Rows and columns of the input from a vector of results to the next."""
    sh, sw = window["strides"]
    if window["OW"] == 1:
        return sh, 1
    return 1, sw * max(LANES // window["C"], 1)


def candidates(layer: Layer) -> list[Candidate]:
    """One, for int8 layers with a filter for each channel."""
    c, params = params_of(layer)
    plan = _Plan(params)
    packed = _pack(c, plan)
    operands = (
        Operand("x", "int8", layer.inputs[0].size, "input"),
        Operand("w", "int8", packed.size, "constant"),
        Operand("y", "int8", layer.output.size, "output"),
    )
    spec = KernelSpec("depthwise_conv2d", "a64", operands, params)
    return [Candidate(spec, (layer.inputs[0].name,), {"w": packed}, cost=plan.cost)]


def of_channels(c: Channels, at: np.ndarray) -> Channels:
    """Only the channels `at`, in that order."""
    return replace(
        c,
        weights=c.weights[at],
        bias=c.bias[at],
        multiplier=c.multiplier[at],
        shift=c.shift[at],
    )


def _pack(c: Channels, plan: _Plan) -> np.ndarray:
    """int8, flat: of each block of channels biases, weights in the order of use, multipliers,
    shifts; the last block is of the last 16 channels."""
    count = len(c.bias)
    order = [tap for group in plan.groups for tap in group]
    starts = [LANES * i for i in range(plan.blocks)] + [count - LANES] * plan.tail
    packed = []
    for start in starts:
        at = np.arange(start, start + LANES) % count
        block = of_channels(c, at)
        packed += [
            requant.lanes(block.bias, 0, LANES),
            block.weights[:, order].T.ravel(),
            requant.operands(block, plan.how, 0, LANES),
        ]
    return np.concatenate(packed)


def write(spec: KernelSpec) -> Written:
    """The driver in C, and its routines."""
    plan = _Plan(spec.params)
    memory = "uint8_t *memory, " if plan.padded else ""
    head = (
        f"void {spec.name}(const int8_t *x, const int8_t *w, int8_t *y, "
        f"{memory}uint32_t begin, uint32_t end)"
    )
    body = _tall(plan) if plan.tall else _wide(plan)
    parts = [plan.routine, *([plan.pad] if plan.padded else [])]
    return Written(
        f"{head}\n{{\n{body}}}\n",
        {r.name: r.text() for r in parts},
        plan.scratch_bytes,
        units=plan.units,
    )


def _padded(plan: _Plan, first: str, rows: str) -> str:
    """C that copies `rows` from the one that output row `first` reads first."""
    p = plan.p
    return (
        f"        const int32_t from = {first} * {p['strides'][0]} - {plan.top};\n"
        f"        const int32_t rows = {rows};\n"
        f"        const int32_t above = ek_min(ek_max(-from, 0), rows);\n"
        f"        const int32_t below = ek_min(ek_max(from + rows - {p['H']}, 0), rows - above);\n"
        f"        {plan.pad.name}((int8_t *)memory, x + (from + above) * {p['W'] * p['C']}, above, "
        f"rows - above - below, below);\n"
    )


def _wide(plan: _Plan) -> str:
    p = plan.p
    name, row = plan.routine.name, p["OW"] * p["C"]
    last = p["C"] - LANES
    span = (p["kernel"][0] - 1) * p["dilations"][0] + 1
    if plan.padded:
        source = "(int8_t *)memory"
        copy = _padded(plan, "oy", f"(lines - 1) * {p['strides'][0]} + {span}")
    else:
        source, copy = f"x + oy * {p['strides'][0] * plan.pitch}", ""
    text = (
        f"    for (int32_t oy = (int32_t)begin; oy < (int32_t)end; oy += {plan.band}) {{\n"
        f"        const int32_t lines = ek_min((int32_t)end - oy, {plan.band});\n{copy}"
        f"        {name}({source}, y + oy * {row}, w, lines, {plan.blocks});\n"
    )
    if plan.tail:
        text += (
            f"        {name}({source} + {last}, y + oy * {row} + {last}, "
            f"w + {plan.blocks * plan.stream}, lines, 1);\n"
        )
    return text + "    }\n"


def _tall(plan: _Plan) -> str:
    p = plan.p
    name = plan.routine.name
    last = p["C"] - LANES
    source = "(const int8_t *)memory" if plan.padded else "x"
    text = ""
    if plan.padded:
        text = f"    {{\n{_padded(plan, '0', str(plan.rows(p['OH'])))}    }}\n"
    text += (
        f"    const int32_t first = (int32_t)begin;\n"
        f"    const int32_t blocks = ek_min((int32_t)end, {plan.blocks}) - first;\n"
        f"    if (blocks > 0) {{\n"
        f"        {name}({source} + first * {LANES}, y + first * {LANES}, "
        f"w + first * {plan.stream}, 1, blocks);\n    }}\n"
    )
    if plan.tail:
        text += (
            f"    if (begin < end && end > {plan.blocks}u) {{\n"
            f"        {name}({source} + {last}, y + {last}, w + {plan.blocks * plan.stream}, "
            f"1, 1);\n    }}\n"
        )
    return text


TEMPLATES = (Template("a64_depthwise", ("depthwise_conv2d",), candidates, write),)
