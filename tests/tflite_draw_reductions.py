"""Reductions and products of matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tflite_draw import ALL, Draw, Made, fitting, largest, operator
from tflite_files import File


def _reduced(d: Draw, shape: Sequence[int]) -> tuple[list[int], bool, list[int]]:
    axes = d.some(1, len(shape) - 1)
    keep = bool(d.number(0, 1))
    out = [1 if i in axes else n for i, n in enumerate(shape)]
    return axes, keep, out if keep else [n for i, n in enumerate(out) if i not in axes]


def _reduce(code: str, dtypes: tuple[str, ...], grow: bool = False, same: bool = False) -> None:
    @operator(*dtypes, name=code)
    def maker(f: File, d: Draw, dtype: str) -> Made:
        shape, q = d.shape(), d.quant(dtype)
        axes, keep, out = _reduced(d, shape)
        count = math.prod(shape[a] for a in axes)
        to = q if same or d.number(0, 1) else fitting(d, dtype, largest(q) * (count if grow else 1))
        x, y = f.tensor(shape, *q), f.tensor(out, *to)
        f.op(code, [x, f.ints(axes)], [y], "Reducer", 2, keepDims=keep)
        return [x], [y]


_reduce("MEAN", ALL)
_reduce("SUM", ALL, grow=True)
_reduce("REDUCE_MAX", ("int8", "float32"), same=True)
_reduce("REDUCE_MIN", ("int8", "float32"), same=True)


def _arg(code: str, options: str) -> None:
    @operator("int8", "float32", name=code)
    def maker(f: File, d: Draw, dtype: str) -> Made:
        shape = d.shape()
        axis = d.number(1, len(shape) - 1)
        x = f.tensor(shape, *d.quant(dtype))
        y = f.tensor([*shape[:axis], *shape[axis + 1 :]], "int32")
        f.op(code, [x, f.ints(axis)], [y], options, outputType=2)
        return [x], [y]


_arg("ARG_MAX", "ArgMax")
_arg("ARG_MIN", "ArgMin")


@operator("int8", "float32")
def cumsum(f: File, d: Draw, dtype: str) -> Made:
    shape, q = d.shape(), d.quant(dtype)
    axis = d.number(1, len(shape) - 1)
    x, y = f.tensor(shape, *q), f.tensor(shape, *fitting(d, dtype, 2 * largest(q)))
    f.op(
        "CUMSUM", [x, f.ints(axis)], [y], "Cumsum", exclusive=bool(d.number(0, 1)),
        reverse=bool(d.number(0, 1)),
    )  # fmt: skip
    return [x], [y]


def _batch_matmul(f: File, d: Draw, dtype: str) -> Made:
    m, k, n, batch = d.number(1, 3), d.number(1, 5), d.number(1, 3), d.number(1, 2)
    left, right = d.quant(dtype), d.quant(dtype)
    adj_x, adj_y = bool(d.number(0, 1)), bool(d.number(0, 1))
    a = f.tensor([1, batch, *((k, m) if adj_x else (m, k))], *left)
    b = f.tensor([1, batch, *((n, k) if adj_y else (k, n))], *right)
    expected = largest(left) * largest(right) * math.sqrt(k) / 3
    y = f.tensor([1, batch, m, n], *fitting(d, dtype, expected))
    f.op("BATCH_MATMUL", [a, b], [y], "BatchMatMul", adjX=adj_x, adjY=adj_y)
    return [a, b], [y]


operator(*ALL, name="BATCH_MATMUL")(_batch_matmul)
