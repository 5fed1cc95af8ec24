"""What an operator is: shape rule, float meaning, integer meaning, and its cost in MACs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal

import numpy as np

from edgekit.graph import Graph, GraphError, Node, Quant, Shape, Value
from edgekit.ops.convert import dequantize, quantize
from edgekit.ops.interval import Interval, full

Inferred = list[tuple[Shape, str]]
#: Whether operands are legal; the docstring is the sentence that users read where they are not.
Rule = Callable[[Node, list[Value]], bool]
#: Where the quantization of a result comes from; see `Operator.grid`.
Grid = Literal["own", "operand", "operands", "fixed"]
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
    #: What must hold of the operands, in the order in which it is checked.
    rules: tuple[Rule, ...] = ()
    #: The quantization of the result: "own" is calibrated, "operand" is the first operand's (the
    #: operator moves or compares integers), "operands" is one for all activations and the result
    #: wherever that can be, "fixed" is what `fixed_quant` says.
    grid: Grid = "own"
    #: Reads int8 and int16 in any mixture and writes either (attribute ``out_dtype``); False: all
    #: activations and the result have one dtype.
    converts: bool = False

    def checked(self, node: Node, inputs: list[Value]) -> Inferred:
        """`infer` once every rule holds; GraphError with the sentence of one that does not."""
        for rule in self.rules:
            if not rule(node, inputs):
                found = ", ".join(f"{v.dtype}{list(v.shape)}" for v in inputs)
                require(False, node, f"{sentence(rule)} (operands: {found})")
        return self.infer(node, inputs)

    def fixed_quant(self, node: Node, dtype: str) -> Quant:
        """The quantization of the result where `grid` is "fixed"."""
        raise NotImplementedError

    def grid_for(self, node: Node) -> Grid:
        """`grid` of one node; kinds of an operator may differ in it."""
        return self.grid

    def keeps_range(self, node: Node) -> bool:
        """Where the grid is "operand": whether no result is beyond the numbers of that operand and
        zero."""
        return True

    def batched(self, node: Node, values: list[Value]) -> bool:
        """Whether samples may be computed together along the leading axis of 1 that all
        activations have; False for an operator that works along that axis."""
        return True

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

    def evaluate_float(self, node: Node, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """Every result on float32 arrays; operators with several results override this."""
        return [self.reference_float(node, inputs)]

    def evaluate_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], outs: list[Value]
    ) -> list[np.ndarray]:
        """Every result on integers; operators with several results override this."""
        return [self.reference_int(node, inputs, values, outs[0])]

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

    def inner_ranges(self, node: Node, inputs: list[np.ndarray]) -> dict[str, tuple[float, float]]:
        """Extremes (lo, hi) on float32 operands of quantities inside the operator whose scales its
        integer form needs; calibration collects them over all samples."""
        return {}

    def wide(self, node: Node) -> tuple[str, ...]:
        """Tensors of the node that are int16 whatever width its other tensors have."""
        return ()

    def ties(self, node: Node) -> tuple[tuple[str, ...], ...]:
        """Sets of tensors of the node that have one quantization, beyond what `grid` says."""
        return ()

    def inner_quants(
        self, node: Node, ranges: Mapping[str, tuple[float, float]]
    ) -> dict[str, Quant]:
        """The quantization of tensors of the node that `inner_ranges` decide."""
        return {}

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


def clamp_exact(node: Node, x: np.ndarray) -> np.ndarray:
    """`clamp_float` in the order of comparisons that C has, which is seen in the sign of a zero."""
    lo, hi = clamp_of(node)
    y = np.where(x < np.float32(lo), np.float32(lo), x)
    return np.asarray(np.where(y > np.float32(hi), np.float32(hi), y), np.float32)


def window_out(size: int, kernel: int, stride: int, dilation: int, before: int, after: int) -> int:
    """Output length of a sliding window along one axis."""
    out = (size + before + after - dilation * (kernel - 1) - 1) // stride + 1
    if out < 1:
        raise GraphError(f"window of {kernel} (dilation {dilation}) does not fit into {size}")
    return out


def require(condition: bool, node: Node, message: str) -> None:
    if not condition:
        raise GraphError(f"'{node.name or node.op}' ({node.op}): {message}")


def sentence(rule: Callable[..., object]) -> str:
    """What a function's docstring says, on one line and without a full stop."""
    return " ".join((rule.__doc__ or rule.__name__).split()).rstrip(".")


def node_macs(graph: Graph, node: Node) -> int:
    """Multiply-accumulates of one node, padding included."""
    from edgekit.ops import operator

    values = [graph.values[name] for name in node.inputs]
    return operator(node.op).macs(node, values, graph.values[node.output])


def run_node(graph: Graph, node: Node, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """Evaluate one node on arrays: integer semantics where a result is quantized, else float.

    A node whose results have no quantization (indices, truth values) computes in integers where an
    operand is quantized. A layer of an integer graph that computes in float32 (attribute ``float``)
    converts its operands and its result.
    """
    from edgekit.ops import operator

    op = operator(node.op)
    values, outs = [graph.values[i] for i in node.inputs], [graph.values[o] for o in node.outputs]
    if node.attrs.get("float"):
        plain = replace(node, attrs={k: v for k, v in node.attrs.items() if k != "clamp"})
        reals = [dequantize(v, x) for v, x in zip(values, inputs, strict=True)]
        y = clamp_exact(node, op.reference_exact(plain, reals))
        return [y if outs[0].quant is None else quantize(outs[0], y)]
    if any(v.dtype == "float32" for v in (*values, *outs)):
        return op.evaluate_float(node, inputs)
    return op.evaluate_int(node, inputs, values, outs)
