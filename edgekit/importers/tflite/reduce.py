"""Reductions of TFLite: sums, means and extremes along axes, and where they lie."""

from __future__ import annotations

from edgekit.importers.common import Refused
from edgekit.importers.tflite.builder import TfliteBuilder, handles
from edgekit.importers.tflite.read import TfliteNode

KINDS = {
    "MEAN": "mean", "SUM": "sum", "REDUCE_MAX": "max", "REDUCE_MIN": "min", "REDUCE_PROD": "prod",
    "REDUCE_ANY": "any", "REDUCE_ALL": "all",
}  # fmt: skip


def _reduce(b: TfliteBuilder, node: TfliteNode) -> None:
    import tflite

    rank = len(b.value(b.x(node)).shape)
    axes = sorted({b.axis(node, a, rank) for a in b.integers(node, 1, "axes")})
    keepdims = bool(node.option(tflite.ReducerOptions, "KeepDims", False))
    attrs = {"kind": KINDS[node.op], "axes": axes, "keepdims": keepdims}
    b.finish(node, "reduce", [b.x(node)], attrs)


@handles("MEAN", "SUM")
def mean_or_sum(b: TfliteBuilder, node: TfliteNode) -> None:
    """float32, int8 or int16 and constant axes."""
    _reduce(b, node)


@handles("REDUCE_MAX", "REDUCE_MIN")
def extreme(b: TfliteBuilder, node: TfliteNode) -> None:
    """Constant axes; integers keep the operand's scale."""
    b.same_quant(node)
    _reduce(b, node)


@handles("REDUCE_PROD")
def product(b: TfliteBuilder, node: TfliteNode) -> None:
    """float32 and constant axes."""
    if not b.floating:
        raise Refused("it multiplies integers, float32 is supported")
    _reduce(b, node)


@handles("REDUCE_ANY", "REDUCE_ALL")
def truth(b: TfliteBuilder, node: TfliteNode) -> None:
    """Truth values and constant axes."""
    _reduce(b, node)


@handles("ARG_MAX", "ARG_MIN")
def arg(b: TfliteBuilder, node: TfliteNode) -> None:
    """A constant axis; the first of equal elements, as int32."""
    [axis] = b.integers(node, 1, "axis")
    axis = b.axis(node, axis, len(b.value(b.x(node)).shape))
    kind = "max" if node.op == "ARG_MAX" else "min"
    b.finish(node, "arg", [b.x(node)], {"kind": kind, "axis": axis, "keepdims": False})


@handles("TOPK_V2")
def top_k(b: TfliteBuilder, node: TfliteNode) -> None:
    """A constant k, along the last axis; the first of equal elements."""
    [k] = b.integers(node, 1, "k")
    x = b.value(b.x(node))
    values, places = (b.result(node, i, 2) for i in (0, 1))
    attrs = {"k": k, "axis": len(x.shape) - 1, "largest": True, "sorted": True}
    if b.quant_of(values) != x.quant:
        raise Refused("its input and output differ in scale or zero point")
    outs, quants = [values.name, places.name], [x.quant, None]
    names = b.emit_all("top_k", [x.name], attrs, node=node.name, outs=outs, quants=quants)
    for i, name in enumerate(names):
        b.take(node, name, i)


@handles("CUMSUM")
def cumsum(b: TfliteBuilder, node: TfliteNode) -> None:
    """A constant axis, exclusive or not, from either end."""
    import tflite

    [axis] = b.integers(node, 1, "axis")
    attrs = {
        "axis": b.axis(node, axis, len(b.value(b.x(node)).shape)),
        "exclusive": bool(node.option(tflite.CumsumOptions, "Exclusive", False)),
        "reverse": bool(node.option(tflite.CumsumOptions, "Reverse", False)),
        "as_tflite": True,
    }
    b.finish(node, "cumsum", [b.x(node)], attrs)
