"""rnn: a layer of simple recurrent units over a sequence, with its state."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from edgekit.graph import GraphError, Node, Value
from edgekit.ops import gates
from edgekit.ops import recurrent as rec
from edgekit.ops.base import Inferred, Operator
from edgekit.ops.requant import quant_of, tensor_quant


class RnnParams(NamedTuple):
    """The integers of an rnn: the products of input and state, and the result."""

    x: rec.Product
    h: rec.Product
    hidden: rec.Rescale


class Rnn(Operator):
    """Simple RNN (tanh) over axis 1 of x [1, T, I] with a state h [1, H]."""

    name = "rnn"
    rules = rec.RULES

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        x, h, *_ = rec.check(node, inputs, gates=1, states=[inputs[0].dtype], biases=[1])
        return [((1, x.shape[1], h.shape[1]), h.dtype), (h.shape, h.dtype)]

    def evaluate_float(self, node: Node, inputs: list[np.ndarray]) -> list[np.ndarray]:
        x, h, w, r, bias = inputs
        n, length = x.shape[:2]
        h = rec.spread(h, n)
        terms = x @ w.T + bias
        y = np.empty((n, length, h.shape[-1]), np.float32)
        for t in rec.times(node, length):
            h = np.tanh(terms[:, t] + h @ r.T)
            y[:, t] = h
        return [y, h.astype(np.float32)]

    def ties(self, node: Node) -> tuple[tuple[str, ...], ...]:
        return ((node.inputs[1], *node.outputs),)

    def evaluate_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], outs: list[Value]
    ) -> list[np.ndarray]:
        x, h, w, r, bias = inputs
        p = rnn_params(node, values, outs)
        n, length = x.shape[:2]
        hidden = rec.spread(h, n)
        terms = rec.product(x.reshape(-1, x.shape[2]), w, bias, p.x).reshape(n, length, -1)
        y = np.empty((n, length, h.shape[-1]), outs[0].dtype)
        for t in rec.times(node, length):
            pre = rec.gate_sum(node, terms[:, t], rec.product(hidden, r, None, p.h))
            hidden = rec.rescale(gates.tanh16(pre), p.hidden).astype(y.dtype)
            y[:, t] = hidden
        return [y, np.ascontiguousarray(hidden)]

    def macs(self, node: Node, inputs: list[Value], out: Value) -> int:
        return inputs[0].shape[1] * (inputs[2].size + inputs[3].size)


def rnn_params(node: Node, values: list[Value], outs: list[Value]) -> RnnParams:
    """The integers of an rnn.

    Raises:
        GraphError: where scales are out of range, or state and result differ in quantization.
    """
    x, h, w, r, _ = values
    if any(quant_of(h) != quant_of(out) for out in outs):
        raise GraphError(f"'{node.name}': state and result must share a quantization")
    return RnnParams(
        rec.product_params(x, w),
        rec.product_params(h, r),
        rec.rescale_params(2.0**-gates.UNIT_BITS / np.float64(tensor_quant(h)[0]), h),
    )


OPERATOR = Rnn()
