"""threshold and nms: what is made of scores and boxes."""

from __future__ import annotations

from codegen.kernel import (
    C_TYPES,
    Candidate,
    Cost,
    KernelSpec,
    Layer,
    NotApplicable,
    Operand,
    Template,
    Written,
)
from edgekit.ops.nms import iou_of
from edgekit.ops.threshold import least_integer


def _threshold(layer: Layer) -> list[Candidate]:
    x = layer.inputs[0]
    _quantized(layer)
    params = {
        "template": "threshold",
        "rows": layer.output.size,
        "classes": x.shape[-1],
        "least": least_integer(layer.node.attrs["value"], x),
    }
    operands = (
        Operand("x", x.dtype, x.size, "input"),
        Operand("y", "int32", layer.output.size, "output"),
    )
    spec = KernelSpec("threshold", "c99", operands, params)
    cost = Cost(6 * x.size + 12 * layer.output.size, 8 * x.size + 16 * layer.output.size)
    return [Candidate(spec, (x.name,), {}, cost=cost)]


def _quantized(layer: Layer) -> None:
    for x in layer.inputs:
        if x.dtype not in ("int8", "int16"):
            raise NotApplicable(f"{x.dtype} operands")


def _write_threshold(spec: KernelSpec) -> Written:
    p = spec.params
    kind = C_TYPES[spec.operands[0].dtype]
    text = f"""\
void {spec.name}(const {kind} *restrict x, int32_t *restrict y)
{{
    for (int32_t row = 0; row < {p["rows"]}; ++row, x += {p["classes"]}) {{
        int32_t best = 0;
        for (int32_t c = 1; c < {p["classes"]}; ++c) {{
            best = x[c] > x[best] ? c : best;
        }}
        const int32_t score = x[best];
        y[row] = score >= {p["least"]} ? best : -1;
    }}
}}
"""
    return Written(text, {}, 0)


def _nms(layer: Layer) -> list[Candidate]:
    boxes, scores = layer.inputs
    _quantized(layer)
    count, classes, most = boxes.shape[1], scores.shape[2], layer.output.shape[1]
    params = {
        "template": "nms",
        "count": count,
        "classes": classes,
        "most": most,
        "iou": iou_of(layer.node),
        "least": least_integer(layer.node.attrs["value"], scores),
    }
    operands = (
        Operand("boxes", boxes.dtype, boxes.size, "input"),
        Operand("scores", scores.dtype, scores.size, "input"),
        Operand("y", "int32", layer.output.size, "output"),
    )
    spec = KernelSpec("nms", "c99", operands, params)
    # Every box is looked at, and compared, once for each that is selected.
    steps = 6 * scores.size + 45 * count * most
    return [Candidate(spec, (boxes.name, scores.name), {}, cost=Cost(steps, steps * 5 // 4))]


def _write_nms(spec: KernelSpec) -> Written:
    p = spec.params
    box, score = (C_TYPES[o.dtype] for o in spec.operands[:2])
    count, classes = p["count"], p["classes"]
    parts = {
        "ek_side": """\
EK_INLINE int64_t ek_side(int32_t low, int32_t high)
{
    return high > low ? (int64_t)high - low : 0;
}
""",
        f"ek_overlap_{box}": f"""\
/* Whether two boxes overlap by more than iou / 2^15. */
static bool ek_overlap_{box}(const {box} *a, const {box} *b, int32_t iou)
{{
    const int64_t inner = ek_side(ek_max(a[0], b[0]), ek_min(a[2], b[2])) *
                          ek_side(ek_max(a[1], b[1]), ek_min(a[3], b[3]));
    const int64_t whole = ek_side(a[0], a[2]) * ek_side(a[1], a[3]) +
                          ek_side(b[0], b[2]) * ek_side(b[1], b[3]) - inner;
    return inner * 32768 > whole * iou;
}}
""",
    }
    text = f"""\
void {spec.name}(const {box} *restrict boxes, const {score} *restrict scores, int32_t *restrict y, void *restrict scratch)
{{
    int32_t *const best = (int32_t *)scratch; /* class of each box, -1 for none */
    for (int32_t i = 0; i < {count}; ++i) {{
        const {score} *const row = scores + i * {classes};
        int32_t at = 0;
        for (int32_t c = 1; c < {classes}; ++c) {{
            at = row[c] > row[at] ? c : at;
        }}
        const int32_t score = row[at];
        best[i] = score >= {p["least"]} ? at : -1;
    }}
    for (int32_t place = 0; place < {p["most"]}; ++place, y += 2) {{
        int32_t found = -1;
        for (int32_t i = 0; i < {count}; ++i) {{
            if (best[i] >= 0 && (found < 0 || scores[i * {classes} + best[i]] >
                                                  scores[found * {classes} + best[found]])) {{
                found = i;
            }}
        }}
        y[0] = found;
        y[1] = found < 0 ? -1 : best[found];
        for (int32_t i = 0; found >= 0 && i < {count}; ++i) {{
            if (best[i] == y[1] && (i == found || ek_overlap_{box}(boxes + 4 * i, boxes + 4 * found, {p["iou"]}))) {{
                best[i] = -1;
            }}
        }}
    }}
}}
"""  # noqa: E501
    return Written(text, parts, 4 * count)


TEMPLATES = (
    Template("threshold", ("threshold",), _threshold, _write_threshold),
    Template("nms", ("nms",), _nms, _write_nms),
)
