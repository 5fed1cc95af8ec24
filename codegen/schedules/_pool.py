"""What average and max pooling share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from codegen.int8 import integers_only
from codegen.kernel import Candidate, KernelSpec, Layer, Operand
from codegen.overlap import sharing, window_steps
from codegen.schedules import _window
from edgekit.ops.requant import clamp_of_output


def select(op: str, layer: Layer) -> Candidate:
    integers_only(layer)
    kernel = layer.node.attrs["kernel"]
    spec = KernelSpec(
        op,
        "c99",
        (
            Operand("x", layer.inputs[0].dtype, layer.inputs[0].size, "input"),
            Operand("y", layer.output.dtype, layer.output.size, "output"),
        ),
        {
            **_window.params(layer, (kernel[0], kernel[1])),
            **layer.types,
            "tile": 1,
            "clamp": list(clamp_of_output(layer.node, layer.output)),
        },
    )
    steps = window_steps(spec.params, layer.output.nbytes, layer.output.shape[-1])
    return sharing(Candidate(spec, (layer.inputs[0].name,), {}), steps)


def schedule(
    p: dict[str, Any],
    reduce: Callable[[Any, list[Any]], Any],
    outside: int,
    finish: Callable[[Any, Any, Any], Any],
) -> Any:
    """Reduce each window, `outside` standing for padding, then `finish(value, oh, ow)`.

    `reduce` is a TE reducer; the reduced value is int32, the finished one of the result's dtype.
    """
    from tvm import s_tir, te

    from codegen.schedules.conv2d import AsInt32
    from codegen.tvm_api import int32

    x = te.placeholder((p["H"], p["W"], p["C"]), p["x_dtype"], name="x")
    kh = te.reduce_axis((0, p["kernel"][0]), "kh")
    kw = te.reduce_axis((0, p["kernel"][1]), "kw")

    def window(oh: Any, ow: Any, c: Any) -> Any:
        ih, iw = _window.row(p, oh, kh), _window.column(p, ow, kw)
        value = _window.pixel(p, AsInt32(x), ih, iw, c, int32(outside))
        return reduce(value, [kh, kw])

    acc = te.compute((p["OH"], p["OW"], p["C"]), window, name="acc")
    y = te.compute(acc.shape, lambda oh, ow, c: finish(acc[oh, ow, c], oh, ow), name="y")
    sch = s_tir.Schedule(te.create_prim_func([x, y]))
    block = sch.get_sblock("acc")
    sch.compute_at(block, sch.get_loops(sch.get_sblock("y"))[2], preserve_unit_loops=True)
    sch.decompose_reduction(block, sch.get_loops(block)[-2])
    return sch
