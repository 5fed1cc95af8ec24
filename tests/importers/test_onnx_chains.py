"""Random chains of ONNX operators: imported and canonicalized, they compute what ONNX Runtime does.

A chain keeps a list of tensors with their shapes; every link draws an operator that fits one or two
of them. What passes move, fold and fuse on the way must not show.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_models import check, model

Shape = tuple[int, ...]
OPSET = 20


class Chain:
    """Nodes so far; `links` adds one and returns its result's name and shape."""

    def __init__(self, draw: st.DrawFn, seed: int) -> None:
        self.draw = draw
        self.rng = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = {}

    def constant(self, data: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(data, dtype)
        return name

    def weights(self, *shape: int) -> str:
        return self.constant(self.rng.standard_normal(shape) / math.sqrt(max(1, shape[-1])))

    def node(self, op: str, *inputs: str, **attrs: Any) -> str:
        out = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [out], **attrs))
        return out

    def one_of(self, *options: Any) -> Any:
        return self.draw(st.sampled_from(options))

    def axis(self, shape: Shape, first: int = 1) -> int:
        return int(self.draw(st.integers(first, len(shape) - 1)))


Link = Callable[[Chain, str, Shape], tuple[str, Shape]]


def unary(c: Chain, x: str, shape: Shape) -> tuple[str, Shape]:
    op = c.one_of("Relu", "Sigmoid", "Tanh", "HardSwish", "LeakyRelu", "Elu", "Gelu", "Softplus",
                  "Neg", "Abs", "HardSigmoid", "Erf", "Mish", "Softsign")  # fmt: skip
    return c.node(op, x), shape


def with_constant(c: Chain, x: str, shape: Shape) -> tuple[str, Shape]:
    op = c.one_of("Add", "Sub", "Mul", "Div", "Max", "Min", "PRelu")
    form = c.one_of("scalar", "channels", "last", "whole")
    dims = {"scalar": (), "last": shape[-1:], "whole": shape,
            "channels": (shape[1], *[1] * (len(shape) - 2))}[form]  # fmt: skip
    data = c.rng.uniform(0.5, 1.5, dims)
    operands = [x, c.constant(data)]
    if op in ("Sub", "Add", "Mul") and c.one_of(True, False):
        operands.reverse()
    return c.node(op, *operands), shape


def squeeze_and_excite(c: Chain, x: str, shape: Shape) -> tuple[str, Shape]:
    axes = c.constant(list(range(2, len(shape))), np.int64)
    s = c.node("ReduceMean", x, axes, keepdims=1)
    return c.node("Mul", x, c.node("Sigmoid", s)), shape


def conv(c: Chain, x: str, shape: Shape) -> tuple[str, Shape]:
    out, spatial = c.one_of(2, 4), shape[2:]
    depthwise = c.one_of(True, False)
    kernel = [min(3, d) for d in spatial]
    out = shape[1] if depthwise else out
    w = c.weights(out, 1 if depthwise else shape[1], *kernel)
    pads = [(k - 1) // 2 for k in kernel] * 2
    y = c.node("Conv", x, w, c.weights(out), pads=pads, group=shape[1] if depthwise else 1)
    sizes = tuple(d + 2 * p - k + 1 for d, p, k in zip(spatial, pads, kernel, strict=False))
    return y, (1, out, *sizes)


def normalized(c: Chain, x: str, shape: Shape) -> tuple[str, Shape]:
    n = shape[1]
    p = [c.weights(n), c.weights(n), c.weights(n), c.constant(c.rng.uniform(0.5, 2, n))]
    return c.node("BatchNormalization", x, *p), shape


def pool(c: Chain, x: str, shape: Shape) -> tuple[str, Shape]:
    op = c.one_of("MaxPool", "AveragePool")
    kernel = [min(2, d) for d in shape[2:]]
    y = c.node(op, x, kernel_shape=kernel, strides=kernel)
    return y, (*shape[:2], *(d // k for d, k in zip(shape[2:], kernel, strict=True)))


def cut(c: Chain, x: str, shape: Shape) -> tuple[str, Shape]:
    axis = c.axis(shape)
    if shape[axis] < 2:
        return x, shape
    step = c.one_of(1, -1, 2)
    starts, ends = (1, 1 << 40) if step > 0 else (-1, -(1 << 40))
    parts = [c.constant([v], np.int64) for v in (starts, ends, axis, step)]
    size = len(range(shape[axis])[slice(starts, ends, step)])
    return c.node("Slice", x, *parts), (*shape[:axis], size, *shape[axis + 1 :])


def padded(c: Chain, x: str, shape: Shape) -> tuple[str, Shape]:
    pads = [0] * 2 * len(shape)
    axis = c.axis(shape)
    pads[axis], pads[axis + len(shape)] = 1, 2
    y = c.node("Pad", x, c.constant(pads, np.int64), c.constant(0.5))
    return y, (*shape[:axis], shape[axis] + 3, *shape[axis + 1 :])


def doubled(c: Chain, x: str, shape: Shape) -> tuple[str, Shape]:
    axis = c.axis(shape)
    y = c.node("Concat", x, c.node("Neg", x), axis=axis)
    return y, (*shape[:axis], 2 * shape[axis], *shape[axis + 1 :])


def resized(c: Chain, x: str, shape: Shape) -> tuple[str, Shape]:
    scales = c.constant([1, 1, *[2] * (len(shape) - 2)])
    mode = c.one_of("nearest", "linear")
    y = c.node("Resize", x, "", scales, mode=mode, nearest_mode="floor",
               coordinate_transformation_mode=c.one_of("asymmetric", "half_pixel"))  # fmt: skip
    return y, (*shape[:2], *(2 * d for d in shape[2:]))


def softmax(c: Chain, x: str, shape: Shape) -> tuple[str, Shape]:
    return c.node(c.one_of("Softmax", "LogSoftmax"), x, axis=c.axis(shape)), shape


def reduced(c: Chain, x: str, shape: Shape) -> tuple[str, Shape]:
    axis = c.axis(shape)
    op = c.one_of("ReduceSum", "ReduceMean", "ReduceMax", "ReduceL2")
    y = c.node(op, x, c.constant([axis], np.int64), keepdims=1)
    return c.node("Add", x, y), shape


def turned(c: Chain, x: str, shape: Shape) -> tuple[str, Shape]:
    perm = [0, *c.draw(st.permutations(range(1, len(shape))))]
    return c.node("Transpose", x, perm=perm), tuple(shape[p] for p in perm)


def shuffled(c: Chain, x: str, shape: Shape) -> tuple[str, Shape]:
    if shape[1] % 2:
        return x, shape
    split = [1, 2, shape[1] // 2, *shape[2:]]
    y = c.node("Reshape", x, c.constant(split, np.int64))
    y = c.node("Transpose", y, perm=[0, 2, 1, *range(3, len(split))])
    return c.node("Reshape", y, c.constant(shape, np.int64)), shape


def matrix(c: Chain, x: str, shape: Shape) -> tuple[str, Shape]:
    out = c.one_of(3, 4)
    y = c.node("MatMul", x, c.weights(shape[-1], out))
    return c.node("Add", y, c.weights(out)), (*shape[:-1], out)


def layer_norm(c: Chain, x: str, shape: Shape) -> tuple[str, Shape]:
    n = shape[-1]
    if n < 2:
        return x, shape
    return c.node("LayerNormalization", x, c.weights(n), c.weights(n), epsilon=0.1), shape


LINKS: tuple[Link, ...] = (
    unary, unary, with_constant, with_constant, squeeze_and_excite, conv, conv, normalized, pool,
    cut, padded, doubled, resized, softmax, reduced, turned, shuffled, matrix, layer_norm,
)  # fmt: skip


@st.composite
def chains(draw: st.DrawFn) -> tuple[Any, str]:
    c = Chain(draw, draw(st.integers(0, 999)))
    first: Shape = draw(st.sampled_from([(1, 4, 5, 6), (1, 2, 4, 4), (1, 4, 6)]))
    tensors = [("x", first)]
    for _ in range(draw(st.integers(1, 7))):
        x, shape = tensors[-1]
        link = draw(st.sampled_from(LINKS))
        if math.prod(shape) > 2000 and link in (resized, doubled, padded):
            continue
        tensors.append(link(c, x, shape))
        twin = next((t for t in tensors[:-1] if t[1] == tensors[-1][1]), None)
        if twin is not None and draw(st.booleans()):  # a residual
            name = c.node("Add", tensors[-1][0], twin[0])
            tensors.append((name, twin[1]))
    last, shape = tensors[-1]
    if draw(st.booleans()):  # a classifier behind
        flat = c.node("Flatten", last)
        last = c.node("Gemm", flat, c.weights(math.prod(shape), 3), c.weights(3))
    last = c.node("Identity", last)
    return model(c.nodes, {"x": list(first)}, [last], c.constants, OPSET), last


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(chains())
def test_a_chain_computes_what_onnx_runtime_computes(chain: tuple[Any, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            check(chain[0], Path(folder))
        except AssertionError:
            note(onnx.printer.to_text(chain[0]))
            raise
