"""depthwise_conv2d by columns: four channels become columns of int16 pairs, then each its outputs.

All pixels of a channel that a call of the routine reads are in the buffer before it writes, and
bytes of a channel are overwritten by that channel's outputs only, so that the layer runs in place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from codegen.channels import analyse
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
from codegen.schedules._int4 import weight_bits
from codegen.thumb import columns, depthwise_columns, requant
from codegen.thumb.columns import CHANNELS, Rows
from codegen.thumb.depthwise_columns import Form
from codegen.thumb.taps import Taps

#: Bytes of a column in the buffer where the image is not higher: one text for most layers.
PITCH = 56


@dataclass(frozen=True)
class _Plan:
    """Sizes that the driver of a kernel depends on, from a spec's params."""

    p: dict[str, Any]

    @property
    def form(self) -> Form:
        p = self.p
        # A single row of outputs has no odd first rows, whatever the stride.
        stride = 2 if p["OH"] == 1 else p["strides"][0]
        return Form(Taps(*p["kernel"], stride), p["strides"][1], self.pitch, p["requant"],
                    p["requant_shift"])  # fmt: skip

    @property
    def padded(self) -> tuple[int, int]:
        """Rows and columns of the padded image that outputs read."""
        p = self.p
        stride_h, stride_w = p["strides"]
        return (
            (p["OH"] - 1) * stride_h + p["kernel"][0],
            (p["OW"] - 1) * stride_w + p["kernel"][1],
        )

    @property
    def pitch(self) -> int:
        needed = (self.padded[0] + 1) // 2 * 4
        return PITCH if needed <= PITCH else -(-needed // 8) * 8

    @property
    def rows(self) -> Rows:
        """Real rows of a column."""
        top = self.p["pads"][0]
        return Rows(top, max(min(self.p["H"], self.padded[0] - top), 0))

    @property
    def real_columns(self) -> int:
        return max(min(self.p["W"], self.padded[1] - self.p["pads"][1]), 0)

    @property
    def scratch_bytes(self) -> int:
        return self.padded[1] * CHANNELS * self.pitch

    @property
    def cost(self) -> Cost:
        p = self.p
        groups = p["C"] // CHANNELS
        each = depthwise_columns.cost(self.form, CHANNELS, p["OW"], p["OH"])
        each += self.rows.cost(self.pitch, self.real_columns)
        each += Cost(34, 45)
        fill = self.scratch_bytes // 4 * self.fills
        return groups * each + Cost(30 + fill * 5 // 4, 40 + fill * 2)

    @property
    def fills(self) -> bool:
        """Whether any output reads padding (or a row that nobody wrote, which is harmless)."""
        return any(p > 0 for p in self.p["pads"])


def _candidates(layer: Layer) -> list[Candidate]:
    kh, kw, out = layer.inputs[1].shape
    p = _window.params(layer, (kh, kw))
    if layer.types != {"x_dtype": "int8", "y_dtype": "int8"} or layer.node.attrs.get("float"):
        raise NotApplicable("activations are not int8")
    if weight_bits(layer) != 8:
        raise NotApplicable("weights have four bits")
    if p["C"] != out:
        raise NotApplicable("several outputs of one channel")
    if p["C"] % CHANNELS:
        raise NotApplicable(f"{p['C']} channels are no multiple of {CHANNELS}")
    if p["dilations"] != [1, 1]:
        raise NotApplicable("dilated taps")
    weights = np.ascontiguousarray(layer.constants[layer.inputs[1].name].transpose(2, 0, 1))
    channels = analyse(layer, weights.reshape(out, -1))
    rq = requant.plan(channels, channels.weights)
    params = {**p, **rq.params, "zx": channels.input_zero_point, "template": "depthwise_columns"}
    plan = _Plan(params)
    depthwise_columns.check(plan.form)
    scaled = channels.weights.reshape(out, kh, kw).astype(np.int64) * rq.scale[:, None, None]
    table = np.concatenate([plan.form.taps.pack(scaled), rq.triples], 1).astype(np.int32)
    in_place = layer.output.size <= layer.inputs[0].size
    spec = KernelSpec(
        "depthwise_conv2d",
        "thumb_dsp",
        (
            Operand("x", "int8", layer.inputs[0].size, "input", alias=in_place),
            Operand("w", "int32", table.size, "constant"),
            Operand("y", "int8", layer.output.size, "output", alias=in_place),
        ),
        params,
    )
    return [
        Candidate(spec, (layer.inputs[0].name,), {"w": table}, in_place=in_place, cost=plan.cost)
    ]


def _write(spec: KernelSpec) -> Written:
    plan = _Plan(spec.params)
    p, form, rows = plan.p, plan.form, plan.rows
    compute, load = depthwise_columns.routine(form), columns.transpose(plan.pitch)
    height, width, channels = p["OH"], p["OW"], p["C"]
    row, fours, twos = width * channels, height // 4, height % 4 // 2
    zero_pair = (p["zx"] & 0xFFFF) * 0x10001
    first = CHANNELS * plan.pitch * p["pads"][1] + rows.offset
    lines = ["int16_t *const buffer = (int16_t *)scratch;"]
    if plan.fills:
        lines += [
            f"for (int32_t i = 0; i < {plan.scratch_bytes // 4}; ++i) {{",
            f"    ((uint32_t *)scratch)[i] = 0x{zero_pair:x}u;",
            "}",
        ]
    lines.append(f"for (int32_t c = 0; c < {channels}; c += {CHANNELS}) {{")
    if rows.rows and plan.real_columns:
        lines.append(
            f"    {load.name}(x + c, buffer + {first // 2}, {p['W'] * channels}, {channels}, "
            f"{rows.parts}, {rows.fours}, {plan.real_columns});"
        )
    end = 4 * fours * row
    skip = form.column - fours * form.passed(4) - twos * form.passed(2)
    lines.append(
        f"    {compute.name}(buffer, w + c * {form.record}, y + c, {CHANNELS}, {3 * row}, {row}, "
        f"y + c + {end}, {channels}, y + c + {end + width * channels}, {skip}, "
        f"{channels - (4 * fours + 2 * twos) * row}, {plan.pitch - width * form.column}, "
        f"{1 - width * channels}, {depthwise_columns.parts(height)}, {p['zy']});"
    )
    lines.append("}")
    share = "" if spec.operands[0].alias else "restrict "
    text = (
        f"void {spec.name}(const int8_t *{share}x, const int32_t *restrict w, "
        f"int8_t *{share}y, void *restrict scratch)\n{{\n"
        + "".join(f"    {line}\n" for line in lines)
        + "}\n"
    )
    parts = {r.name: r.text() for r in (load, compute)}
    return Written(text, parts, plan.scratch_bytes)


TEMPLATES = (Template("depthwise_columns", ("depthwise_conv2d",), _candidates, _write),)
