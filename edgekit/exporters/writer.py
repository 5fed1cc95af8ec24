"""An ONNX model being written: nodes, initializers, and which form of a tensor there is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from edgekit.graph import Graph, Node
from edgekit.ops.base import clamp_of
from edgekit.version import __version__

OPSET = 17
IR_VERSION = 8
#: The symbolic first axis of inputs and outputs: every operator takes any number of samples.
BATCH = "batch"
Form = Literal["NHWC", "NCHW"]
PERM: dict[Form, list[int]] = {"NCHW": [0, 3, 1, 2], "NHWC": [0, 2, 3, 1]}  # to that form


class Writer:
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

    def model(self, writers: Mapping[str, Callable[[Writer, Node], None]]) -> Any:
        """The whole model, each node written by the function for its operator."""
        from onnx import TensorProto, helper

        graph = self.graph
        for name in graph.inputs:
            self.names[name] = {self.declared(name): name}
        for node in graph.nodes:
            writers[node.op](self, node)
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
            producer_version=__version__,
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
