"""What an operator is: shape rule, float meaning, integer meaning, and its cost in MACs."""

from __future__ import annotations

import math

import numpy as np

from edgekit.graph import Graph, GraphError, Node, Shape, Value
from edgekit.ops.convert import dequantize, quantize
from edgekit.ops.interval import Interval, full

Inferred = list[tuple[Shape, str]]
#: Dtypes of quantized activations.
INTEGERS = ("int8", "int16")


class Operator:
    """Base class. An operator is one subclass in one module with an ``OPERATOR`` instance.

    The first line of the class docstring is the operator's row in ``edgekit ops``.
    References take any batch size in the leading axis although graphs are bound to batch 1, so
    that calibration and evaluation run many samples at once.
    """

    name: str = ""
    #: Made by the compiler only: importers, exporters and users never see it.
    internal: bool = False

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        """Shapes and dtypes of the outputs; raises GraphError on illegal operands."""
        raise NotImplementedError

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        """The operator on float32 arrays."""
        raise NotImplementedError

    def reference_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        """The operator on integers, bit for bit as docs/SPEC.md defines it.

        `values` are the operands' values (with their quantization), `out` the result's.
        """
        raise NotImplementedError

    def reference_exact(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        """The operator on float32 arrays in the order of SPEC.md, "float32 layers", bit for bit.

        Element by element operators have one order only.
        """
        return self.reference_float(node, inputs)

    def interval(
        self, node: Node, operands: list[Interval], values: list[Value], out: Value
    ) -> Interval:
        """What `reference_int` can give per channel for operands within `operands`.

        An operator that says nothing of itself can give everything that its dtype holds.
        Convolutions and fully connected layers are in `edgekit.ops.accumulators`.
        """
        return full(out)

    def macs(self, node: Node, inputs: list[Value], out: Value) -> int:
        """Multiply-accumulates of one inference, padding included."""
        return 0

    @property
    def summary(self) -> str:
        return (self.__doc__ or "").strip().splitlines()[0]


def result_dtype(node: Node, x: Value) -> str:
    """The result's dtype: the attribute ``out_dtype``, or the operand's where it is absent."""
    return str(node.attrs.get("out_dtype", x.dtype))


def check_activation(node: Node, x: Value) -> str:
    """The result's dtype of an operator that takes float32, int8 or int16 and may convert integers.

    Raises:
        GraphError: for other dtypes, and where float32 would become an integer or the reverse in a
            layer that does not compute in float32.
    """
    out = result_dtype(node, x)
    known = ("float32", *INTEGERS)
    require(x.dtype in known, node, f"x must be float32, int8 or int16, not {x.dtype}")
    converts = {out, x.dtype} <= set(known if node.attrs.get("float") else INTEGERS)
    require(out == x.dtype or converts, node, f"{x.dtype} does not give {out}")
    return out


def clamp_of(node: Node) -> tuple[float, float]:
    """The fused activation as a real interval; an absent or None bound is infinite."""
    lo, hi = node.attrs.get("clamp") or (None, None)
    return (-math.inf if lo is None else lo, math.inf if hi is None else hi)


def clamp_float(node: Node, x: np.ndarray) -> np.ndarray:
    lo, hi = clamp_of(node)
    return x if (lo, hi) == (-math.inf, math.inf) else np.clip(x, lo, hi).astype(np.float32)


def window_out(size: int, kernel: int, stride: int, dilation: int, before: int, after: int) -> int:
    """Output length of a sliding window along one axis."""
    out = (size + before + after - dilation * (kernel - 1) - 1) // stride + 1
    if out < 1:
        raise GraphError(f"window of {kernel} (dilation {dilation}) does not fit into {size}")
    return out


def require(condition: bool, node: Node, message: str) -> None:
    if not condition:
        raise GraphError(f"'{node.name or node.op}' ({node.op}): {message}")


def node_macs(graph: Graph, node: Node) -> int:
    """Multiply-accumulates of one node, padding included."""
    from edgekit.ops import operator

    values = [graph.values[name] for name in node.inputs]
    return operator(node.op).macs(node, values, graph.values[node.output])


def run_node(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    """Evaluate one node on arrays: integer semantics where the result is quantized, else float.

    A layer of an integer graph that computes in float32 (attribute ``float``) converts its operands
    and its result.
    """
    from edgekit.ops import operator

    op = operator(node.op)
    out = graph.values[node.output]
    if node.attrs.get("float"):
        values = [graph.values[name] for name in node.inputs]
        y = op.reference_exact(
            node, [dequantize(v, x) for v, x in zip(values, inputs, strict=True)]
        )
        return y if out.quant is None else quantize(out, y)
    if out.quant is None:
        return op.reference_float(node, inputs)
    return op.reference_int(node, inputs, [graph.values[i] for i in node.inputs], out)
