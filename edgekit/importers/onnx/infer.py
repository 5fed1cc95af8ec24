"""Shapes of all tensors of an ONNX file, by ONNX's own shape inference.

Only used behind a node that cannot be imported, so that the nodes behind it can be judged too.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgekit.importers.common import MAX_ELEMENTS, printable
from edgekit.importers.onnx.read import OnnxModel

Known = dict[str, tuple[tuple[int, ...], str]]
#: Larger initializers are no shapes; inference gets only their own shape.
LARGE = 1024
#: No tensor has as many axes.
MAX_AXES = 64


def shapes_of(model: OnnxModel) -> Known:
    """(shape, dtype) of every tensor of static shape; empty where inference fails."""
    import onnx

    try:
        small = _without_data(model.proto)
        for v in small.graph.input:
            shape = model.inputs.get(printable(v.name))
            for d, size in zip(v.type.tensor_type.shape.dim, shape or (), strict=False):
                d.dim_value = size
        done = onnx.shape_inference.infer_shapes(small, data_prop=True)
    except Exception:  # any fault of the file; it is reported from elsewhere
        return {}
    known: Known = {}
    for v in (*done.graph.value_info, *done.graph.output):
        dims = v.type.tensor_type.shape.dim
        shape = tuple(d.dim_value for d in dims)
        if not v.type.tensor_type.HasField("shape") or min(shape, default=1) < 1:
            continue
        if np.prod(shape, dtype=float) <= MAX_ELEMENTS:
            known[printable(v.name)] = (shape, _dtype(v.type.tensor_type.elem_type))
    return known


def check_node(model: Any, node: Any) -> None:
    """ONNX's check of one node against its schema; raises all kinds.

    Shape inference needs it: that is C++ which trusts its input. An If without branches ends the
    process, an axis of minus two thousand million makes it count down to there.
    """
    import onnx

    for a in node.attribute:
        if a.name in ("axis", "axes") and any(abs(i) > MAX_AXES for i in (a.i, *a.ints)):
            raise ValueError(f"'{printable(a.name)}' is beyond {MAX_AXES} axes")
    context = onnx.checker.DEFAULT_CONTEXT.__class__()
    context.ir_version = model.ir_version
    context.opset_imports = {o.domain: o.version for o in model.opset_import}
    onnx.checker.check_node(node, context)


def _is_legal(model: Any, node: Any) -> bool:
    try:
        check_node(model, node)
    except Exception:  # its fault is reported from elsewhere; shapes behind it stay unknown
        return False
    return True


def _dtype(kind: int) -> str:
    import onnx

    try:
        return str(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind)))
    except (KeyError, ValueError, TypeError):
        return ""


def _without_data(proto: Any) -> Any:
    """The model with large initializers turned into inputs of their shape.

    It has no outputs: what the file declares of them need not be complete, and is inferred.
    """
    import onnx

    result = onnx.ModelProto()
    result.ir_version = proto.ir_version
    result.opset_import.extend(proto.opset_import)
    domains = {o.domain for o in proto.opset_import}
    for domain in {n.domain for n in proto.graph.node} - domains - {"", "ai.onnx"}:
        result.opset_import.add(domain=domain, version=1)
    result.functions.extend(proto.functions)
    result.graph.name = "shapes"
    result.graph.node.extend(n for n in proto.graph.node if _is_legal(result, n))
    result.graph.input.extend(proto.graph.input)
    declared = {v.name for v in proto.graph.input}
    for t in proto.graph.initializer:
        external = t.data_location == onnx.TensorProto.EXTERNAL
        if not external and np.prod(t.dims, dtype=float) <= LARGE:
            result.graph.initializer.append(t)
        elif t.name not in declared:
            result.graph.input.append(
                onnx.helper.make_tensor_value_info(t.name, t.data_type, list(t.dims))
            )
    return result
