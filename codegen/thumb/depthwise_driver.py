"""The C functions that the depthwise layers of a model share, their sizes, and what a call costs.

`whole` keeps the buffer as wide as the padded image. `narrow` moves a buffer of a few columns over
it, strip by strip where the image is higher than a column of the buffer. In place a strip's first
row may have been overwritten by the one above: it was saved before.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from codegen.kernel import Cost, NotApplicable
from codegen.thumb import blocks, columns, depthwise_columns, scatter, unpack
from codegen.thumb.columns import CHANNELS, Rows
from codegen.thumb.depthwise_columns import Form
from codegen.thumb.routine import Routine
from codegen.thumb.taps import Taps

#: Bytes of a column in the buffer where the image is not higher: one text for most layers.
PITCH = 56
#: The same where the output is one column: signals are longer than images are high.
LINE_PITCH = 64
SHARED = (
    "channels", "row_x", "row_y", "width", "columns", "left", "right", "zx", "zy", "shift", "table",
    "stage", "saved", "base", "wide", "stride", "taps", "step", "strips", "single",
)  # fmt: skip
STRIP = (
    "first_x", "first_y", "rows_y", "offset", "row_parts", "row_fours", "skip", "back", "parts",
    "reads", "saves",
)  # fmt: skip


@dataclass(frozen=True)
class Strip:
    """Outputs of `rows` rows from row `first` on.

    Attributes:
        x: the first row of the image that is read from it, `real` how it splits into words.
        reads: whether the row above `x` is read too, from where it was saved.
        saves: the row that is to be saved for the next strip, or -1.
    """

    first: int
    rows: int
    x: int
    real: Rows
    reads: bool
    saves: int


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
        taps = Taps(p["kernel"][0], p["kernel"][1], stride)
        return Form(taps, p["strides"][1], self.pitch, p["requant"], p["requant_shift"],
                    single=p["OW"] == 1)  # fmt: skip

    def _padded(self, rows: int) -> int:
        """Rows of the padded image that `rows` rows of outputs read."""
        return int((rows - 1) * self.p["strides"][0] + self.p["kernel"][0])

    @cached_property
    def strip_rows(self) -> int:
        """Rows of outputs of a strip: all, or a multiple of four where they go in strips."""
        p = self.p
        height = int(p["OH"])
        if self._padded(height) * 2 <= PITCH or not self.narrow:
            return height
        rows = (PITCH // 2 - p["kernel"][0]) // p["strides"][0] + 1
        strips = -(-height // max(rows // 4 * 4, 1))
        rows = -(-height // strips // 4) * 4
        if rows < 4 or self._padded(rows) * 2 > PITCH:
            return height
        # In place, a strip needs at most one row that lies below outputs of those above it.
        for first in range(rows, height, rows):
            x = first * p["strides"][0] - p["pads"][0]
            if x < 0 or x >= p["H"] or first * p["OW"] > (x + 1) * p["W"]:
                return height
        return rows

    @property
    def pitch(self) -> int:
        """Bytes of a column: a multiple of 8, so that four are whole blocks."""
        needed = (self._padded(self.strip_rows) + 1) // 2 * 4
        usual = PITCH if self.p["OW"] > 1 else LINE_PITCH
        return usual if needed <= usual else -(-needed // 8) * 8

    @cached_property
    def strips(self) -> list[Strip]:
        p, found = self.p, []
        starts = range(0, p["OH"], self.strip_rows)
        for first in starts:
            rows = min(self.strip_rows, p["OH"] - first)
            x = first * p["strides"][0] - p["pads"][0]
            end = min(x + self._padded(rows), p["H"])
            reads = first > 0 and first * p["OW"] > x * p["W"]
            top = max(-x, 0) + reads
            following = (first + rows) * p["strides"][0] - p["pads"][0]
            more = first + rows < p["OH"] and (first + rows) * p["OW"] > following * p["W"]
            x = max(x, 0) + reads
            found.append(Strip(first, rows, x, Rows(top, max(end - x, 0)), reads,
                               following if more else -1))  # fmt: skip
        return found

    def check(self) -> None:
        """Raises NotApplicable where a strip or the whole image is padding only."""
        p = self.p
        end = (p["OW"] - 1) * p["strides"][1] + p["kernel"][1]
        if end <= p["pads"][1] or any(s.real.rows <= 0 for s in self.strips):
            raise NotApplicable("windows lie in the padding")

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
    def right(self) -> int:
        """The first padded column right of the image, or that no output reads."""
        p = self.p
        return int(p["pads"][1] + p["W"])

    @property
    def in_place(self) -> bool:
        """Whether the output fits into the input's memory."""
        p = self.p
        return bool(p["OH"] * p["OW"] <= p["H"] * p["W"])

    @property
    def staged(self) -> bool:
        """Whether outputs wait in scratch, since they would lie on pixels that are still read."""
        p = self.p
        same = (p["OH"], p["OW"], p["strides"]) == (p["H"], p["W"], [1, 1])
        # A column of outputs must not lie right of what has been read for it.
        own_place = same and p["pads"][1] < p["kernel"][1]
        return self.narrow and self.in_place and not own_place

    @property
    def _offsets(self) -> dict[str, int]:
        """Words of scratch before each part: a block of padding, the table, the outputs that wait,
        two saved rows, the buffer."""
        p = self.p
        stage = blocks.BLOCK // 4 + CHANNELS * self.form.record * bool(p["packed"])
        saved = stage + self.strip_rows * p["OW"] * self.staged
        count = min(sum(s.saves >= 0 for s in self.strips), 2)
        base = saved + count * p["W"] * p["C"] // 4
        return {"stage": stage, "saved": saved, "base": base + base % 2}

    @property
    def scratch_bytes(self) -> int:
        return 4 * self._offsets["base"] + self.buffer_columns * CHANNELS * self.pitch

    @property
    def compute(self) -> Routine:
        return depthwise_columns.routine(self.form)

    @property
    def unpacker(self) -> Routine | None:
        return unpack.unpack(self.form.taps, self.form.requant) if self.p["packed"] else None

    @property
    def routines(self) -> list[Routine]:
        found = [blocks.copy(), columns.transpose(self.pitch), self.compute]
        if self.unpacker:
            found.append(self.unpacker)
        if self.narrow:
            found.append(scatter.scatter())
        return found

    @property
    def sizes(self) -> list[int]:
        """What the drivers read: `SHARED`, then `STRIP` for each."""
        p, form = self.p, self.form
        step = CHANNELS if self.staged else p["C"]
        row = p["OW"] * step
        shift = p["requant_shift"] if p["requant"] == "fast" else 0
        shared = {
            "channels": p["C"], "row_x": p["W"] * p["C"], "row_y": row, "width": p["OW"],
            "columns": self.columns, "left": p["pads"][1], "right": self.right, "zx": p["zx"],
            "zy": p["zy"], "shift": shift, "table": unpack.words(form.taps) if p["packed"]
            else CHANNELS * form.record, **self._offsets,
            "wide": self.buffer_columns * CHANNELS * self.pitch // blocks.BLOCK,
            "stride": form.stride, "taps": p["kernel"][1], "step": step,
            "strips": len(self.strips), "single": int(form.single),
        }  # fmt: skip
        values = [shared[name] for name in SHARED]
        for s in self.strips:
            fours, twos = s.rows // 4, s.rows % 4 // 2
            strip = {
                "first_x": s.x, "first_y": s.first, "rows_y": s.rows, "offset": s.real.offset // 2,
                "row_parts": s.real.parts, "row_fours": s.real.fours,
                "skip": form.column - fours * form.passed(4) - twos * form.passed(2),
                "back": step - (4 * fours + 2 * twos) * row,
                "parts": depthwise_columns.parts(s.rows), "reads": int(s.reads), "saves": s.saves,
            }  # fmt: skip
            values += [strip[name] for name in STRIP]
        return values

    @property
    def size_type(self) -> str:
        return "int16_t" if max(map(abs, self.sizes)) < 1 << 15 else "int32_t"

    @property
    def cost(self) -> Cost:
        total = Cost(70, 90)
        wide = self.buffer_columns * CHANNELS * self.pitch // blocks.BLOCK
        groups = self.p["C"] // CHANNELS
        for strip in self.strips:
            total += blocks.copy().cost(blocks=wide) + Cost(40, 50)
            if strip.saves >= 0:
                total += Cost(1, 1) * (self.p["W"] * self.p["C"])
            total += groups * (self._narrow_cost(strip) if self.narrow else self._whole_cost(strip))
        return total

    def _table_cost(self) -> Cost:
        if not self.unpacker:
            return Cost(4, 6)
        return self.unpacker.cost(channels=CHANNELS) + Cost(11, 14)

    def _whole_cost(self, strip: Strip) -> Cost:
        real = min(self.buffer_columns, self.right) - self.p["pads"][1]
        return (
            self._table_cost()
            + strip.real.cost(self.pitch, real)
            + depthwise_columns.cost(self.form, CHANNELS, self.columns, strip.rows)
            + Cost(56, 75)
        )

    def _narrow_cost(self, strip: Strip) -> Cost:
        """Of one group of channels in one strip."""
        p, form = self.p, self.form
        column = CHANNELS * self.pitch // blocks.BLOCK
        each = self._table_cost() + Cost(20, 26)
        if self.staged:
            each += scatter.cost(strip.rows * p["OW"]) + Cost(9, 12)
        kept = max(p["kernel"][1] - form.stride, 0)
        for first in range(0, p["OW"], self.columns):
            count = min(self.columns, p["OW"] - first)
            start = first * form.stride
            end = start + (count - 1) * form.stride + p["kernel"][1]
            if first and kept:
                start += kept
                each += blocks.copy().cost(blocks=column * kept) + Cost(8, 12)
            low, high = max(start, p["pads"][1]), min(end, self.right)
            if high > low:
                each += strip.real.cost(self.pitch, high - low) + Cost(24, 30)
                if strip.reads:
                    each += Rows(0, 1).cost(self.pitch, high - low) + Cost(24, 30)
            for pads in (min(low, end) - start, end - max(high, start)):
                if pads > 0:
                    each += blocks.copy().cost(blocks=column * pads) + Cost(8, 12)
            each += depthwise_columns.cost(form, CHANNELS, count, strip.rows) + Cost(75, 95)
        return each


def driver(plan: Plan) -> tuple[str, str]:
    """Name and text of the function for `plan`: `whole` or `narrow`."""
    body = _narrow(plan.pitch) if plan.narrow else _whole(plan.pitch)
    pointers = [", ".join(_types(r)) for r in (plan.compute, _any_unpack())]
    arguments = (
        f"const int8_t *x, const int32_t *w, int8_t *y, int32_t *scratch, "
        f"const {plan.size_type} *s, void (*compute)({pointers[0]}), void (*unpack)({pointers[1]})"
    )
    text = "".join(f"    {line}\n" for line in body)
    name = f"ek_depthwise_{hashlib.sha256((arguments + text).encode()).hexdigest()[:6]}"
    return name, f"static __attribute__((noinline)) void {name}({arguments})\n{{\n{text}}}\n"


def _any_unpack() -> Routine:
    return unpack.unpack(Taps(1, 1, 1), "relu")


def _types(routine: Routine) -> list[str]:
    """Types of the parameters."""
    return [p.rpartition("*")[0] + "*" if "*" in p else p.split()[0] for p in routine.parameters]


def _names(names: tuple[str, ...], used: str) -> list[str]:
    wanted = used.split()
    assert set(wanted) <= set(names)
    return [f"const int32_t {n} = s[{names.index(n)}];" for n in wanted]


_PADDING = [
    "int32_t *const buffer = scratch + base;",
    "for (int32_t i = 0; i < 8; ++i) {",
    "    scratch[i] = (int32_t)(((uint32_t)zx & 0xffffu) * 0x10001u);",
    "}",
]
_TABLE = [
    "    const int32_t *weights = w;",
    "    if (unpack != NULL) {",
    f"        unpack(w, scratch + {blocks.BLOCK // 4}, "
    "shift != 0 ? (1 << (shift - 1)) + zy * (1 << shift) : 0);",
    f"        weights = scratch + {blocks.BLOCK // 4};",
    "    }",
    "    w += table;",
]


def _whole(pitch: int) -> list[str]:
    copy, load = blocks.copy().name, columns.transpose(pitch).name
    column = CHANNELS * pitch
    return [
        *_names(
            SHARED,
            "channels row_x row_y width left right zx zy shift table base wide stride taps single",
        ),
        f"s += {len(SHARED)};",
        *_names(STRIP, "rows_y offset row_parts row_fours skip back parts"),
        *_PADDING,
        f"{copy}(buffer, scratch, 0, wide);",
        "const int32_t real = ek_min((width - 1) * stride + taps, right) - left;",
        f"int16_t *const to = (int16_t *)(buffer + left * {column // 4}) + offset;",
        f"for (int32_t c = 0; c < channels; c += {CHANNELS}) {{",
        *_TABLE,
        f"    {load}(x + c, to, row_x, channels, row_parts, row_fours, real);",
        "    const int8_t *const last = y + (rows_y & ~3) * row_y;",
        f"    compute((const int16_t *)buffer, weights, y, {CHANNELS}, 3 * row_y, row_y, last, "
        "channels, last + width * channels, skip, back, "
        f"{pitch} - width * stride * {column} + single * skip, "
        "1 - width * channels + single * back, parts, zy);",
        f"    y += {CHANNELS};",
        "}",
    ]


def _narrow(pitch: int) -> list[str]:
    copy, load = blocks.copy().name, columns.transpose(pitch).name
    column = CHANNELS * pitch
    return [
        *_names(
            SHARED,
            "channels row_x row_y width columns left right zx zy shift table stage "
            "saved base wide stride taps step strips",
        ),
        f"s += {len(SHARED)};",
        *_PADDING,
        "int8_t *const rows = (int8_t *)(scratch + saved);",
        "const int32_t kept = ek_max(taps - stride, 0);",
        "const int32_t *const packed = w;",
        "const bool waits = saved != stage;",
        f"for (int32_t strip = 0; strip < strips; ++strip, s += {len(STRIP)}) {{",
        *(f"    {line}" for line in _names(STRIP, " ".join(STRIP))),
        "    const int8_t *const image = x + first_x * row_x;",
        "    const int8_t *const above = rows + ((strip + 1) & 1) * row_x;",
        f"    {copy}(buffer, scratch, 0, wide);",
        "    if (saves >= 0) {",
        "        memcpy(rows + (strip & 1) * row_x, x + saves * row_x, (size_t)row_x);",
        "    }",
        "    w = packed;",
        f"    for (int32_t c = 0; c < channels; c += {CHANNELS}) {{",
        *(f"    {line}" for line in _TABLE),
        "        int8_t *const place = y + first_y * width * channels + c;",
        "        int8_t *out = waits ? (int8_t *)(scratch + stage) : place;",
        "        for (int32_t first = 0; first < width; first += columns) {",
        "            const int32_t count = ek_min(columns, width - first);",
        "            int32_t start = first * stride;",
        "            const int32_t end = start + (count - 1) * stride + taps;",
        "            int32_t *to = buffer;",
        "            if (first != 0 && kept != 0) {",
        f"                {copy}(buffer, buffer + columns * stride * {column // 4}, "
        f"{blocks.BLOCK}, kept * {column // blocks.BLOCK});",
        f"                to += kept * {column // 4};",
        "                start += kept;",
        "            }",
        "            const int32_t low = ek_max(start, left), high = ek_min(end, right);",
        "            if (low < high) {",
        f"                int16_t *const real = (int16_t *)(to + (low - start) * {column // 4});",
        "                const int32_t at = c + (low - left) * channels;",
        f"                {load}(image + at, real + offset, row_x, channels, row_parts, "
        "row_fours, high - low);",
        "                if (reads != 0) {",
        f"                    {load}(above + at, real, 0, channels, {columns.LAST}, 0, "
        "high - low);",
        "                }",
        "            }",
        "            if (low > start) {",
        f"                {copy}(to, scratch, 0, (ek_min(low, end) - start) * "
        f"{column // blocks.BLOCK});",
        "            }",
        "            if (high < end) {",
        "                const int32_t after = ek_max(high, start);",
        f"                {copy}(to + (after - start) * {column // 4}, scratch, 0, "
        f"(end - after) * {column // blocks.BLOCK});",
        "            }",
        "            const int8_t *const last = out + (rows_y & ~3) * row_y;",
        f"            compute((const int16_t *)buffer, weights, out, {CHANNELS}, 3 * row_y, row_y, "
        "last, step, last + count * step, skip, back, "
        f"{pitch} - count * stride * {column}, 1 - count * step, parts, zy);",
        "            out += count * step;",
        "        }",
        "        if (waits) {",
        f"            {scatter.scatter().name}(scratch + stage, place, channels, rows_y * width);",
        "        }",
        "    }",
        "}",
    ]
