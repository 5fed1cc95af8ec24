"""matmul: the product of two tensors of matrices."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from edgekit.graph import GraphError, Node, Value
from edgekit.ops import fixedpoint as fp
from edgekit.ops.base import Inferred, Operator, check_activation, clamp_float
from edgekit.ops.requant import PARAMETERS, clamp_of_output, tensor_quant
from edgekit.ops.rules import activations, two_operands

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


def scale_of(node: Node) -> float:
    return float(node.attrs.get("scale", 1.0))


def matmul_params(node: Node, values: list[Value], out: Value) -> MatmulParams:
    """TFLM's BATCH_MATMUL: MultiplyByQuantizedMultiplier of int32, or of int64 for int16 operands.

    Raises:
        GraphError: where the scales of wide operands differ by so much that no shift serves.
    """
    real = tensor_quant(values[0])[0] * tensor_quant(values[1])[0] / tensor_quant(out)[0]
    real *= scale_of(node)
    multiplier, shift = (int(n) for n in fp.quantize_multiplier(real))
    wide = any(v.dtype == "int16" for v in values)
    if wide:
        if shift > 7:
            raise GraphError(f"'{node.name or node.op}': scales give a factor of {real:g}, >= 128")
        multiplier, shift = fp.reduced_multiplier(multiplier, shift)
    return MatmulParams(wide, multiplier, shift, *clamp_of_output(node, out))


def matrices(node: Node, inputs: list[Value]) -> bool:
    """Both operands must have at least two axes."""
    return all(len(v.shape) >= 2 for v in inputs)


def kinds_agree(node: Node, inputs: list[Value]) -> bool:
    """Both operands must be float32, or both integers."""
    return len({v.dtype == "float32" for v in inputs}) == 1 or bool(node.attrs.get("float"))


def depths_agree(node: Node, inputs: list[Value]) -> bool:
    """The first operand must have as many columns as the second has rows (columns with
    'transpose_b')."""
    a, b = inputs
    return a.shape[-1] == b.shape[-1 if node.attrs.get("transpose_b") else -2]


def leading_axes_broadcast(node: Node, inputs: list[Value]) -> bool:
    """The axes in front of the matrices must broadcast as in numpy."""
    try:
        np.broadcast_shapes(*(v.shape[:-2] for v in inputs))
    except ValueError:
        return False
    return True


def scale_is_positive(node: Node, inputs: list[Value]) -> bool:
    """Attribute 'scale' must be a positive number."""
    scale = node.attrs.get("scale", 1.0)
    return isinstance(scale, int | float) and math.isfinite(scale) and scale > 0


def depth_is_bounded(node: Node, inputs: list[Value]) -> bool:
    """Integer matrices must have at most 16384 numbers per dot product."""
    return inputs[0].dtype == "float32" or inputs[0].shape[-1] <= MAX_DEPTH


class Matmul(Operator):
    """Scale times a [..., M, K] times b [..., K, N] ([..., N, K] with transpose_b), broadcast."""

    name = "matmul"
    rules = (
        two_operands, activations, kinds_agree, matrices, depths_agree, leading_axes_broadcast,
        depth_is_bounded, scale_is_positive,
    )  # fmt: skip
    converts = True

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        a, b = inputs
        lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        columns = b.shape[-2 if node.attrs.get("transpose_b") else -1]
        shape = (*(int(d) for d in lead), a.shape[-2], columns)
        return [(shape, check_activation(node, a))]

    def batched(self, node: Node, values: list[Value]) -> bool:
        a, b = (v.shape for v in values)
        # A leading axis of 1 is the batch in both operands, or b is a constant matrix.
        return len(a) == len(b) >= 3 or (len(b) == 2 and b[0] != 1)

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        a, b = inputs
        y = np.matmul(a, _upright(node, b)) * np.float32(scale_of(node))
        return clamp_float(node, y.astype(np.float32))

    def reference_exact(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        a, b = inputs[0], _upright(node, inputs[1])
        lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        acc = np.zeros((*lead, a.shape[-2], b.shape[-1]), np.float32)
        for k in range(a.shape[-1]):
            acc += a[..., :, k, None] * b[..., None, k, :]
        return clamp_float(node, acc * np.float32(scale_of(node)))

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

    def accumulate(self, node: Node, inputs: list[np.ndarray], values: list[Value]) -> np.ndarray:
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
PARAMETERS[OPERATOR.name] = matmul_params
