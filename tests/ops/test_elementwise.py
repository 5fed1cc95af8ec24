"""Element by element operators with several operands on integers: TFLM's bytes, or the reals."""

from __future__ import annotations

import numpy as np
import pytest
from elementwise_graphs import (
    binary_graphs,
    cast_graphs,
    compare_graphs,
    logical_graphs,
    where_graphs,
)
from graphs import batch, one_node
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tflm import run_graph

from edgekit import reference
from edgekit.graph import Graph, GraphError, Node, Quant, Value
from edgekit.ops import operator
from edgekit.ops.base import INTEGERS
from edgekit.ops.convert import dequantize
from edgekit.ops.interval import Interval

FEW = settings(max_examples=20, deadline=None)
SEEDS = st.integers(0, 2**32 - 1)


def same_as_tflm(graph: Graph, seed: int) -> None:
    feeds = batch(graph, seed, 3)
    ours = reference.run(graph, feeds)["y"]
    np.testing.assert_array_equal(ours, run_graph(graph, feeds))


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32"])
@pytest.mark.parametrize("op", ["sub", "squared_difference"])
def test_arithmetic(op: str, dtype: str) -> None:
    @FEW
    @given(binary_graphs(op, dtype, dtype), SEEDS)
    def check(graph: Graph, seed: int) -> None:
        assume(dtype == "int32" or _fits(graph, op))
        same_as_tflm(graph, seed)

    check()


def _fits(graph: Graph, op: str) -> bool:
    """TFLM ends where the result's multiplier is not below 1."""
    a, b, y = (_scale(graph, name) for name in "aby")
    larger = 2 * max(a, b)
    wide = graph.values["y"].dtype == "int16"
    if op == "sub":
        return larger / ((1 << (15 if wide else 20)) * y) < 1
    return larger * larger / ((1 if wide else 1 << 14) * y) < 1


def _scale(graph: Graph, name: str) -> float:
    quant = graph.values[name].quant
    assert quant is not None
    return float(quant.scale[0])


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32"])
@pytest.mark.parametrize("op", ["minimum", "maximum"])
def test_extremes(op: str, dtype: str) -> None:
    """TFLM compares integers as they are, so all tensors have one quantization."""

    @FEW
    @given(binary_graphs(op, dtype, dtype), SEEDS)
    def check(graph: Graph, seed: int) -> None:
        quant = graph.values["y"].quant
        for name in "ab":
            value = graph.values[name]
            graph.values[name] = Value(name, value.shape, dtype, quant)
        same_as_tflm(graph, seed)

    check()


@FEW
@given(binary_graphs("prelu"), SEEDS)
def test_prelu(graph: Graph, seed: int) -> None:
    same_as_tflm(graph, seed)


@FEW
@given(binary_graphs("div"), SEEDS)
def test_div(graph: Graph, seed: int) -> None:
    """TFLM leaves two things open: a division by zero, and shifts beyond 31 of small quotients."""
    constant = graph.constants.pop("b", None)
    if constant is not None:
        graph.inputs.append("b")
    graph.inputs.sort()
    feeds = {n: x for n, x in batch(graph, seed, 3).items() if n in graph.inputs}
    a, b, y = (graph.values[n] for n in "aby")
    assert a.quant is not None and b.quant is not None
    zero_a, zero_b = int(a.quant.zero_point[0]), int(b.quant.zero_point[0])
    feeds["b"] = np.where(feeds["b"] == zero_b, zero_b + (1 if zero_b < 0 else -1), feeds["b"])
    feeds["b"] = feeds["b"].astype("int8")
    ours = reference.run(graph, feeds)["y"].astype(int)
    theirs = run_graph(graph, feeds).astype(int)
    wide_a = {**graph.constants, **feeds}["a"].astype(int) - zero_a
    wide_b = feeds["b"].astype(int) - zero_b
    quotient = wide_a / wide_b * (_scale(graph, "a") / _scale(graph, "b") / _scale(graph, "y"))
    tiny = np.broadcast_to(np.abs(quotient) < 0.5, ours.shape)
    np.testing.assert_array_equal(ours[~tiny], theirs[~tiny])
    assert y.quant is not None
    assert (ours[tiny] == y.quant.zero_point[0]).all()


def test_division_by_zero() -> None:
    """The sign of the dividend decides; nothing by nothing is nothing."""
    q = Quant.make(0.1, 3)
    values = [Value(n, (1, 3), "int8", q) for n in "ab"]
    graph = one_node("div", values, Value("y", (1, 3), "int8", Quant.make(0.1, -5)), {})
    feeds = {"a": np.array([[50, -50, 3]], np.int8), "b": np.full((1, 3), 3, np.int8)}
    assert reference.run(graph, feeds)["y"].tolist() == [[127, -128, -5]]


@FEW
@given(compare_graphs("int8", tflm=True), SEEDS)
def test_compare_in_steps_of_tflm(graph: Graph, seed: int) -> None:
    same_as_tflm(graph, seed)


@pytest.mark.parametrize("dtype", ["int32", "bool"])
def test_compare_without_quantization(dtype: str) -> None:
    @FEW
    @given(compare_graphs(dtype), SEEDS)
    def check(graph: Graph, seed: int) -> None:
        same_as_tflm(graph, seed)

    check()


@pytest.mark.parametrize(("x_dtype", "b_dtype"), [("int8", "int8"), ("int16", "int8")])
@FEW
@given(data=st.data())
def test_compare_is_that_of_the_reals(x_dtype: str, b_dtype: str, data: st.DataObject) -> None:
    """Wherever they differ by more than a thousandth of the larger step."""
    graph = data.draw(compare_graphs(x_dtype, b_dtype))
    feeds = batch(graph, data.draw(SEEDS), 3)
    found = reference.run(graph, feeds)["y"]
    a, b = (dequantize(graph.values[n], feeds[n]).astype(np.float64) for n in "ab")
    larger = max(_scale(graph, "a"), _scale(graph, "b"))
    apart = np.broadcast_to(np.abs(a - b) > larger / 1000, found.shape)
    want = operator("compare").reference_float(graph.nodes[0], [a, b])
    np.testing.assert_array_equal(found[apart], np.broadcast_to(want, found.shape)[apart])


@FEW
@given(logical_graphs(), SEEDS)
def test_logical(graph: Graph, seed: int) -> None:
    assume(graph.nodes[0].attrs["kind"] != "xor")
    same_as_tflm(graph, seed)


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_where(dtype: str) -> None:
    @FEW
    @given(where_graphs(dtype, dtype), SEEDS)
    def check(graph: Graph, seed: int) -> None:
        assume(graph.values["a"].quant == graph.values["b"].quant == graph.values["y"].quant)
        same_as_tflm(graph, seed)

    check()


@pytest.mark.parametrize(
    ("op", "x_dtype", "dtype", "steps"),
    [
        *((op, x, y, 1.0) for op in ("minimum", "maximum", "where", "sub", "prelu")
          for x, y in (("int8", "int8"), ("int8", "int16"), ("int16", "int8"))),
        ("squared_difference", "int8", "int8", 1.0),
        ("div", "int8", "int16", 2.0),
        ("div", "int16", "int8", 1.0),
        ("pow", "int8", "int8", 1.0),
    ],
)  # fmt: skip
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_close_to_the_reals(
    op: str, x_dtype: str, dtype: str, steps: float, data: st.DataObject
) -> None:
    """Within `steps` integers of the result that real arithmetic gives, where that fits."""
    strategy = where_graphs(x_dtype, dtype) if op == "where" else binary_graphs(op, x_dtype, dtype)
    graph = data.draw(strategy)
    feeds = batch(graph, data.draw(SEEDS), 3)
    node, y = graph.nodes[0], graph.values["y"]
    assert y.quant is not None
    found = reference.run(graph, feeds)["y"].astype(int)
    operands = []
    for name in node.inputs:
        array = feeds.get(name, graph.constants.get(name))
        assert array is not None
        value = graph.values[name]
        operands.append(dequantize(value, array).astype(np.float64) if value.quant else array)
    if op == "pow":
        operands[0] = np.maximum(operands[0], 0)
    with np.errstate(all="ignore"):
        real = operator(op).reference_float(node, operands).astype(np.float64)
    info = np.iinfo(dtype)
    units = np.nan_to_num(real / y.quant.scale[0] + y.quant.zero_point[0], posinf=1e9, neginf=-1e9)
    zero_by_zero = np.isnan(real)
    wanted = np.where(zero_by_zero, y.quant.zero_point[0], np.clip(units, info.min, info.max))
    # Relative precision of the forms: 2**-12 of a result of many steps.
    limit = 0.5 + steps * 0.51 + np.abs(wanted - y.quant.zero_point[0]) / 4096
    assert (np.abs(found - wanted) <= limit).all()


@pytest.mark.parametrize("fmod", [False, True])
def test_mod_on_one_scale_is_exact(fmod: bool) -> None:
    q = Quant.make(0.05, 4)
    values = [Value(n, (1, 256), "int8", q) for n in "ab"]
    graph = one_node("mod", values, Value("y", (1, 256), "int8", q), {}, fmod=fmod)
    r = np.random.default_rng(1)
    a, b = (r.integers(-128, 128, (1, 256)).astype(np.int8) for _ in range(2))
    found = reference.run(graph, {"a": a, "b": b})["y"].astype(int)
    wide_a, wide_b = a.astype(int) - 4, b.astype(int) - 4
    rest = (np.fmod if fmod else np.mod)(wide_a, np.where(wide_b == 0, 1, wide_b))
    np.testing.assert_array_equal(found, np.clip(np.where(wide_b == 0, 0, rest) + 4, -128, 127))


@FEW
@given(data=st.data())
def test_casts_are_those_of_the_reals(data: st.DataObject) -> None:
    x_dtype, dtype = data.draw(
        st.sampled_from([("int8", "int32"), ("int16", "int32"), ("bool", "int8"),
                         ("int32", "int8"), ("int32", "int16"), ("int8", "bool")])
    )  # fmt: skip
    graph = data.draw(cast_graphs(x_dtype, dtype))
    feeds = batch(graph, data.draw(SEEDS), 2)
    found = reference.run(graph, feeds)["y"]
    a, y = graph.values["a"], graph.values["y"]
    real = dequantize(a, feeds["a"]).astype(np.float64) if a.quant else feeds["a"].astype(float)
    if dtype == "bool":
        np.testing.assert_array_equal(found, real != 0)
    elif dtype == "int32":
        # Truncation may go either way where a number is an integer up to float32.
        assert (np.abs(found - np.trunc(real)) <= (np.abs(real - np.rint(real)) < 1e-3)).all()
    else:
        assert y.quant is not None
        info = np.iinfo(dtype)
        units = np.clip(real / y.quant.scale[0] + y.quant.zero_point[0], info.min, info.max)
        assert (np.abs(found - units) <= 0.51).all()


@pytest.mark.parametrize("op", ["sub", "minimum", "maximum", "prelu", "div"])
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_intervals_are_sound(op: str, data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(INTEGERS))
    graph = data.draw(binary_graphs(op, dtype, dtype))
    node, info = graph.nodes[0], np.iinfo(dtype)
    values = [graph.values[n] for n in node.inputs]
    r = np.random.default_rng(data.draw(SEEDS))
    intervals, operands = [], []
    for value in values:
        ends = np.sort(r.integers(info.min, info.max + 1, (2, value.shape[-1])), axis=0)
        ends[1] = np.where(r.random(value.shape[-1]) < 0.5, ends[0], ends[1])
        intervals.append(Interval(ends[0], ends[1]))
        operands.append(r.integers(ends[0], ends[1] + 1, (200, *value.shape[1:])).astype(dtype))
    y = graph.values["y"]
    found = operator(op).reference_int(node, operands, values, y).astype(int)
    known = operator(op).interval(node, intervals, values, y)
    assert (found >= known.lo).all() and (found <= known.hi).all()


@pytest.mark.parametrize(
    ("op", "inputs", "attrs", "says"),
    [
        ("unary", [("float32", (1, 2))], {"function": "cube"}, "function"),
        ("unary", [("float32", (1, 2))], {"function": "elu", "alpha": float("nan")}, "parameters"),
        ("unary", [("int32", (1, 2))], {"function": "abs"}, "float32, int8 or int16"),
        ("sub", [("float32", (1, 2)), ("float32", (1, 3))], {}, "broadcast"),
        ("sub", [("float32", (1, 2)), ("int8", (1, 2))], {}, "float32, or int8 and int16"),
        ("compare", [("float32", (1, 2))] * 2, {"kind": "same"}, "kind"),
        ("compare", [("int16", (1, 2))] * 2, {"kind": "less", "left_shift": 8}, "left_shift"),
        ("logical", [("bool", (1, 2))] * 2, {"kind": "not"}, "one operand"),
        ("where", [("float32", (1, 2))] * 3, {}, "condition"),
        ("cast", [("float32", (1, 2))], {"to": "int8"}, "'to'"),
    ],
)
def test_refusals_say_what_is_wrong(
    op: str, inputs: list[tuple[str, tuple[int, ...]]], attrs: dict[str, object], says: str
) -> None:
    values = [
        Value(f"x{i}", shape, dtype, Quant.make(0.1) if dtype in INTEGERS else None)
        for i, (dtype, shape) in enumerate(inputs)
    ]
    with pytest.raises(GraphError, match=says):
        operator(op).checked(Node(op, tuple(v.name for v in values), ("y",), attrs, "n"), values)


def test_samples_of_lower_rank_do_not_meet_other_axes() -> None:
    """[1, 2] and [1, 3, 2]: the batch of one is not an axis of the other."""
    a, b = Value("a", (1, 3, 2)), Value("b", (1, 2))
    graph = one_node("sub", [a, b], Value("y", (1, 3, 2)), {})
    r = np.random.default_rng(0)
    feeds = {"a": r.normal(size=(4, 3, 2)), "b": r.normal(size=(4, 2))}
    feeds = {name: x.astype(np.float32) for name, x in feeds.items()}
    want = feeds["a"] - feeds["b"][:, None]
    np.testing.assert_array_equal(reference.run(graph, feeds)["y"], want)
