"""Movement, reduction and window operators as TFLite's, for `tflm.to_tflite`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

from edgekit.graph import Graph, Node, Value
from edgekit.ops.pad import pad_value


@dataclass(frozen=True)
class Writer:
    """What a lowering uses: `integers(name, data)` and `constant(value, data)` are the indices of
    new constants, `emit(code, inputs, outputs, options)` adds an operator."""

    integers: Callable[[str, Any], int]
    constant: Callable[[Value, np.ndarray], int]
    emit: Callable[..., None]


Lowering = Callable[[Graph, Node, Writer, list[int], list[int]], None]


def _options(name: str, **fields: Any) -> Any:
    o = getattr(schema, name + "T")()
    for key, value in fields.items():
        assert hasattr(o, key), (name, key)
        setattr(o, key, value)
    return o


def _concat(g: Graph, node: Node, f: Writer, x: list[int], y: list[int]) -> None:
    f.emit("CONCATENATION", x, y, _options("ConcatenationOptions", axis=node.attrs["axis"]))


def _slice(g: Graph, node: Node, f: Writer, x: list[int], y: list[int]) -> None:
    a, shape = node.attrs, g.values[node.inputs[0]].shape
    out = g.values[node.output].shape
    if all(step == 1 for step in a["steps"]):
        f.emit("SLICE", [*x, f.integers("begin", a["starts"]), f.integers("size", out)], y)
        return
    ends, mask = [], 0
    for i, (stop, step) in enumerate(zip(a["stops"], a["steps"], strict=True)):
        ends.append(shape[i] if stop is None else stop)
        mask |= (stop is None) << i
        assert step
    extra = [f.integers(n, v) for n, v in
             (("begin", a["starts"]), ("end", ends), ("strides", a["steps"]))]  # fmt: skip
    options = _options("StridedSliceOptions", beginMask=0, endMask=mask, ellipsisMask=0,
                       newAxisMask=0, shrinkAxisMask=0)  # fmt: skip
    f.emit("STRIDED_SLICE", [*x, *extra], y, options)


def _pad(g: Graph, node: Node, f: Writer, x: list[int], y: list[int]) -> None:
    pads, mode = node.attrs["pads"], node.attrs["mode"]
    rank = len(pads) // 2
    amounts = f.integers("amounts", [[pads[i], pads[rank + i]] for i in range(rank)])
    if mode == "constant" and node.attrs.get("value"):
        value = replace(g.values[node.inputs[0]], name="value", shape=(1,))
        held = np.array([pad_value(node, value)], value.dtype)
        f.emit("PADV2", [*x, amounts, f.constant(value, held)], y, _options("PadV2Options"))
    elif mode == "constant":
        f.emit("PAD", [*x, amounts], y, _options("PadOptions"))
    else:
        options = _options("MirrorPadOptions", mode=0 if mode == "reflect" else 1)
        f.emit("MIRROR_PAD", [*x, amounts], y, options)


def _gather(g: Graph, node: Node, f: Writer, x: list[int], y: list[int]) -> None:
    a = node.attrs
    f.emit("GATHER", x, y, _options("GatherOptions", axis=a["axis"], batchDims=a["batch_dims"]))


def _gather_nd(g: Graph, node: Node, f: Writer, x: list[int], y: list[int]) -> None:
    f.emit("GATHER_ND", x, y, _options("GatherNdOptions"))


def _expand(g: Graph, node: Node, f: Writer, x: list[int], y: list[int]) -> None:
    f.emit("BROADCAST_TO", [*x, f.integers("shape", node.attrs["shape"])], y)


def _resize(g: Graph, node: Node, f: Writer, x: list[int], y: list[int]) -> None:
    a = node.attrs
    size = f.integers("size", a["size"][1:3])
    name = "ResizeNearestNeighbor" if a["mode"] == "nearest" else "ResizeBilinear"
    code = "RESIZE_NEAREST_NEIGHBOR" if a["mode"] == "nearest" else "RESIZE_BILINEAR"
    options = _options(
        name + "Options",
        alignCorners=a["coordinates"] == "align_corners",
        halfPixelCenters=a["coordinates"] == "half_pixel",
    )
    f.emit(code, [*x, size], y, options)


def _reduce(g: Graph, node: Node, f: Writer, x: list[int], y: list[int]) -> None:
    a = node.attrs
    code = {"sum": "SUM", "mean": "MEAN"}.get(a["kind"], f"REDUCE_{a['kind'].upper()}")
    options = _options("ReducerOptions", keepDims=a["keepdims"])
    f.emit(code, [*x, f.integers("axes", a["axes"])], y, options)


def _arg(g: Graph, node: Node, f: Writer, x: list[int], y: list[int]) -> None:
    kind = node.attrs["kind"].capitalize()
    options = _options(f"Arg{kind}Options", outputType=2)
    f.emit(f"ARG_{kind.upper()}", [*x, f.integers("axis", [node.attrs["axis"]])], y, options)


def _cumsum(g: Graph, node: Node, f: Writer, x: list[int], y: list[int]) -> None:
    a = node.attrs
    options = _options("CumsumOptions", exclusive=a["exclusive"], reverse=a["reverse"])
    f.emit("CUMSUM", [*x, f.integers("axis", [a["axis"]])], y, options)


def _conv_transpose(g: Graph, node: Node, f: Writer, x: list[int], y: list[int]) -> None:
    a = node.attrs
    shape = f.integers("shape", g.values[node.output].shape)
    strides = a["strides"]
    same = any(a["pads"]) or any(a["output_padding"])
    options = _options(
        "TransposeConvOptions", strideH=strides[0], strideW=strides[1], padding=0 if same else 1
    )
    f.emit("TRANSPOSE_CONV", [shape, x[1], x[0], x[2]], y, options)


LOWERINGS: dict[str, Lowering] = {
    "concat": _concat,
    "slice": _slice,
    "pad": _pad,
    "gather": _gather,
    "gather_nd": _gather_nd,
    "expand": _expand,
    "resize": _resize,
    "reduce": _reduce,
    "arg": _arg,
    "cumsum": _cumsum,
    "conv_transpose2d": _conv_transpose,
}
