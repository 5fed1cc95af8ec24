"""reduce: sum, mean, extreme, product or truth of all elements along some axes."""

from __future__ import annotations

import math

import numpy as np

from edgekit.graph import Node, Shape, Value
from edgekit.ops import fixedpoint as fp
from edgekit.ops.base import INTEGERS, Grid, Inferred, Operator
from edgekit.ops.convert import dequantize, quantize
from edgekit.ops.interval import Interval, between, channels_of, full, requantized
from edgekit.ops.movement import MAX_RANK, integers
from edgekit.ops.requant import Requant, clip_params, require_same_quant, tensor_quant
from edgekit.ops.rules import one_operand

#: Kinds and the dtypes that they take.
KINDS = {
    "sum": ("float32", *INTEGERS),
    "mean": ("float32", *INTEGERS),
    "prod": ("float32", *INTEGERS),
    "max": ("float32", *INTEGERS, "int32"),
    "min": ("float32", *INTEGERS, "int32"),
    "any": ("bool",),
    "all": ("bool",),
}
#: Elements that one int32 sum of int16 numbers holds.
MOST_INT16 = 65535
#: Partial products of quantized numbers are kept within this, a float32.
LARGEST_PRODUCT = 2.0**127


def known_kind(node: Node, inputs: list[Value]) -> bool:
    """'kind' is sum, mean, prod (of float32, int8, int16), max, min (of int32 too), any or all (of
    bool)."""
    return inputs[0].dtype in KINDS.get(str(node.attrs.get("kind")), ())


def axes_exist(node: Node, inputs: list[Value]) -> bool:
    """'axes' are different axes of the operand, counted from 0; it has at most 8."""
    axes, rank = node.attrs.get("axes"), len(inputs[0].shape)
    return (
        integers(axes)
        and len(set(axes or ())) == len(axes or ())
        and set(axes or ()) <= set(range(rank))
        and rank <= MAX_RANK
    )


def sums_fit(node: Node, inputs: list[Value]) -> bool:
    """Sums and means of int16 take at most 65535 elements, of int8 2**23, so that int32 holds
    them."""
    most = {"int16": MOST_INT16, "int8": 1 << 23}.get(inputs[0].dtype)
    return most is None or kind_of(node) not in ("sum", "mean") or count_of(node, inputs[0]) <= most


def kind_of(node: Node) -> str:
    return str(node.attrs["kind"])


def axes_of(node: Node) -> tuple[int, ...]:
    return tuple(sorted(node.attrs["axes"]))


def keepdims_of(node: Node) -> bool:
    return bool(node.attrs.get("keepdims", True))


def count_of(node: Node, x: Value) -> int:
    """How many elements become one."""
    return math.prod(x.shape[axis] for axis in axes_of(node))


def reduced_shape(shape: Shape, axes: tuple[int, ...], keepdims: bool) -> Shape:
    kept = [1 if i in axes else size for i, size in enumerate(shape)]
    return tuple(kept if keepdims else [d for i, d in enumerate(kept) if i not in axes])


def reduce_params(node: Node, values: list[Value], out: Value) -> Requant:
    """Requantization of a sum or a mean of (x - zero point), as TFLM's QuantizedMeanOrSum does it.

    A mean puts the division by its n elements into the multiplier: it is shifted up by floor(log2
    n), as far as the right shift stays within 31, and divided, rounding down.
    """
    p = clip_params(node, values, out)
    if kind_of(node) == "sum":
        return p
    n = count_of(node, values[0])
    up = min(n.bit_length() - 1, 32, 31 + p.shift)
    return p._replace(multiplier=(p.multiplier << up) // n, shift=p.shift - up)


class Reduce(Operator):
    """One number of all elements along 'axes': sum, mean, prod, max, min, any or all."""

    name = "reduce"
    rules = (one_operand, known_kind, axes_exist, sums_fit)

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        x = inputs[0]
        return [(reduced_shape(x.shape, axes_of(node), keepdims_of(node)), x.dtype)]

    def grid_for(self, node: Node) -> Grid:
        return "operand" if kind_of(node) in ("max", "min") else "own"

    def batched(self, node: Node, values: list[Value]) -> bool:
        return 0 not in axes_of(node)

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        x, kind = inputs[0], kind_of(node)
        along = {"axis": axes_of(node), "keepdims": keepdims_of(node)}
        if kind in ("sum", "mean"):
            return np.asarray(getattr(np, kind)(x, dtype=np.float64, **along), np.float32)
        return np.asarray(getattr(np, kind)(x, **along), x.dtype)

    def reference_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        kind = kind_of(node)
        if kind in ("max", "min", "any", "all"):
            require_same_quant(node, values, out)
            return self.reference_float(node, inputs)
        if kind == "prod":
            with np.errstate(over="ignore", invalid="ignore"):  # beyond any integer, either way
                return quantize(out, self._product(node, dequantize(values[0], inputs[0])))
        p, zx = reduce_params(node, values, out), tensor_quant(values[0])[1]
        x = inputs[0].astype(np.int64) - zx
        total = x.sum(axis=axes_of(node), keepdims=keepdims_of(node))
        y = fp.multiply_by_quantized_multiplier(fp.wrap32(total), p.multiplier, p.shift)
        return np.clip(y + tensor_quant(out)[1], p.qmin, p.qmax).astype(out.dtype)

    @staticmethod
    def _product(node: Node, x: np.ndarray) -> np.ndarray:
        """float32 products in the order of memory, each rounded and limited: none is infinite."""
        axes = axes_of(node)
        kept = [i for i in range(x.ndim) if i not in axes]
        rows = x.transpose(*kept, *axes).reshape(*(x.shape[i] for i in kept), -1)
        y, limit = np.ones(rows.shape[:-1], np.float32), np.float32(LARGEST_PRODUCT)
        for i in range(rows.shape[-1]):
            y = np.clip(y * rows[..., i], -limit, limit)
        return y.reshape(reduced_shape(x.shape, axes, keepdims_of(node)))

    def interval(
        self, node: Node, operands: list[Interval], values: list[Value], out: Value
    ) -> Interval:
        kind, x, axes = kind_of(node), operands[0], axes_of(node)
        if kind in ("any", "all"):
            return between(out, 0, 1)
        if kind == "prod":
            return full(out)
        if not keepdims_of(node) or len(values[0].shape) - 1 in axes:
            x = x.over_all(channels_of(out))
        if kind in ("max", "min"):
            return x
        p, n, zx = reduce_params(node, values, out), count_of(node, values[0]), 0
        zx = tensor_quant(values[0])[1]
        total = Interval((x.lo - zx) * n, (x.hi - zx) * n)
        return requantized(total, p.multiplier, p.shift, tensor_quant(out)[1], p.qmin, p.qmax)


OPERATOR = Reduce()
