"""The graph builder that knows ONNX names: constants, aliases, and what came to nothing.

A handler reads operands through the builder and appends canonical operators. Its docstring says in
one sentence what is accepted; that sentence is the operator's row in docs/OPERATORS.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.graph import Node, Quant, Value
from edgekit.importers.common import DAMAGE, Builder, Refused, Unsupported, damaged, invalid
from edgekit.importers.onnx.infer import Known
from edgekit.importers.onnx.inline import call, check_count, standard_function
from edgekit.importers.onnx.node import Body, OnnxNode, operand, reads_of
from edgekit.importers.onnx.read import GRAPH_DTYPES, OnnxModel
from edgekit.importers.quantized import Grid

Handler = Callable[["OnnxBuilder", OnnxNode], None]
HANDLERS: dict[str, Handler] = {}

#: Stands for infinity in constants; a sum of several is still a number.
LARGEST = np.float32(np.finfo(np.float32).max / 4)

#: Operators whose kernels work on one image.
WINDOWS = ("average_pool2d", "conv2d", "conv_transpose2d", "depthwise_conv2d", "max_pool2d")
MAX_IMAGES = 16

TO_NHWC = (0, 2, 3, 1)
TO_NCHW = (0, 3, 1, 2)


def handles(*ops: str) -> Callable[[Handler], Handler]:
    """Register a function as the importer of these ONNX operators.

    "Name" is of the default domain, "domain::Name" of another one.
    """

    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(ops, handler))
        return handler

    return register


class OnnxBuilder(Builder):
    """Walks the nodes of a file and lets one handler per operator append canonical ones."""

    def __init__(self, model: OnnxModel, folder: Path) -> None:
        super().__init__(model.name)
        self.model = model
        self.folder = folder
        #: Every node that edgekit cannot express, in the order of the walk.
        self.found: list[Unsupported] = []
        #: Results of such nodes whose shape is not known, and all that depends on them.
        self.unknown: set[str] = set()
        #: Take quantized tensors for the real ones that they stand for.
        self.dequantize = False
        #: Grids of dequantized constants, axes as in the file.
        self.grids: dict[str, Grid] = {}
        #: Operands of DequantizeLinear or of a cast to reals, integer inputs among them.
        self.scaled_inputs: set[str] = set()
        #: Integer tensors of the file: their dtype, their scale.
        self.stored: dict[str, str] = dict(model.integer_inputs)
        self.scales: dict[str, np.floating] = {}
        #: Integer tensors whose scale is found at run time.
        self.dynamic: set[str] = set()
        self.requantized: dict[tuple[str, Grid], str] = {}
        self.makers: dict[str, Node] = {}
        #: Data of every name known at import time, of any dtype; a copy enters the graph on use.
        self.data = {k: widened(v) for k, v in model.constants.items()}
        self.alias: dict[str, str] = {}
        self._operands: dict[str, str] = {}
        self._readers: dict[str, list[OnnxNode | None]] = {}
        self._count = 0
        self._inferred: Known | None = None
        for output in model.outputs:
            self._readers.setdefault(output, []).append(None)
        self._note_readers(model.nodes)

    @property
    def opset(self) -> int:
        return self.model.opset

    def _note_readers(self, nodes: Sequence[OnnxNode]) -> None:
        for node in nodes:
            for name in reads_of(node):
                self._readers.setdefault(name, []).append(node)

    def readers(self, name: str) -> list[OnnxNode | None]:
        """The nodes of the file that read `name`, None for each time that it is an output."""
        return self._readers.get(name, [])

    # ---- walking

    def import_nodes(self, nodes: Sequence[OnnxNode]) -> None:
        """Append what `nodes` mean; those that edgekit cannot express are added to `found`."""
        self._count += len(nodes)
        check_count(self._count)
        self.reserved.update(o for n in nodes for o in n.outputs)
        for node in nodes:
            hint = self.hint
            reason = self._import_node(node)
            self.hint = hint
            if reason is None:
                continue
            if reason:
                self.found.append(Unsupported(node.name, node.op, reason))
            self._stand_in(node)

    def _import_node(self, node: OnnxNode) -> str | None:
        """None where the node was imported, else why not ('' where that lies in its operands)."""
        from edgekit.importers.onnx.fold import fold
        from edgekit.importers.onnx.quant import (
            check_integers,
            is_quantized_operator,
            move_integers,
        )
        from edgekit.importers.onnx.unsupported import REASONS

        if not any(node.outputs):
            raise invalid(f"node '{node.name}' ({node.op}) has no result")
        foreign = bool(node.domain) and not is_quantized_operator(node)
        handler = HANDLERS.get(f"{node.domain}::{node.op}" if foreign else node.op)
        if foreign and handler is None:
            return f"operators of the domain '{node.domain}' are not supported"
        try:
            depends = bool(self.unknown.intersection(reads_of(node)))
            if not depends and not foreign and fold(self, node):
                return None
            if depends and handler:
                return ""
            if handler is None:
                return REASONS.get(node.op, "the operator is not supported")
            self.hint = next(o for o in node.outputs if o)
            check_integers(self, node)
            handler(self, node)
            move_integers(self, node)
        except Refused as reason:
            return str(reason)
        except DAMAGE as error:
            raise damaged(node.name, node.op, error) from None
        return None

    def _stand_in(self, node: OnnxNode) -> None:
        """Let the walk go on behind a node that came to nothing, to find all the others.

        Its results become inputs of a graph that nobody will use, where their shapes are known.
        """
        if self._inferred is None:
            from edgekit.importers.onnx.infer import shapes_of

            self._inferred = shapes_of(self.model)
        for name in filter(None, node.outputs):
            shape, dtype = self._inferred.get(name, (None, ""))
            if name in self.graph.values or name in self.data or name in self.alias:
                continue
            if shape is None or dtype not in GRAPH_DTYPES:
                self.unknown.add(name)
            else:
                self.graph.add_value(Value(name, shape, GRAPH_DTYPES[dtype]))

    def run(
        self,
        node: OnnxNode,
        op: str,
        inputs: Sequence[str],
        out: str,
        attrs: dict[str, Any] | None = None,
    ) -> str:
        """Import an operator of ONNX that the file does not spell out; returns `out`."""
        from edgekit.importers.onnx.fold import fold

        part = OnnxNode(op, "", node.name, list(inputs), [out], attrs or {}, node.opset)
        self.reserved.add(out)
        if not fold(self, part):
            if op not in HANDLERS:
                raise Refused(f"its operator, {op}, is not supported")
            HANDLERS[op](self, part)
        return out

    def expand(self, node: OnnxNode) -> None:
        """Import the node as the function by which the standard defines its operator.

        Raises:
            Refused: where there is none, or where it uses what edgekit cannot express.
        """
        types = [(self.dtype_of(i), self.shape_of(i)) if i else None for i in node.inputs]
        body = standard_function(node, types, self.folder)
        if body is None:
            raise Refused("this form of it is not supported")
        nodes = call(body, node, f"{next(o for o in node.outputs if o)}.{self._count}")
        for name, data in body.constants.items():
            self.data[name] = widened(data)
        self.import_part(nodes)

    def import_part(self, nodes: Sequence[OnnxNode]) -> None:
        """Import the nodes that one node of the file stands for; Refused names one that fails."""
        self._note_readers(nodes)
        before = len(self.found)
        self.import_nodes(nodes)
        if len(self.found) > before:
            first = self.found[before]
            del self.found[before:]
            raise Refused(f"it contains '{first.node}' ({first.op}): {first.reason}")

    def import_body(self, node: OnnxNode, body: Body, names: dict[str, str], prefix: str) -> None:
        """Import a subgraph whose inputs and outputs are called as `names` says.

        Its unsupported nodes are listed by their own names.
        """
        from edgekit.importers.onnx.inline import instantiate

        nodes, inner = instantiate(body, node, names, prefix)
        for name, data in body.constants.items():
            self.data[inner[name]] = widened(data)
        names.update(inner)
        self._note_readers(nodes)
        self.import_nodes(nodes)

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

    def scalar(self, node: OnnxNode, index: int, what: str, default: float) -> float:
        """A number that is operand `index`, or the attribute `what` where older opsets have one."""
        if not operand(node, index):
            return node.number(what, default)
        data = self.const_of(node, index, what)
        if data.size != 1:
            raise Refused(f"its {what} has {data.size} values, one is supported")
        return float(data.reshape(-1)[0])

    def x(self, node: OnnxNode, index: int = 0) -> str:
        """The graph's name of operand `index`, a float32 tensor.

        Raises:
            Refused: where the operand is no float; EdgekitError (E103) where it is missing.
        """
        name = self.tensor(node, index)
        if self.value(name).dtype != "float32":
            raise Refused(
                f"its operand '{operand(node, index)}' is {self.value(name).dtype}, only reals are "
                "supported here"
            )
        return name

    def tensor(self, node: OnnxNode, index: int = 0) -> str:
        """The graph's name of operand `index`, float32, int32 or bool.

        Raises:
            Refused: where a constant is none of these and cannot be made one; EdgekitError (E103)
                where the operand is missing.
        """
        name = operand(node, index)
        if not name:
            raise invalid(f"node '{node.name}' ({node.op}) has no operand {index}")
        if name not in self.data:
            name = self.alias.get(name, name)
            if name not in self.graph.values:
                raise invalid(f"node '{node.name}' ({node.op}) reads '{name}', which nothing makes")
            return name
        if name not in self._operands:
            data = as_graph_data(self.data[name], f"operand '{name}'")
            self._operands[name] = self.constant(name, data, self.grids.get(name))
        return self._operands[name]

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
        return data.shape if data is not None else self._value(name).shape

    def dtype_of(self, name: str) -> str:
        """Dtype of an ONNX name, constant or not; the graph's for what is computed at run time."""
        data = self.data.get(name)
        if data is not None:
            return str(data.dtype)
        return self._value(name).dtype

    def _value(self, name: str) -> Value:
        """The value of an ONNX name that is computed at run time."""
        known = self.graph.values.get(self.alias.get(name, name))
        if known is None:
            raise invalid(f"'{name}' is read, and nothing makes it" if name
                          else "an operand is missing that is needed")  # fmt: skip
        return known

    def image(self, node: OnnxNode, index: int = 0) -> tuple[str, Value]:
        """Operand `index`, NCHW, as NHWC: its name and value. [N, C, L] is an image of one line."""
        name = self.x(node, index)
        shape = self.value(name).shape
        if len(shape) == 3:
            name = self.transpose(name, (0, 2, 1), node=node.name)
            name = self.reshape(name, (shape[0], 1, shape[2], shape[1]), node=node.name)
        elif len(shape) == 4:
            name = self.transpose(name, TO_NHWC, node=node.name)
        else:
            raise Refused(
                f"its operand has {len(shape)} axes; 3 (sequences) and 4 (images) are supported"
            )
        return name, self.value(name)

    # ---- writing results

    def emit(
        self,
        op: str,
        inputs: Sequence[str],
        attrs: dict[str, Any] | None = None,
        *,
        node: str,
        out: str = "",
        quant: Quant | None = None,
    ) -> str:
        if op in WINDOWS and self.value(inputs[0]).shape[0] > 1:
            return self._image_by_image(op, inputs, attrs or {}, node, out)
        result = super().emit(op, inputs, attrs, node=node, out=out, quant=quant)
        self.makers[result] = self.graph.nodes[-1]
        return result

    def _image_by_image(
        self, op: str, inputs: Sequence[str], attrs: dict[str, Any], node: str, out: str
    ) -> str:
        """A window operator on a model's own batch, for which kernels have no loop."""
        x = self.value(inputs[0])
        if x.shape[0] > MAX_IMAGES:
            raise Refused(f"it works on {x.shape[0]} images, at most {MAX_IMAGES} are supported")
        images = []
        for i in range(x.shape[0]):
            rank = len(x.shape)
            cut = {
                "starts": [i, *[0] * (rank - 1)],
                "stops": [i + 1, *[None] * (rank - 1)],
                "steps": [1] * rank,
            }
            image = self.emit("slice", [x.name], cut, node=node, quant=x.quant)
            images.append(self.emit(op, [image, *inputs[1:]], attrs, node=node))
        return self.emit("concat", images, {"axis": 0}, node=node, out=out)

    def rename(self, node: OnnxNode, name: str) -> None:
        """Let the node's result be another name for `name`."""
        self.alias[node.outputs[0]] = name

    def image_result(self, node: OnnxNode, name: str) -> None:
        """Let the node's result be the NHWC tensor `name`, laid out as the node's operand is."""
        rank = len(self.shape_of(operand(node, 0)))
        if rank == 3:
            n, _, length, channels = self.value(name).shape
            name = self.reshape(name, (n, length, channels), node=node.name)
            self.transpose(name, (0, 2, 1), node=node.name, out=node.outputs[0])
        else:
            self.transpose(name, TO_NCHW, node=node.name, out=node.outputs[0])

    def number(self, node: OnnxNode, what: str, value: float) -> str:
        """A constant of one float32 that the file does not have."""
        return self.constant(f"{node.name}:{what}", np.asarray([value], np.float32))

    def unary(self, node: OnnxNode, x: str, function: str, out: str = "", **params: Any) -> str:
        """One function of every element of `x`."""
        return self.emit("unary", [x], {"function": function, **params}, node=node.name, out=out)


def widened(data: np.ndarray) -> np.ndarray:
    """16-bit reals as float32, which is what the graph computes in."""
    return data.astype(np.float32) if str(data.dtype) in ("float16", "bfloat16") else data


def as_float(data: np.ndarray, what: str) -> np.ndarray:
    if data.dtype.kind != "f" and str(data.dtype) != "bfloat16":
        raise Refused(f"its {what} is {data.dtype}, only floats are supported here")
    with np.errstate(over="ignore"):  # infinities are refused where they enter the graph
        return data.astype(np.float32)


def as_graph_data(data: np.ndarray, what: str) -> np.ndarray:
    """A constant as the graph holds it: float32, int32 or bool."""
    if data.dtype == np.bool_:
        return data
    if data.dtype.kind in "iu":
        info = np.iinfo(np.int32)
        if data.size and not (info.min <= data.min() and data.max() <= info.max):
            raise Refused(f"its {what} has integers of more than 32 bits")
        return data.astype(np.int32)
    real = as_float(data, what)
    if np.isinf(real).any() and not np.isnan(real).any():
        # Masks of attention have minus infinity; what is as good as that can be computed with.
        return np.clip(real, -LARGEST, LARGEST)
    return real
