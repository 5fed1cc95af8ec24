"""A canonical float graph as a plain, dense ONNX model.

ONNX convolves and pools in NCHW, our graphs are NHWC. A tensor of four axes is written in the form
that its operator makes, and a Transpose stands only where a reader needs the other form: at the
graph's borders, and where numbers are flattened. Importing the file gives the graph back.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgekit.errors import EdgekitError
from edgekit.exporters import onnx_attention
from edgekit.exporters.onnx_rnn import recurrent
from edgekit.exporters.writer import Form, Writer
from edgekit.graph import Graph, Node


def to_onnx(graph: Graph) -> Any:
    """The `onnx.ModelProto` of a canonical float graph.

    Inputs and outputs have the names and the layout that the graph's model file declared
    (``graph.metadata["layout"]``), float32, with a symbolic batch in front. Nodes and tensors keep
    their names. A depthwise convolution of one channel and a grouped one with one channel per
    group are the same thing in ONNX and are imported as the canonical one of the two.

    Raises:
        EdgekitError: E230 where the graph is quantized, E153 or E154 where it has layers that this
            writer cannot express.
    """
    integer = [
        v.name
        for v in graph.values.values()
        # Constants may be masks and indices.
        if v.quant is not None or (v.dtype != "float32" and not graph.is_constant(v.name))
    ]
    if integer:
        raise EdgekitError(
            "E230",
            f"'{graph.name}' is quantized ('{integer[0]}' is {graph.values[integer[0]].dtype}): "
            "only float graphs are written as ONNX",
            help="give the float model that it was made from",
        )
    missing = [n for n in graph.nodes if n.op not in WRITERS]
    if missing:
        kinds = sorted({n.op for n in missing})
        raise EdgekitError(
            "E154",
            f"'{graph.name}' has {len(missing)} layers that are not written as ONNX: "
            f"{', '.join(kinds)}",
            help="keep the model's own file",
            details=[f"'{n.name or n.output}' ({n.op})" for n in missing],
        )
    return Writer(graph).model(WRITERS)


def save_onnx(graph: Graph, path: Path) -> int:
    """Write the model of `to_onnx` to `path`; returns its size in bytes.

    The file appears under its name only when it is whole.

    Raises:
        EdgekitError: E230 as `to_onnx`, E704 where the file cannot be written.
    """
    from edgekit.toolchain.cache import write_atomic

    data: bytes = to_onnx(graph).SerializeToString()
    try:
        write_atomic(Path(path), data)
    except OSError as error:
        raise EdgekitError(
            "E704", f"cannot write '{path}': {error.strerror or error}", help="check the folder"
        ) from None
    return len(data)


# ---- one function per operator


def _conv(w: Writer, node: Node) -> None:
    x, weights, bias = node.inputs
    data = w.graph.constants[weights]
    if node.op == "depthwise_conv2d":
        data, groups = data.transpose(2, 0, 1)[:, None], w.graph.values[x].shape[3]
    else:
        data, groups = data.transpose(0, 3, 1, 2), node.attrs.get("groups", 1)
    operands = [w.get(x, "NCHW"), w.constant(weights, data), w.get(bias, "NHWC")]
    w.clamped(
        node,
        "Conv",
        operands,
        w.put(node.output, "NCHW"),
        kernel_shape=list(data.shape[2:]),
        strides=node.attrs.get("strides", [1, 1]),
        dilations=node.attrs.get("dilations", [1, 1]),
        pads=node.attrs.get("pads", [0, 0, 0, 0]),
        group=groups,
    )


def _pool(w: Writer, node: Node) -> None:
    op = "AveragePool" if node.op == "average_pool2d" else "MaxPool"
    w.clamped(
        node,
        op,
        [w.get(node.inputs[0], "NCHW")],
        w.put(node.output, "NCHW"),
        kernel_shape=node.attrs["kernel"],
        strides=node.attrs.get("strides", [1, 1]),
        pads=node.attrs.get("pads", [0, 0, 0, 0]),
    )


def _fully_connected(w: Writer, node: Node) -> None:
    operands = [w.get(name, "NHWC") for name in node.inputs]
    w.clamped(node, "Gemm", operands, w.put(node.output, "NHWC"), transB=1)


def _elementwise(w: Writer, node: Node) -> None:
    form = w.form_of(*node.inputs)
    operands = [w.get(name, form) for name in node.inputs]
    w.clamped(node, {"add": "Add", "mul": "Mul"}[node.op], operands, w.put(node.output, form))


def _clip(w: Writer, node: Node) -> None:
    form = w.form_of(node.inputs[0])
    w.clip(node, w.get(node.inputs[0], form), w.put(node.output, form), node.name or node.output)


def _softmax(w: Writer, node: Node) -> None:
    name, form = node.name or node.output, w.form_of(node.inputs[0])
    x = w.get(node.inputs[0], form)
    beta = node.attrs.get("beta", 1.0)
    if beta != 1.0:
        scaled = w.fresh(f"{node.output}:scaled")
        factor = w.constant(f"{node.output}:beta", np.asarray([beta], np.float32))
        w.emit("Mul", [x, factor], scaled, f"{name}:beta")
        x = scaled
    w.emit("Softmax", [x], w.put(node.output, form), name, axis=1 if form == "NCHW" else -1)


def _reshape(w: Writer, node: Node) -> None:
    x, shape = node.inputs[0], list(node.attrs["shape"])
    source = w.graph.values[x].shape
    # Where there is one channel or one pixel, both forms have the numbers in the same order.
    either = len(source) == 4 and (source[3] == 1 or source[1] * source[2] == 1)
    form: Form = w.form_of(x) if either else "NHWC"
    target = w.constant(f"{node.output}:shape", np.asarray([-1, *shape[1:]], np.int64))
    operands = [w.get(x, form), target]
    w.emit("Reshape", operands, w.put(node.output, "NHWC"), node.name or node.output)


def _transpose(w: Writer, node: Node) -> None:
    x, name = w.get(node.inputs[0], "NHWC"), node.name or node.output
    w.emit("Transpose", [x], w.put(node.output, "NHWC"), name, perm=list(node.attrs["perm"]))


WRITERS = {
    "conv2d": _conv,
    "depthwise_conv2d": _conv,
    "average_pool2d": _pool,
    "max_pool2d": _pool,
    "fully_connected": _fully_connected,
    "add": _elementwise,
    "mul": _elementwise,
    "clip": _clip,
    "softmax": _softmax,
    "reshape": _reshape,
    "transpose": _transpose,
    **onnx_attention.WRITERS,
    "lstm": recurrent,
    "gru": recurrent,
    "rnn": recurrent,
}
