"""lstm: a layer of long short-term memory over a sequence, with its two states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from edgekit.graph import GraphError, Node, Quant, Value
from edgekit.ops import gates
from edgekit.ops import recurrent as rec
from edgekit.ops.base import Inferred, Operator
from edgekit.ops.requant import quant_of, tensor_quant


class LstmParams(NamedTuple):
    """The integers of an lstm. `x` and `h` are the products of the input and of the hidden state;
    `cell_clip` is 0 where the cell is not clipped."""

    x: rec.Product
    h: rec.Product
    forget: rec.Rescale
    write: rec.Rescale
    hidden: rec.Rescale
    cell_power: int
    cell_clip: int


class Lstm(Operator):
    """LSTM over axis 1 of x [1, T, I] with states h [1, H], c [1, H]; rows of W, R: i, f, g, o."""

    name = "lstm"
    rules = rec.RULES

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        kinds = [inputs[0].dtype, "int16"]
        x, h, c, *_ = rec.check(node, inputs, gates=4, states=kinds, biases=[4])
        return [((1, x.shape[1], h.shape[1]), h.dtype), (h.shape, h.dtype), (c.shape, c.dtype)]

    def evaluate_float(self, node: Node, inputs: list[np.ndarray]) -> list[np.ndarray]:
        return self.trace_float(node, inputs)[:3]

    def trace_float(self, node: Node, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """y [n, T, H], h, c, and the cell after each step [n, T, H]."""
        x, h, c, w, r, bias = inputs
        n, length = x.shape[:2]
        h, c = rec.spread(h, n), rec.spread(c, n)
        clip = float(node.attrs.get("cell_clip", 0.0))
        terms = x @ w.T + bias
        y = np.empty((n, length, h.shape[-1]), np.float32)
        cells = np.empty_like(y)
        for t in rec.times(node, length):
            i, f, g, o = np.split(terms[:, t] + h @ r.T, 4, axis=1)
            c = rec.sigmoid(f) * c + rec.sigmoid(i) * np.tanh(g)
            if clip > 0:
                c = np.clip(c, -clip, clip)
            h = rec.sigmoid(o) * np.tanh(c)
            y[:, t], cells[:, t] = h, c
        return [y, h.astype(np.float32), c.astype(np.float32), cells]

    def wide(self, node: Node) -> tuple[str, ...]:
        return (node.inputs[2], node.outputs[2])

    def ties(self, node: Node) -> tuple[tuple[str, ...], ...]:
        return ((node.inputs[1], *node.outputs[:2]), self.wide(node))

    def inner_ranges(self, node: Node, inputs: list[np.ndarray]) -> dict[str, tuple[float, float]]:
        return {"cell": rec.extremes(self.trace_float(node, inputs)[3], inputs[2])}

    def inner_quants(
        self, node: Node, ranges: Mapping[str, tuple[float, float]]
    ) -> dict[str, Quant]:
        """The cell's, with room for twice of what was seen."""
        quant = rec.quant_by_power(2 * rec.magnitude(ranges["cell"]))
        return dict.fromkeys(self.wide(node), quant)

    def evaluate_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], outs: list[Value]
    ) -> list[np.ndarray]:
        x, h, c, w, r, bias = inputs
        p = lstm_params(node, values, outs)
        n, length = x.shape[:2]
        hidden, cell = rec.spread(h, n), rec.spread(c, n).astype(np.int64)
        terms = rec.product(x.reshape(-1, x.shape[2]), w, bias, p.x).reshape(n, length, -1)
        y = np.empty((n, length, h.shape[-1]), outs[0].dtype)
        for t in rec.times(node, length):
            pre = rec.gate_sum(node, terms[:, t], rec.product(hidden, r, None, p.h))
            i, f, g, o = np.split(pre, 4, axis=1)
            kept = rec.rescale(gates.sigmoid16(f) * cell, p.forget)
            added = rec.rescale(gates.sigmoid16(i) * gates.tanh16(g), p.write)
            cell = gates.clamp16(kept + added)
            if p.cell_clip:
                cell = np.clip(cell, -p.cell_clip, p.cell_clip)
            out = rec.rescale(gates.tanh16(cell, p.cell_power) * gates.sigmoid16(o), p.hidden)
            hidden = out.astype(y.dtype)
            y[:, t] = hidden
        return [y, np.ascontiguousarray(hidden), cell.astype(np.int16)]

    def macs(self, node: Node, inputs: list[Value], out: Value) -> int:
        return inputs[0].shape[1] * (inputs[3].size + inputs[4].size)


def lstm_params(node: Node, values: list[Value], outs: list[Value]) -> LstmParams:
    """The integers of an lstm.

    Raises:
        GraphError: where scales are out of range, or states and results differ in quantization.
    """
    x, h, c, w, r, _ = values
    y, h_out, c_out = outs
    if quant_of(h) != quant_of(h_out) or quant_of(h) != quant_of(y):
        raise GraphError(f"'{node.name}': hidden state and result must share a quantization")
    if quant_of(c) != quant_of(c_out):
        raise GraphError(f"'{node.name}': the cell must keep its quantization")
    power = rec.power_of(c)
    cell_scale, hidden_scale = np.float64(tensor_quant(c)[0]), np.float64(tensor_quant(h)[0])
    unit = 2.0**-gates.UNIT_BITS
    clip = float(np.float32(node.attrs.get("cell_clip", 0.0)))
    return LstmParams(
        rec.product_params(x, w),
        rec.product_params(h, r),
        rec.rescale_params(unit * cell_scale / cell_scale),
        rec.rescale_params(unit * unit / cell_scale),
        rec.rescale_params(unit * unit / hidden_scale, h),
        power,
        int(min(clip / cell_scale, 32767.0)) if clip > 0 else 0,
    )


OPERATOR = Lstm()
