"""Quantized ONNX operators become integers with the file's own scales: within one step of ONNX.

ONNX computes on reals between DequantizeLinear and QuantizeLinear and rounds once, the integer
graph follows docs/SPEC.md; hence the one step. Forms of PyTorch's and tf2onnx's exporters are
written by hand here as these tools emit them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper
from onnx_models import ops
from qdq_draw import CHECKED, RNG, dtypes, grids, has_grid, integers, reseed, scales, seeds, spread
from qdq_models import Model, compare, loaded


@CHECKED
@given(
    x=grids(),
    zero=st.integers(-60, 60),
    dtype=dtypes,
    w_scale=scales,
    width=st.floats(0.02, 0.2),
    per_channel=st.booleans(),
    form=st.sampled_from(["plain", "grouped", "depthwise", "multiplier"]),
    bias=st.sampled_from(["int32", "float", "none"]),
    act=st.sampled_from(["", "Relu", "Clip"]),
    opset=st.sampled_from([13, 17, 21, 25]),
    seed=seeds,
)
def test_conv(x, zero, dtype, w_scale, width, per_channel, form, bias, act, opset, seed) -> None:  # type: ignore[no-untyped-def]
    reseed(seed)
    groups, channels, out = {
        "plain": (1, 3, 4),
        "grouped": (2, 4, 6),
        "depthwise": (3, 3, 3),
        "multiplier": (2, 2, 6),
    }[form]
    scale: Any = w_scale
    if per_channel:
        scale = (w_scale * np.exp2(RNG.uniform(-3, 0, out))).astype(np.float32)
    m = Model(opset, x=["n", channels, 7, 6])
    w = integers(out, channels // groups, 3, 2)
    operands = [m.fake("x", *x), m.weights(w, scale)]
    product = np.broadcast_to(np.float32(x[0] * scale), out).astype(np.float32)
    if bias == "int32":
        q = RNG.integers(-20000, 20000, out).astype(np.int32)
        operands.append(m.weights(q, product))
    elif bias == "float":
        operands.append(m.constant(RNG.integers(-20000, 20000, out) * product * 1.1))
    y = m.node("Conv", *operands, group=groups, pads=[1, 0, 1, 1], strides=[1, 2])
    y_scale = np.float32(spread(x[0], scale, w[0].size) * width)
    if act == "Relu":
        y = m.node("Relu", y)
    elif act == "Clip":
        y = m.node("Clip", y, m.constant(0.0), m.constant(60 * y_scale))
    y_grid = (y_scale, zero + (128 if dtype == "uint8" else 0), dtype)
    graph = compare(m.proto(m.fake(y, *y_grid)))
    assert ops(graph) == ["depthwise_conv2d" if form in ("depthwise", "multiplier") else "conv2d"]
    assert has_grid(graph, graph.outputs[0], y_grid) and has_grid(graph, "x", x)
    kept = graph.constants[graph.nodes[0].inputs[1]]
    assert sorted(kept.ravel()) == sorted(w.ravel())
    quant = graph.values[graph.nodes[0].inputs[1]].quant
    assert quant is not None and quant.scale.tolist() == np.broadcast_to(scale, out).tolist()


@CHECKED
@given(
    x=grids(),
    w_scale=scales,
    per_channel=st.booleans(),
    form=st.sampled_from(["Gemm", "Gemm transposed", "MatMul", "MatMul and Add", "turned weights"]),
    rows=st.integers(1, 3),
    width=st.floats(0.02, 0.2),
    dtype=dtypes,
    seed=seeds,
)
def test_products(x, w_scale, per_channel, form, rows, width, dtype, seed) -> None:  # type: ignore[no-untyped-def]
    """`turned weights` is how PyTorch writes a linear layer: Transpose behind DequantizeLinear."""
    reseed(seed)
    k, out = 17, 5
    scale: Any = w_scale
    if per_channel:
        scale = (w_scale * np.exp2(RNG.uniform(-3, 0, out))).astype(np.float32)
    m = Model(17, x=[1, k] if form.startswith("Gemm") or rows == 1 else [1, rows, k])
    outside = form in ("Gemm transposed", "turned weights")
    w = m.weights(integers(*((out, k) if outside else (k, out))), scale, axis=0 if outside else 1)
    left = m.fake("x", *x)
    bias = (RNG.integers(-9000, 9000, out) * x[0] * np.float32(scale)).astype(np.float32)
    if form.startswith("Gemm"):
        y = m.node("Gemm", left, w, m.constant(bias), transB=int(outside), alpha=0.5)
    else:
        if form == "turned weights":
            w = m.node("Transpose", w, perm=[1, 0])
        y = m.node("MatMul", left, w)
        if form == "MatMul and Add" and rows == 1:
            y = m.node("Add", y, m.constant(bias))
    zero = 0 if dtype == "int8" else 128
    graph = compare(m.proto(m.fake(y, np.float32(spread(x[0], scale, k) * width), zero, dtype)))
    kinds = set(ops(graph)) - {"reshape"}
    assert kinds == ({"fully_connected"} if len(m.inputs["x"]) == 2 else {"conv2d"})


@CHECKED
@given(
    op=st.sampled_from(["Add", "Mul", "Sub"]),
    a=grids(),
    b=grids(),
    y=grids(),
    zoom=st.floats(-3, 1),
    constant=st.sampled_from(["no", "tensor", "scalar", "float scalar"]),
    relu=st.booleans(),
    seed=seeds,
)
def test_binary(op, a, b, y, zoom, constant, relu, seed) -> None:  # type: ignore[no-untyped-def]
    reseed(seed)
    m = Model(17, a=[1, 4, 3, 5], b=[1, 4, 3, 5])
    left = m.fake("a", *a)
    b_scale = b[0]
    if op != "Mul":  # operands of much different scales say nothing
        b_scale = np.float32(a[0] * np.exp2(zoom))
    if constant == "no":
        right = m.fake("b", b_scale, *b[1:])
    elif constant == "float scalar":
        right = m.constant(b_scale * np.float32(41))
    else:
        shape = (4, 1, 1) if constant == "tensor" else ()
        lo = 0 if b[2] == "uint8" else -128
        q = RNG.integers(lo, lo + 256, shape).astype(b[2])
        right = m.dequantize(m.constant(q, q.dtype), b_scale, b[1], b[2])
    if constant != "no":
        del m.inputs["b"]
    r = m.node(op, left, right)
    if relu:
        r = m.node("Relu", r)
    size = a[0] * b_scale * 60 if op == "Mul" else a[0] + b_scale
    graph = compare(m.proto(m.fake(r, np.float32(size * 1.5), *y[1:])))
    made = {"Add": "add", "Mul": "mul", "Sub": "sub" if constant == "no" else "add"}[op]
    assert set(ops(graph)) - {"transpose", "clip"} == {made}


@CHECKED
@given(x=grids(), ratio=st.floats(-3, 3), zero=st.integers(-40, 40), op=st.sampled_from(
    ["AveragePool", "padded", "GlobalAveragePool", "ReduceMean", "MaxPool", "Relu", "Clip", "none"]
))  # fmt: skip
def test_pools_and_activations_of_another_scale(x, ratio, zero, op) -> None:  # type: ignore[no-untyped-def]
    m = Model(17, x=["n", 3, 6, 5])
    y = m.fake("x", *x)
    if op == "padded":
        y = m.node("AveragePool", y, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    elif op in ("AveragePool", "MaxPool"):
        y = m.node(op, y, kernel_shape=[3, 2], strides=[2, 1])
    elif op == "ReduceMean":
        y = m.node(op, y, axes=[2, 3], keepdims=0)
    elif op == "Clip":
        y = m.node(op, y, m.constant(-20 * x[0]), m.constant(30 * x[0]))
    elif op != "none":
        y = m.node(op, y)
    scale = np.float32(x[0] * 2.0**ratio)
    # Where the divisor varies the pool rounds on its operand's scale first.
    steps = int(np.ceil(2.0**-ratio / 2 + 1)) if op == "padded" and ratio < 0 else 1
    graph = compare(m.proto(m.fake(y, scale, zero)), steps)
    assert has_grid(graph, graph.outputs[0], (scale, zero, "int8"))


def test_a_pool_that_keeps_its_scale_is_a_pool() -> None:
    m = Model(17, x=["n", 3, 6, 5])
    y = m.node("AveragePool", m.fake("x", 0.5, 3), kernel_shape=[2, 2])
    assert ops(compare(m.proto(m.fake(y, 0.5, 3)))) == ["average_pool2d"]


@pytest.mark.parametrize("scale", [1 / 256, 1 / 255, 0.01, None])
def test_softmax(scale: float | None) -> None:
    """1/256, -128 is the operator's own; a float result in the end gets that."""
    m = Model(17, x=[1, 10])
    y = m.node("Softmax", m.fake("x", 0.1, 10))
    if scale is not None:
        y = m.fake(y, np.float32(scale), 0, "uint8")
    graph = compare(m.proto(y))
    assert ops(graph) == ["softmax"] + ["clip"] * (scale in (1 / 255, 0.01))


@pytest.mark.parametrize("again", [True, False])
def test_moves_keep_the_scale(again: bool) -> None:
    """Exporters put a pair behind every move, or none."""
    m = Model(17, x=["n", 4, 3, 2])
    y = m.fake("x", 0.25, 7, "uint8")
    for op, attrs in [("Transpose", {"perm": [0, 2, 1, 3]}), ("Flatten", {}), ("Relu", {})]:
        y = m.node(op, y, **attrs)
        y = m.fake(y, 0.25, 7, "uint8") if again else y
    y = m.node("Gemm", y, m.weights(integers(24, 3), 0.01))
    graph = compare(m.proto(m.fake(y, 1.0, 0)))
    assert "fully_connected" in ops(graph)
    assert all(v.quant is not None for v in graph.values.values())


def test_one_tensor_on_two_grids() -> None:
    """The finer grid reaches as far: it is the value's, the other is requantized from it."""
    m = Model(21, x=["n", 3, 4, 4])
    conv = m.node("Conv", m.fake("x", 0.1, 0), m.weights(integers(3, 3, 1, 1), 0.02))
    coarse, fine = m.fake(conv, 1.0, 0), m.fake(conv, 1 / 128, 0, "int16")
    graph = compare(m.proto(coarse, fine))
    assert ops(graph) == ["conv2d", "clip"]
    assert [graph.values[o].dtype for o in graph.outputs] == ["int8", "int16"]


@pytest.mark.parametrize("through", ["", "Relu", "Flatten"])
def test_grids_of_which_none_holds_the_others(through: str) -> None:
    """The finer one does not reach as far: the layer is computed once for each."""
    m = Model(17, x=["n", 3, 4, 4])
    conv = m.node("Conv", m.fake("x", 0.1, 0), m.weights(integers(3, 3, 1, 1), 0.02))
    far = m.fake(conv, 1.5, 5)
    near = m.fake(m.node(through, conv) if through else conv, 0.2, -128)
    graph = compare(m.proto(far, near))
    assert [o for o in ops(graph) if o.startswith("conv")] == ["conv2d"] * 2
    assert "clip" not in ops(graph)


def test_grids_behind_a_move_keep_their_clamps() -> None:
    m = Model(17, x=["n", 3, 4, 4])
    conv = m.node("Conv", m.fake("x", 0.1, 0), m.weights(integers(3, 3, 1, 1), 0.02))
    flat = m.node("Flatten", m.node("Transpose", conv, perm=[0, 2, 3, 1]))
    far, near = m.fake(flat, 1.5, 5), m.fake(m.node("Relu", flat), 0.2, 0)
    graph = compare(m.proto(far, near))
    assert [o for o in ops(graph) if o.startswith("conv")] == ["conv2d"] * 2


def test_residual_block() -> None:
    m = Model(13, x=["n", 3, 6, 6])
    x = m.fake("x", 0.05, 100, "uint8")
    y = m.node("Conv", x, m.weights(integers(3, 3, 3, 3), 0.01), pads=[1] * 4)
    y = m.fake(m.node("Relu", y), 0.7, 0, "uint8")
    z = m.node("Conv", y, m.weights(integers(3, 3, 1, 1), 0.01))
    z = m.fake(m.node("Add", m.fake(z, 0.8, 128, "uint8"), x), 0.9, 120, "uint8")
    graph = compare(m.proto(m.fake(m.node("Relu", z), 0.9, 120, "uint8")), steps=2)
    # The last Relu has the scale of its operand and is its clamp; on another scale it is a clip.
    assert ops(graph) == ["conv2d", "conv2d", "add"]
    assert graph.nodes[0].attrs["clamp"] == graph.nodes[2].attrs["clamp"] == [0.0, None]


def test_batch_normalization_takes_the_scales_of_the_weights_along() -> None:
    m = Model(17, x=["n", 3, 5, 5])
    w = integers(4, 3, 3, 3)
    y = m.node("Conv", m.fake("x", 0.1, 3), m.weights(w, [0.01, 0.02, 0.005, 0.01]))
    p = [m.constant(v) for v in ([1, -2, 0.5, 0], [0.1, 2, 3, 1], [1, 1, -1, 0], [1, 4, 0.25, 1])]
    y = m.node("Relu", m.node("BatchNormalization", y, *p))
    graph = compare(m.proto(m.fake(y, 2.0, -128)))
    assert ops(graph) == ["conv2d"]
    kept = graph.constants[graph.nodes[0].inputs[1]]
    sign = np.array([1, -1, 1, 0]).reshape(4, 1, 1, 1)
    assert np.array_equal(kept, w.transpose(0, 2, 3, 1) * sign)


def test_padding_that_counts_and_lone_normalization_are_exact() -> None:
    """Weights that the importer makes itself: one magnitude per channel."""
    m = Model(17, x=["n", 2, 5, 5])
    y = m.node("AveragePool", m.fake("x", 0.1, 3), kernel_shape=[3, 3], pads=[1] * 4,
               count_include_pad=1)  # fmt: skip
    y = m.fake(y, 0.06, -3)
    p = [m.constant(v) for v in ([1, -2], [0.1, 2], [1, 1], [1, 4])]
    y = m.node("BatchNormalization", y, *p)
    assert ops(compare(m.proto(m.fake(y, 0.1, 0)), steps=2)) == ["depthwise_conv2d"] * 2


@pytest.mark.parametrize("zero", [128, 100])
def test_unsigned_weights_are_moved_exactly(zero: int) -> None:
    m = Model(17, x=["n", 3, 5, 5])
    w = (integers(4, 3, 2, 2, lo=-100, hi=100).astype(int) + zero).astype(np.uint8)
    y = m.node("Conv", m.fake("x", 0.1, 3), m.weights(w, 0.02, np.uint8(zero)))
    graph = compare(m.proto(m.fake(y, 3.0, 0)))
    kept = graph.constants[graph.nodes[0].inputs[1]]
    assert np.array_equal(kept, w.transpose(0, 2, 3, 1).astype(int) - zero)


@pytest.mark.parametrize("op", ["Conv", "MatMul"])
@pytest.mark.parametrize("kind", ["INT4", "UINT4"])
def test_four_bit_weights(op: str, kind: str) -> None:
    m = Model(21, x=["n", 3, 5, 5] if op == "Conv" else [1, 12])
    shape = (4, 3, 3, 3) if op == "Conv" else (12, 4)
    q = RNG.integers(-8, 8, shape)
    zero = 8 if kind == "UINT4" else 0
    import onnx

    dtype = helper.tensor_dtype_to_np_dtype(getattr(onnx.TensorProto, kind))
    w = onnx.numpy_helper.from_array((q + zero).astype(dtype))
    zeros = onnx.numpy_helper.from_array(np.full(4, zero).astype(dtype))
    scale = m.constant([0.1, 0.2, 0.05, 0.3])
    w = m.node(
        "DequantizeLinear", m.constant(w), scale, m.constant(zeros), axis=0 if op == "Conv" else 1
    )
    y = m.node(op, m.fake("x", 0.1, 3), w)
    graph = compare(m.proto(m.fake(y, 1.0, 0)), oracle="onnx")
    assert graph.nodes[-1].attrs["weight_bits"] == 4
    kept = graph.constants[graph.nodes[-1].inputs[1]]
    assert np.array_equal(kept, q.transpose(0, 2, 3, 1) if op == "Conv" else q.T)


def test_half_precision_scales_and_output_dtype() -> None:
    """Opset 21: zero points may be absent and the type an attribute."""
    m = Model(21, x=["n", 3, 5, 5])
    scale = m.constant(0.1)
    q = m.node("QuantizeLinear", "x", scale, output_dtype=3)
    y = m.node("DequantizeLinear", q, scale)
    w = integers(4, 3, 1, 1)
    half = m.node(
        "DequantizeLinear", m.constant(w, np.int8), m.constant(np.full(4, 0.02), np.float16), axis=0
    )
    half = m.node("Cast", half, to=1)
    y = m.node("Conv", y, half)
    graph = compare(m.proto(m.fake(y, 1.0, 0)))
    quant = graph.values[graph.nodes[0].inputs[1]].quant
    assert quant is not None and quant.scale.tolist() == [np.float32(np.float16(0.02))] * 4
    assert has_grid(graph, "x", (np.float32(0.1), 0, "int8"))


def test_opset_10_without_zero_points_is_unsigned() -> None:
    m = Model(10, x=["n", 3, 5, 5])
    scale = m.constant(0.1)
    y = m.node("DequantizeLinear", m.node("QuantizeLinear", "x", scale), scale)
    y = m.node("Conv", y, m.weights(integers(4, 3, 1, 1), 0.02))
    graph = compare(m.proto(m.fake(y, 3.0, 128, "uint8")))
    assert has_grid(graph, "x", (np.float32(0.1), 0, "uint8"))


def test_weights_that_the_file_rounds_itself() -> None:
    """QuantizeLinear of float weights, as quantization-aware training leaves it."""
    m = Model(17, x=["n", 3, 5, 5])
    scale = np.array([0.01, 0.02, 0.03, 0.04], np.float32)
    real = RNG.standard_normal((4, 3, 1, 1)).astype(np.float32)
    names = m.parameters(scale, np.zeros(4), "int8")
    w = m.node("QuantizeLinear", m.constant(real), *names, axis=0)
    w = m.node("DequantizeLinear", w, *names, axis=0)
    graph = compare(m.proto(m.fake(m.node("Conv", m.fake("x", 0.1, 3), w), 0.2, 0)))
    kept = graph.constants[graph.nodes[0].inputs[1]][:, 0, 0]
    want = np.clip(np.round(real[:, :, 0, 0] / scale[:, None]), -128, 127)
    assert np.array_equal(kept, want)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_fewer_levels_than_the_type_has(dtype: str) -> None:
    """PyTorch clips integers behind QuantizeLinear: 7-bit activations, weights without -128."""
    m = Model(17, x=["n", 3, 5, 5])
    lo, zero = (0, 64) if dtype == "uint8" else (-64, 0)
    bounds = [m.constant(lo, dtype), m.constant(lo + 127, dtype)]

    def fake(x: str, scale: float) -> str:
        q = m.node("Clip", m.quantize(x, scale, zero, dtype), *bounds)
        return m.dequantize(q, scale, zero, dtype)

    names = m.parameters([0.01, 0.02, 0.03, 0.04], np.zeros(4), "int8")
    real = m.constant(RNG.standard_normal((4, 3, 1, 1)))
    w = m.node("QuantizeLinear", real, *names, axis=0)
    w = m.node("Clip", w, m.constant(-127, np.int8), m.constant(127, np.int8))
    w = m.node("DequantizeLinear", w, *names, axis=0)
    graph = compare(m.proto(fake(m.node("Conv", fake("x", 0.1), w), 0.2)))
    assert ops(graph) == ["clip", "conv2d"]
    assert min(graph.constants[graph.nodes[1].inputs[1]].ravel()) >= -127


def test_integer_inputs_and_outputs() -> None:
    m = Model(17, x=["n", 3, 5, 5])
    m.kinds["x"] = "uint8"
    y = m.node("Conv", m.dequantize("x", 0.1, 7, "uint8"), m.weights(integers(4, 3, 1, 1), 0.02))
    y = m.quantize(y, 2.0, 100, "uint8")
    graph = compare(m.proto(y, kinds={y: "uint8"}))
    assert has_grid(graph, "x", (np.float32(0.1), 7, "uint8"))
    assert has_grid(graph, graph.outputs[0], (np.float32(2), 100, "uint8"))


def test_contrib_domain() -> None:
    m = Model(17, x=["n", 3, 5, 5])
    names = m.parameters(0.1, 3, "uint8")
    q = m.node("QuantizeLinear", "x", *names, domain="com.microsoft")
    y = m.node("DequantizeLinear", q, *names, domain="com.microsoft")
    compare(m.proto(m.fake(m.node("Conv", y, m.weights(integers(4, 3, 1, 1), 0.02)), 1.0, 0)))


def test_tiny_weights_make_room_for_their_bias() -> None:
    """A dead channel's scale is an observer's epsilon; its bias would not fit 32 bits."""
    m = Model(17, x=["n", 3, 5, 5])
    w = integers(2, 3, 1, 1)
    bias = m.constant([0.5, 3.0])
    y = m.node("Conv", m.fake("x", 1e-3, 3), m.weights(w, [0.01, 1.2e-7]), bias)
    graph = compare(m.proto(m.fake(y, 0.03, 0)))
    assert np.abs(graph.constants[graph.nodes[0].inputs[2]].astype(int)).max() <= 1 << 30


def test_keras_form() -> None:
    """tf2onnx: NHWC input, transposes around the convolution, weights transposed behind
    DequantizeLinear, bias as an Add, the pair behind the activation."""
    m = Model(21, x=["n", 6, 5, 3])
    y = m.node("Transpose", m.fake("x", 0.05, -3), perm=[0, 3, 1, 2])
    w = m.weights(integers(3, 3, 3, 4), [0.01, 0.02, 0.005, 0.03], axis=3)
    y = m.node(
        "Conv",
        y,
        m.node("Transpose", w, perm=[3, 2, 0, 1]),
        auto_pad="SAME_UPPER",
        kernel_shape=[3, 3],
    )
    y = m.node("Add", y, m.constant(np.array([1, -1, 0.5, 2]).reshape(1, 4, 1, 1)))
    y = m.node("Transpose", m.node("Relu", y), perm=[0, 2, 3, 1])
    graph = compare(m.proto(m.fake(y, 0.3, -128)))
    assert ops(graph) == ["conv2d"] and not graph.metadata.get("layout")


def test_results_are_canonical_and_whole() -> None:
    m = Model(17, x=["n", 3, 5, 5])
    y = m.node("Conv", m.fake("x", 0.1, 3), m.weights(integers(4, 3, 1, 1), 0.02))
    graph = loaded(m.proto(m.fake(y, 1.0, 0)))
    assert {v.dtype for v in graph.values.values()} == {"int8", "int32"}
    assert "quantized" not in graph.metadata and "note" not in graph.metadata
    assert all(type(v.quant).__name__ == "Quant" for v in graph.values.values())
