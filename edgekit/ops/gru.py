"""gru: a layer of gated recurrent units over a sequence, with its state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from edgekit.graph import GraphError, Node, Quant, Value
from edgekit.ops import gates
from edgekit.ops import recurrent as rec
from edgekit.ops.base import Inferred, Operator
from edgekit.ops.requant import quant_of, tensor_quant


class GruParams(NamedTuple):
    """The integers of a gru. `read` makes of the state what the products read and the result holds;
    `unit` divides by 2**15, `reset` does so into the result's integers."""

    x: rec.Product
    h: rec.Product
    keep: rec.Rescale
    write: rec.Rescale
    read: rec.Rescale
    unit: rec.Rescale
    reset: rec.Rescale


class Gru(Operator):
    """GRU over axis 1 of x [1, T, I] with a state h [1, H]; rows of W, R: update, reset, new."""

    name = "gru"
    rules = rec.RULES

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        x, h, *_ = rec.check(node, inputs, gates=3, states=["int16"], biases=[3, 1])
        return [((1, x.shape[1], h.shape[1]), x.dtype), (h.shape, h.dtype)]

    def evaluate_float(self, node: Node, inputs: list[np.ndarray]) -> list[np.ndarray]:
        x, h, w, r, bias, inner = inputs
        n, length = x.shape[:2]
        units = h.shape[-1]
        h = rec.spread(h, n)
        terms = x @ w.T + bias
        y = np.empty((n, length, units), np.float32)
        for t in rec.times(node, length):
            a, new = terms[:, t], terms[:, t, 2 * units :]
            z, reset = np.split(rec.sigmoid(a[:, : 2 * units] + h @ r[: 2 * units].T), 2, axis=1)
            if node.attrs.get("linear_before_reset"):
                new = new + reset * (h @ r[2 * units :].T + inner)
            else:
                new = new + (reset * h) @ r[2 * units :].T + inner
            h = (1 - z) * np.tanh(new) + z * h
            y[:, t] = h
        return [y, h.astype(np.float32)]

    def wide(self, node: Node) -> tuple[str, ...]:
        return (node.inputs[1], node.outputs[1])

    def ties(self, node: Node) -> tuple[tuple[str, ...], ...]:
        return (self.wide(node),)

    def inner_ranges(self, node: Node, inputs: list[np.ndarray]) -> dict[str, tuple[float, float]]:
        return {"start": rec.extremes(inputs[1])}

    def inner_quants(
        self, node: Node, ranges: Mapping[str, tuple[float, float]]
    ) -> dict[str, Quant]:
        """The state's: it never leaves [-1, 1] or what it starts from, whichever is larger."""
        quant = rec.quant_by_power(max(1.0, rec.magnitude(ranges["start"])))
        return dict.fromkeys(self.wide(node), quant)

    def evaluate_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], outs: list[Value]
    ) -> list[np.ndarray]:
        x, h, w, r, bias, inner = inputs
        p = gru_params(node, values, outs)
        n, length = x.shape[:2]
        units = h.shape[-1]
        state = rec.spread(h, n).astype(np.int64)
        seen = rec.rescale(state, p.read).astype(outs[0].dtype)
        terms = rec.product(x.reshape(-1, x.shape[2]), w, bias, p.x).reshape(n, length, -1)
        y = np.empty((n, length, units), outs[0].dtype)
        of_gates, of_new = rec.rows(p.h, 0, 2 * units), rec.rows(p.h, 2 * units, 3 * units)
        for t in rec.times(node, length):
            a, new = terms[:, t, : 2 * units], terms[:, t, 2 * units :]
            pre = rec.gate_sum(node, a, rec.product(seen, r[: 2 * units], None, of_gates))
            z, reset = np.split(gates.sigmoid16(pre), 2, axis=1)
            if node.attrs.get("linear_before_reset"):
                b = gates.clamp16(rec.product(seen, r[2 * units :], inner, of_new))
                b = rec.rescale(reset * b, p.unit)
            else:
                part = rec.rescale(reset * (seen.astype(np.int64) - p.h.zero_point), p.reset)
                b = rec.product(part.astype(seen.dtype), r[2 * units :], inner, of_new)
            candidate = gates.tanh16(gates.clamp16(new + b))
            kept = rec.rescale(z * state, p.keep)
            state = gates.clamp16(kept + rec.rescale((32768 - z) * candidate, p.write))
            seen = rec.rescale(state, p.read).astype(y.dtype)
            y[:, t] = seen
        return [y, state.astype(np.int16)]

    def macs(self, node: Node, inputs: list[Value], out: Value) -> int:
        return inputs[0].shape[1] * (inputs[2].size + inputs[3].size)


def gru_params(node: Node, values: list[Value], outs: list[Value]) -> GruParams:
    """The integers of a gru.

    Raises:
        GraphError: where scales are out of range, or the state does not keep its quantization.
    """
    x, h, w, r, *_ = values
    y, h_out = outs
    if quant_of(h) != quant_of(h_out) or tensor_quant(h)[1] != 0:
        raise GraphError(f"'{node.name}': the state must keep its quantization, with zero point 0")
    state_scale, scale = np.float64(tensor_quant(h)[0]), np.float64(tensor_quant(y)[0])
    unit = 2.0**-gates.UNIT_BITS
    return GruParams(
        rec.product_params(x, w),
        rec.product_params(y, r),
        rec.rescale_params(unit),
        rec.rescale_params(unit * unit / state_scale),
        rec.rescale_params(state_scale / scale, y),
        rec.rescale_params(unit),
        rec.rescale_params(unit, y),
    )


OPERATOR = Gru()
