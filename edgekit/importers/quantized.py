"""From a float graph whose tensors know their quantization to an integer graph.

Files in which quantization stands as operators of its own (ONNX's QuantizeLinear and
DequantizeLinear) compute on real numbers that lie on a grid. The importer writes that down as it
is: an ordinary float graph in which a value with a `Grid` is one that was rounded. Every pass
works on such a graph as on any float graph, and `to_integer` then replaces the reals by integers:

1. Operators that only move or compare numbers hand the grid of their operand on; a softmax
   without one gets 1/256, -128, the operator's own.
2. Weights become int8 on their grid, biases int32 with scale = input scale x weight scale.
   Weights without a grid that are one magnitude per channel (means, normalizations) are exact on a
   grid of their own; constants of add and mul without one get the one that they just fill.
3. A result that has another grid than its operator can give is requantized behind it by an open
   clip. An average pool with a finer grid becomes a depthwise convolution with equal weights,
   whose sums are exact.
4. A result that stays real because its readers round it to different grids is computed once for
   each of them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from edgekit.errors import EdgekitError
from edgekit.graph import Graph, GraphError, Node, Quant, Value
from edgekit.importers.common import Unsupported, invalid
from edgekit.ops import operator
from edgekit.ops import windows as win
from edgekit.ops.base import clamp_of
from edgekit.ops.requant import CHANNEL_AXIS, PARAMETERS
from edgekit.passes.edit import fresh, replace_node
from edgekit.passes.fuse_clamp import CLAMPED, compose

#: What reads real numbers and only moves or clamps them.
MOVES = ("reshape", "transpose", "max_pool2d", "clip")
#: Above, a bias leaves no room for the sums; weights are then made coarser (SPEC, "The edge").
MAX_BIAS = 1 << 30
RANGES = {"int4": (-8, 7), "int8": (-128, 127)}


@dataclass(frozen=True, eq=False)
class Grid(Quant):
    """The quantization of a float32 value: its reals are integers of `dtype` on this grid.

    `dtype` is "int8" or "int16" for activations and constants, "int4" as well for weights.
    """

    dtype: str = "int8"

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other) and getattr(other, "dtype", self.dtype) == self.dtype

    __hash__ = Quant.__hash__


def activation_grid(scale: float | np.floating, zero_point: int, dtype: str = "int8") -> Grid:
    """A grid with one scale."""
    q = Quant.make(scale, zero_point)
    return Grid(q.scale, q.zero_point, None, dtype)


def _grid(quant: Quant, dtype: str) -> Grid:
    return Grid(quant.scale, quant.zero_point, quant.axis, dtype)


def is_real(value: Value) -> bool:
    return value.dtype == "float32"


def grid_of(value: Value) -> Grid | None:
    return value.quant if isinstance(value.quant, Grid) else None


def negated(grid: Grid | None) -> Grid | None:
    """The grid on which the negative of every number of an int8 `grid` lies: q' = -1 - q."""
    if grid is None or grid.dtype != "int8":
        return None
    return replace(grid, zero_point=-1 - grid.zero_point)


def has_activation_grids(graph: Graph) -> bool:
    """Whether the graph has quantized activations, rather than quantized constants at most."""
    return any(grid_of(v) for name, v in graph.values.items() if not graph.is_constant(name))


class _Float(Exception):
    """A node that cannot compute in integers; the message is the reason."""


def to_integer(graph: Graph) -> tuple[Graph, list[Unsupported]]:
    """The integer graph of a canonical float graph with grids, and the layers that stay float.

    Where the second is not empty the graph must not be used.

    Raises:
        EdgekitError: E103 where scales are out of range of the operators' arithmetic.
    """
    graph = graph.copy()
    _propagate(graph)
    _split(graph)
    found = [
        Unsupported(name, "input", "it is not quantized: its first reader computes in float32")
        for name in graph.inputs
        if is_real(graph.values[name]) and grid_of(graph.values[name]) is None
    ]
    lowering = _Lowering(graph)
    for node in graph.nodes:
        try:
            lowering.node(node)
        except _Float as reason:
            found.append(Unsupported(node.name or node.output, node.op, str(reason)))
            lowering.leave_out(node)
    return (graph, found) if found else (lowering.result.verify(), [])


def _propagate(graph: Graph) -> None:
    """Rule 1."""
    for node in graph.nodes:
        out = graph.values[node.output]
        if out.quant is not None:
            continue
        grid = _handed_on(graph, node)
        if grid is not None:
            graph.values[out.name] = replace(out, quant=grid)


def _handed_on(graph: Graph, node: Node) -> Grid | None:
    """The grid of a result that the file does not round, where its operator says what it is."""
    kind = operator(node.op).grid
    real = [i for i in node.inputs if graph.values[i].dtype == "float32"]
    grids = [grid_of(graph.values[i]) for i in real]
    if not grids or grids[0] is None or graph.values[node.output].dtype != "float32":
        return None
    if kind == "fixed":
        return _grid(operator(node.op).fixed_quant(node, grids[0].dtype), grids[0].dtype)
    if kind == "operand" or node.op == "clip":
        return grids[0]
    return grids[0] if kind == "operands" and all(g == grids[0] for g in grids) else None


def _split(graph: Graph) -> None:
    """Rule 4."""
    for node in reversed(list(graph.nodes)):
        readers = graph.consumers(node.output)
        if graph.values[node.output].quant is not None or node.output in graph.outputs:
            continue
        if not readers or not all(
            r.op in MOVES and grid_of(graph.values[r.output]) for r in readers
        ):
            continue
        copies = []
        for reader in readers:
            grid = graph.values[reader.output].quant
            if reader.op == "clip" and node.op in CLAMPED:
                attrs = {**node.attrs, "clamp": compose(clamp_of(node), clamp_of(reader))}
                copies.append(replace(node, outputs=reader.outputs, attrs=attrs))
                replace_node(graph, reader)
                continue
            name = fresh(graph, node.output)
            graph.add_value(replace(graph.values[node.output], name=name, quant=grid))
            copies.append(replace(node, outputs=(name,)))
            replace_node(graph, reader, replace(reader, inputs=(name,)))
        replace_node(graph, node, *copies)


class _Lowering:
    """Builds the integer graph node by node; names and order are those of the float graph."""

    def __init__(self, source: Graph) -> None:
        self.source = source
        self.result = Graph(
            source.name, list(source.inputs), list(source.outputs), metadata=dict(source.metadata)
        )
        for name in source.inputs:
            value = source.values[name]
            if is_real(value):
                self._add(name, value.shape, grid_of(value))
            else:
                self.result.add_value(value)

    def node(self, node: Node) -> None:
        """Lower one node.

        Raises:
            _Float: where it computes in float32.
        """
        out = self.source.values[node.output]
        for name in node.inputs:
            value = self.source.values[name]
            if not self.source.is_constant(name) and is_real(value) and grid_of(value) is None:
                raise _Float(f"its operand '{name}' is not quantized")
        if not is_real(out) or len(node.outputs) > 1:
            self._plain(node)
            return
        grid = grid_of(out)
        if grid is None:
            raise _Float("its result is not quantized: it computes in float32")
        kind = operator(node.op).grid
        if kind in ("operand", "fixed") and self.source.is_constant(node.inputs[0]):
            raise _Float("its operand is a constant")
        if node.op in CHANNEL_AXIS:
            self._linear(node, grid)
        elif node.op in ("add", "mul"):
            operands = [self._operand(name) for name in node.inputs]
            # The wider operand decides how both are scaled; the two are interchangeable.
            operands.sort(key=lambda name: self.result.values[name].dtype != "int16")
            self._emit(replace(node, inputs=tuple(operands)), grid)
        elif node.op == "clip":
            self._emit(node, grid)
        elif kind == "fixed":
            dtype = self.result.values[node.inputs[0]].dtype
            self._requantized(node, _grid(operator(node.op).fixed_quant(node, dtype), dtype), grid)
        elif kind == "operand":
            self._moved(replace(node, inputs=self._operands(node)), grid)
        elif operator(node.op).plain_constants:
            self._emit(replace(node, inputs=self._operands(node)), grid)
        else:
            raise _Float("its weights have no integer form here")

    def _plain(self, node: Node) -> None:
        """A node with indices, truth values or several results: what is real among them has the
        grid of the file, or the operand's."""
        made = replace(node, inputs=self._operands(node))
        for name in node.outputs:
            value = self.source.values[name]
            grid = grid_of(value) or _handed_on(self.source, node)
            if is_real(value) and grid is None:
                raise _Float("its result is not quantized: it computes in float32")
            if is_real(value):
                self._add(name, value.shape, grid)
            else:
                self.result.add_value(value)
        self.result.nodes.append(made)

    def _operands(self, node: Node) -> tuple[str, ...]:
        return tuple(self._operand(name) for name in node.inputs)

    def leave_out(self, node: Node) -> None:
        """Go on behind a node that cannot be lowered, for the sake of a whole list of them."""
        out = self.source.values[node.output]
        self._add(out.name, out.shape, grid_of(out))

    # ---- values

    def _add(self, name: str, shape: tuple[int, ...], grid: Grid | None) -> None:
        if grid is None:
            self.result.add_value(Value(name, shape))
            return
        self.result.add_value(Value(name, shape, grid.dtype, Quant(grid.scale, grid.zero_point)))

    def _fresh(self, name: str) -> str:
        both = Graph("names", values={**self.source.values, **self.result.values})
        return fresh(both, name)

    def _constant(self, name: str, data: np.ndarray, quant: Quant | None) -> str:
        result = name if name not in self.result.values else self._fresh(name)
        return self.result.add_constant(result, data, quant)

    def _emit(self, node: Node, grid: Grid, out: str = "") -> None:
        """Append the node with the shape that its result has in the float graph.

        `out` names the result where that is not the float graph's own.
        """
        shape = self.source.values[node.output].shape
        made = replace(node, outputs=(out or node.output,))
        first = self.result.values[node.inputs[0]].dtype
        if first != grid.dtype and operator(node.op).converts:
            made = replace(made, attrs={**made.attrs, "out_dtype": grid.dtype})
        self._add(made.output, shape, grid)
        self.result.nodes.append(made)
        check = PARAMETERS.get(node.op)
        if check is None:
            return
        values = self.result.values
        try:
            check(made, [values[i] for i in made.inputs], values[made.output])
        except GraphError as error:
            raise invalid(
                f"'{node.name or node.output}' ({node.op}): {error}",
                "its scales are out of range: quantize the model again",
            ) from None

    def _requantized(self, node: Node, made: Grid, wanted: Grid) -> None:
        """The node with a result on `made`, and a clip to `wanted` where that is another grid."""
        if made == wanted:
            self._emit(node, wanted)
            return
        inner = self._fresh(node.output)
        attrs = {k: v for k, v in node.attrs.items() if k != "clamp"}
        self._emit(replace(node, attrs=attrs), made, inner)
        clamp = node.attrs.get("clamp") or [None, None]
        self._emit(Node("clip", (inner,), node.outputs, {"clamp": clamp}, node.name), wanted)

    # ---- operators

    def _moved(self, node: Node, grid: Grid) -> None:
        """reshape, transpose and pooling."""
        source = grid_of(self.source.values[node.inputs[0]])
        assert source is not None
        if node.op == "average_pool2d" and source != grid and source.scale[0] > grid.scale[0]:
            count = _window_size(node, self.source.values[node.inputs[0]])
            if count:
                self._mean(node, grid, count)
                return
        self._requantized(node, source, grid)

    def _mean(self, node: Node, grid: Grid, count: int) -> None:
        """Rule 3: the mean of `count` numbers as a depthwise convolution."""
        kernel = list(win.pair(node, "kernel"))
        channels = self.source.values[node.inputs[0]].shape[3]
        # Weights of 1 would leave so few bits below the point that the first of the two roundings
        # of a requantization shows.
        x = grid_of(self.source.values[node.inputs[0]])
        assert x is not None
        weight = 64 if count < (1 << 16 if x.dtype == "int8" else 1 << 8) else 1
        scale = np.float32(1.0 / (count * weight))
        w = np.full((*kernel, channels), weight, np.int8)
        names = [
            self._constant(f"{node.output}:weights", w, Quant.make([scale] * channels, 0, 2)),
            self._constant(
                f"{node.output}:bias",
                np.zeros(channels, np.int32),
                Quant.make([x.scale[0] * scale] * channels, 0, 0),
            ),
        ]
        attrs = {
            "strides": list(win.pair(node, "strides", 1)),
            "dilations": [1, 1],
            "pads": [0, 0, 0, 0],
        }
        if node.attrs.get("clamp"):
            attrs["clamp"] = node.attrs["clamp"]
        inputs = (node.inputs[0], *names)
        self._emit(Node("depthwise_conv2d", inputs, node.outputs, attrs, node.name), grid)

    def _operand(self, name: str) -> str:
        """An operand: real constants become integers as activations do."""
        if not self.source.is_constant(name):
            return name
        if not is_real(self.source.values[name]):
            return self._constant(name, self.source.constants[name], None)
        data = self.source.constants[name].astype(np.float64)
        grid = grid_of(self.source.values[name])
        wide = grid is not None and grid.dtype == "int16" and not grid.zero_point.any()
        if grid is None or grid.per_channel or (grid.dtype not in RANGES and not wide):
            grid = _filled_grid(data)
        info = np.iinfo(np.int16 if wide else np.int8)
        q = np.round(data / float(grid.scale[0])) + int(grid.zero_point[0])
        quant = Quant(grid.scale, grid.zero_point)
        return self._constant(name, np.clip(q, info.min, info.max).astype(info.dtype), quant)

    def _linear(self, node: Node, grid: Grid) -> None:
        """Rule 2."""
        x = self.source.values[node.inputs[0]]
        assert x.quant is not None
        if not all(self.source.is_constant(i) for i in node.inputs[1:]):
            raise _Float("its weights or bias are computed at run time")
        w, w_quant, bits = self._weights(node)
        bias = self.source.constants[node.inputs[2]].astype(np.float64)
        scales = np.broadcast_to(w_quant.scale, bias.shape).astype(np.float64)
        w, scales = _room_for_bias(node, w, scales, bias / float(x.quant.scale[0]))
        if not np.array_equal(scales, np.broadcast_to(w_quant.scale, bias.shape)):
            w_quant = Quant.make(scales.astype(np.float32), 0, CHANNEL_AXIS[node.op])
        b_scale = (x.quant.scale.astype(np.float64) * w_quant.scale).astype(np.float32)
        if not (np.isfinite(b_scale).all() and (b_scale > 0).all()):
            raise invalid(
                f"'{node.name or node.output}': its bias scale leaves the range of float32",
                "its scales are out of range: quantize the model again",
            )
        exact = float(x.quant.scale[0]) * w_quant.scale.astype(np.float64)
        q = np.round(bias / exact).astype(np.int64).astype(np.int32)
        b_quant = Quant.make(b_scale, 0, 0 if b_scale.size > 1 else None)
        names = (
            self._constant(node.inputs[1], w, w_quant),
            self._constant(node.inputs[2], q, b_quant),
        )
        attrs = node.attrs if bits == 8 else {**node.attrs, "weight_bits": bits}
        self._emit(replace(node, inputs=(x.name, *names), attrs=attrs), grid)

    def _weights(self, node: Node) -> tuple[np.ndarray, Quant, int]:
        """int8 weights, their quantization, and their bits."""
        name, axis = node.inputs[1], CHANNEL_AXIS[node.op]
        data = self.source.constants[name].astype(np.float64)
        grid = grid_of(self.source.values[name]) or _one_magnitude(data, axis)
        if grid is None:
            raise _Float("its weights are float32")
        if grid.per_channel and grid.axis != axis:
            raise _Float("its weights have scales along another axis than the output channels")
        shape = [1] * data.ndim
        if grid.per_channel:
            shape[axis] = -1
        q = np.round(data / grid.scale.astype(np.float64).reshape(shape))
        lo, hi = RANGES.get(grid.dtype, RANGES["int8"])
        if q.min() < lo or q.max() > hi:
            raise _Float(
                f"its weights are asymmetric: {int(q.min())}..{int(q.max())} around their zero "
                f"point, {lo}..{hi} fit"
            )
        quant = Quant(grid.scale, np.zeros_like(grid.zero_point), grid.axis)
        bits = 4 if grid.dtype == "int4" else 8
        if not grid.per_channel and node.op != "fully_connected":
            channels = data.shape[axis]
            quant = Quant.make(np.repeat(grid.scale, channels), 0, axis)
        return q.astype(np.int8), quant, bits


def _window_size(node: Node, x: Value) -> int:
    """Real pixels of every window of a pool, 0 where windows differ."""
    if any(win.pads_of(node)):
        return 0
    kernel = win.pair(node, "kernel")
    return kernel[0] * kernel[1]


def _one_magnitude(data: np.ndarray, axis: int) -> Grid | None:
    """The grid on which weights of 0 and +-m per channel are exact, None for other weights."""
    rows = np.abs(np.moveaxis(data, axis, 0).reshape(data.shape[axis], -1))
    m = rows.max(axis=1)
    if not np.all((rows == 0) | (rows == m[:, None])):
        return None
    scale = np.where(m > 0, m / 127, 1.0).astype(np.float32)
    if not (scale > 0).all():
        return None
    return Grid(scale, np.zeros(len(scale), np.int32), axis)


def _filled_grid(data: np.ndarray) -> Grid:
    """The int8 grid that holds zero and is just filled by `data`; exact for a single number."""
    lo, hi = min(float(data.min()), 0.0), max(float(data.max()), 0.0)
    if lo == hi:
        return activation_grid(1.0, 0)
    scale = np.float32(max((hi - lo) / 255, float(np.finfo(np.float32).tiny)))
    if lo == 0 or hi == 0:
        return activation_grid(scale, -128 if lo == 0 else 127)
    return activation_grid(scale, int(np.clip(np.round(-128 - lo / float(scale)), -128, 127)))


def _room_for_bias(
    node: Node, w: np.ndarray, scales: np.ndarray, bias: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weights and scales made coarser by powers of two where a bias would exceed MAX_BIAS.

    Channels that hardly weigh anything against their bias have such scales; what the coarser
    weights lose is below 2**-15 of the bias.
    """
    over = np.abs(bias) / scales / MAX_BIAS
    if not (over > 1).any():
        return w, scales
    with np.errstate(divide="ignore"):
        factor = np.exp2(np.ceil(np.log2(np.maximum(over, 1.0))))
    shape = [1] * w.ndim
    shape[CHANNEL_AXIS[node.op]] = -1
    return np.round(w / factor.reshape(shape)).astype(np.int8), scales * factor


FLOAT_HELP = (
    "quantize these layers too, or give --calibration DATA: edgekit then quantizes the float "
    "network behind the model itself"
)


def float_layers_error(file: str, found: list[Unsupported]) -> EdgekitError:
    """The E120 that lists every layer of a quantized model that computes in float32."""
    kinds = Counter(u.op for u in found)
    listed = ", ".join(f"{n} {op}" for op, n in kinds.most_common())
    return EdgekitError(
        "E120",
        f"{file} is quantized in part: {len(found)} of its layers stay float ({listed})",
        help=FLOAT_HELP,
        details=[str(u) for u in found],
    )
