"""matmul: the product of two tensors of matrices."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from edgekit.graph import GraphError, Node, Value
from edgekit.ops import fixedpoint as fp
from edgekit.ops.base import INTEGERS, Inferred, Operator, check_activation, clamp_float, require
from edgekit.ops.requant import clamp_of_output, tensor_quant

#: An accumulator of 64 bits is below 2**47 where no more products than this are added.
MAX_DEPTH = 1 << 14


class MatmulParams(NamedTuple):
    """Requantization: the usual one for two int8 operands, else one rounding of 64 bits.

    `wide` says which. A wide multiplier is below 2**15 and its shift 8..46 to the right.
    """

    wide: bool
    multiplier: int
    shift: int
    qmin: int
    qmax: int


def matmul_params(node: Node, values: list[Value], out: Value) -> MatmulParams:
    """TFLM's BATCH_MATMUL: MultiplyByQuantizedMultiplier of int32, or of int64 for int16 operands.

    Raises:
        GraphError: where the scales of wide operands differ by so much that no shift serves.
    """
    real = tensor_quant(values[0])[0] * tensor_quant(values[1])[0] / tensor_quant(out)[0]
    multiplier, shift = (int(n) for n in fp.quantize_multiplier(real))
    wide = any(v.dtype == "int16" for v in values)
    if wide:
        if shift > 7:
            raise GraphError(f"'{node.name or node.op}': scales give a factor of {real:g}, >= 128")
        multiplier, shift = fp.reduced_multiplier(multiplier, shift)
    return MatmulParams(wide, multiplier, shift, *clamp_of_output(node, out))


def matrices(node: Node, inputs: list[Value]) -> bool:
    """a and b must have at least two axes each"""
    return all(len(v.shape) >= 2 for v in inputs)


def depths_agree(node: Node, inputs: list[Value]) -> bool:
    """the columns of a must be as many as the rows of b (its columns with transpose_b)"""
    a, b = inputs
    return a.shape[-1] == b.shape[-1 if node.attrs.get("transpose_b") else -2]


def leading_axes_broadcast(node: Node, inputs: list[Value]) -> bool:
    """the axes in front of the matrices must broadcast as in numpy"""
    try:
        np.broadcast_shapes(*(v.shape[:-2] for v in inputs))
    except ValueError:
        return False
    return True


def depth_is_bounded(node: Node, inputs: list[Value]) -> bool:
    """integer products add at most 16384 numbers"""
    return inputs[0].dtype == "float32" or inputs[0].shape[-1] <= MAX_DEPTH


class Matmul(Operator):
    """a [..., M, K] times b [..., K, N] ([..., N, K] with transpose_b), leading axes broadcast."""

    name = "matmul"
    rules = (matrices, depths_agree, leading_axes_broadcast, depth_is_bounded)
    converts = True

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        require(len(inputs) == 2, node, f"needs two operands, has {len(inputs)}")
        a, b = inputs
        require(
            a.dtype == b.dtype or {a.dtype, b.dtype} <= set(INTEGERS) or "float" in node.attrs,
            node,
            f"operands must both be float32 or integers, they are {a.dtype} and {b.dtype}",
        )
        for rule in self.rules:
            require(rule(node, inputs), node, rule.__doc__ or "")
        lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        columns = b.shape[-2 if node.attrs.get("transpose_b") else -1]
        shape = (*(int(d) for d in lead), a.shape[-2], columns)
        return [(shape, check_activation(node, a))]

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        a, b = inputs
        y = np.matmul(a, _upright(node, b))
        return clamp_float(node, y.astype(np.float32))

    def reference_exact(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        a, b = inputs[0], _upright(node, inputs[1])
        lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        acc = np.zeros((*lead, a.shape[-2], b.shape[-1]), np.float32)
        for k in range(a.shape[-1]):
            acc += a[..., :, k, None] * b[..., None, k, :]
        return clamp_float(node, acc)

    def reference_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        p = matmul_params(node, values, out)
        acc = self.accumulate(node, inputs, values)
        zero_point = tensor_quant(out)[1]
        if not p.wide:
            return fp.requantize(
                fp.wrap32(acc), p.multiplier, p.shift, zero_point, p.qmin, p.qmax, out.dtype
            )
        y = fp.multiply_wide(acc, p.multiplier, p.shift) + zero_point
        return np.clip(y, p.qmin, p.qmax).astype(out.dtype)

    def accumulate(
        self, node: Node, inputs: list[np.ndarray], values: list[Value]
    ) -> np.ndarray:
        """int64 accumulators [..., M, N]: sums of (a - za) * (b - zb).

        float64 adds products below 2**34 exactly, at most 2**14 of them.
        """
        a, b = (
            x.astype(np.float64) - tensor_quant(v)[1] for x, v in zip(inputs, values, strict=True)
        )
        acc: np.ndarray = np.matmul(a, _upright(node, b))
        return acc.astype(np.int64)

    def macs(self, node: Node, inputs: list[Value], out: Value) -> int:
        return out.size * inputs[0].shape[-1]


def _upright(node: Node, b: np.ndarray) -> np.ndarray:
    return b.swapaxes(-1, -2) if node.attrs.get("transpose_b") else b


OPERATOR = Matmul()
