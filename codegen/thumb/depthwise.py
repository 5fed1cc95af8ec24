"""depthwise_conv2d by columns: four channels become columns of int16 pairs, then each its outputs.

Where the whole width is in the buffer, all pixels of four channels are read before any of their
outputs is written, and bytes of a channel are overwritten by that channel's outputs only, so that
the layer runs in place. With a narrower buffer it does where outputs lie where their pixels were
(stride 1, the same size), or where the outputs of four channels wait in scratch until all is read.

Candidates differ in the buffer's width and in the weights: int16 pairs as they are multiplied, or
int8, which are unpacked once for each four channels. All layers of a model share the routines and
the driver; what is a layer's own are its sizes.
"""

from __future__ import annotations

import numpy as np

from codegen.channels import Channels, analyse
from codegen.kernel import (
    Candidate,
    KernelSpec,
    Layer,
    NotApplicable,
    Operand,
    Template,
    Written,
)
from codegen.schedules import _window
from codegen.schedules._int4 import weight_bits
from codegen.thumb import depthwise_columns, requant, unpack
from codegen.thumb.columns import CHANNELS
from codegen.thumb.depthwise_driver import Plan, driver
from codegen.thumb.requant import Requant

#: Columns of outputs at a time where the buffer shall be small.
NARROW = (8, 3, 2)
#: Narrow buffers are offered where scratch is at most this share of the whole one's.
LESS = 0.75
#: E of most layers of real models can be this one.
USUAL_SHIFT = 10


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
    channels = requant.settled(analyse(layer))
    rq = _requant(channels)
    by_tap = channels.weights.reshape(out, kh, kw)
    params = {**p, **rq.params, "zx": channels.input_zero_point, "template": "depthwise_columns"}
    found = []
    widths = [p["OW"], *(n for n in NARROW if n < p["OW"])]
    if (
        Plan({**params, "columns": widths[-1], "packed": False}).pitch
        < Plan({**params, "columns": widths[0], "packed": False}).pitch
    ):
        # An image higher than usual goes in strips, so that it has the usual routines.
        widths = widths[1:]
    for columns in widths:
        for packed in (False, True):
            plan = Plan({**params, "columns": columns, "packed": packed})
            plan.check()
            wide = Plan({**plan.p, "columns": widths[0]})
            if columns != widths[0] and plan.scratch_bytes > LESS * wide.scratch_bytes:
                continue
            depthwise_columns.check(plan.form)
            if packed:
                constants = unpack.pack(by_tap, rq)
            else:
                scaled = by_tap.astype(np.int64) * rq.scale[:, None, None]
                constants = np.concatenate([plan.form.taps.pack(scaled), rq.triples], 1)
            found.append(_candidate(layer, plan, constants.astype(np.int32)))
    return found


def _requant(channels: Channels) -> Requant:
    """The plan, with an E that is likely to be other layers' too."""
    rq = requant.plan(channels, channels.weights)
    if rq.form != "fast":
        return requant.fitted(channels, channels.weights, USUAL_SHIFT) or rq
    largest = np.abs(channels.weights.astype(np.int64)).max(1)
    last = requant.highest_shift(rq, channels.bound, largest)
    return requant.at_shift(rq, min(max(rq.shift, USUAL_SHIFT), last))


def _candidate(layer: Layer, plan: Plan, constants: np.ndarray) -> Candidate:
    x, y = layer.inputs[0], layer.output
    spec = KernelSpec(
        "depthwise_conv2d",
        "thumb_dsp",
        (
            Operand("x", "int8", x.size, "input", alias=plan.in_place),
            Operand("w", "int32", constants.size, "constant"),
            Operand("y", "int8", y.size, "output", alias=plan.in_place),
        ),
        plan.p,
    )
    note = f"{plan.columns} columns at a time" if plan.narrow else ""
    return Candidate(
        spec,
        (x.name,),
        {"w": constants},
        in_place=plan.in_place,
        note=note,
        cost=plan.cost,
    )


def _write(spec: KernelSpec) -> Written:
    plan = Plan(spec.params)
    parts = {r.name: r.text() for r in plan.routines}
    name, text = driver(plan)
    parts[name] = text
    unpacker = plan.unpacker.name if plan.unpacker else "NULL"
    values = ", ".join(map(str, plan.sizes))
    text = (
        f"void {spec.name}(const int8_t *x, const int32_t *w, int8_t *y, void *scratch)\n{{\n"
        f"    static const {plan.size_type} sizes[] = {{{values}}};\n"
        f"    {name}(x, w, y, (int32_t *)scratch, sizes, {plan.compute.name}, {unpacker});\n}}\n"
    )
    return Written(text, parts, plan.scratch_bytes)


TEMPLATES = (Template("depthwise_columns", ("depthwise_conv2d",), _candidates, _write),)
