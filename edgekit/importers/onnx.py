"""ONNX to a float graph: walks the nodes and lets one handler per operator append ours.

Handlers write canonical operators at once. Where ONNX works on NCHW, a handler puts a transpose to
NHWC in front and one back behind; the layout pass removes the pairs. So the graph has one layout
and one meaning at every moment, and no operator exists in two forms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.errors import EdgekitError
from edgekit.graph import Graph, Node, Value
from edgekit.importers.common import Builder, Refused, Unsupported, invalid
from edgekit.importers.onnx_read import OnnxModel, OnnxNode, read
from edgekit.importers.quantized import Grid

Handler = Callable[["OnnxBuilder", OnnxNode], None]
HANDLERS: dict[str, Handler] = {}

TO_NHWC = (0, 2, 3, 1)
TO_NCHW = (0, 3, 1, 2)


def handles(*ops: str) -> Callable[[Handler], Handler]:
    """Register a function as the importer of these ONNX operators."""

    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(ops, handler))
        return handler

    return register


class OnnxBuilder(Builder):
    """A graph builder that knows ONNX names: constants, aliases, and what came to nothing."""

    def __init__(self, model: OnnxModel) -> None:
        super().__init__(model.name)
        self.opset = model.opset
        self.model = model
        #: Take quantized tensors for the real ones that they stand for.
        self.dequantize = False
        #: Grids of dequantized constants, axes as in the file.
        self.grids: dict[str, Grid] = {}
        #: Operands of DequantizeLinear, integer inputs among them.
        self.scaled_inputs: set[str] = set()
        #: Integer tensors of the file: their dtype, their scale.
        self.stored: dict[str, str] = dict(model.integer_inputs)
        self.scales: dict[str, np.floating] = {}
        #: Integer tensors whose scale is found at run time.
        self.dynamic: set[str] = set()
        self.requantized: dict[tuple[str, Grid], str] = {}
        self.makers: dict[str, Node] = {}
        self._readers: dict[str, list[OnnxNode | None]] = {}
        for output in model.outputs:
            self._readers.setdefault(output, []).append(None)
        for node in model.nodes:
            for name in node.inputs:
                self._readers.setdefault(name, []).append(node)
        #: Data of every name known at import time, of any dtype; a copy enters the graph on use.
        self.data = dict(model.constants)
        self.alias: dict[str, str] = {}
        self._operands: dict[str, str] = {}

    def readers(self, name: str) -> list[OnnxNode | None]:
        """The nodes of the file that read `name`, None for each time that it is an output."""
        return self._readers.get(name, [])

    # ---- reading operands

    def const(self, name: str) -> np.ndarray | None:
        """The data of `name`, or None where it is computed at run time."""
        return self.data.get(name)

    def const_of(self, node: OnnxNode, index: int, what: str) -> np.ndarray:
        """Operand `index` as a constant.

        Raises:
            Refused: where it is computed at run time; EdgekitError (E103) where it is missing.
        """
        name = operand(node, index)
        data = self.const(name) if name else None
        if data is None:
            if not name:
                raise invalid(f"node '{node.name}' ({node.op}) has no {what}")
            raise Refused(f"its {what} '{name}' must be a constant")
        return data

    def floats(self, node: OnnxNode, index: int, what: str) -> np.ndarray:
        """Operand `index` as constant float32 data; float16 and float64 are converted."""
        data = self.const_of(node, index, what)
        return as_float(data, what)

    def integers(self, node: OnnxNode, index: int, key: str) -> list[int] | None:
        """A list of integers that newer opsets pass as an operand and older ones as attribute."""
        if operand(node, index):
            data = self.const_of(node, index, key)
            if data.dtype.kind not in "iu":
                raise invalid(f"node '{node.name}' ({node.op}): {key} is {data.dtype}")
            return [int(v) for v in data.reshape(-1)]
        return node.integers(key)

    def x(self, node: OnnxNode, index: int = 0) -> str:
        """The graph's name of operand `index`, a float32 tensor.

        Raises:
            Refused: where the operand is no float; EdgekitError (E103) where it is missing.
        """
        name = operand(node, index)
        if not name:
            raise invalid(f"node '{node.name}' ({node.op}) has no operand {index}")
        if name in self.data:
            if name not in self._operands:
                data = as_float(self.data[name], f"operand '{name}'")
                self._operands[name] = self.constant(name, data, self.grids.get(name))
            return self._operands[name]
        return self.alias.get(name, name)

    def grid(self, node: OnnxNode, index: int, axis: int = 0, to: int = 0) -> Grid | None:
        """The grid of a constant operand whose axis `axis`, its output channels, becomes `to`.

        Raises:
            Refused: where its scales lie along another axis.
        """
        grid = self.grids.get(operand(node, index))
        if grid is None or grid.axis is None:
            return grid
        if grid.axis != axis:
            raise Refused(
                f"its weights have scales along axis {grid.axis}, only one scale for all or one "
                f"for each output channel (axis {axis}) is supported"
            )
        return replace(grid, axis=to)

    def shape_of(self, name: str) -> tuple[int, ...]:
        """Shape of an ONNX name, constant or not."""
        data = self.data.get(name)
        return data.shape if data is not None else self.value(self.alias.get(name, name)).shape

    def image(self, node: OnnxNode, index: int = 0) -> tuple[str, Value]:
        """Operand `index`, a rank-4 NCHW tensor, as NHWC: its name and value."""
        name = self.x(node, index)
        rank = len(self.value(name).shape)
        if rank != 4:
            raise Refused(f"its operand has {rank} axes, only 2-D images with 4 are supported")
        name = self.transpose(name, TO_NHWC, node=node.name)
        return name, self.value(name)

    # ---- writing results

    def emit(self, op: str, inputs: Sequence[str], *args: Any, **kwargs: Any) -> str:
        result = super().emit(op, inputs, *args, **kwargs)
        self.makers[result] = self.graph.nodes[-1]
        return result

    def rename(self, node: OnnxNode, name: str) -> None:
        """Let the node's result be another name for `name`."""
        self.alias[node.outputs[0]] = name

    def image_result(self, node: OnnxNode, name: str) -> None:
        """Let the node's result be the NHWC tensor `name` as NCHW."""
        self.transpose(name, TO_NCHW, node=node.name, out=node.outputs[0])


def operand(node: OnnxNode, index: int) -> str:
    """Name of operand `index`, '' where it is absent."""
    return node.inputs[index] if index < len(node.inputs) else ""


def as_float(data: np.ndarray, what: str) -> np.ndarray:
    if data.dtype.kind != "f" and str(data.dtype) != "bfloat16":
        raise Refused(f"its {what} is {data.dtype}, only floats are supported here")
    with np.errstate(over="ignore"):  # infinities are refused where they enter the graph
        return data.astype(np.float32)


def import_onnx(
    path: Path, data: bytes, bind: dict[str, int] | None = None, *, dequantize: bool = False
) -> tuple[Graph, list[Unsupported]]:
    """The graph of an ONNX file before any pass, and the nodes that edgekit cannot express.

    Where the second is not empty the graph is incomplete and must not be used. Where the file is
    quantized the graph is a float one whose values have a `Grid` (`edgekit.importers.quantized`).

    Args:
        path: the file, for messages and to find external data.
        data: its content.
        bind: sizes of symbolic dimensions by name.
        dequantize: take the float network behind a quantized one.

    Raises:
        EdgekitError: E101 to E107 and E121, see `edgekit.importers`.
    """
    from edgekit.importers import (  # fill HANDLERS
        onnx_math,  # noqa: F401
        onnx_nn,  # noqa: F401
        onnx_qlinear,  # noqa: F401
        onnx_quant,
        onnx_shape,  # noqa: F401
    )

    model = read(path, data, bind or {})
    builder = OnnxBuilder(model)
    kind = onnx_quant.kind_of(model)
    builder.dequantize = dequantize or kind != "static"
    if kind:
        builder.graph.metadata["quantized"] = kind
    builder.reserved = frozenset(o for n in model.nodes for o in n.outputs) | set(model.constants)
    for name, shape in model.inputs.items():
        builder.add_input(name, shape, "float32")
    found: list[Unsupported] = []
    unknown: set[str] = set()  # results of unsupported nodes and all that depends on them
    for node in model.nodes:
        reason = _import_node(builder, node, unknown)
        if reason is None:
            continue
        unknown.update(node.outputs)
        if reason:
            found.append(Unsupported(node.name, node.op, reason))
    if not found:
        _finish(builder, model.outputs)
        onnx_quant.check_inputs(builder)
    return builder.graph, found


def _import_node(builder: OnnxBuilder, node: OnnxNode, unknown: set[str]) -> str | None:
    """None where the node was imported, else why not ('' where that lies in its operands)."""
    from edgekit.importers.onnx_fold import EVALUATE, fold
    from edgekit.importers.onnx_quant import check_integers, is_quantized_operator, move_integers

    if not node.outputs or not node.outputs[0]:
        raise invalid(f"node '{node.name}' ({node.op}) has no result")
    if node.domain and not is_quantized_operator(node):
        return f"operators of the domain '{node.domain}' are not supported"
    try:
        depends = bool(unknown.intersection(node.inputs))
        if not depends and fold(builder, node):
            return None
        handler = HANDLERS.get(node.op)
        if depends and (handler or node.op in EVALUATE):
            return ""
        if handler is None:
            return "the operator is not supported"
        builder.hint = node.outputs[0]
        check_integers(builder, node)
        handler(builder, node)
        move_integers(builder, node)
    except Refused as reason:
        return str(reason)
    return None


def _finish(builder: OnnxBuilder, outputs: Sequence[str]) -> None:
    """Give every graph output a tensor of its own name."""
    graph = builder.graph
    if len(set(outputs)) != len(outputs):
        raise invalid(f"an output is listed twice: {', '.join(outputs)}")
    for name in outputs:
        if name in builder.data:
            raise EdgekitError(
                "E103",
                f"output '{name}' is a constant: it does not depend on any input",
                help="remove the output, or export the model with its weights as inputs removed",
            )
        source = builder.alias.get(name, name)
        if source not in graph.values:
            raise invalid(f"output '{name}' is made by no node")
        if source != name or source in graph.inputs:
            out = name if name not in graph.values else builder.fresh(f"{name}:output")
            shape = builder.value(source).shape
            builder.reshape(source, shape, node=f"output {name}", out=out)
            name = out
        graph.outputs.append(name)
