"""Each numbered rule of edgekit/passes/matrix_products.py, narrow.py and several_rows.py."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from attention_nets import Net, block
from graph_text import applied, ops

from edgekit.graph import Graph, Quant, Value
from edgekit.passes import canonicalize
from edgekit.passes.fold_affine import fold_affine
from edgekit.passes.matrix_products import matrix_products
from edgekit.passes.narrow import narrow
from edgekit.passes.several_rows import several_rows
from edgekit.reference import run


@pytest.mark.parametrize("transpose_b", [False, True])
def test_rule_1_constant_right(transpose_b: bool) -> None:
    f = Net(1, 5, 12)
    w = f.vector(7, 12) if transpose_b else f.vector(12, 7)
    y = f("matmul", "x", w, transpose_b=transpose_b, scale=0.5)
    after = applied(f.ended(y), matrix_products)
    assert ops(after) == ["fully_connected"]
    assert after.values[after.nodes[0].inputs[1]].shape == (7, 12)


def test_rule_2_constant_left() -> None:
    f = Net(1, 12, 5)
    y = f("matmul", f.vector(7, 12), "x")
    assert ops(applied(f.ended(y), matrix_products)) == [
        "transpose", "fully_connected", "transpose",
    ]  # fmt: skip


@pytest.mark.parametrize("perm", [[0, 2, 1, 3], [0, 2, 3, 1], [0, 1, 3, 2]])
@pytest.mark.parametrize("reshaped", [False, True])
def test_rule_3_takes_the_exchange(perm: list[int], reshaped: bool) -> None:
    f = Net(1, 4, 6, 8)
    right = f("transpose", f("clip", "x", clamp=[-1.0, 1.0]), perm=perm)
    *lead, k, n = f.value(right).shape
    if reshaped:
        right = f("reshape", right, shape=[1, 1, *lead[1:], k, n])
    left = f.constant("a", np.random.default_rng(1).random((*lead, 3, k), np.float32))
    after = applied(f.ended(f("matmul", left, right)), matrix_products)
    product = next(node for node in after.nodes if node.op == "matmul")
    assert product.attrs["transpose_b"] is True
    assert ("transpose" in ops(after)) == (perm != [0, 1, 3, 2])


def test_rules_4_and_5_one_factor() -> None:
    f = Net(1, 4, 6, 6)
    half = f.number(0.5)
    product = f("matmul", f("mul", "x", half), f("mul", "x", f.number(3.0)))
    y = f("mul", product, f.number(0.1))
    after = applied(f.ended(y), matrix_products)
    assert ops(after) == ["matmul"]
    assert after.nodes[0].attrs["scale"] == pytest.approx(0.15)


def test_rule_4_leaves_negative_factors() -> None:
    f = Net(1, 4, 6, 6)
    y = f("matmul", f("mul", "x", f.number(-0.5)), "x")
    applied(f.ended(y), matrix_products, changes=False)


def test_rule_4_looks_through_movement() -> None:
    f = Net(1, 6, 4, 8)
    q = f("transpose", f("mul", "x", f.number(0.5)), perm=[0, 2, 1, 3])
    k = f("transpose", f("clip", "x", clamp=[-1.0, 1.0]), perm=[0, 2, 3, 1])
    after = applied(f.ended(f("matmul", q, k)), matrix_products)
    assert "mul" not in ops(after)
    assert after.nodes[-1].attrs["scale"] == pytest.approx(0.5)


@pytest.mark.parametrize(("perm", "rest"), [([0, 1, 3, 2], []), ([1, 0, 3, 2], ["transpose"])])
def test_rule_6_exchanged_operands(perm: list[int], rest: list[str]) -> None:
    f = Net(1, 4, 6, 8)
    product = f("matmul", "x", f("clip", "x", clamp=[-1.0, 1.0]), transpose_b=True)
    after = applied(f.ended(f("transpose", product, perm=perm)), matrix_products)
    assert ops(after) == ["clip", "matmul", *rest]


def test_rows_fold_behind_a_reshape() -> None:
    f = Net(1, 5, 12)
    y = f("reshape", f("fully_connected", "x", f.vector(8, 12), f.vector(8)), shape=[1, 5, 2, 4])
    y = f("mul", f("add", y, f.vector(2, 4)), f.number(0.5))
    assert ops(applied(f.ended(y), fold_affine)) == ["fully_connected", "reshape"]
    f = Net(1, 5, 12)
    y = f("reshape", f("fully_connected", "x", f.vector(8, 12), f.vector(8)), shape=[1, 5, 2, 4])
    applied(f.ended(f("add", y, f.vector(5, 2, 4))), fold_affine, changes=False)


def test_rows_fold_what_is_one_vector() -> None:
    f = Net(1, 5, 12)
    y = f("matmul", f("mul", "x", f.vector(12)), f.vector(12, 7))
    y = f("add", y, f.vector(7))
    g = f.ended(y)
    matrix_products(g)
    assert ops(applied(g, fold_affine)) == ["fully_connected"]


def narrowed(after: Graph) -> list[str]:
    return [op for op in ops(after) if op in ("slice", "gather", "fully_connected", "conv2d")]


def heads(linear: str) -> Net:
    """Three parts of 12 channels each, cut out of a product with 36, as torch exports them."""
    f = Net(1, 5, 12)
    if linear == "fully_connected":
        y = f("fully_connected", "x", f.vector(36, 12), f.vector(36))
    else:
        y = f("conv2d", f("reshape", "x", shape=[1, 5, 1, 12]), f.vector(36, 1, 1, 12),
              f.vector(36), strides=[1, 1], dilations=[1, 1], pads=[0, 0, 0, 0])  # fmt: skip
    y = f("reshape", y, shape=[1, 5, 1, 3, 12])
    f.graph.outputs = [f("transpose", y, perm=[3, 1, 2, 0, 4])]
    return f


@pytest.mark.parametrize("linear", ["fully_connected", "conv2d"])
@pytest.mark.parametrize("scalar", [False, True])
def test_narrow_rules_1_to_5(linear: str, scalar: bool) -> None:
    f = heads(linear)
    source = f.graph.outputs[0]
    outs = []
    for i in (0, 1, -1):
        index = np.asarray(i if scalar else [i], np.int32)
        outs.append(f("gather", source, f.constant("i", index), axis=0))
    f.graph.outputs = outs
    after = applied(f.graph.verify(), narrow)
    assert narrowed(after) == [linear] * 3


def test_narrow_rule_4_and_a_step() -> None:
    f = Net(1, 9, 4)
    y = f("slice", "x", starts=[0, 2, 0], stops=[1, 8, 4], steps=[1, 1, 1])
    y = f("slice", y, starts=[0, 1, 0], stops=[1, 3, 4], steps=[1, 1, 1])
    after = applied(f.ended(y), narrow)
    assert ops(after) == ["slice"]
    assert after.nodes[0].attrs["starts"] == [0, 3, 0]
    f = Net(1, 9, 4)
    y = f("slice", f("transpose", "x", perm=[0, 2, 1]), starts=[0, 0, 0], stops=[1, 4, 9],
          steps=[1, 2, 1])  # fmt: skip
    applied(f.ended(y), narrow, changes=False)


def test_narrow_rule_5_needs_slices_only() -> None:
    f = heads("fully_connected")
    wide = f.graph.nodes[0].output
    f.graph.outputs = [
        f("slice", wide, starts=[0, 0, 0], stops=[1, 5, 12], steps=[1, 1, 1]),
        f("clip", wide, clamp=[0.0, 1.0]),
    ]
    applied(f.graph.verify(), narrow, changes=False)


def test_several_rows() -> None:
    f = Net(1, 5, 12)
    g = f.ended(f("fully_connected", "x", f.vector(7, 12), f.vector(7), clamp=[0.0, None]))
    after = applied(g, several_rows)
    assert ops(after) == ["reshape", "conv2d", "reshape"]
    assert after.nodes[1].attrs["clamp"] == [0.0, None]
    f = Net(1, 12)
    g = f.ended(f("fully_connected", "x", f.vector(7, 12), f.vector(7)))
    applied(g, several_rows, changes=False)


@pytest.mark.parametrize("per_channel", [False, True])
def test_several_rows_of_integers_are_the_same_integers(per_channel: bool) -> None:
    r = np.random.default_rng(2)
    g = Graph("rows")
    scales = r.uniform(0.001, 0.01, 6 if per_channel else 1)
    w_quant = Quant.make(scales, 0, 0 if per_channel else None)
    g.add_value(Value("x", (1, 5, 12), "int8", Quant.make(0.05, 3)))
    g.inputs = ["x"]
    w = g.add_constant("w", r.integers(-127, 128, (6, 12)).astype(np.int8), w_quant)
    bias = Quant.make(w_quant.scale * np.float32(0.05), 0, w_quant.axis)
    b = g.add_constant("b", r.integers(-999, 999, 6).astype(np.int32), bias)
    builder = Net(1, 1)
    builder.graph = g
    builder.emit("fully_connected", ["x", w, b], node="fc", out="y", quant=Quant.make(0.02, -5))
    g.outputs = ["y"]
    after = g.verify().copy()
    assert several_rows(after)
    after.verify()
    x = r.integers(-128, 128, (4, 5, 12)).astype(np.int8)
    np.testing.assert_array_equal(run(after, {"x": x})["y"], run(g, {"x": x})["y"])


@pytest.mark.parametrize("build", [block])
def test_a_block_becomes_few_operators(build: Callable[..., Net]) -> None:
    g = build().graph.verify()
    after = applied(g, lambda graph: _canonical(graph))
    kinds = set(ops(after)) - {"reshape", "transpose"}
    assert kinds == {"layer_norm", "conv2d", "matmul", "softmax", "add", "unary"}
    assert ops(after).count("matmul") == 2
    assert ops(after).count("layer_norm") == 2
    assert [n.attrs["function"] for n in after.nodes if n.op == "unary"] == ["gelu"]


def _canonical(graph: Graph) -> bool:
    """`canonicalize` as an edit in place; whether it changed the operators."""
    after, before = canonicalize(graph), ops(graph)
    graph.nodes, graph.values, graph.constants = after.nodes, after.values, after.constants
    return ops(graph) != before
