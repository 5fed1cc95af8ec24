"""depthwise_conv2d: eight channels at a time over a padded plane of these channels.

A part is a block of eight channels of a band of result rows. The rows that it needs are copied to
scratch, channels of a pixel side by side, with the input's zero point for padding; one load then
holds two pixels. Products of two taps are summed in 16 bits, more of them where the weights prove
that they fit, and widened.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from codegen.channels import analyse
from codegen.int8 import int8_only
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
from codegen.neon import requant
from codegen.neon.requant import INSTRUCTIONS, VectorRequant
from codegen.schedules import _window

LANES = 8
#: Bytes of scratch that a band of rows should not exceed.
PLANE_BYTES = 8192
#: Taps whose code is unrolled; others are looped over in pairs.
UNROLLED = 25
#: Taps whose weights stay in registers from pixel to pixel.
RESIDENT = 9
#: Results of a row at a time.
ACROSS = 2
#: Magnitudes of the weights whose products are summed in 16 bits: 128 times as much must fit.
MOST = 255


def candidates(layer: Layer) -> list[Candidate]:
    """One, where every channel has one filter."""
    int8_only(layer)
    kh, kw, out = layer.inputs[1].shape
    channels = analyse(layer)
    p: dict[str, Any] = _upright({
        **_window.params(layer, (kh, kw)),
        **requant.plan(channels).params,
        "zx": channels.input_zero_point,
        "sums": sums_of(channels.weights),
        "template": "neon_depthwise",
    })  # fmt: skip
    if p["C"] != out:
        raise NotApplicable(f"{out} output channels of {p['C']}")
    plan = _Plan(p)
    if plan.real < 1:
        raise NotApplicable("every tap lies in the padding")
    packed = pack(channels.weights, p["sums"])
    operands = requant.pack(channels, LANES)
    spec = KernelSpec(
        "depthwise_conv2d",
        "neon",
        (
            Operand("x", "int8", layer.inputs[0].size, "input"),
            Operand("w", "int8", packed.size, "constant"),
            Operand("q", "int32", operands.size, "constant"),
            Operand("y", "int8", layer.output.size, "output"),
        ),
        p,
    )
    constants = {"w": packed, "q": operands}
    return [Candidate(spec, (layer.inputs[0].name,), constants, cost=plan.cost)]


def sums_of(weights: np.ndarray) -> list[list[int]]:
    """Taps whose products are summed in 16 bits: first fit, and in order where that is no better.

    Args:
        weights: int8 [channels, taps].
    """
    magnitudes = np.abs(weights.astype(np.int64)).T
    found: list[list[int]] = []
    totals: list[np.ndarray] = []
    for tap in np.argsort(-magnitudes.max(1), kind="stable"):
        for i, total in enumerate(totals):
            if (total + magnitudes[tap]).max() <= MOST:
                found[i].append(int(tap))
                totals[i] = total + magnitudes[tap]
                break
        else:
            found.append([int(tap)])
            totals.append(magnitudes[tap])
    pairs = [list(range(i, min(i + 2, len(magnitudes)))) for i in range(0, len(magnitudes), 2)]
    fits = all(magnitudes[pair].sum(0).max() <= MOST for pair in pairs)
    fewer = len(found) < len(pairs) and len(magnitudes) <= UNROLLED
    if fits and not fewer:
        return pairs
    return found if fewer else [[tap] for tap in range(len(magnitudes))]


def pack(weights: np.ndarray, sums: list[list[int]]) -> np.ndarray:
    """int8 [C, taps] to [C / 8][taps in the order of `sums`][8], flat."""
    c = len(weights)
    order = [tap for group in sums for tap in group]
    whole = np.zeros((-(-c // LANES) * LANES, len(order)), np.int8)
    whole[:c] = weights[:, order]
    return np.ascontiguousarray(whole.reshape(-1, LANES, len(order)).transpose(0, 2, 1)).ravel()


def _upright(p: dict[str, Any]) -> dict[str, Any]:
    """Images one pixel wide as images one pixel high: results of a row are made side by side."""
    if not (p["W"] == p["OW"] == p["kernel"][1] == 1 and p["pads"][1] == p["pads"][3] == 0):
        return p
    turned = {"H": 1, "W": p["H"], "OH": 1, "OW": p["OH"]}
    pairs = {key: p[key][::-1] for key in ("kernel", "strides", "dilations")}
    top, _, bottom, _ = p["pads"]
    return {**p, **turned, **pairs, "strides": [1, p["strides"][0]], "pads": [0, top, 0, bottom]}


class _Plan:
    """Shapes of one layer's loops; all follow from the params of the spec."""

    def __init__(self, p: dict[str, Any]) -> None:
        self.p = p
        self.how = VectorRequant.of(p)
        self.kh, self.kw = p["kernel"]
        self.sh, self.sw = p["strides"]
        self.dh, self.dw = p["dilations"]
        self.top, self.left = p["pads"][:2]
        self.columns = (p["OW"] - 1) * self.sw + (self.kw - 1) * self.dw + 1
        self.real = min(p["W"], self.columns - self.left)
        #: Bytes from row to row of the plane.
        self.pitch = self.columns * LANES
        most = PLANE_BYTES // self.pitch - (self.kh - 1) * self.dh - 1
        self.band = min(max(most // self.sh + 1, 1), p["OH"])
        self.bands = -(-p["OH"] // self.band)
        self.blocks = -(-p["C"] // LANES)
        self.rest = p["C"] % LANES
        self.taps = self.kh * self.kw

    @property
    def scratch_bytes(self) -> int:
        return self.rows(self.band) * self.pitch

    def rows(self, results: int) -> int:
        """Rows of the plane that so many rows of results read."""
        return (results - 1) * self.sh + (self.kh - 1) * self.dh + 1

    def offset(self, tap: int) -> tuple[int, int]:
        """Row and column of a tap in the plane."""
        return tap // self.kw * self.dh, tap % self.kw * self.dw

    def tile(self, across: int) -> int:
        """Instructions of `across` results of eight channels, fitted to what zig's code executes
        (tests/codegen/neon/test_costs.py)."""
        widened = 2 * len(self.p["sums"]) * across
        loads = sum(map(len, self.loads(across)))
        if self.taps > UNROLLED:
            loads = 4 * self.taps * across
        elif self.taps > RESIDENT:  # weights, and what does not fit the registers
            loads += 2 * self.taps * across
        ends = (INSTRUCTIONS[self.how.form] + 2 * self.how.clamped) * across
        return loads + self.taps * across + widened + ends + 8 + 9 * across

    def loads(self, across: int) -> list[list[tuple[int, int]]]:
        """For each row of taps, loads as (column, pixels: 1 or 2)."""
        found = []
        for _ in range(self.kh):
            wanted = sorted({i * self.sw + kx * self.dw for i in range(across)
                             for kx in range(self.kw)})  # fmt: skip
            row: list[tuple[int, int]] = []
            while wanted:
                column = wanted.pop(0)
                two = bool(wanted) and wanted[0] == column + 1
                if two:
                    wanted.pop(0)
                row.append((column, 1 + two))
            found.append(row)
        return found

    @property
    def cost(self) -> Cost:
        p = self.p
        tiles, single = divmod(p["OW"], ACROSS)
        row = tiles * self.tile(ACROSS) + single * self.tile(1) + 8
        copied = sum(
            self.rows(min(self.band, p["OH"] - first)) for first in range(0, p["OH"], self.band)
        ) * (3 * self.real + 2 * (self.columns - self.real) + 12)
        total = self.blocks * (p["OH"] * row + copied + 40 * self.bands)
        return Cost(total, total)


def write(spec: KernelSpec) -> Written:
    """The driver in C, with the loops over a block."""
    plan = _Plan(spec.params)
    p = plan.p
    name = spec.name
    right = plan.columns - plan.left - plan.real
    rows = f"(rows - 1) * {plan.sh} + {(plan.kh - 1) * plan.dh + 1}"
    text = (
        f"{_sums(plan, name)}"
        f"void {name}(const int8_t *x, const int8_t *w, const int32_t *q, int8_t *y, "
        f"uint8_t *memory, uint32_t begin, uint32_t end)\n{{\n"
        f"    for (uint32_t unit = begin; unit < end; unit++) {{\n"
        f"        const int32_t block = (int32_t)(unit % {plan.blocks}u);\n"
        f"        const int32_t first = (int32_t)(unit / {plan.blocks}u) * {plan.band};\n"
        f"        const int32_t rows = ek_min({plan.band}, {p['OH']} - first);\n"
        f"        const int32_t channels = ek_min({p['C']} - block * {LANES}, {LANES});\n"
        f"        int8_t *to = (int8_t *)memory;\n"
        f"        for (int32_t i = 0; i < {rows}; i++, to += {plan.pitch}) {{\n"
        f"            const int32_t iy = first * {plan.sh} - {plan.top} + i;\n"
        f"            if (iy < 0 || iy >= {p['H']}) {{\n"
        f"                ek_n_fill(to, {p['zx']}, {plan.pitch});\n"
        f"                continue;\n            }}\n"
        f"            ek_n_fill(to, {p['zx']}, {plan.left * LANES});\n"
        f"            {_copy(plan)}"
        f"            ek_n_fill(to + {(plan.left + plan.real) * LANES}, {p['zx']}, "
        f"{right * LANES});\n"
        f"        }}\n"
        f"        {name}_sums((const int8_t *)memory, w + block * {plan.taps * LANES}, "
        f"q + block * {3 * LANES}, y + first * {p['OW'] * p['C']} + block * {LANES}, rows, "
        f"channels, {plan.how.numbers});\n    }}\n}}\n"
    )
    return Written(text, {}, plan.scratch_bytes, plan.bands * plan.blocks)


def _copy(plan: _Plan) -> str:
    p = plan.p
    source = f"x + iy * {p['W'] * p['C']} + block * {LANES}"
    to = f"to + {plan.left * LANES}"
    whole = f"ek_n_copy_eights({to}, {source}, {plan.real}, {p['C']});\n"
    if not plan.rest:
        return whole
    last = f"ek_n_copy_last({to}, {source}, {plan.real}, {p['C']}, {plan.rest});\n"
    if p["C"] < LANES:
        return last
    return f"if (channels >= 8) {{\n                {whole}            }} else {{\n" + (
        f"                {last}            }}\n"
    )


def _sums(plan: _Plan, name: str) -> str:
    """The function that turns the plane into rows of results."""
    p, how = plan.p, plan.how
    resident = plan.taps <= RESIDENT
    head = (
        f"static void {name}_sums(const int8_t *x, const int8_t *w, const int32_t *q, int8_t *y,\n"
        f"    int32_t rows, int32_t channels, {', '.join(requant.PARAMETERS)})\n{{\n"
        f"{how.constants()}    (void)channels;\n"
    )
    if plan.taps > UNROLLED:
        steps = [plan.offset(t) for group in p["sums"] for t in group]
        at = ", ".join(str(r * plan.pitch + c * LANES) for r, c in steps)
        head += f"    static const int32_t at[] = {{{at}}};\n"
    if resident:
        for i in range(0, plan.taps - 1, 2):
            head += f"    const int8x16_t w{i} = vld1q_s8(w + {LANES * i});\n"
        if plan.taps % 2:
            i = plan.taps - 1
            head += f"    const int8x8_t w{i} = vld1_s8(w + {LANES * i});\n"
    tiles, single = divmod(p["OW"], ACROSS)
    body = f"    for (; rows > 0; rows--, x += {plan.sh * plan.pitch}) {{\n"
    body += "        const int8_t *from = x;\n"
    if tiles:
        body += (
            f"        for (int32_t ox = 0; ox < {tiles * ACROSS}; ox += {ACROSS}) {{\n"
            f"{_tile(plan, ACROSS, resident)}        }}\n"
        )
    if single:
        body += f"        {{\n{_tile(plan, 1, resident)}        }}\n"
    return head + body + "    }\n}\n\n"


def _tile(plan: _Plan, across: int, resident: bool) -> str:
    """Results of `across` pixels from `from` to `y`; both then point at the next ones."""
    p, how = plan.p, plan.how
    lines = [f"int32x4_t l{i} = vld1q_s32(q), h{i} = vld1q_s32(q + 4);" for i in range(across)]
    if plan.taps > UNROLLED:
        lines += _looped(plan, across)
    else:
        lines += _unrolled(plan, across, resident)
    lines += ["{", "    const int32x4_t ml = vld1q_s32(q + 8), mh = vld1q_s32(q + 12);",
              "    const int32x4_t sl = vld1q_s32(q + 16), sh = vld1q_s32(q + 20);"]  # fmt: skip
    for i in range(across):
        low, high = how.rescaled(f"l{i}", "ml", "sl"), how.rescaled(f"h{i}", "mh", "sh")
        lines.append(f"    const int8x8_t found{i} = {how.narrowed(low, high)};")
        lines += [*_store(plan, f"found{i}"), f"    y += {p['C']};"]
    lines += ["}", f"from += {across * plan.sw * LANES};"]
    return "".join(f"            {line}\n" for line in lines)


def _store(plan: _Plan, found: str) -> list[str]:
    whole = f"    vst1_s8(y, {found});"
    if not plan.rest:
        return [whole]
    part = f"    ek_n_store_part(y, {found}, {plan.rest});"
    if plan.p["C"] < LANES:
        return [part]
    return ["    if (channels >= 8) {", f"    {whole}", "    } else {", f"    {part}", "    }"]


def _unrolled(plan: _Plan, across: int, resident: bool) -> list[str]:
    order = [tap for group in plan.p["sums"] for tap in group]
    loads = plan.loads(across)
    where = {}  # (row of taps, column) to the C expression of eight bytes
    lines, loaded = [], set()
    for ky, row in enumerate(loads):
        for column, pixels in row:
            name = f"x{ky}_{column}"
            if pixels == 2:
                where[ky, column] = f"vget_low_s8({name})", (ky, column)
                where[ky, column + 1] = f"vget_high_s8({name})", (ky, column)
            else:
                where[ky, column] = name, (ky, column)
    sizes = {(ky, c): n for ky, row in enumerate(loads) for c, n in row}

    def operand(ky: int, column: int) -> str:
        expression, key = where[ky, column]
        if key not in loaded:
            loaded.add(key)
            q = "q" if sizes[key] == 2 else ""
            kind = "int8x16_t" if q else "int8x8_t"
            at = key[0] * plan.dh * plan.pitch + key[1] * LANES
            lines.append(f"const {kind} x{key[0]}_{key[1]} = vld1{q}_s8(from + {at});")
        return expression

    def weight(i: int) -> str:
        if not resident:
            return f"w{i}"
        if i == len(order) - 1 and len(order) % 2:
            return f"w{i}"
        return f"vget_{'high' if i % 2 else 'low'}_s8(w{i - i % 2})"

    at = 0
    for g, group in enumerate(plan.p["sums"]):
        if not resident:
            lines += [f"const int8x8_t w{at + j} = vld1_s8(w + {LANES * (at + j)});"
                      for j in range(len(group))]  # fmt: skip
        for i in range(across):
            text = ""
            for j, tap in enumerate(group):
                ky, kx = divmod(tap, plan.kw)
                operands = f"{operand(ky, i * plan.sw + kx * plan.dw)}, {weight(at + j)}"
                text = f"vmlal_s8({text}, {operands})" if j else f"vmull_s8({operands})"
            lines += [f"const int16x8_t t{g}_{i} = {text};",
                      f"l{i} = vaddw_s16(l{i}, vget_low_s16(t{g}_{i}));",
                      f"h{i} = vaddw_s16(h{i}, vget_high_s16(t{g}_{i}));"]  # fmt: skip
        lines += [f"EK_N_IN_ORDER(l{i});" for i in range(across)]
        at += len(group)
    return lines


def _looped(plan: _Plan, across: int) -> list[str]:
    sums = plan.p["sums"]
    pairs = sum(len(g) == 2 for g in sums)
    lines = ["const int8_t *v = w;"]

    def step(n: int, first: str) -> list[str]:
        found = []
        for i in range(across):
            shift = f" + {i * plan.sw * LANES}" if i else ""
            text = ""
            for j in range(n):
                operands = f"vld1_s8(from + at[{first} + {j}]{shift}), vld1_s8(v + {LANES * j})"
                text = f"vmlal_s8({text}, {operands})" if j else f"vmull_s8({operands})"
            found += [f"    const int16x8_t t{i} = {text};",
                      f"    l{i} = vaddw_s16(l{i}, vget_low_s16(t{i}));",
                      f"    h{i} = vaddw_s16(h{i}, vget_high_s16(t{i}));"]  # fmt: skip
        return [*found, f"    v += {LANES * n};"]

    if pairs:
        lines += [f"for (int32_t t = 0; t < {2 * pairs}; t += 2) {{", *step(2, "t"), "}"]
    if len(sums) > pairs:
        head = f"for (int32_t t = {2 * pairs}; t < {plan.taps}; t++) {{"
        lines += [head, *step(1, "t"), "}"]
    return lines


TEMPLATES = (Template("neon_depthwise", ("depthwise_conv2d",), candidates, write),)
