"""The graph builder of the TFLite importer, which knows tensors by their index in the file.

Nodes whose operands are all constants are evaluated at once, by the same references that run
graphs: shapes that a file computes at run time become constants like any other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edgekit.graph import GraphError, Quant
from edgekit.importers.common import Builder, Refused, invalid
from edgekit.importers.tflite.read import Subgraph, Tensor, TfliteModel, TfliteNode
from edgekit.importers.tflite.variables import Variables
from edgekit.ops.base import INTEGERS, run_node
from edgekit.ops.requant import PARAMETERS

#: Elements up to which a node is run once on zeros to see whether it can be.
MOST_TRIED = 1 << 18
#: Elements of a constant that is computed when a file is read, and nodes and tensors that
#: subgraphs add in place of the operators that call them: a small file may ask for any number.
MOST_FOLDED, MOST_INLINED = 1 << 20, 10000
Handler = Callable[["TfliteBuilder", TfliteNode], None]
HANDLERS: dict[str, Handler] = {}


def handles(*ops: str) -> Callable[[Handler], Handler]:
    """Register a function as the importer of these TFLite operators.

    The first sentence of its docstring says what is accepted: a row in docs/OPERATORS.md.
    """

    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(ops, handler))
        return handler

    return register


class TfliteBuilder(Builder):
    """Appends the nodes of a file's subgraph to a graph."""

    def __init__(self, model: TfliteModel) -> None:
        super().__init__(model.name)
        self.subgraphs = model.subgraphs
        self.tensors = list(model.subgraphs[0].tensors)
        self.reserved.update(t.name for t in self.tensors)
        #: Name in the graph of each tensor that an input, a constant or a node has made.
        self.names: dict[int, str] = {}
        #: Whether the file computes in float32.
        self.floating = False
        self.variables = Variables()
        #: How many subgraphs have been entered, and what they have added.
        self.depth = self.inlined = 0

    # ---- what the file says of a tensor

    def kind_of(self, tensor: Tensor) -> tuple[str, Quant | None]:
        """dtype and quantization in the graph of an activation or a constant operand.

        Raises:
            Refused: where no value of a graph is like that.
        """
        if tensor.dtype in INTEGERS and not self.floating:
            return tensor.dtype, check_quantized(tensor)
        if tensor.dtype in ("int32", "int64") and tensor.quant is None:
            return "int32", None
        if tensor.dtype == "bool":
            return "bool", None
        if tensor.dtype == "float32" and self.floating:
            return "float32", None
        raise Refused(
            f"'{tensor.name}' is {tensor.dtype}"
            + (" in a model that computes in float32" if self.floating else
               ", quantized int8 or int16 is supported")
        )  # fmt: skip

    def quant_of(self, tensor: Tensor) -> Quant | None:
        """The quantization of an activation, None where it holds other numbers."""
        return self.kind_of(tensor)[1]

    def tensor(self, node: TfliteNode, index: int) -> Tensor | None:
        """Operand `index`, None where it is absent."""
        if index >= len(node.inputs) or node.inputs[index] < 0:
            return None
        return self.tensors[node.inputs[index]]

    def operand(self, node: TfliteNode, index: int) -> Tensor:
        """Operand `index`, which must be there."""
        tensor = self.tensor(node, index)
        if tensor is None:
            raise invalid(f"'{node.name}' ({node.op}) has no operand {index}")
        return tensor

    def constant_operand(self, node: TfliteNode, index: int, what: str) -> Tensor:
        """Operand `index`, which must be known at compile time."""
        tensor = self.tensor(node, index)
        if tensor is None or tensor.data is None:
            raise Refused(f"its {what} must be a constant")
        return tensor

    def integers(self, node: TfliteNode, index: int, what: str) -> list[int]:
        """The integers of a constant operand: axes, sizes, amounts of padding."""
        data = self.constant_operand(node, index, what).data
        assert data is not None
        if data.dtype.kind not in "iu":
            raise invalid(f"'{node.name}' ({node.op}): its {what} are {data.dtype}, not integers")
        return [int(i) for i in data.reshape(-1)]

    def axis(self, node: TfliteNode, axis: int, rank: int) -> int:
        """`axis` counted from the front; negative ones count from behind."""
        if not -rank <= axis < rank:
            raise invalid(f"'{node.name}' ({node.op}): axis {axis} of {rank} axes")
        return axis % rank

    # ---- operands and results

    def x(self, node: TfliteNode, index: int = 0) -> str:
        """The graph's name of operand `index`, an activation or a constant."""
        tensor, at = self.operand(node, index), node.inputs[index]
        if at not in self.names:
            if tensor.data is None:
                raise invalid(f"'{node.name}' ({node.op}) reads '{tensor.name}', not made yet")
            self.names[at] = self.constant_of(tensor)
        return self.names[at]

    def constant_of(self, tensor: Tensor) -> str:
        """A constant of the graph with the data of `tensor`, for elementwise operands."""
        data, quant = tensor.data, None
        assert data is not None
        if self.floating and (tensor.dtype == "float16" or tensor.dtype in INTEGERS):
            data = reals(tensor)
        else:
            dtype, quant = self.kind_of(tensor)
            if tensor.dtype == "int64" and (np.abs(data) > np.iinfo(np.int32).max).any():
                raise Refused(f"'{tensor.name}' holds integers that int32 does not")
            data = data.astype(dtype)
        data = data if data.ndim else data.reshape(1)
        return self.constant(f"{tensor.name}:data", data, quant)

    def result(self, node: TfliteNode, index: int = 0, count: int = 1) -> Tensor:
        """Result `index` of a node that must have `count` of them."""
        if len(node.outputs) != count or min(node.outputs) < 0:
            raise invalid(
                f"'{node.name}' ({node.op}) has {len(node.outputs)} results, {count} is needed"
                if count == 1
                else f"'{node.name}' ({node.op}) has {len(node.outputs)} results, {count} are "
                "needed"
            )
        return self.tensors[node.outputs[index]]

    def finish(
        self,
        node: TfliteNode,
        op: str,
        inputs: Sequence[str],
        attrs: dict[str, Any],
        result: int = 0,
    ) -> None:
        """Append the node that makes the file's result, and compare its shape with the file's."""
        out = self.result(node, result, len(node.outputs))
        if out.name in self.graph.values:
            raise invalid(f"'{out.name}' is made twice")
        quant = self.quant_of(out)
        self.emit(op, inputs, attrs, node=node.name, out=out.name, quant=quant)
        self.take(node, out.name, result)

    def take(self, node: TfliteNode, name: str, result: int = 0) -> None:
        """Let value `name` of the graph be a result of the file's node.

        Raises:
            EdgekitError: E103 where the file says another shape or dtype.
        """
        out = self.result(node, result, len(node.outputs))
        value, (dtype, _) = self.value(name), self.kind_of(out)
        if value.shape != out.shape and (out.shape or value.size != 1):
            raise invalid(
                f"'{node.name}' gives {list(value.shape)}, the file says {list(out.shape)}"
            )
        if value.dtype != dtype:
            raise invalid(f"'{node.name}' gives {value.dtype}, the file says {out.dtype}")
        self.names[node.outputs[result]] = name
        if self.graph.is_constant(name):
            data = self.graph.constants[name].reshape(out.shape)
            self.tensors[node.outputs[result]] = replace(out, data=data)

    @staticmethod
    def check_folded(shape: Sequence[int]) -> None:
        """Refuse a computed constant of absurd size before it takes memory."""
        if math.prod(shape) > MOST_FOLDED:
            raise Refused(
                f"it computes a constant of {math.prod(shape)} elements, at most {MOST_FOLDED} "
                "are supported"
            )

    def known(self, node: TfliteNode, data: np.ndarray) -> None:
        """Let the node's result be a constant."""
        out = self.result(node)
        if data.shape != out.shape:
            raise invalid(
                f"'{node.name}' gives {list(data.shape)}, the file says {list(out.shape)}"
            )
        self.tensors[node.outputs[0]] = replace(out, data=data.astype(out.dtype))

    def emit_all(
        self,
        op: str,
        inputs: Sequence[str],
        attrs: dict[str, Any] | None = None,
        *,
        node: str,
        outs: Sequence[str],
        quants: Sequence[Quant | None],
    ) -> list[str]:
        """As Builder.emit_all; refuses scales that no multiplier and shift represent."""
        names = super().emit_all(op, inputs, attrs, node=node, outs=outs, quants=quants)
        self._check_scales()
        if inputs and all(self.graph.is_constant(i) for i in inputs):
            self._fold()
        return names

    def _check_scales(self) -> None:
        """Refuse a last node whose integers do not exist; large ones are looked at when they run.

        Raises:
            EdgekitError: E103 where its scales are out of range.
        """
        node, values = self.graph.nodes[-1], self.graph.values
        operands, results = [values[i] for i in node.inputs], [values[o] for o in node.outputs]
        if all(v.quant is None for v in (*operands, *results)):
            return
        try:
            if node.op in PARAMETERS:
                PARAMETERS[node.op](node, operands, results[0])
            elif sum(v.size for v in (*operands, *results)) < MOST_TRIED:
                run_node(self.graph, node, [np.zeros(v.shape, v.dtype) for v in operands])
        except GraphError as error:
            raise invalid(str(error), "its scales are out of range: convert again") from None

    def _fold(self) -> None:
        """Replace the last node by the constant that it gives."""
        node = self.graph.nodes.pop()
        for name in node.outputs:
            self.check_folded(self.value(name).shape)
        results = run_node(self.graph, node, [self.graph.constants[i] for i in node.inputs])
        for name, data in zip(node.outputs, results, strict=True):
            value = self.value(name)
            self.graph.constants[name] = np.ascontiguousarray(data).reshape(value.shape)

    def same_quant(self, node: TfliteNode, index: int = 0) -> None:
        """Refuse a node that moves integers where its operand and its results differ in scale."""
        x = self.value(self.x(node, index))
        for i in range(len(node.outputs)):
            out = self.result(node, i, len(node.outputs))
            if x.quant != self.quant_of(out) or x.dtype != self.kind_of(out)[0]:
                raise Refused("its input and output differ in scale or zero point")

    def subgraph(self, node: TfliteNode, index: int) -> Subgraph:
        """The subgraph of that number."""
        if not 0 < index < len(self.subgraphs):
            raise invalid(
                f"'{node.name}' ({node.op}) calls subgraph {index}, the file has "
                f"{len(self.subgraphs)}"
            )
        return self.subgraphs[index]


def check_quantized(tensor: Tensor) -> Quant:
    """The quantization of a per-tensor int8 tensor, or of a symmetric int16 one.

    Raises:
        Refused: where the tensor is anything else.
    """
    q = tensor.quant
    if tensor.dtype not in INTEGERS or q is None:
        raise Refused(
            f"'{tensor.name}' is {tensor.dtype}"
            + (" without a scale" if tensor.dtype in INTEGERS else "")
            + ", quantized int8 or int16 is supported"
        )
    if q.scale.size != 1:
        raise Refused(f"'{tensor.name}' has {q.scale.size} scales, an activation has one")
    zero_point = int(q.zero_point[0])
    if tensor.dtype == "int16" and zero_point:
        raise Refused(f"'{tensor.name}' is int16 with zero point {zero_point}, 0 is supported")
    if not -128 <= zero_point <= 127:
        raise invalid(f"'{tensor.name}' has zero point {zero_point} outside -128..127")
    return q


def reals(tensor: Tensor) -> np.ndarray:
    """The data of a constant as float32: floats, or int8 by its scales and zero points.

    Raises:
        Refused: where it is of another kind.
    """
    data, q = tensor.data, tensor.quant
    if data is not None and tensor.dtype in ("float32", "float16"):
        return data.astype(np.float32)
    if data is None or tensor.dtype != "int8" or q is None:
        raise Refused(f"'{tensor.name}' is {tensor.dtype}, float or quantized int8 is supported")
    shape = [1] * data.ndim
    if q.axis is not None:
        shape[q.axis] = -1
    centred = data.astype(np.float32) - q.zero_point.astype(np.float32).reshape(shape)
    with np.errstate(over="ignore"):  # infinities are refused where they enter the graph
        return centred * q.scale.reshape(shape)
