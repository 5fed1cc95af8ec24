"""matmul of int8 tensors: dot products of two rows with two rows, 22 instructions for 16 products.

With a' = a - za, the sum of a' (b - zb) is the sum of a' b less zb times the sum of a', which is
there once for each row of a. The zero point of a comes off while its bytes become halfwords. A
right operand that is not transposed is, into scratch, once for each matrix of the batch.
"""

from __future__ import annotations

from functools import cache
from math import prod

from codegen.kernel import Candidate, Cost, KernelSpec, Layer, NotApplicable, Template, Written
from codegen.portable._text import requantize
from codegen.portable.matmul import indexed, layer_spec
from codegen.thumb.routine import Routine

#: Bytes from a row to the next that a load's immediate holds.
MOST_DEPTH = 4092


@cache
def block(depth: int) -> Routine:
    """``(a, b, acc, words, minus_za)``: acc[2i + j] += row i of a' times row j of b.

    Rows are `depth` bytes apart, `words` words of them are read; `minus_za` is a pair of int16.
    """
    r = Routine("matmul", "const int8_t *a", "const int8_t *b", "int32_t *acc", "int32_t words",
                "int32_t minus_za")  # fmt: skip
    at = r.enter(1)
    r("str r2, [sp]", "ldm r2, {r4-r7}", f"ldr lr, [sp, #{at}]")
    with r.loop("words", "r3"):
        r(f"ldr r10, [r0, #{depth}]", "ldr r8, [r0], #4")
        r("sxtab16 r9, lr, r8, ror #8", "sxtab16 r8, lr, r8")
        r("sxtab16 r11, lr, r10, ror #8", "sxtab16 r10, lr, r10")
        for load, first, second in ((f"[r1, #{depth}]", "r5", "r7"), ("[r1], #4", "r4", "r6")):
            r(f"ldr r2, {load}", "sxtb16 r12, r2, ror #8", "sxtb16 r2, r2")
            r(f"smlad {first}, r8, r2, {first}", f"smlad {first}, r9, r12, {first}")
            r(f"smlad {second}, r10, r2, {second}", f"smlad {second}, r11, r12, {second}")
    r("ldr r2, [sp]", "stm r2, {r4-r7}")
    r.leave(1)
    return r


@cache
def row_sum() -> Routine:
    """``(a, sum, words, minus_za, minus_zb)``: *sum = -zb times the sum of a'."""
    r = Routine("matmul_sum", "const int8_t *a", "int32_t *sum", "int32_t words",
                "int32_t minus_za", "int32_t minus_zb")  # fmt: skip
    at = r.enter()
    r(f"ldr r4, [sp, #{at}]", "mov r5, #0")
    with r.loop("words", "r2"):
        r("ldr r6, [r0], #4", "sxtab16 r7, r3, r6", "sxtab16 r6, r3, r6, ror #8")
        r("smlad r5, r7, r4, r5", "smlad r5, r6, r4, r5")
    r("str r5, [r1]")
    r.leave()
    return r


def _candidates(layer: Layer) -> list[Candidate]:
    spec, names, constants = layer_spec(layer, "thumb_dsp", "matmul_2x2")
    p = spec.params
    rows, depth, columns = p["size"]
    if {o.dtype for o in spec.operands[:2]} != {"int8"}:
        raise NotApplicable("operands are not int8")
    if min(rows, columns) < 2:
        raise NotApplicable("a vector times a matrix")
    if not 4 <= depth <= MOST_DEPTH:
        raise NotApplicable(f"{depth} numbers to a dot product")
    words, tail = depth // 4, depth % 4
    blocks = -(-rows // 2) * -(-columns // 2)
    each = block(depth).cost(words=words) + Cost(62 + 30 * tail, 80 + 40 * tail)
    batch = prod(length for length, *_ in p["batch"])
    cost = each * blocks + (row_sum().cost(words=words) + Cost(20, 26)) * rows
    if not p["transpose_b"]:
        cost += Cost(6 * depth * columns, 9 * depth * columns)
    return [Candidate(spec, names, constants, cost=cost * batch)]


def _pair(zero: int) -> int:
    """-zero in both halves of a word, as int32."""
    half = -zero & 0xFFFF
    word = half << 16 | half
    return word - (1 << 32) if word >= 1 << 31 else word


def _result(acc: str, dtype: str, p: dict[str, object]) -> str:
    """C text of a result; four instructions and a clamp where the shift is the usual one."""
    shift = p["shift"]
    assert isinstance(shift, int)
    if not -30 <= shift <= -2:
        return requantize(acc, dtype, p)
    scaled = f"ek_rescale(2 * {acc}, {p['multiplier']}, {1 << (32 + shift)}, {p['zero_point']})"
    return f"ek_clamp{dtype[3:]}({scaled}, {p['qmin']}, {p['qmax']})"


def _write(spec: KernelSpec) -> Written:
    p = spec.params
    rows, depth, columns = p["size"]
    za, zb = p["zeros"]
    dot, total = block(depth), row_sum()
    words, y = depth // 4, spec.operands[-1].dtype
    loops, a_at, b_at = indexed(p)
    scratch = "" if p["transpose_b"] else ", uint8_t *restrict scratch"
    right = "b" + b_at if p["transpose_b"] else "turned"
    declared = "" if p["transpose_b"] else "    int8_t *const turned = (int8_t *)scratch;\n"
    transposed = (
        ""
        if p["transpose_b"]
        else f"""\
        for (int32_t k = 0; k < {depth}; ++k) {{
            for (int32_t j = 0; j < {columns}; ++j) {{
                turned[j * {depth} + k] = (b{b_at})[k * {columns} + j];
            }}
        }}
"""
    )
    tail = (
        ""
        if depth % 4 == 0
        else f"""\
                for (int32_t k = {4 * words}; k < {depth}; ++k) {{
                    for (int32_t n = 0; n < 4; ++n) {{
                        const int32_t left = pa[n / 2 * {depth} + k] - ({za});
                        acc[n] += left * (pb[n % 2 * {depth} + k] - ({zb}));
                    }}
                }}
"""
    )
    # The last pair of an odd number is done with the row before it once more.
    last_row, last_column = rows - 2, columns - 2
    operands = "const int8_t *restrict a, const int8_t *restrict b"
    zeros = f"{_pair(za)}, {_pair(zb)}"
    sums = "\n".join(
        f"            {total.name}(pa + {i * depth}, &sums[{i}], {words}, {zeros});" for i in (0, 1)
    )
    results = "\n".join(
        f"                py[{i * columns + j}] = {_result(f'acc[{2 * i + j}]', y, p)};"
        for i in (0, 1)
        for j in (0, 1)
    )
    text = f"""\
void {spec.name}({operands}, {y}_t *restrict y{scratch})
{{
{declared}\
    {loops}{{
{transposed}\
        for (int32_t row = 0; row < {rows}; row += 2) {{
            const int32_t i = ek_min(row, {last_row});
            const int8_t *pa = a{a_at} + i * {depth};
            int32_t sums[2];
{sums}
            for (int32_t column = 0; column < {columns}; column += 2) {{
                const int32_t j = ek_min(column, {last_column});
                const int8_t *pb = {right} + j * {depth};
                {y}_t *py = y + i * {columns} + j;
                int32_t acc[4] = {{sums[0], sums[0], sums[1], sums[1]}};
                {dot.name}(pa, pb, acc, {words}, {_pair(za)});
{tail}\
{results}
            }}
        }}
        y += {rows * columns};
    }}
}}
"""
    parts = {dot.name: dot.text(), total.name: total.text()}
    return Written(text, parts, 0 if p["transpose_b"] else depth * columns)


TEMPLATES = (Template("matmul_2x2", ("matmul",), _candidates, _write),)
