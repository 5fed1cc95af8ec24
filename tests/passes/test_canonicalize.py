"""The passes together, and names afterwards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from graph_text import applied, graph, ops
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_models import check, model

from edgekit.graph import GraphError
from edgekit.passes import canonicalize
from edgekit.passes.tidy_names import tidy_names

RNG = np.random.default_rng(0)


def weights(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def test_tidy_names_rule_1() -> None:
    lines = [
        'input "x~2": float32[1, 4]',
        'constant "c~3": float32[1] = [2.0]',
        'node mul "m" ("x~2", "c~3") -> "h~2": float32[1, 4]',
        'node clip "c" ("h~2") -> "h": float32[1, 4] {"clamp": [0.0, null]}',
        'node clip "d" ("h") -> "y~5": float32[1, 4] {"clamp": [0.0, 2.0]}',
        'node clip "e" ("y~5") -> "z~9": float32[1, 4] {"clamp": [0.0, 1.0]}',
        'output "z~9"',
    ]
    after = applied(graph(*lines), tidy_names)
    assert set(after.values) == {"x~2", "c", "h~2", "h", "y", "z~9"}
    assert set(after.constants) == {"c"}


def test_canonicalize_copies_and_verifies() -> None:
    g = graph('input "x": float32[1, 4]',
              'node reshape "a" ("x") -> "h": float32[1, 2, 2] {"shape": [1, 2, 2]}',
              'node reshape "r" ("h") -> "y": float32[1, 4] {"shape": [1, 4]}',
              'output "y"')  # fmt: skip
    assert ops(canonicalize(g)) == ["reshape"]
    assert len(g.nodes) == 2
    g.nodes.reverse()
    with pytest.raises(GraphError):
        canonicalize(g)


def test_residual_block_with_batch_norms(tmp_path: Path) -> None:
    def bn(name: str, x: str, y: str) -> object:
        return helper.make_node("BatchNormalization", [x, "s", "t", "m", "v"], [y], name=name)

    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        bn("bn1", "a", "b"),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("Conv", ["c", "w"], ["d"], pads=[1, 1, 1, 1]),
        bn("bn2", "d", "e"),
        helper.make_node("Add", ["e", "x"], ["f"]),
        helper.make_node("Relu", ["f"], ["g"]),
        helper.make_node("GlobalAveragePool", ["g"], ["h"]),
        helper.make_node("Flatten", ["h"], ["i"]),
        helper.make_node("Gemm", ["i", "k", "u"], ["j"], transB=1),
        helper.make_node("Softmax", ["j"], ["y"]),
    ]
    constants = {n: weights(4) for n in "stm"} | {
        "v": np.abs(weights(4)),
        "w": weights(4, 4, 3, 3),
        "k": weights(5, 4),
        "u": weights(5),
    }
    g = check(model(nodes, {"x": ["n", 4, 6, 6]}, ["y"], constants), tmp_path)
    want = ["conv2d", "conv2d", "add", "average_pool2d", "reshape", "fully_connected", "softmax"]
    assert ops(g) == want
    assert [n.output for n in g.nodes] == ["c", "e", "g", "h", "i", "j", "y"]


def test_pre_activation_block(tmp_path: Path) -> None:
    """A batch normalization that follows no convolution becomes a 1x1 depthwise one."""
    nodes = [
        helper.make_node("MaxPool", ["x"], ["a"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("BatchNormalization", ["a", "s", "t", "m", "v"], ["b"]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("Conv", ["c", "w"], ["y"], pads=[1, 1, 1, 1]),
    ]
    constants = {n: weights(4) for n in "stm"} | {
        "v": np.abs(weights(4)), "w": weights(4, 4, 3, 3),
    }  # fmt: skip
    g = check(model(nodes, {"x": ["n", 4, 6, 6]}, ["y"], constants), tmp_path)
    assert ops(g) == ["max_pool2d", "depthwise_conv2d", "conv2d"]
    assert g.nodes[1].attrs["clamp"] == [0.0, None]


def test_input_normalization_in_front_of_a_padded_convolution(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Sub", ["x", "mean"], ["a"]),
        helper.make_node("Div", ["a", "std"], ["b"]),
        helper.make_node("Conv", ["b", "w"], ["y"], pads=[1, 1, 1, 1]),
    ]
    constants = {
        "mean": weights(1, 3, 1, 1),
        "std": np.abs(weights(1, 3, 1, 1)) + 1,
        "w": weights(4, 3, 3, 3),
    }
    g = check(model(nodes, {"x": ["n", 3, 6, 6]}, ["y"], constants), tmp_path)
    # The scale is in the weights; the offset cannot be, because of the padding.
    assert ops(g) == ["add", "conv2d"]


STEPS = ("conv", "depthwise", "bn", "relu", "relu6", "scale", "residual", "maxpool", "transpose")


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.sampled_from(STEPS), min_size=1, max_size=7),
    st.sampled_from(["image", "flatten", "mean"]),
)
def test_random_networks(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], end: str
) -> None:
    """Any chain of image operators equals ONNX Runtime and has no transpose where none is asked."""
    c: dict[str, np.ndarray] = {"six": np.float32(6).reshape(()), "zero": np.zeros((), "f4")}
    nodes, names, channels = [], ["x"], 3
    for i, step in enumerate(steps):
        x, y = names[-1], f"t{i}"
        if step in ("conv", "depthwise"):
            groups = channels if step == "depthwise" else 1
            c[f"w{i}"], c[f"b{i}"] = weights(channels, channels // groups, 3, 3), weights(channels)
            args = [x, f"w{i}", f"b{i}"]
            nodes.append(helper.make_node("Conv", args, [y], pads=[1] * 4, group=groups))
        elif step == "bn":
            parts = {p: f"{p}{i}" for p in ("scale", "bias", "mean", "var")}
            c.update({n: np.abs(weights(channels)) + 0.1 for n in parts.values()})
            nodes.append(helper.make_node("BatchNormalization", [x, *parts.values()], [y]))
        elif step == "relu":
            nodes.append(helper.make_node("Relu", [x], [y]))
        elif step == "relu6":
            nodes.append(helper.make_node("Clip", [x, "zero", "six"], [y]))
        elif step == "scale":
            c[f"k{i}"] = weights(channels, 1, 1)
            nodes.append(helper.make_node("Mul", [x, f"k{i}"], [y]))
        elif step == "residual":
            nodes.append(helper.make_node("Add", [x, names[0]], [y]))
        elif step == "maxpool":
            attrs = {"kernel_shape": [3, 3], "pads": [1] * 4}
            nodes.append(helper.make_node("MaxPool", [x], [y], **attrs))
        else:
            # Swaps height and width, which are equal.
            nodes.append(helper.make_node("Transpose", [x], [y], perm=[0, 1, 3, 2]))
        names.append(y)
    if end == "flatten":
        c["fc"] = weights(channels * 16, 2)
        nodes.append(helper.make_node("Flatten", [names[-1]], ["flat"]))
        nodes.append(helper.make_node("MatMul", ["flat", "fc"], ["y"]))
    elif end == "mean":
        axes = {"axes": [2, 3], "keepdims": 0}
        nodes.append(helper.make_node("ReduceMean", [names[-1]], ["y"], **axes))
    last = names[-1] if end == "image" else "y"
    m = model(nodes, {"x": ["n", channels, 4, 4]}, [last], c)
    g = check(m, tmp_path_factory.getbasetemp())
    if "transpose" not in steps:
        assert "transpose" not in ops(g)
