"""reduce: sums, means and extremes along other axes than that of the channels, of int8."""

from __future__ import annotations

from math import prod
from typing import Any

from codegen.gpu.emit import launch
from codegen.gpu.kernel import Maker, Place, Variant
from codegen.gpu.layers import _requant, _shapes
from codegen.gpu.layers.elements import bind_pixels
from codegen.kernel import Layer, NotApplicable
from edgekit.ops.reduce import axes_of, count_of, kind_of, reduce_params
from edgekit.ops.requant import require_same_quant, tensor_quant

EXTREMES = {"max": -128, "min": 127}


def variants(layer: Layer) -> list[Variant]:
    _shapes.require_int8(layer)
    node, x, out = layer.node, layer.inputs[0], layer.output
    kind, axes, rank = kind_of(node), axes_of(node), len(x.shape)
    if kind not in ("sum", "mean", *EXTREMES):
        raise NotApplicable(f"reduce {kind}")
    if not axes or rank - 1 in axes:
        raise NotApplicable(f"along axes {list(axes)} of {rank}")
    p: dict[str, Any] = {
        "kind": kind,
        "shape": list(x.shape),
        "axes": list(axes),
        "O": x.shape[-1],
        "blocks": _shapes.blocks(x.shape[-1]),
    }
    values = list(layer.inputs)
    if kind in EXTREMES:
        require_same_quant(node, values, out)
    else:
        scale = reduce_params(node, values, out)
        numbers = (scale.multiplier, scale.shift, tensor_quant(out)[1], scale.qmin, scale.qmax)
        p["requantize"] = [int(n) for n in numbers]
        p["bias"] = -tensor_quant(x)[1] * count_of(node, x)
    run = launch(f"reduce_{kind}", direct, p, (Place("input"), Place("output")))
    return [Variant("direct", (run,))]


def direct(p: dict[str, Any]) -> Any:
    """An item for four channels of a pixel of the result."""
    from tvm import s_tir, te, tirx

    from codegen.tvm_api import call

    shape, axes = p["shape"][:-1], p["axes"]
    kept = [i for i in range(len(shape)) if i not in axes]
    x = te.placeholder((p["blocks"], prod(shape)), "int8x4", name="x")
    along = {i: te.reduce_axis((0, shape[i]), f"r{i}") for i in axes}

    def pixel(q: Any) -> Any:
        """Where the elements of result pixel `q` lie."""
        places: dict[int, Any] = dict(along)
        for i in reversed(kept):
            places[i], q = (q % shape[i], q // shape[i]) if i != kept[0] else (q, 0)
        return sum(places[i] * prod(shape[i + 1 :]) for i in range(len(shape)))

    reduced = list(along.values())
    if p["kind"] in EXTREMES:
        dtype = "int8x4"
        extreme = te.comm_reducer(
            lambda a, b: call(dtype, p["kind"], a, b),
            lambda t: tirx.const(EXTREMES[p["kind"]], t),
        )
        acc = te.compute(
            (p["blocks"], prod(shape[i] for i in kept)),
            lambda b, q: extreme(x[b, pixel(q)], axis=reduced),
            name="acc",
        )
    else:
        dtype = "int32x4"
        acc = te.compute(
            (p["blocks"], prod(shape[i] for i in kept)),
            lambda b, q: te.sum(x[b, pixel(q)].astype(dtype), axis=reduced),
            name="acc",
        )
    y = te.compute(acc.shape, lambda b, q: _finish(p, acc[b, q], b), name="y")
    sch = s_tir.Schedule(te.create_prim_func([x, y]))
    block = sch.get_sblock("acc")
    sch.set_scope(block, 0, "local")
    sch.compute_at(block, sch.get_loops(sch.get_sblock("y"))[1], preserve_unit_loops=True)
    bind_pixels(sch, 1)
    sch.decompose_reduction(block, sch.get_loops(block)[-len(axes)])
    return sch


def _finish(p: dict[str, Any], acc: Any, block: Any) -> Any:
    from tvm import tirx

    from codegen.tvm_api import call, int32

    y = acc
    if "requantize" in p:
        multiplier, shift, *rest = p["requantize"]
        fours = (tirx.const(n, "int32x4") for n in (multiplier, shift))
        biased = acc + tirx.const(p["bias"], "int32x4")
        y = call("int8x4", "ek_requantize4", biased, *fours, *map(int32, rest))
    return _requant.lanes(y, block, p["O"])


MAKERS = (Maker("reductions", ("reduce",), variants),)
