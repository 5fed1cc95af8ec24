"""Depthwise convolution with dot products over rows of the kernel.

SDOT adds four products of one channel, so four rows of the image are interleaved: of sixteen
channels in a column, four registers hold four channels each with their pixels of four rows. That is
done once for each column and `rows` output rows, which share them: an output row lower down finds
its taps further to the back of the four, where its weights have zeros in front. A kernel that is
higher takes several such quads of rows.

Rows and columns of padding are interleaved as zero points; no pixel is special after that. Blocks
of channels are as in `codegen.a64.depthwise`.

A series (one column, no padding) is interleaved in fours from its first row on. Each four serves
all results whose taps it holds: to the routine, fours are the columns of an image, and four
successive results are four rows of one.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from codegen.a64 import depthwise, requant
from codegen.a64.addresses import Addresses
from codegen.a64.dot import interleave
from codegen.a64.dot.interleave import LANES, QUAD, VECTOR, Columns, four, names
from codegen.a64.requant import VectorRequant
from codegen.a64.routine import Routine
from codegen.channels import Channels
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

#: Output rows that share interleaved columns, with the vectors along each that are computed at a
#: time; registers of accumulators follow.
SHAPES = ((1, 3), (2, 2), (4, 1))
#: Bytes of interleaved columns that a band of rows may take, unless one group of rows takes more.
SCRATCH = 8192
#: Quads of weights that a routine may have.
WEIGHTS = 96
#: Instructions of the C around: of all, of a band, and of the two calls for a block of channels.
DRIVER, BAND, BLOCK = 12, 14, 26


class _Plan:
    """Where everything lies, from a kernel's params."""

    def __init__(self, p: dict[str, Any]) -> None:
        self.p = p
        self.how = VectorRequant.of(p)
        self.rows, self.vectors = p["shape"]
        (self.kh, self.kw), (self.sh, self.sw) = p["kernel"], p["strides"]
        self.top, self.left, *_ = p["pads"]
        c = p["C"]
        self.pixels = LANES // c if c < LANES else 1
        self.quads = -(-((self.rows - 1) * self.sh + self.kh) // 4)
        self.tall = p["OW"] == 1
        #: Bytes in the output from a row to the next, and from a pixel of a row.
        self.y_row, self.y_pixel = p["OW"] * c, c
        if self.tall:
            whole = (p["OH"] - 1) * self.sh + self.kh <= p["H"] and self.kw == p["W"] == 1
            if any(p["pads"]) or not whole or self.rows < 4 or self.pixels > 1:
                raise NotApplicable("a series with padding")
            self.y_row, self.y_pixel = c, self.rows * c
            self.kw, self.quads, self.sw = self.quads, 1, self.sh
        #: Bytes of an interleaved column, and columns from a vector of results to the next.
        self.column = QUAD // self.pixels
        self.step = self.sw * self.pixels
        #: Vectors of results along a row are of so many pixels.
        self.width = -(-p["OH"] // self.rows) if self.tall else p["OW"]
        self.columns = (self.width - 1) * self.sw + self.kw
        self.inside = min(p["W"], self.columns - self.left)
        if self.inside < self.pixels or self.top >= (p["OH"] - 1) * self.sh + self.kh:
            raise NotApplicable("too few pixels of the input are read")
        if self.pixels > 1 and (self.sw != 1 or p["OW"] < self.pixels):
            raise NotApplicable(f"{c} channels of {p['OW']} columns at stride {self.sw}")
        if self.quads * self.kw * self.rows > WEIGHTS:
            raise NotApplicable(f"{self.kh} x {self.kw} taps")

    @property
    def pitch(self) -> int:
        """Bytes of an interleaved quad of rows."""
        return self.columns * self.column

    @property
    def group_bytes(self) -> int:
        return self.quads * self.pitch

    @property
    def units(self) -> int:
        """Groups of output rows, or blocks of channels of a series."""
        if self.tall:
            return self.blocks
        return int(-(-self.p["OH"] // self.rows))

    @property
    def band(self) -> int:
        """Groups at a time."""
        if self.tall:
            return 1
        return int(min(max(SCRATCH // self.group_bytes, 1), self.units))

    @property
    def scratch_bytes(self) -> int:
        return VECTOR + self.band * self.group_bytes

    @property
    def stream(self) -> int:
        """Bytes of the constants of a block of channels."""
        return QUAD * (1 + self.rows * self.quads * self.kw + self.how.operands)

    @property
    def blocks(self) -> int:
        """Blocks of channels; the last one is of the last 16."""
        return int(-(-self.p["C"] // LANES))

    def tap(self, quad: int, kx: int, i: int, row: int) -> tuple[int, int] | None:
        """The tap of output row `i` that a row of a quad of rows is multiplied with."""
        if self.tall:
            quad, kx = kx, 0
        ky = 4 * quad + row - i * self.sh
        return (ky, kx) if 0 <= ky < self.p["kernel"][0] else None

    @cached_property
    def order(self) -> list[tuple[int, int]]:
        """(quad, kernel column) in the order of use: columns that results share follow each
        other."""
        return [
            (quad, kx)
            for quad in range(self.quads)
            for first in range(min(self.step, self.kw))
            for kx in range(first, self.kw, self.step)
        ]

    # ---- interleaving

    @cached_property
    def interleave(self) -> Routine:
        """Quads of rows for groups of output rows of one block of channels."""
        p = self.p
        if self.tall:
            return interleave.series(p["C"], p["H"], self.columns)
        return interleave.rows(self.columns_read, self.quads, self.rows * self.sh, p["zx"])

    @cached_property
    def columns_read(self) -> Columns:
        p = self.p
        right = self.columns - self.left - self.inside
        return Columns(p["C"], p["H"], p["W"], self.left, self.inside, right)

    # ---- sums

    @property
    def starts(self) -> list[int]:
        """Vectors along a row, in pixels; the last may begin within the one before."""
        last = self.width - self.pixels
        return [min(i, last) for i in range(0, self.width, self.pixels)]

    @property
    def loops(self) -> int:
        if self.tall:
            return int(self.p["OH"] // self.rows)
        uneven = self.width % self.pixels != 0
        return (len(self.starts) - uneven) // self.vectors

    @cached_property
    def routine(self) -> Routine:
        """Output rows of one block of channels."""
        r = Routine(
            "a64_depthwise_dot", "const int8_t *z", "int8_t *y", "const int8_t *w", "int32_t lines"
        )
        row, loops, pixels = self.y_row, self.loops, self.pixels
        outputs = [f"x{5 + i}" for i in range(self.rows)]
        if self.step * self.column != QUAD:
            r.constant("x15", self.step * self.column)
        with r.part("groups") as again:
            r(f"mov {outputs[0]}, x1")
            for i in range(1, self.rows):  # behind the last row, that one is written again before
                r.add(outputs[i], outputs[i - 1], row)
                if not self.tall:
                    r(f"cmp w3, #{i}", f"csel {outputs[i]}, {outputs[i]}, {outputs[i - 1]}, gt")
            r("mov x9, x0")
            if loops > 1:
                r(f"mov w10, #{loops}")
                with r.loop("along", "w10"):
                    self._round(r, outputs)
            elif loops:
                self._round(r, outputs)
            done = loops * self.vectors
            if rest := [s - done * pixels for s in self.starts[done:]]:
                if self.tall:
                    outputs = outputs[: self.p["OH"] % self.rows]
                for i in range(0, len(rest), self.vectors):
                    self._vectors(r, outputs, rest[i : i + self.vectors])
            if self.tall:
                return r
            r.add("x0", "x0", self.group_bytes)
            r.add("x1", "x1", self.rows * row)
            r(f"subs w3, w3, #{self.rows}", f"b.gt {again}b")
        return r

    def _round(self, r: Routine, outputs: list[str]) -> None:
        pixels = self.vectors * self.pixels
        self._vectors(r, outputs, list(range(0, pixels, self.pixels)))
        r.add("x9", "x9", pixels * self.sw * self.column)
        for y in outputs:
            r.add(y, y, pixels * self.y_pixel)

    def _vectors(self, r: Routine, outputs: list[str], pixels: list[int]) -> None:
        """Results at some pixels of the rows at `outputs`, from interleaved columns at x9."""
        count = len(pixels)
        sums = {(i, k): 4 * (i * count + k) for i in range(self.rows) for k in range(count)}
        slots = [four(v) for v in range(4 * len(sums), 32, 4)]
        read, weights = slots[:count], slots[count:]
        r(*(f"ld1 {names(four(v))}, [x2]" for v in sums.values()), f"add x14, x2, #{QUAD}")
        held: dict[tuple[int, int], list[int]] = {}
        pointer = None
        used = 0
        for quad, kx in self.order:
            wanted = [(quad, kx + pixel * self.sw) for pixel in pixels]
            held = {place: slot for place, slot in held.items() if place in wanted}
            for place in wanted:
                if place in held:
                    continue
                held[place] = next(slot for slot in read if slot not in held.values())
                at = quad * self.pitch + place[1] * self.column
                if pointer != at:
                    r.add("x13", "x9", at)
                step = self.step * self.column
                r(f"ld1 {names(held[place])}, [x13], {'#64' if step == QUAD else 'x15'}")
                pointer = at + step
            for i in range(self.rows):
                w = weights[used % len(weights)]
                used += 1
                r(f"ld1 {names(w)}, [x14], #{QUAD}")
                for k, place in enumerate(wanted):
                    z = held[place]
                    r(*(f"sdot v{sums[i, k] + q}.4s, v{w[q]}.16b, v{z[q]}.16b" for q in range(4)))
        self._requantize(r, outputs, pixels, sums)

    def _requantize(
        self, r: Routine, outputs: list[str], pixels: list[int], sums: dict[tuple[int, int], int]
    ) -> None:
        slots = [four(v) for v in range(4 * len(sums), 32, 4)]
        operands, spare = slots[: self.how.operands], slots[-1]
        r(*(f"ld1 {names(slot)}, [x14], #{QUAD}" for slot in operands))
        vectors = [(v + q, [slot[q] for slot in operands]) for q in range(4) for v in sums.values()]
        requant.emit(r, self.how, vectors, spare[3])
        requant.fixed(r, self.how, spare[0])
        for v in sums.values():
            requant.pack(r, self.how, range(v, v + 4), spare[0])
        # From the bottom: where the lowest rows do not exist, the last that does is written last.
        for i, output in reversed(list(enumerate(outputs))):
            y = Addresses(r, output, "x13")
            for k, pixel in enumerate(pixels):
                y.store(f"q{sums[i, k]}", pixel * self.y_pixel)

    @cached_property
    def cost(self) -> Cost:
        """Of all units in one call."""
        total = Cost(DRIVER, DRIVER)
        if self.tall:
            each = self.interleave.cost(columns=min(self.p["H"] // 4, self.columns))
            each += self.routine.cost(groups=1, along=self.loops) + Cost(BLOCK, BLOCK)
            return total + self.blocks * each
        for group in range(0, self.units, self.band):
            groups = min(self.units - group, self.band)
            each = self.interleave.cost(groups=groups, **self.columns_read.trips)
            each += self.routine.cost(groups=groups, along=self.loops) + Cost(BLOCK, BLOCK)
            total += self.blocks * each + Cost(BAND, BAND)
        return total


def candidates(layer: Layer) -> list[Candidate]:
    """The best number of rows that share columns, and the kernel without dot products: some strides
    are faster so."""
    found = depthwise.candidates(layer)
    c, params = depthwise.params_of(layer)
    params = {k: v for k, v in params.items() if k not in ("groups", "template")}
    params["template"] = "a64_dot_depthwise"
    plans = []
    if params["dilations"] == [1, 1]:
        for shape in SHAPES:
            try:
                plans.append(_Plan(params | {"shape": list(shape)}))
            except NotApplicable:
                continue
    if not plans:
        return found
    plan = min(plans, key=lambda plan: plan.cost.instructions)
    packed = _pack(c, plan)
    operands = (
        Operand("x", "int8", layer.inputs[0].size, "input"),
        Operand("w", "int8", packed.size, "constant"),
        Operand("y", "int8", layer.output.size, "output"),
    )
    spec = KernelSpec("depthwise_conv2d", "a64_dot", operands, plan.p)
    best = Candidate(spec, (layer.inputs[0].name,), {"w": packed}, cost=plan.cost)
    return [best, *found]


def _pack(c: Channels, plan: _Plan) -> np.ndarray:
    """int8, flat: of each block of channels biases, weights in the order of use, operands of
    requantization; the last block is of the last 16 channels."""
    count = len(c.bias)
    taps = c.weights.reshape(count, *plan.p["kernel"])
    packed = []
    for block in range(plan.blocks):
        start = max(min(LANES * block, count - LANES), 0)
        at = np.arange(start, start + LANES) % count
        packed.append(requant.lanes(c.bias[at], 0, LANES))
        for quad, kx in plan.order:
            for i in range(plan.rows):
                quads = np.zeros((LANES, 4), np.int8)
                for row in range(4):
                    if tap := plan.tap(quad, kx, i, row):
                        quads[:, row] = taps[at, *tap]
                packed.append(quads.ravel())
        packed.append(requant.operands(depthwise.of_channels(c, at), plan.how, 0, LANES))
    return np.concatenate(packed)


def write(spec: KernelSpec) -> Written:
    """The driver in C, and its routines."""
    plan = _Plan(spec.params)
    body = _series(plan) if plan.tall else _image(plan)
    text = (
        f"void {spec.name}(const int8_t *x, const int8_t *w, int8_t *y, uint8_t *memory, "
        f"uint32_t begin, uint32_t end)\n{{\n"
        f"    int8_t *const padding = (int8_t *)memory;\n"
        f"    int8_t *const z = padding + {VECTOR};\n{body}}}\n"
    )
    parts = {r.name: r.text() for r in (plan.interleave, plan.routine)}
    return Written(text, parts, plan.scratch_bytes, units=plan.units)


def _block(plan: _Plan) -> str:
    """C that says where block `b` of channels begins."""
    last = max(plan.p["C"] - LANES, 0)
    return f"            const int32_t at = ek_min(b * {LANES}, {last});\n"


def _image(plan: _Plan) -> str:
    p = plan.p
    return (
        f"    for (int32_t group = (int32_t)begin; group < (int32_t)end; group += {plan.band}) {{\n"
        f"        const int32_t groups = ek_min((int32_t)end - group, {plan.band});\n"
        f"        const int32_t oy = group * {plan.rows};\n"
        f"        const int32_t lines = ek_min(groups * {plan.rows}, {p['OH']} - oy);\n"
        f"        const int32_t from = oy * {plan.sh} - {plan.top};\n"
        f"        for (int32_t b = 0; b < {plan.blocks}; b++) {{\n{_block(plan)}"
        f"            {plan.interleave.name}(z, x + at, padding, from, groups);\n"
        f"            {plan.routine.name}(z, y + oy * {plan.y_row} + at, w + b * {plan.stream}, "
        f"lines);\n        }}\n    }}\n"
    )


def _series(plan: _Plan) -> str:
    return (
        f"    for (int32_t b = (int32_t)begin; b < (int32_t)end; b++) {{\n{_block(plan)}"
        f"            {plan.interleave.name}(z, x + at);\n"
        f"            {plan.routine.name}(z, y + at, w + b * {plan.stream}, 1);\n    }}\n"
    ).replace("            ", "        ")


TEMPLATES = (Template("a64_dot_depthwise", ("depthwise_conv2d",), candidates, write),)
