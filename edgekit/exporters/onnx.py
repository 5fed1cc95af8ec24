"""A canonical float graph as a plain, dense ONNX model.

ONNX convolves and pools in NCHW, our graphs are NHWC. A tensor of four axes is written in the form
that its operator makes, and a Transpose stands only where a reader needs the other form: at the
graph's borders, and where numbers are flattened. Importing the file gives the graph back.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edgekit.errors import EdgekitError
from edgekit.exporters import onnx_attention
from edgekit.exporters.onnx_rnn import recurrent
from edgekit.graph import Graph, Node
from edgekit.ops.base import clamp_of

OPSET = 17
IR_VERSION = 8
#: The symbolic first axis of inputs and outputs: every operator takes any number of samples.
BATCH = "batch"
Form = Literal["NHWC", "NCHW"]
PERM: dict[Form, list[int]] = {"NCHW": [0, 3, 1, 2], "NHWC": [0, 2, 3, 1]}  # to that form


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
    return _Writer(graph).model()


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


class _Writer:
    """Appends ONNX nodes; knows under which name each tensor exists in which form."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.layout = graph.metadata.get("layout", {})
        self.nodes: list[Any] = []
        self.initializers: dict[str, Any] = {}
        #: ONNX names of our values by form; values without four axes have NHWC alone.
        self.names: dict[str, dict[Form, str]] = {}
        self.taken = set(graph.values)
        self.node_names: set[str] = set()

    def model(self) -> Any:
        from onnx import TensorProto, helper

        import edgekit

        graph = self.graph
        for name in graph.inputs:
            self.names[name] = {self.declared(name): name}
        for node in graph.nodes:
            WRITERS[node.op](self, node)
        for name in graph.outputs:
            self.get(name, self.declared(name))
        inputs, outputs = (
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, self.declared_shape(n)) for n in s]
            for s in (graph.inputs, graph.outputs)
        )
        body = helper.make_graph(
            self.nodes, graph.name, inputs, outputs, list(self.initializers.values())
        )
        return helper.make_model(
            body,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="edgekit",
            producer_version=edgekit.__version__,
        )

    # ---- forms

    def rank(self, name: str) -> int:
        return len(self.graph.values[name].shape)

    def declared(self, name: str) -> Form:
        """The form in which the file declares an input or output."""
        return "NCHW" if self.rank(name) == 4 and self.layout.get(name) == "NCHW" else "NHWC"

    def declared_shape(self, name: str) -> list[str | int]:
        from edgekit.data import declared_shape

        return [BATCH, *declared_shape(self.graph, name)[1:]]

    def fresh(self, name: str) -> str:
        return _unique(name, self.taken)

    def get(self, name: str, form: Form) -> str:
        """The ONNX name of a value in a form; a Transpose is appended where it must be."""
        if name in self.graph.constants:
            return self.constant(name, self.in_form(self.graph.constants[name], form))
        known = self.names[name]
        form = form if self.rank(name) == 4 else "NHWC"
        if form not in known:
            other = next(iter(known.values()))
            known[form] = self.result_name(name, form)
            name = f"{known[form]}:transpose"
            self.emit("Transpose", [other], known[form], name, perm=PERM[form])
        return known[form]

    def result_name(self, name: str, form: Form) -> str:
        """The plain name is for the declared form of an output, else for the first form made."""
        if name in self.graph.outputs:
            free = form == self.declared(name)
        else:
            free = not self.names.get(name)
        return name if free else self.fresh(f"{name}:{form.lower()}")

    def put(self, name: str, form: Form) -> str:
        """The ONNX name under which a node stores the value, in that form."""
        form = form if self.rank(name) == 4 else "NHWC"
        self.names[name] = {}
        self.names[name][form] = self.result_name(name, form)
        return self.names[name][form]

    def form_of(self, *names: str) -> Form:
        """The form in which elementwise operators go on: NCHW where an operand is so already."""
        dynamic = [n for n in names if n not in self.graph.constants]
        nchw = any("NCHW" in self.names[n] and n not in self.graph.inputs for n in dynamic)
        return "NCHW" if nchw and all(self.rank(n) == 4 for n in dynamic) else "NHWC"

    @staticmethod
    def in_form(data: np.ndarray, form: Form) -> np.ndarray:
        """A constant that broadcasts against a tensor of four axes in the form."""
        if form == "NHWC" or data.size == 1:
            return data
        return data.reshape((1,) * (4 - data.ndim) + data.shape).transpose(PERM["NCHW"])

    # ---- pieces

    def constant(self, name: str, data: np.ndarray) -> str:
        """An initializer called `name`, or a name made from it where that one holds other data."""
        from onnx import numpy_helper

        data = np.ascontiguousarray(data)
        tensor = numpy_helper.from_array(data, name)
        if name in self.initializers and self.initializers[name] != tensor:
            name = self.fresh(name)
            tensor = numpy_helper.from_array(data, name)
        self.taken.add(name)
        self.initializers[name] = tensor
        return name

    def emit(self, op: str, inputs: list[str], output: str, name: str, **attrs: Any) -> None:
        self.emit_all(op, inputs, [output], name, **attrs)

    def emit_all(
        self, op: str, inputs: list[str], outputs: list[str], name: str, **attrs: Any
    ) -> None:
        from onnx import helper

        # The standard lets two nodes have one name, onnxruntime does not.
        name = _unique(name, self.node_names)
        self.nodes.append(helper.make_node(op, inputs, outputs, name, **attrs))

    def clamped(
        self, node: Node, op: str, inputs: list[str], output: str, name: str = "", **attrs: Any
    ) -> None:
        """The node, and behind it its fused activation."""
        name = name or node.name or node.output
        if clamp_of(node) == (-math.inf, math.inf):
            self.emit(op, inputs, output, name, **attrs)
            return
        linear = self.fresh(f"{node.output}:linear")
        self.emit(op, inputs, linear, name, **attrs)
        self.clip(node, linear, output, f"{name}:activation")

    def clip(self, node: Node, x: str, output: str, name: str) -> None:
        lo, hi = clamp_of(node)
        if (lo, hi) == (0, math.inf):
            self.emit("Relu", [x], output, name)
            return
        bounds = [
            ""
            if math.isinf(bound)
            else self.constant(f"{node.output}:{side}", np.asarray(bound, np.float32))
            for side, bound in (("min", lo), ("max", hi))
        ]
        self.emit("Clip", [x, *bounds] if bounds[1] else [x, bounds[0]], output, name)


def _unique(name: str, taken: set[str]) -> str:
    """`name`, with a number behind it where it is taken; the result is taken from now on."""
    candidate, i = name, 1
    while candidate in taken:
        i += 1
        candidate = f"{name}_{i}"
    taken.add(candidate)
    return candidate


# ---- one function per operator


def _conv(w: _Writer, node: Node) -> None:
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


def _pool(w: _Writer, node: Node) -> None:
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


def _fully_connected(w: _Writer, node: Node) -> None:
    operands = [w.get(name, "NHWC") for name in node.inputs]
    w.clamped(node, "Gemm", operands, w.put(node.output, "NHWC"), transB=1)


def _elementwise(w: _Writer, node: Node) -> None:
    form = w.form_of(*node.inputs)
    operands = [w.get(name, form) for name in node.inputs]
    w.clamped(node, {"add": "Add", "mul": "Mul"}[node.op], operands, w.put(node.output, form))


def _clip(w: _Writer, node: Node) -> None:
    form = w.form_of(node.inputs[0])
    w.clip(node, w.get(node.inputs[0], form), w.put(node.output, form), node.name or node.output)


def _softmax(w: _Writer, node: Node) -> None:
    name, form = node.name or node.output, w.form_of(node.inputs[0])
    x = w.get(node.inputs[0], form)
    beta = node.attrs.get("beta", 1.0)
    if beta != 1.0:
        scaled = w.fresh(f"{node.output}:scaled")
        factor = w.constant(f"{node.output}:beta", np.asarray([beta], np.float32))
        w.emit("Mul", [x, factor], scaled, f"{name}:beta")
        x = scaled
    w.emit("Softmax", [x], w.put(node.output, form), name, axis=1 if form == "NCHW" else -1)


def _reshape(w: _Writer, node: Node) -> None:
    x, shape = node.inputs[0], list(node.attrs["shape"])
    source = w.graph.values[x].shape
    # Where there is one channel or one pixel, both forms have the numbers in the same order.
    either = len(source) == 4 and (source[3] == 1 or source[1] * source[2] == 1)
    form: Form = w.form_of(x) if either else "NHWC"
    target = w.constant(f"{node.output}:shape", np.asarray([-1, *shape[1:]], np.int64))
    operands = [w.get(x, form), target]
    w.emit("Reshape", operands, w.put(node.output, "NHWC"), node.name or node.output)


def _transpose(w: _Writer, node: Node) -> None:
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
