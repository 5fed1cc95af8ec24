"""A float graph with grids, node by node, as an integer graph (`edgekit.importers.integer`)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgekit.graph import Graph, GraphError, Node, Quant, Value
from edgekit.importers.common import invalid
from edgekit.importers.quantized import (
    KEEPS_GRID,
    SOFTMAX_GRIDS,
    Grid,
    activation_grid,
    grid_of,
)
from edgekit.ops import operator
from edgekit.ops import windows as win
from edgekit.ops.base import Operator, sentence
from edgekit.ops.normalize import Normalization, integer_affine
from edgekit.ops.pooling import counts_padding
from edgekit.ops.requant import CHANNEL_AXIS, PARAMETERS
from edgekit.passes.edit import fresh

#: Above, a bias leaves no room for the sums; weights are then made coarser (SPEC, "The edge").
MAX_BIAS = 1 << 30
RANGES = {"int4": (-8, 7), "int8": (-128, 127)}


class FloatLayer(Exception):
    """A node that cannot compute in integers; the message is the reason."""


class Lowering:
    """Builds the integer graph node by node; names and order are those of the float graph."""

    def __init__(self, source: Graph) -> None:
        self.source = source
        self.result = Graph(
            source.name, list(source.inputs), list(source.outputs), metadata=dict(source.metadata)
        )
        for name in source.inputs:
            value = source.values[name]
            self._add(name, value.shape, grid_of(value), value.dtype)

    def node(self, node: Node) -> None:
        """Lower one node.

        Raises:
            FloatLayer: where it computes in float32.
        """
        out = self.source.values[node.output]
        grid = grid_of(out)
        if grid is None and out.dtype == "float32":
            raise FloatLayer("its result is not quantized: it computes in float32")
        for name in node.inputs:
            value = self.source.values[name]
            real = value.dtype == "float32" and not self.source.is_constant(name)
            if real and grid_of(value) is None:
                raise FloatLayer(f"its operand '{name}' is not quantized")
        if node.op in (*KEEPS_GRID, "softmax") and self.source.is_constant(node.inputs[0]):
            raise FloatLayer("its operand is a constant")
        if grid is None:
            self._whole(node)
            return
        if node.op in CHANNEL_AXIS:
            self._linear(node, grid)
        elif node.op in ("add", "mul"):
            operands = [self._operand(name) for name in node.inputs]
            # The wider operand decides how both are scaled; the two are interchangeable.
            operands.sort(key=lambda name: self.result.values[name].dtype != "int16")
            self._emit(replace(node, inputs=tuple(operands)), grid)
        elif node.op == "softmax":
            made = SOFTMAX_GRIDS[self.result.values[node.inputs[0]].dtype]
            self._requantized(node, made, grid)
        elif node.op == "clip":
            self._emit(node, grid)
        elif node.op in KEEPS_GRID:
            self._moved(node, grid)
        elif isinstance(operator(node.op), Normalization):
            self._normalization(node, grid)
        else:
            self._general(node, grid)

    def leave_out(self, node: Node) -> None:
        """Go on behind a node that cannot be lowered, for the sake of a whole list of them."""
        for name in node.outputs:
            out = self.source.values[name]
            self._add(name, out.shape, grid_of(out), out.dtype)

    # ---- values

    def _add(
        self, name: str, shape: tuple[int, ...], grid: Grid | None, dtype: str = "float32"
    ) -> None:
        if grid is None:
            self.result.add_value(Value(name, shape, dtype))
            return
        self.result.add_value(Value(name, shape, grid.dtype, Quant(grid.scale, grid.zero_point)))

    def _fresh(self, name: str) -> str:
        both = Graph("names", values={**self.source.values, **self.result.values})
        return fresh(both, name)

    def _constant(self, name: str, data: np.ndarray, quant: Quant) -> str:
        result = name if name not in self.result.values else self._fresh(name)
        return self.result.add_constant(result, data, quant)

    def _emit(self, node: Node, grid: Grid, out: str = "") -> None:
        """Append the node with the shape that its result has in the float graph.

        `out` names the result where that is not the float graph's own.
        """
        shape = self.source.values[node.output].shape
        made = replace(node, outputs=(out or node.output,))
        if self.result.values[node.inputs[0]].dtype != grid.dtype:
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

    def _whole(self, node: Node) -> None:
        """A node whose results are indices or truth values, which have no grid."""
        inputs = tuple(self._operand(name) for name in node.inputs)
        self._checked(replace(node, inputs=inputs))
        for name in node.outputs:
            self._add(name, self.source.values[name].shape, None, self.source.values[name].dtype)
        self.result.nodes.append(replace(node, inputs=inputs))

    def _general(self, node: Node, grid: Grid) -> None:
        """Any operator, by what it says of the quantization of its result."""
        spec = operator(node.op)
        inputs = [self._operand(name) for name in node.inputs]
        made, source = grid, grid_of(self.source.values[node.inputs[0]])
        widths = {grid_of(self.source.values[n]).dtype for n in node.inputs  # type: ignore[union-attr]
                  if grid_of(self.source.values[n]) and not self.source.is_constant(n)}  # fmt: skip
        if spec.grid == "fixed":
            q = spec.fixed_quant(node, next(iter(widths), "int8"))
            made = Grid(q.scale, q.zero_point, None, next(iter(widths), "int8"))
        elif spec.grid_for(node) == "operand":
            assert source is not None
            made = source
        elif not spec.converts and widths != {grid.dtype}:
            raise FloatLayer(f"its tensors are of different widths: {', '.join(sorted(widths))}")
        lowered = replace(node, inputs=tuple(inputs))
        self._checked(lowered)
        for name in node.outputs[1:]:
            self._add(name, self.source.values[name].shape, None, self.source.values[name].dtype)
        self._requantized(lowered, made, grid)

    def _checked(self, node: Node) -> None:
        """Refuse a node that has no integer form, or none for these operands."""
        spec = operator(node.op)
        kind = type(spec)
        if (
            kind.reference_int is Operator.reference_int
            and kind.evaluate_int is Operator.evaluate_int
        ):
            raise FloatLayer("the operator has no integer form here")
        values = [self.result.values[name] for name in node.inputs]
        for rule in spec.rules:
            if not rule(node, values):
                raise FloatLayer(sentence(rule))

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

    def _normalization(self, node: Node, grid: Grid) -> None:
        """layer_norm and its kin, with gamma and beta as SPEC has them."""
        x, *names = node.inputs
        if not all(self.source.is_constant(name) for name in names):
            raise FloatLayer("its gamma or beta is computed at run time")
        vectors = [self.source.constants[name] for name in names]
        made = integer_affine(vectors[0], vectors[1] if len(vectors) > 1 else None)
        pairs = zip(names, made, strict=True)
        operands = [self._constant(name, data, quant) for name, (data, quant) in pairs]
        lowered = replace(node, inputs=(x, *operands))
        self._checked(lowered)
        self._emit(lowered, grid)

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
            "dilations": list(win.pair(node, "dilations", 1)),
            "pads": list(win.pads_of(node)),
        }
        if node.attrs.get("clamp"):
            attrs["clamp"] = node.attrs["clamp"]
        inputs = (node.inputs[0], *names)
        self._emit(Node("depthwise_conv2d", inputs, node.outputs, attrs, node.name), grid)

    def _operand(self, name: str) -> str:
        """An operand: constants of real numbers become int8."""
        if not self.source.is_constant(name):
            return name
        if self.source.values[name].dtype != "float32":
            if name not in self.result.values:
                self.result.add_constant(name, self.source.constants[name])
            return name
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
            raise FloatLayer("its weights or bias are computed at run time")
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
            raise FloatLayer("its weights are float32")
        if grid.per_channel and grid.axis != axis:
            raise FloatLayer("its weights have scales along another axis than the output channels")
        shape = [1] * data.ndim
        if grid.per_channel:
            shape[axis] = -1
        q = np.round(data / grid.scale.astype(np.float64).reshape(shape))
        lo, hi = RANGES.get(grid.dtype, RANGES["int8"])
        if q.min() < lo or q.max() > hi:
            raise FloatLayer(
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
    """What every window of a pool is divided by, 0 where windows differ."""
    uniform = not any(win.pads_of(node)) or counts_padding(node)
    if not uniform or any(node.attrs.get("ceil_pads", [0])):
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
