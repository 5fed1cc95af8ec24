"""The C function that the depthwise layers of a model share, its sizes, and what a call costs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from codegen.kernel import Cost
from codegen.thumb import blocks, columns, depthwise_columns, scatter, unpack
from codegen.thumb.columns import CHANNELS, Rows
from codegen.thumb.depthwise_columns import Form
from codegen.thumb.routine import Routine
from codegen.thumb.taps import Taps

#: Bytes of a column in the buffer where the image is not higher: one text for most layers.
PITCH = 56


@dataclass(frozen=True)
class Plan:
    """Sizes that a kernel depends on, from a spec's params.

    `p` has what `codegen.schedules._window.params` and `codegen.thumb.requant.Requant.params` give,
    the zero points, `columns` (of outputs at a time) and `packed` (weights are int8).
    """

    p: dict[str, Any]

    @cached_property
    def form(self) -> Form:
        p = self.p
        # A single row of outputs has no odd first rows, whatever the stride.
        stride = 2 if p["OH"] == 1 else p["strides"][0]
        taps = Taps(*p["kernel"], stride)
        return Form(taps, p["strides"][1], self.pitch, p["requant"], p["requant_shift"])

    @property
    def padded_rows(self) -> int:
        """Rows of the padded image that outputs read."""
        return int((self.p["OH"] - 1) * self.p["strides"][0] + self.p["kernel"][0])

    @property
    def pitch(self) -> int:
        """Bytes of a column: a multiple of 8, so that four are whole blocks."""
        needed = (self.padded_rows + 1) // 2 * 4
        return PITCH if needed <= PITCH else -(-needed // 8) * 8

    @property
    def rows(self) -> Rows:
        """Real rows of a column."""
        top = self.p["pads"][0]
        return Rows(top, max(min(self.p["H"], self.padded_rows - top), 0))

    @property
    def columns(self) -> int:
        return int(self.p["columns"])

    @property
    def narrow(self) -> bool:
        return bool(self.columns < self.p["OW"])

    @property
    def buffer_columns(self) -> int:
        return int((self.columns - 1) * self.p["strides"][1] + self.p["kernel"][1])

    @property
    def kept(self) -> int:
        """Columns of the buffer that the next outputs read again."""
        return max(int(self.p["kernel"][1] - self.p["strides"][1]), 0)

    @property
    def fits(self) -> bool:
        """Whether the output fits into the input's memory."""
        p = self.p
        return bool(p["OH"] * p["OW"] <= p["H"] * p["W"])

    @property
    def staged(self) -> bool:
        """Whether outputs wait in scratch, since they would lie on pixels that are still read."""
        p = self.p
        same = (p["OH"], p["OW"], p["strides"]) == (p["H"], p["W"], [1, 1])
        # Outputs must not lie right of their last pixel, nor below it.
        own_place = same and p["pads"][1] < p["kernel"][1] and p["pads"][0] < p["kernel"][0]
        return self.narrow and self.fits and not own_place

    @property
    def in_place(self) -> bool:
        return self.fits

    @property
    def table_words(self) -> int:
        return CHANNELS * self.form.record * bool(self.p["packed"])

    @property
    def stage_words(self) -> int:
        return int(self.p["OH"] * self.p["OW"]) * self.staged

    @property
    def scratch_bytes(self) -> int:
        """A block of padding, the table, the outputs that wait, and the buffer."""
        words = blocks.BLOCK // 4 + self.table_words + self.stage_words
        return 4 * (words + words % 2) + self.buffer_columns * CHANNELS * self.pitch

    @cached_property
    def routines(self) -> list[Routine]:
        form = self.form
        found = [blocks.copy(), columns.transpose(self.pitch), depthwise_columns.routine(form)]
        if self.p["packed"]:
            found.append(unpack.unpack(form.taps, form.requant))
        if self.staged:
            found.append(scatter.scatter())
        return found

    @property
    def sizes(self) -> list[int]:
        """What the driver reads, in the order of its names."""
        p, rows, height = self.p, self.rows, self.p["OH"]
        table = CHANNELS * self.form.record if not p["packed"] else (
            2 * CHANNELS + 1 + p["kernel"][0] * p["kernel"][1])  # fmt: skip
        base = blocks.BLOCK // 4 + self.table_words + self.stage_words
        fours, twos = height // 4, height % 4 // 2
        passed = fours * self.form.passed(4) + twos * self.form.passed(2)
        wide = self.buffer_columns * CHANNELS * self.pitch // blocks.BLOCK
        step = CHANNELS if self.staged else p["C"]
        return [
            p["C"], p["W"] * p["C"], p["OW"] * step, p["OW"], self.columns, p["pads"][1],
            p["pads"][1] + (p["W"] if rows.rows else 0), rows.offset // 2, rows.parts, rows.fours,
            p["zx"], p["zy"], fours * 4, self.form.column - passed,
            step - (4 * fours + 2 * twos) * p["OW"] * step, depthwise_columns.parts(height), table,
            base + base % 2, wide, p["OH"] * p["OW"],
        ]  # fmt: skip

    @property
    def size_type(self) -> str:
        return "int16_t" if max(map(abs, self.sizes)) < 1 << 15 else "int32_t"

    @property
    def cost(self) -> Cost:
        p, rows, form = self.p, self.rows, self.form
        groups = p["C"] // CHANNELS
        column_blocks = CHANNELS * self.pitch // blocks.BLOCK
        each = Cost(33, 45)
        if p["packed"]:
            each += unpack.unpack(form.taps, form.requant).cost(channels=CHANNELS) + Cost(6, 8)
        if self.staged:
            each += scatter.cost(p["OH"] * p["OW"]) + Cost(9, 12)
        left, right = p["pads"][1], p["pads"][1] + (p["W"] if rows.rows else 0)
        for first in range(0, p["OW"], self.columns):
            count = min(self.columns, p["OW"] - first)
            start = first * form.stride
            end = start + (count - 1) * form.stride + p["kernel"][1]
            if first:
                start += self.kept
                each += blocks.copy().cost(blocks=column_blocks * self.kept) + Cost(8, 12)
            low, high = max(start, left), min(end, right)
            if high > low:
                each += rows.cost(self.pitch, high - low) + Cost(21, 26)
            if self.narrow:
                for pads in (min(low, end) - start, end - max(high, start)):
                    if pads > 0:
                        each += blocks.copy().cost(blocks=column_blocks * pads) + Cost(8, 12)
            each += depthwise_columns.cost(form, CHANNELS, count, p["OH"]) + Cost(62, 80)
        wide = self.buffer_columns * column_blocks
        return groups * each + blocks.copy().cost(blocks=wide) + Cost(75, 95)


NAMES = (
    "channels", "row_x", "row_y", "width", "columns", "left", "right", "offset", "row_parts",
    "row_fours", "zx", "zy", "end_rows", "skip", "back", "parts", "table", "base", "wide", "pixels",
)  # fmt: skip


def driver(plan: Plan) -> tuple[str, str]:
    """Name and text of the function, which only depends on the kernel's form."""
    form, p = plan.form, plan.p
    copy, load, compute, *others = (r.name for r in plan.routines)
    column = CHANNELS * form.pitch  # bytes
    used = [n for n in NAMES if n != "pixels" or plan.staged]
    lines = [f"const int32_t {n} = s[{NAMES.index(n)}];" for n in used]
    step = str(CHANNELS) if plan.staged else "channels"
    lines += [
        "int32_t *const buffer = scratch + base;",
        "const uint32_t pair = ((uint32_t)zx & 0xffffu) * 0x10001u;",
        "for (int32_t i = 0; i < 8; ++i) {",
        "    scratch[i] = (int32_t)pair;",
        "}",
        f"{copy}(buffer, scratch, 0, wide);",
        f"for (int32_t c = 0; c < channels; c += {CHANNELS}) {{",
    ]
    body = []
    table = "w"
    if p["packed"]:
        table, addend = "scratch + 8", "0"
        if form.requant == "fast":
            addend = f"{1 << (form.shift - 1)} + zy * {1 << form.shift}"
        body.append(f"{others[0]}(w, {table}, {addend});")
    body += [
        "for (int32_t first = 0; first < width; first += columns) {",
        "    const int32_t count = ek_min(columns, width - first);",
        f"    int32_t start = first * {form.stride};",
        f"    const int32_t end = start + (count - 1) * {form.stride} + {p['kernel'][1]};",
        "    int32_t *to = buffer;",
    ]
    if plan.kept:
        body += [
            "    if (first != 0) {",
            f"        {copy}(buffer, buffer + columns * {form.stride * column // 4}, "
            f"{blocks.BLOCK}, {plan.kept * column // blocks.BLOCK});",
            f"        to += {plan.kept * column // 4};",
            f"        start += {plan.kept};",
            "    }",
        ]
    body += [
        "    const int32_t low = ek_max(start, left), high = ek_min(end, right);",
        "    if (low < high) {",
        f"        {load}(x + c + (low - left) * channels, "
        f"(int16_t *)(to + (low - start) * {column // 4}) + offset, row_x, channels, row_parts, "
        "row_fours, high - low);",
        "    }",
        "    if (columns < width) {",
        "        if (low > start) {",
        f"            {copy}(to, scratch, 0, (ek_min(low, end) - start) * "
        f"{column // blocks.BLOCK});",
        "        }",
        "        if (high < end) {",
        "            const int32_t after = ek_max(high, start);",
        f"            {copy}(to + (after - start) * {column // 4}, scratch, 0, "
        f"(end - after) * {column // blocks.BLOCK});",
        "        }",
        "    }",
    ]
    if plan.staged:
        stage = f"scratch + {8 + plan.table_words}"
        body.append(f"    int8_t *const out = (int8_t *)({stage}) + first * {step};")
    else:
        body.append("    int8_t *const out = y + c + first * channels;")
    body += [
        "    const int8_t *const last = out + end_rows * row_y;",
        f"    {compute}((const int16_t *)buffer, {table}, out, {CHANNELS}, 3 * row_y, row_y, last, "
        f"{step}, last + count * {step}, skip, back, {form.pitch} - count * {form.column}, "
        f"1 - count * {step}, parts, zy);",
        "}",
    ]
    if plan.staged:
        body.append(f"{others[-1]}({stage}, y + c, channels, pixels);")
    body.append("w += table;")
    lines += [f"    {line}" for line in body] + ["}"]
    kind = plan.size_type
    text = "".join(f"    {line}\n" for line in lines)
    arguments = "const int8_t *x, const int32_t *w, int8_t *y, int32_t *scratch, " + (
        f"const {kind} *s"
    )
    name = f"ek_depthwise_run_{hashlib.sha256((arguments + text).encode()).hexdigest()[:6]}"
    return name, f"static void {name}({arguments})\n{{\n{text}}}\n"
