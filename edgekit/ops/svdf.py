"""svdf: a fully connected layer of rank-reduced filters over the last inferences."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from edgekit.graph import GraphError, Node, Value
from edgekit.ops import fixedpoint as fp
from edgekit.ops.base import Inferred, Operator, clamp_float, require
from edgekit.ops.conv2d import exact_matmul
from edgekit.ops.recurrent import MOST_SHIFT, Rescale, rescale, spread
from edgekit.ops.requant import clamp_of_output, quant_of, tensor_quant


class SvdfParams(NamedTuple):
    """The integers of an svdf: input to memory, and memory to result. The memory's zero point
    `zero_point` is added after the clamp."""

    x_zero_point: int
    zero_point: int
    state: Rescale
    out: Rescale


def one_vector(node: Node, inputs: list[Value]) -> bool:
    """The first operand is one vector, [1, inputs]."""
    return bool(inputs) and len(inputs[0].shape) == 2 and inputs[0].shape[0] == 1


def whole_ranks(node: Node, inputs: list[Value]) -> bool:
    """Attribute 'rank' divides the number of filters."""
    rank = node.attrs.get("rank", 1)
    filters = inputs[2].shape[0] if len(inputs) > 2 and inputs[2].shape else 0
    return isinstance(rank, int) and rank >= 1 and filters % rank == 0


class Svdf(Operator):
    """SVDF: x [1, I] through features [F, I] into a memory [1, F x M], then over time; rank r."""

    name = "svdf"
    rules = (one_vector, whole_ranks)

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        require(len(inputs) == 5, node, f"needs 5 operands, has {len(inputs)}")
        x, state, feature, time, bias = inputs
        rank = node.attrs.get("rank", 1)
        filters = feature.shape[0]
        require(
            feature.shape == (filters, x.shape[1]) and len(time.shape) == 2
            and time.shape[0] == filters,
            node,
            f"features {list(feature.shape)} and time weights {list(time.shape)} do not fit x "
            f"{list(x.shape)}",
        )  # fmt: skip
        require(state.shape == (1, time.size), node, f"the state must be [1, {time.size}]")
        units = filters // rank
        require(bias.shape == (units,), node, f"bias must be [{units}], it is {list(bias.shape)}")
        kinds = [v.dtype for v in inputs]
        known = (
            ["float32"] * 5,
            ["int8", "int16", "int8", "int16", "int32"],
            ["int8", "int8", "int8", "int8", "int32"],
            ["int16", "int16", "int8", "int16", "int32"],
        )
        require(kinds in known, node, f"operands are {', '.join(kinds)}")
        return [((1, units), x.dtype), (state.shape, state.dtype)]

    def evaluate_float(self, node: Node, inputs: list[np.ndarray]) -> list[np.ndarray]:
        x, state, feature, time, bias = inputs
        memory = self._shifted(state, x @ feature.T, time.shape)
        sums = (memory * time).sum(axis=2)
        y = sums.reshape(len(x), len(bias), -1).sum(axis=2) + bias
        return [clamp_float(node, y.astype(np.float32)), memory.reshape(len(x), -1)]

    def evaluate_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], outs: list[Value]
    ) -> list[np.ndarray]:
        x, state, feature, time, bias = inputs
        p = svdf_params(node, values, outs)
        folded = -p.x_zero_point * feature.astype(np.int64).sum(axis=1)
        newest = rescale(fp.wrap32(exact_matmul(x, feature) + folded), p.state)
        newest = (newest + p.zero_point).astype(state.dtype)  # wraps, as in TFLM
        memory = self._shifted(state, newest, time.shape)
        centred = memory.astype(np.int64) - p.zero_point
        sums = (centred * time).sum(axis=2)
        acc = fp.wrap32(sums.reshape(len(x), len(bias), -1).sum(axis=2) + bias)
        return [rescale(acc, p.out).astype(outs[0].dtype), memory.reshape(len(x), -1)]

    def wide(self, node: Node) -> tuple[str, ...]:
        return (node.inputs[1], node.outputs[1])

    def ties(self, node: Node) -> tuple[tuple[str, ...], ...]:
        return (self.wide(node),)

    @staticmethod
    def _shifted(state: np.ndarray, newest: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """The memory [n, F, M] of which the oldest column is gone and `newest` [n, F] is last."""
        memory = spread(state, len(newest)).reshape(-1, *shape)
        return np.concatenate([memory[:, :, 1:], newest[:, :, None]], axis=2)

    def macs(self, node: Node, inputs: list[Value], out: Value) -> int:
        return inputs[2].size + inputs[3].size


def svdf_params(node: Node, values: list[Value], outs: list[Value]) -> SvdfParams:
    """The integers of an svdf; its effective scales are products and quotients in float32.

    Raises:
        GraphError: where the memory does not keep its quantization.
    """
    x, state, feature, time, _ = values
    if quant_of(state) != quant_of(outs[1]):
        raise GraphError(f"'{node.name}': the memory must keep its quantization")
    s_x, s_m, s_f, s_t, s_y = (
        np.float32(tensor_quant(v)[0]) for v in (x, state, feature, time, outs[0])
    )
    info = np.iinfo(state.dtype)
    first = fp.quantize_multiplier(np.float64(s_x * s_f / s_m))
    second = fp.quantize_multiplier(np.float64(s_m * s_t / s_y))
    if max(int(first[1]), int(second[1])) > MOST_SHIFT:
        raise GraphError(f"'{node.name}': the scale of a product is 2**{MOST_SHIFT} or above")
    return SvdfParams(
        tensor_quant(x)[1],
        tensor_quant(state)[1],
        Rescale(int(first[0]), int(first[1]), 0, int(info.min), int(info.max)),
        Rescale(int(second[0]), int(second[1]), tensor_quant(outs[0])[1],
                *clamp_of_output(node, outs[0])),
    )  # fmt: skip


OPERATOR = Svdf()
