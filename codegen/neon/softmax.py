"""softmax over many numbers: exponentials from a table, all else eight numbers at a time.

An exponential depends on the difference to the row's largest number alone, of which there are 256:
each number is looked up once, and the row's exponentials stay in scratch. Parts are rows; the
result may take the place of the operand, since a row is read before its first result is written.
"""

from __future__ import annotations

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
from codegen.overlap import sharing
from codegen.schedules.softmax import FEW
from edgekit.ops.requant import SOFTMAX_SUM_BITS, softmax_params

LANES, WIDE = 8, 16
#: Instructions of a row, of each of its numbers, and of eight of them.
ROW, LOOKUP, EIGHT = 190, 4, 30


def candidates(layer: Layer) -> list[Candidate]:
    """One, for int8 tensors of more numbers than the table is worth."""
    int8_only(layer)
    x, out = layer.inputs[0], layer.output
    if out.size <= FEW:
        raise NotApplicable(f"{out.size} numbers, for which a table of 1 KB is too much")
    width = out.shape[-1]
    rows = out.size // width
    table = softmax_params(layer.node, list(layer.inputs), out).exp_table
    operands = (
        Operand("x", "int8", x.size, "input"),
        Operand("table", "int32", table.size, "constant"),
        Operand("y", "int8", out.size, "output"),
    )
    params = {"template": "neon_softmax", "rows": rows, "width": width}
    spec = KernelSpec("softmax", "neon", operands, params)
    total = rows * (ROW + LOOKUP * width + EIGHT * -(-width // LANES))
    cost = Cost(total, total)
    return [sharing(Candidate(spec, (x.name,), {"table": table}, cost=cost), same=True)]


def write(spec: KernelSpec) -> Written:
    """The function, and that of eight results."""
    name, width = spec.name, spec.params["width"]
    whole, rest = width - width % LANES, width % LANES
    filled = whole + LANES * (rest > 0)
    last = f"{name}_eight(e + {whole}, scale, shift)"
    text = f"""\
EK_INLINE int8x8_t {name}_eight(const int32_t *e, int32x4_t scale, int32x4_t shift)
{{
    const int32x4_t low = vqrdmulhq_s32(vld1q_s32(e), scale);
    const int32x4_t high = vqrdmulhq_s32(vld1q_s32(e + 4), scale);
    const uint16x8_t both =
        vcombine_u16(vqmovn_u32(vrshlq_u32(vreinterpretq_u32_s32(low), shift)),
                     vqmovn_u32(vrshlq_u32(vreinterpretq_u32_s32(high), shift)));
    return vreinterpret_s8_u8(veor_u8(vqmovn_u16(both), vdup_n_u8(128)));
}}
void {name}(const int8_t *x, const int32_t *table, int8_t *y, uint8_t *memory, uint32_t begin,
            uint32_t end)
{{
    int32_t *const restrict e = (int32_t *)(void *)memory;
    for (uint32_t row = begin; row < end; ++row) {{
        const int8_t *const from = x + row * {width}u;
        int8_t *const to = y + row * {width}u;
{_largest(width)}{_lookups(width)}\
        int32x4_t sums = vdupq_n_s32(0);
        for (int32_t c = 0; c < {filled}; c += {LANES}) {{
            sums = vrsraq_n_s32(sums, vld1q_s32(e + c), {SOFTMAX_SUM_BITS});
            sums = vrsraq_n_s32(sums, vld1q_s32(e + c + 4), {SOFTMAX_SUM_BITS});
        }}
        const int32x2_t pair = vadd_s32(vget_low_s32(sums), vget_high_s32(sums));
        const int32_t sum = vget_lane_s32(vpadd_s32(pair, pair), 0);
        const int32x4_t scale = vdupq_n_s32(ek_softmax_scale(sum));
        const int32x4_t shift = vdupq_n_s32(-ek_softmax_shift(sum));
        for (int32_t c = 0; c < {whole}; c += {LANES}) {{
            vst1_s8(to + c, {name}_eight(e + c, scale, shift));
        }}
{f"        ek_n_store_part(to + {whole}, {last}, {rest});{chr(10)}" if rest else ""}\
    }}
}}
"""
    return Written(text, {}, 4 * filled, spec.params["rows"])


def _lookups(width: int) -> str:
    """C text: the exponentials of a row, and zeros behind them up to a multiple of eight."""
    whole = width - width % LANES
    text = ""
    if whole:
        looked_up = "".join(
            f"            e[c + {i}] = table[vget_lane_u8(below, {i})];\n" for i in range(LANES)
        )
        text = f"""\
        for (int32_t c = 0; c < {whole}; c += {LANES}) {{
            const uint8x8_t below =
                vreinterpret_u8_s8(vsub_s8(vdup_n_s8((int8_t)largest), vld1_s8(from + c)));
{looked_up}        }}
"""
    for c in range(whole, width):
        text += f"        e[{c}] = table[largest - from[{c}]];\n"
    for c in range(width, whole + LANES if whole < width else width):
        text += f"        e[{c}] = 0;\n"
    return text


def _largest(width: int) -> str:
    """C text: the largest number of a row; the last vector begins before the end of the others."""
    if width < WIDE:
        return f"""\
        int32_t largest = from[0];
        for (int32_t c = 1; c < {width}; ++c) {{
            largest = ek_max(largest, from[c]);
        }}
"""
    return f"""\
        int8x16_t most = vld1q_s8(from + {width - WIDE});
        for (int32_t c = 0; c < {width - width % WIDE}; c += {WIDE}) {{
            most = vmaxq_s8(most, vld1q_s8(from + c));
        }}
        int8x8_t half = vmax_s8(vget_low_s8(most), vget_high_s8(most));
        half = vpmax_s8(half, half);
        half = vpmax_s8(half, half);
        const int32_t largest = vget_lane_s8(vpmax_s8(half, half), 0);
"""


TEMPLATES = (Template("neon_softmax", ("softmax",), candidates, write),)
