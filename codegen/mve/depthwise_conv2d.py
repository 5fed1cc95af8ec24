"""depthwise_conv2d: words of four rows, gathered and multiplied with a channel's taps at once.

Block of channels by block, the rows that one or two rows of results need are spread into scratch
(`codegen.mve.columns`), with the input's zero point for padding; 16 taps then meet in one
instruction. Images one pixel wide ("tall") are spread once, a word for every
position, since there the words of one result also serve its neighbours.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from codegen.channels import analyse
from codegen.int8 import Requant, int8_only
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
from codegen.mve import columns, requant
from codegen.mve.routine import MveRoutine
from codegen.overlap import sharing
from codegen.schedules import _window

#: Bytes of scratch that a block of channels should not exceed.
SCRATCH_BYTES = 4096
#: Words of taps that a routine takes: four vectors.
MAX_WORDS = 16
LANES = 16
#: Instructions around a call of `columns.sums`: its arguments, and loops of the driver.
CALL = 40


class _Plan:
    """Shapes of one layer's loops; all follow from the params of the spec."""

    def __init__(self, p: dict[str, Any]) -> None:
        self.p = p
        self.how = Requant.of(p)
        self.kh, self.kw = p["kernel"]
        self.sh, self.sw = p["strides"]
        self.dh, self.dw = p["dilations"]
        self.top, self.left = p["pads"][:2]
        self.tall = p["W"] == p["OW"] == self.kw == 1 and self.left == 0
        groups = -(-self.kh // 4)
        # Two rows of results share their words where the second one's taps are in them as well, and
        # moving taps down by a row is a shift of words, or of one vector of consecutive words.
        fits = self.dh == 1 and -(-(self.kh + self.sh) // 4) == groups
        shifts = groups == 1 or (self.kw == 1 and groups <= 4)
        self.rows = 2 if fits and shifts and p["OH"] > 1 else 1
        self.groups = groups
        self.words = groups * self.kw
        needed = (p["OW"] - 1) * self.sw + (self.kw - 1) * self.dw + 1
        self.real = min(p["W"], needed - self.left)
        if self.tall:
            last = ((p["OH"] - 1) // self.rows) * self.rows * self.sh
            needed = last + (groups - 1) * 4 * self.dh + 1
        self.columns = needed
        # Blocks of equally many chunks: columns then lie equally far apart in all of them.
        whole = -(-p["C"] // LANES)
        spread = (1 if self.tall else groups) * needed * 4
        most = max(SCRATCH_BYTES // (spread + 1) // LANES, 1)
        self.block = LANES * max(n for n in range(1, whole + 1) if whole % n == 0 and n <= most)

    @property
    def column_bytes(self) -> int:
        return 4 * self.block

    @property
    def offsets(self) -> list[int]:
        """Bytes from a pixel's first word to each, whole vectors of them."""
        if self.tall:
            at = [4 * g * self.dh for g in range(self.groups)]
        else:
            at = [
                g * self.columns + x * self.dw for g in range(self.groups) for x in range(self.kw)
            ]
        at += [0] * (-len(at) % 4)
        return [column * self.column_bytes for column in at]

    @property
    def scratch_bytes(self) -> int:
        planes = 1 if self.tall else self.groups
        return self.block + planes * self.columns * self.column_bytes

    @property
    def routine(self) -> MveRoutine:
        how = self.how
        return columns.sums(
            self.words, self.shift, self.groups > 1, how.form, how.clamped, self.p["C"] % 4 != 0
        )

    @property
    def shift(self) -> int:
        return 8 * self.sh if self.rows == 2 else 0


def candidates(layer: Layer) -> list[Candidate]:
    """One, where every channel has one filter and its taps fit four vectors."""
    int8_only(layer)
    kh, kw, out = layer.inputs[1].shape
    channels = analyse(layer)
    how = requant.plan(channels)
    p: dict[str, Any] = {
        **_window.params(layer, (kh, kw)),
        **how.params,
        "zx": channels.input_zero_point,
        "template": "mve_depthwise",
    }
    if p["C"] != out:
        raise NotApplicable(f"{out} output channels of {p['C']}")
    plan = _Plan(p)
    if plan.real < 1:
        raise NotApplicable("every tap lies in the padding")
    if plan.words > MAX_WORDS:
        raise NotApplicable(f"{kh}x{kw} taps are {plan.words} words, the limit is {MAX_WORDS}")
    taps = channels.weights.T.reshape(kh, kw, out)
    packed = _pack(taps, plan)
    operands = requant.pack(channels)
    spec = KernelSpec(
        "depthwise_conv2d",
        "arm_mve",
        (
            Operand("x", "int8", layer.inputs[0].size, "input"),
            Operand("w", "int8", packed.size, "constant"),
            Operand("q", "int8", operands.size, "constant"),
            Operand("y", "int8", layer.output.size, "output"),
        ),
        p,
    )
    constants = {"w": packed, "q": operands}
    candidate = Candidate(spec, (layer.inputs[0].name,), constants, cost=_cost(plan))
    return [sharing(candidate, _steps(plan, layer.output.nbytes))]


def _steps(plan: _Plan, out_bytes: int) -> list[tuple[int, int]]:
    """Order of access for `codegen.overlap`: rows of results, block by block of channels."""
    p = plan.p
    starts = range(0, p["C"], plan.block)
    if plan.tall:
        return [(c, out_bytes) for c in starts]
    found = []
    for oy in range(0, p["OH"], plan.rows):
        low = max(oy * plan.sh - plan.top, 0) * p["W"] * p["C"]
        end = min(oy + plan.rows, p["OH"]) * p["OW"] * p["C"]
        found += [(low + c, end) for c in starts]
    return found


def _pack(taps: np.ndarray, plan: _Plan) -> np.ndarray:
    """int8 [KH, KW, C] to [C up to a multiple of 4][words up to one of 4][4 rows], flat."""
    kh, kw, c = taps.shape
    whole = np.zeros((plan.groups * 4, kw, -(-c // 4) * 4), np.int8)
    whole[:kh, :, :c] = taps
    words = whole.reshape(plan.groups, 4, kw, -1).transpose(3, 0, 2, 1).reshape(-1, plan.words, 4)
    packed = np.zeros((len(words), -(-plan.words // 4) * 4, 4), np.int8)
    packed[:, : plan.words] = words
    return packed.ravel()


def _blocks(plan: _Plan) -> list[int]:
    """Channels of each block."""
    return [min(plan.block, plan.p["C"] - c) for c in range(0, plan.p["C"], plan.block)]


def _cost(plan: _Plan) -> Cost:
    p = plan.p
    total = Cost(0, 0)
    ragged = p["C"] % LANES != 0
    rounds = -(-p["OH"] // plan.rows)
    routine = plan.routine
    for channels in _blocks(plan):
        chunks, quads = -(-channels // LANES), -(-channels // 4)
        if plan.tall:
            whole, edges = _tall_runs(plan)
            total += columns.spread_cost(ragged, max(whole[1] - whole[0], 0), chunks)
            total += len(edges) * columns.spread_cost(ragged, 1, chunks)
            full = p["OH"] // plan.rows
            total += routine.cost(pixels=full, quads=quads) + Cost(CALL, CALL)
            if p["OH"] % plan.rows:
                total += routine.cost(pixels=1, quads=quads) + Cost(CALL, CALL)
        else:
            each = columns.spread_cost(ragged, plan.real, chunks) + Cost(40, 40)
            total += rounds * plan.groups * each
            total += rounds * (routine.cost(pixels=p["OW"], quads=quads) + Cost(CALL, CALL))
    return total


def _tall_runs(plan: _Plan) -> tuple[tuple[int, int], list[int]]:
    """Positions whose four rows all exist, as [from, to), and the others."""
    span = 3 * plan.dh
    low = min(plan.top, plan.columns)
    high = max(min(plan.p["H"] + plan.top - span, plan.columns), low)
    return (low, high), [t for t in range(plan.columns) if not low <= t < high]


def write(spec: KernelSpec) -> Written:
    """The driver in C, and its routines."""
    plan = _Plan(spec.params)
    p = plan.p
    sums = plan.routine
    spread = columns.spread(p["C"] % LANES != 0)
    offsets = ", ".join(map(str, plan.offsets))
    head = (
        f"void {spec.name}(const int8_t *x, const int8_t *w, const int8_t *q, int8_t *y, "
        f"uint8_t *memory)"
    )
    body = (
        f"    static const int32_t at[] = {{{offsets}}};\n"
        f"    int8_t *const padding = (int8_t *)memory;\n"
        f"    int8_t *const words = padding + {plan.block};\n"
        f"    ek_m_fill(padding, {p['zx']}, {plan.block});\n"
    )
    loops = (
        _tall(plan, sums.name, spread.name) if plan.tall else _wide(plan, sums.name, spread.name)
    )
    text = f"{head}\n{{\n{body}{loops}}}\n"
    return Written(text, {r.name: r.text() for r in (spread, sums)}, plan.scratch_bytes)


def _per_block(plan: _Plan) -> str:
    p = plan.p
    one = plan.block >= p["C"]
    count = f"{p['C']}" if one else f"ek_min({p['C']} - c, {plan.block})"
    return (
        f"    for (int32_t c = 0; c < {p['C']}; c += {plan.block}) {{\n"
        f"        const int32_t channels = {count};\n"
        f"        const int32_t chunks = (channels + 15) >> 4;\n"
        f"        const int32_t quads = (channels + 3) >> 2;\n"
    )


def _call(plan: _Plan, name: str, words: str, y: str, x_step: int, steps: tuple[str, int],
          pixels: str) -> str:  # fmt: skip
    """A call of `sums`; `steps` are y_next and bytes from result to result."""
    how = plan.how
    vector_bytes = -(-plan.words // 4) * 16
    return (
        f"{name}({words}, w + c * {vector_bytes}, q + c * 9, {y} + c, at, "
        f"{x_step} - 16 * quads, {steps[0]}, {steps[1]} - 4 * quads, {how.zero_point}, "
        f"{how.low}, {how.high}, {pixels}, channels);\n"
    )


def _wide(plan: _Plan, sums: str, spread: str) -> str:
    p, size = plan.p, plan.column_bytes
    c, width = p["C"], p["W"] * p["C"]
    right = plan.columns - plan.left - plan.real
    plane = plan.columns * size
    text = ""
    for g in range(plan.groups):
        for at, count in ((0, plan.left), (plan.left + plan.real, right)):
            if count > 0:
                text += (
                    f"    ek_m_fill(words + {g * plane + at * size}, {p['zx']}, {count * size});\n"
                )
    results = p["OW"] * c
    next_row = f"oy + 1 < {p['OH']} ? {results} : 0" if plan.rows == 2 else "0"
    call = _call(
        plan, sums, "words", f"y + oy * {results}", plan.sw * size, (next_row, c), str(p["OW"])
    )
    return (
        text + f"    for (int32_t oy = 0; oy < {p['OH']}; oy += {plan.rows}) {{\n"
        f"{_per_block(plan)}"
        f"        const int32_t inside = {c} - 16 * chunks;\n"
        f"        for (int32_t g = 0; g < {plan.groups}; g++) {{\n"
        f"            const int8_t *row[4];\n"
        f"            int32_t step[4];\n"
        f"            for (int32_t j = 0; j < 4; j++) {{\n"
        f"                EK_M_ONE_BY_ONE;\n"
        f"                const int32_t iy = oy * {plan.sh} - {plan.top} + "
        f"(4 * g + j) * {plan.dh};\n"
        f"                const bool real = iy >= 0 && iy < {p['H']};\n"
        f"                row[j] = real ? x + iy * {width} + c : padding;\n"
        f"                step[j] = real ? inside : -16 * chunks;\n"
        f"            }}\n"
        f"            {spread}(words + g * {plane} + {plan.left * size}, row[0], row[1], "
        f"row[2], row[3], step[0], step[1], step[2], step[3], {plan.real}, chunks, channels);\n"
        f"        }}\n"
        f"        {call}    }}\n    }}\n"
    )


def _tall(plan: _Plan, sums: str, spread: str) -> str:
    p, size, c = plan.p, plan.column_bytes, plan.p["C"]
    (low, high), edges = _tall_runs(plan)
    text = _per_block(plan)
    if high > low:
        rows = ", ".join(f"x + {(low - plan.top + j * plan.dh) * c} + c" for j in range(4))
        steps = ", ".join(["inside"] * 4)
        text += (
            f"        const int32_t inside = {c} - 16 * chunks;\n"
            f"        {spread}(words + {low * size}, {rows}, {steps}, {high - low}, chunks, "
            f"channels);\n"
        )
    for t in edges:
        at = [t - plan.top + j * plan.dh for j in range(4)]
        rows = ", ".join(f"x + {i * c} + c" if 0 <= i < p["H"] else "padding" for i in at)
        text += f"        {spread}(words + {t * size}, {rows}, 0, 0, 0, 0, 1, chunks, channels);\n"
    full, rest = divmod(p["OH"], plan.rows)
    next_row = str(c) if plan.rows == 2 else "0"
    if full:
        text += "        " + _call(
            plan, sums, "words", "y", plan.rows * plan.sh * size, (next_row, plan.rows * c),
            str(full),
        )  # fmt: skip
    if rest:
        start = full * plan.rows
        text += "        " + _call(
            plan, sums, f"words + {start * plan.sh * size}", f"y + {start * c}", 0, ("0", c), "1"
        )
    return text + "    }\n"


TEMPLATES = (Template("mve_depthwise", ("depthwise_conv2d",), candidates, write),)
