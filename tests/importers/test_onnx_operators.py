"""Each imported ONNX operator against ONNX Runtime."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_models import check, model, ops, save

from edgekit.graph import Graph
from edgekit.importers import load

RNG = np.random.default_rng(1)


def weights(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def one(
    folder: Path,
    op: str,
    shape: list[Any],
    constants: dict[str, np.ndarray] | None = None,
    opset: int = 17,
    extra: list[str] | None = None,
    **attrs: Any,
) -> Graph:
    """Import a model of one node whose first operand is the input x."""
    inputs = ["x", *(extra if extra is not None else constants or {})]
    node = helper.make_node(op, inputs, ["y"], **attrs)
    return check(model([node], {"x": shape}, ["y"], constants, opset), folder)


def in_folder(*args: Any, **kwargs: Any) -> Graph:
    """`one` for hypothesis, which shares one tmp_path among all its examples."""
    with tempfile.TemporaryDirectory() as folder:
        return one(Path(folder), *args, **kwargs)


two = st.tuples(st.integers(1, 3), st.integers(1, 3)).map(list)


@settings(deadline=None, max_examples=60)
@given(
    kernel=two,
    strides=two,
    dilations=two,
    pads=st.lists(st.integers(0, 2), min_size=4, max_size=4),
    mode=st.sampled_from(["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]),
    form=st.sampled_from(["plain", "grouped", "depthwise", "multiplier"]),
    size=st.tuples(st.integers(7, 10), st.integers(7, 10)),
    bias=st.booleans(),
)
def test_conv(kernel, strides, dilations, pads, mode, form, size, bias) -> None:  # type: ignore[no-untyped-def]
    # ONNX Runtime does not implement SAME with dilations.
    assume(not mode.startswith("SAME") or dilations == [1, 1])
    groups, channels, out = {
        "plain": (1, 3, 4),
        "grouped": (2, 4, 6),
        "depthwise": (3, 3, 3),
        "multiplier": (2, 2, 6),
    }[form]
    constants = {"w": weights(out, channels // groups, *kernel)}
    if bias:
        constants["b"] = weights(out)
    attrs: dict[str, Any] = {"strides": strides, "dilations": dilations, "group": groups}
    attrs |= {"pads": pads} if mode == "NOTSET" else {"auto_pad": mode}
    graph = in_folder("Conv", ["n", channels, *size], constants, **attrs)
    assert ops(graph) == ["depthwise_conv2d" if form in ("depthwise", "multiplier") else "conv2d"]
    assert graph.metadata["layout"] == {"x": "NCHW", "y": "NCHW"}


@settings(deadline=None, max_examples=60)
@given(
    op=st.sampled_from(["AveragePool", "MaxPool"]),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)).map(list),
    strides=two,
    pads=st.lists(st.integers(0, 2), min_size=4, max_size=4),
    mode=st.sampled_from(["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]),
    ceil=st.booleans(),
    count=st.booleans(),
    size=st.tuples(st.integers(5, 8), st.integers(5, 8)),
)
def test_pool(op, kernel, strides, pads, mode, ceil, count, size) -> None:  # type: ignore[no-untyped-def]
    # ONNX Runtime refuses SAME where strides skip pixels.
    assume(not mode.startswith("SAME") or all(a <= k for a, k in zip(strides, kernel, strict=True)))
    pads = [min(p, kernel[i % 2] - 1) for i, p in enumerate(pads)]
    attrs: dict[str, Any] = {"kernel_shape": kernel, "strides": strides}
    attrs |= {"pads": pads} if mode == "NOTSET" else {"auto_pad": mode}
    if ceil and mode == "NOTSET":
        attrs["ceil_mode"] = 1
        count = False
    if op == "AveragePool" and count:
        attrs["count_include_pad"] = 1
    graph = in_folder(op, [1, 3, *size], **attrs)
    assert len(graph.nodes) == 1


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool"])
def test_global_pool(tmp_path: Path, op: str) -> None:
    pool = "average_pool2d" if op == "GlobalAveragePool" else "max_pool2d"
    assert ops(one(tmp_path, op, [1, 4, 5, 6])) == [pool]


@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize(
    ("shape", "axes"),
    [([1, 4, 5, 6], [2, 3]), ([1, 4, 5, 6], [-1, -2]), ([1, 4, 5, 6], [1, 2]),
     ([1, 4, 5, 6], [2]), ([1, 5, 6], [1]), ([1, 5, 6], [-1])],
)  # fmt: skip
def test_reduce_mean(tmp_path: Path, shape: list[int], axes: list[int], keep: int) -> None:
    one(tmp_path, "ReduceMean", shape, axes=axes, keepdims=keep)
    axes_operand = {"axes": np.array(axes, np.int64)}
    one(tmp_path, "ReduceMean", shape, axes_operand, opset=18, keepdims=keep)


@pytest.mark.parametrize("shape", [[1, 6], [1, 1, 6], [1, 5, 6], [1, 2, 3, 6]])
def test_matmul(tmp_path: Path, shape: list[int]) -> None:
    graph = one(tmp_path, "MatMul", shape, {"w": weights(6, 4)})
    assert "transpose" not in ops(graph)


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("bias", [None, (), (1,), (4,), (1, 4)])
def test_gemm(tmp_path: Path, transposed: int, bias: tuple[int, ...] | None) -> None:
    constants = {"w": weights(4, 6) if transposed else weights(6, 4)}
    if bias is not None:
        constants["b"] = weights(*bias)
    graph = one(
        tmp_path, "Gemm", ["n", 6], constants, transB=transposed, alpha=0.5, beta=2.0
    )  # fmt: skip
    assert ops(graph) == ["fully_connected"]


@pytest.mark.parametrize("shape", [[1, 5], [1, 5, 4, 3]])
def test_batch_normalization_alone(tmp_path: Path, shape: list[int]) -> None:
    constants = {n: weights(5) for n in ("s", "b", "m")} | {"v": np.abs(weights(5))}
    graph = one(tmp_path, "BatchNormalization", shape, constants, epsilon=0.01)
    assert ops(graph) == (["depthwise_conv2d"] if len(shape) == 4 else ["mul", "add"])


@pytest.mark.parametrize("opset", [8, 17])
@pytest.mark.parametrize("axis", [None, 1, 2, -1])
@pytest.mark.parametrize("shape", [[1, 5], [1, 3, 4], [1, 3, 4, 2], [1, 6, 1, 1]])
def test_softmax(tmp_path: Path, shape: list[int], axis: int | None, opset: int) -> None:
    if axis is not None and (axis >= len(shape) or (axis < 0 and opset < 11)):
        pytest.skip("no such axis")
    one(tmp_path, "Softmax", shape, opset=opset, **({} if axis is None else {"axis": axis}))


def test_clip_forms(tmp_path: Path) -> None:
    lo, hi = np.float32(-0.5), np.float32(0.75)
    a = one(tmp_path, "Clip", [1, 9], opset=8, min=-0.5, max=0.75)
    b = one(tmp_path, "Clip", [1, 9], {"lo": np.asarray(lo), "hi": np.asarray(hi)})
    assert a.nodes[0].attrs == b.nodes[0].attrs == {"clamp": [-0.5, 0.75]}
    only_max = one(tmp_path, "Clip", [1, 9], {"hi": np.asarray(hi)}, extra=["", "hi"])
    assert only_max.nodes[0].attrs == {"clamp": [None, 0.75]}
    relu = one(tmp_path, "Relu", [1, 9])
    assert relu.nodes[0].attrs == {"clamp": [0.0, None]}


def test_relu6_of_min_and_max(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Max", ["c", "zero"], ["m"]),
        helper.make_node("Min", ["six", "m"], ["y"]),
    ]
    constants = {"w": weights(4, 3, 1, 1), "zero": np.zeros(1, "f4"), "six": np.full((), 6, "f4")}
    graph = check(model(nodes, {"x": [1, 3, 4, 4]}, ["y"], constants), tmp_path)
    assert ops(graph) == ["conv2d"]
    assert graph.nodes[0].attrs["clamp"] == [0.0, 6.0]


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("shape", [(), (1,), (5,), (3, 1, 1), (1, 3, 4, 5)])
@pytest.mark.parametrize("left", [False, True])
def test_arithmetic_with_a_constant(
    tmp_path: Path, op: str, shape: tuple[int, ...], left: bool
) -> None:
    if op == "Div" and left:
        pytest.skip("only division by a constant is supported")
    operands = ["c", "x"] if left else ["x", "c"]
    node = helper.make_node(op, operands, ["y"])
    c = np.asarray(weights(*shape) if shape else 0.7, np.float32)
    check(model([node], {"x": [1, 3, 4, 5]}, ["y"], {"c": c}), tmp_path)


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul"])
def test_arithmetic_of_two_tensors(tmp_path: Path, op: str) -> None:
    node = helper.make_node(op, ["a", "b"], ["y"])
    check(model([node], {"a": [1, 3, 4, 5], "b": [1, 3, 1, 1]}, ["y"]), tmp_path)


@pytest.mark.parametrize("opset", [11, 17])
def test_squeeze_and_unsqueeze(tmp_path: Path, opset: int) -> None:
    axes = {"axes": np.array([2, -1], np.int64)}
    if opset == 11:
        one(tmp_path, "Squeeze", [1, 3, 1, 5, 1], opset=11, axes=[2, -1])
        one(tmp_path, "Unsqueeze", [1, 3, 5], opset=11, axes=[2, -1])
    else:
        one(tmp_path, "Squeeze", [1, 3, 1, 5, 1], axes)
        one(tmp_path, "Unsqueeze", [1, 3, 5], axes)


def test_squeeze_of_all_axes_keeps_the_batch(tmp_path: Path) -> None:
    node = helper.make_node("Squeeze", ["x"], ["y"])
    graph = load(save(model([node], {"x": ["n", 3, 1, 5]}, ["y"]), tmp_path))
    assert graph.values["y"].shape == (1, 3, 5)


@pytest.mark.parametrize("shape", [[-1, 30], [0, -1], [1, 3, 2, 5], [0, 0, 10]])
def test_reshape(tmp_path: Path, shape: list[int]) -> None:
    one(tmp_path, "Reshape", [1, 3, 10], {"s": np.array(shape, np.int64)})


@pytest.mark.parametrize("perm", [[0, 2, 3, 1], [0, 3, 1, 2], [0, 2, 1, 3], [1, 0, 2, 3], None])
def test_transpose(tmp_path: Path, perm: list[int] | None) -> None:
    shape = [1, 1, 4, 1] if perm in (None, [1, 0, 2, 3]) else [1, 3, 4, 5]
    one(tmp_path, "Transpose", shape, **({} if perm is None else {"perm": perm}))


def test_shape_arithmetic_is_folded(tmp_path: Path) -> None:
    """What TorchScript makes of x.view(x.size(0), -1)."""
    i64 = np.int64
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"], axis=0),
        helper.make_node("Unsqueeze", ["n", "axis"], ["n1"]),
        helper.make_node("Concat", ["n1", "rest"], ["t"], axis=0),
        helper.make_node("Reshape", ["x", "t"], ["r"]),
        helper.make_node("Constant", [], ["half"], value_float=0.5),
        helper.make_node("Mul", ["r", "half"], ["m"]),
        helper.make_node("Identity", ["m"], ["i"]),
        helper.make_node("Dropout", ["i"], ["d"]),
        helper.make_node("Gemm", ["d", "w"], ["y"]),
    ]
    constants = {
        "zero": np.array(0, i64),
        "axis": np.array([0], i64),
        "rest": np.array([-1], i64),
        "w": weights(60, 4),
    }
    graph = check(model(nodes, {"x": ["batch", 3, 4, 5]}, ["y"], constants), tmp_path)
    assert ops(graph) == ["reshape", "fully_connected"]


@pytest.mark.parametrize("op", ["Identity", "Relu"])
def test_output_names_survive(tmp_path: Path, op: str) -> None:
    """An output that is only another name for an input or for a tensor with readers."""
    nodes = [
        helper.make_node("Identity", ["x"], ["same"]),
        helper.make_node(op, ["x"], ["h"]),
        helper.make_node("Identity", ["h"], ["out"]),
        helper.make_node("Neg", ["h"], ["other"]),
    ]
    graph = check(model(nodes, {"x": [1, 4]}, ["same", "out", "other"]), tmp_path)
    assert graph.outputs == ["same", "out", "other"]


def test_nodes_may_come_in_any_order(tmp_path: Path) -> None:
    nodes = [helper.make_node("Neg", ["h"], ["y"]), helper.make_node("Relu", ["x"], ["h"])]
    graph = load(save(model(nodes, {"x": [1, 4]}, ["y"]), tmp_path))
    assert ops(graph) == ["clip", "mul"]
