"""TFLite to a graph: int8 models with the same integers, scales and rounding rules; float ones as
they are.

Layouts differ only in depthwise weights: TFLite's [1, KH, KW, O] is [KH, KW, O] here. SAME and
VALID become explicit pads by TFLite's formula, fused activations a `clamp`. QUANTIZE behind an
input and DEQUANTIZE before an output vanish: inputs and outputs carry their quantization.

A model with int8 weights that computes on floats (dynamic-range quantization, "hybrid" kernels) is
taken for the float network behind it: its weights become the reals that they stand for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.errors import EdgekitError
from edgekit.graph import Graph, GraphError, Quant
from edgekit.importers.common import Builder, Refused, Unsupported, invalid
from edgekit.importers.tflite_read import DAMAGE, Tensor, TfliteModel, TfliteNode, read
from edgekit.ops.requant import PARAMETERS

Handler = Callable[["TfliteBuilder", TfliteNode], None]
HANDLERS: dict[str, Handler] = {}

FULL_INTEGER = (
    "convert again with full integer quantization (a representative dataset, TFLITE_BUILTINS_INT8, "
    "int8 input and output), or give the float model with --calibration and let edgekit quantize it"
)


def handles(*ops: str) -> Callable[[Handler], Handler]:
    """Register a function as the importer of these TFLite operators."""

    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(ops, handler))
        return handler

    return register


class TfliteBuilder(Builder):
    """A graph builder that knows tensors by their index in the file."""

    def __init__(self, model: TfliteModel) -> None:
        super().__init__(model.name)
        self.tensors = model.tensors
        self.reserved = frozenset(t.name for t in model.tensors)
        #: Name in the graph of each tensor that an input, a constant or a node has made.
        self.names: dict[int, str] = {}
        #: Whether the file computes in float32.
        self.floating = False

    def quant_of(self, tensor: Tensor) -> Quant | None:
        """The quantization of an activation, None in a float model.

        Raises:
            Refused: where the tensor is not of the model's kind.
        """
        if not self.floating:
            return check_int8(tensor)
        if tensor.dtype != "float32":
            raise Refused(f"'{tensor.name}' is {tensor.dtype} in a model that computes in float32")
        return None

    def tensor(self, node: TfliteNode, index: int) -> Tensor | None:
        """Operand `index`, None where it is absent."""
        if index >= len(node.inputs) or node.inputs[index] < 0:
            return None
        return self.tensors[node.inputs[index]]

    def x(self, node: TfliteNode, index: int = 0) -> str:
        """The graph's name of operand `index`, an int8 activation or constant."""
        tensor = self.tensor(node, index)
        if tensor is None:
            raise invalid(f"'{node.name}' ({node.op}) has no operand {index}")
        at = node.inputs[index]
        if at not in self.names:
            if tensor.data is None:
                raise invalid(f"'{node.name}' ({node.op}) reads '{tensor.name}', not made yet")
            data, quant = tensor.data, None
            if self.floating:
                data = reals(tensor)
            else:
                quant = check_int8(tensor)
            data = data if data.ndim else data.reshape(1)
            self.names[at] = self.constant(f"{tensor.name}:data", data, quant)
        return self.names[at]

    def constant_operand(self, node: TfliteNode, index: int, what: str) -> Tensor:
        tensor = self.tensor(node, index)
        if tensor is None or tensor.data is None:
            raise Refused(f"its {what} must be a constant")
        return tensor

    def result(self, node: TfliteNode) -> Tensor:
        if len(node.outputs) != 1 or node.outputs[0] < 0:
            raise invalid(f"'{node.name}' ({node.op}) has {len(node.outputs)} results, 1 is needed")
        return self.tensors[node.outputs[0]]

    def finish(
        self, node: TfliteNode, op: str, inputs: Sequence[str], attrs: dict[str, Any]
    ) -> None:
        """Append the node that makes the file's result, and compare its shape with the file's."""
        out = self.result(node)
        quant = self.quant_of(out)
        if out.name in self.graph.values:
            raise invalid(f"'{out.name}' is made twice")
        self.emit(op, inputs, attrs, node=node.name, out=out.name, quant=quant)
        if not self.floating:
            self._check_requantization()
        shape = self.value(out.name).shape
        if shape != out.shape:
            raise invalid(f"'{node.name}' gives {list(shape)}, the file says {list(out.shape)}")
        self.names[node.outputs[0]] = out.name

    def _check_requantization(self) -> None:
        """Refuse scales of the node just emitted that no multiplier and shift represent."""
        node, values = self.graph.nodes[-1], self.graph.values
        params = PARAMETERS.get(node.op)
        if params is None:
            return
        try:
            params(node, [values[i] for i in node.inputs], values[node.output])
        except GraphError as error:
            raise invalid(str(error), "its scales are out of range: convert again") from None

    def same_quant(self, node: TfliteNode) -> None:
        if not self.floating and self.value(self.x(node)).quant != self.result(node).quant:
            raise Refused("its input and output differ in scale or zero point")


def check_int8(tensor: Tensor) -> Quant:
    """The quantization of a per-tensor int8 tensor.

    Raises:
        Refused: where the tensor is anything else.
    """
    q = tensor.quant
    if tensor.dtype != "int8" or q is None:
        raise Refused(f"'{tensor.name}' is {tensor.dtype}, only quantized int8 is supported")
    if q.scale.size != 1:
        raise Refused(f"'{tensor.name}' has {q.scale.size} scales, an activation has one")
    if not -128 <= int(q.zero_point[0]) <= 127:
        raise invalid(f"'{tensor.name}' has zero point {int(q.zero_point[0])} outside -128..127")
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


def import_tflite(path: Path, data: bytes) -> tuple[Graph, list[Unsupported]]:
    """The graph of a .tflite file before any pass, and the nodes that edgekit cannot express.

    Where the second is not empty the graph is incomplete and must not be used.

    Raises:
        EdgekitError: E103 damaged or contradictory, E104 a batch other than 1, E106 neither an
            int8 nor a float model, E107 absurd sizes.
    """
    from edgekit.importers import tflite_ops  # noqa: F401  fills HANDLERS

    model = read(path, data)
    kind = _kind_of(path.name, model)
    builder = TfliteBuilder(model)
    builder.floating = kind != "int8"
    if kind == "dynamic":
        builder.graph.metadata["quantized"] = kind
    nodes = _edges(builder, model)
    found: list[Unsupported] = []
    unknown: set[int] = set()
    for node in nodes:
        reason = _import_node(builder, node, unknown)
        if reason is None:
            continue
        unknown.update(node.outputs)
        if reason:
            found.append(Unsupported(node.name, node.op, reason))
    if not found:
        for i in model.outputs:
            if i not in builder.names or builder.graph.is_constant(builder.names[i]):
                raise invalid(f"output '{model.tensors[i].name}' is made by no operator")
            builder.graph.outputs.append(builder.names[i])
    return builder.graph, found


def _import_node(builder: TfliteBuilder, node: TfliteNode, unknown: set[int]) -> str | None:
    """None where the node was imported, else why not ('' where that lies in its operands)."""
    handler = HANDLERS.get(node.op)
    if handler is None:
        return "the operator is not supported"
    if unknown.intersection(node.inputs):
        return ""
    try:
        handler(builder, node)
    except Refused as reason:
        return str(reason)
    except DAMAGE as error:  # the accessors of a damaged options table
        raise invalid(f"'{node.name}' ({node.op}): {type(error).__name__}: {error}") from None
    return None


def _kind_of(file: str, model: TfliteModel) -> str:
    """ "int8", "float", or "dynamic" for a float model with int8 weights.

    Raises:
        EdgekitError: E106 for models of other kinds, with a sentence that says what they are.
    """
    kinds: Counter[str] = Counter()
    hybrid = False
    for node in model.nodes:
        if node.op in ("QUANTIZE", "DEQUANTIZE") or not node.outputs or node.op not in HANDLERS:
            continue
        kinds[model.tensors[node.outputs[0]].dtype] += 1
        operands = [model.tensors[i] for i in node.inputs if i >= 0]
        weights = operands[1].dtype if len(operands) > 1 else ""
        hybrid |= bool(operands) and operands[0].dtype == "float32" and weights == "int8"
    total, floats = kinds.total(), kinds["float32"]
    if not floats and not kinds["uint8"] and not kinds["int16"]:
        return "int8"
    if floats == total:
        constants = (t for t in model.tensors if t.data is not None)
        return "dynamic" if hybrid or any(t.dtype == "int8" for t in constants) else "float"
    if floats:
        message = f"{file} computes in float32 in part ({floats} of {total} operators)"
    else:
        kind = "uint8" if kinds["uint8"] else "int16"
        message = f"{file} computes in {kind} ({kinds[kind]} of {total} operators), int8 is taken"
    raise EdgekitError("E106", message, help=FULL_INTEGER)


def _edges(builder: TfliteBuilder, model: TfliteModel) -> list[TfliteNode]:
    """Add the graph inputs; returns the nodes without conversions at inputs and outputs."""
    tensors, nodes = model.tensors, list(model.nodes)
    made = [o for n in nodes for o in n.outputs if o >= 0]
    if len(made) != len(set(made)) or set(made) & set(model.inputs):
        raise invalid("a tensor is made by two operators, or is an input as well")
    for i in model.inputs:
        tensor = tensors[i]
        if tensor.shape[:1] != (1,):
            raise EdgekitError(
                "E104",
                f"input '{tensor.name}' has shape {list(tensor.shape)}: its first axis is the "
                "batch, which must be 1",
                help="convert the model with a batch of 1",
            )
        readers = [n for n in nodes if i in n.inputs]
        converted = [n for n in readers if n.op == "QUANTIZE" and tensor.dtype != "int8"]
        seen = tensor
        if not builder.floating and len(converted) == 1 and len(readers) == 1:
            inner = tensors[converted[0].outputs[0]]
            if inner.shape != tensor.shape:
                raise invalid(f"'{inner.name}' and '{tensor.name}' differ in shape")
            seen = replace(inner, name=tensor.name)
            builder.names[converted[0].outputs[0]] = tensor.name
            nodes.remove(converted[0])
        try:
            dtype = "float32" if builder.floating else "int8"
            builder.add_input(tensor.name, seen.shape, dtype, builder.quant_of(seen))
        except Refused as reason:
            raise EdgekitError("E106", f"input {reason}", help=FULL_INTEGER) from None
        builder.names[i] = tensor.name
    for at, o in enumerate(model.outputs if not builder.floating else []):
        maker = next((n for n in nodes if o in n.outputs), None)
        if (
            maker is None
            or tensors[o].dtype == "int8"
            or maker.op not in ("DEQUANTIZE", "QUANTIZE")
        ):
            continue
        inner_index = maker.inputs[0] if maker.inputs else -1
        if inner_index < 0 or any(o in n.inputs for n in nodes) or inner_index in model.inputs:
            continue
        # The int8 tensor takes over the output's name unless it has readers or is an output.
        model.outputs[at] = inner_index
        if inner_index not in model.outputs[:at]:
            tensors[inner_index] = replace(tensors[inner_index], name=tensors[o].name)
        nodes.remove(maker)
    return nodes
