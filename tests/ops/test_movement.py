"""Movement, reduction and window operators: ONNX's float meaning, batches, intervals, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx.helper as oh
import onnxruntime as ort
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from movement_graphs import STRATEGIES, samples
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

from edgekit.graph import GraphError, Node, Value
from edgekit.intervals import intervals
from edgekit.ops import operator
from edgekit.reference import run

INT16 = ("reduce sum", "cumsum", "conv_transpose2d", "resize cubic", "concat", "pad")
FEW = settings(
    max_examples=12, deadline=None, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip


def _dtype(case: str, draw: st.DataObject) -> str:
    if case in ("reduce any", "reduce all"):
        return "bool"
    return draw.draw(st.sampled_from(["int8", "int16"])) if case in INT16 else "int8"


@pytest.mark.parametrize("case", STRATEGIES)
def test_a_batch_is_its_samples(case: str) -> None:
    @FEW
    @given(st.data())
    def check(data: st.DataObject) -> None:
        graph = data.draw(STRATEGIES[case](_dtype(case, data)))
        feeds = samples(graph, data.draw(st.integers(0, 99)), 3)
        whole = run(graph, feeds)
        for i in range(3):
            one = run(graph, {name: x[i : i + 1] for name, x in feeds.items()})
            for name in graph.outputs:
                np.testing.assert_array_equal(whole[name][i], one[name][0], err_msg=name)

    check()


@pytest.mark.parametrize("case", [c for c in STRATEGIES if c not in ("reduce any", "reduce all")])
def test_intervals_hold(case: str) -> None:
    @FEW
    @given(st.data())
    def check(data: st.DataObject) -> None:
        graph = data.draw(STRATEGIES[case](_dtype(case, data)))
        known = intervals(graph).values
        found = run(graph, samples(graph, data.draw(st.integers(0, 99)), 3))
        for name in graph.outputs:
            rows = found[name].astype(np.int64).reshape(-1, len(known[name].lo))
            assert (rows >= known[name].lo).all() and (rows <= known[name].hi).all(), name

    check()


REAL = np.random.default_rng(0).normal(0, 2, (1, 3, 6, 5)).astype(np.float32)
X = TensorProto.FLOAT


def _onnx(op: str, operands: list[np.ndarray], opset: int = 19, outputs: int = 1,
          **attrs: Any) -> list[np.ndarray]:  # fmt: skip
    names = [f"x{i}" if x is not None else "" for i, x in enumerate(operands)]
    results = [f"y{i}" for i in range(outputs)]
    known = [(n, x) for n, x in zip(names, operands, strict=True) if n]
    graph = oh.make_graph(
        [oh.make_node(op, names, results, **attrs)], "g",
        [oh.make_tensor_value_info(n, oh.np_dtype_to_tensor_dtype(x.dtype), x.shape)
         for n, x in known],
        [oh.make_tensor_value_info(r, X, None) for r in results],
    )  # fmt: skip
    model = oh.make_model(graph, opset_imports=[oh.make_opsetid("", opset)], ir_version=9)
    if op == "ConvTranspose":  # onnx's evaluator is wrong where there are groups
        session = ort.InferenceSession(model.SerializeToString())
        return list(session.run(None, dict(known)))
    return list(ReferenceEvaluator(model).run(None, dict(known)))


def _ours(op: str, inputs: list[np.ndarray], **attrs: Any) -> list[np.ndarray]:
    node = Node(op, ("x",), ("y",), attrs, op)
    values = [Value("x", x.shape, str(x.dtype)) for x in inputs]
    results = operator(op).evaluate_float(node, inputs)
    stated = operator(op).checked(node, values)
    assert [(r.shape, str(r.dtype)) for r in results] == stated
    return results


RESIZES = [
    (mode, coordinates, size, extra)
    for mode in ("nearest", "linear", "cubic")
    for coordinates in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric",
                        "half_pixel_symmetric")
    for size, extra in (([9, 8], {}), ([4, 3], {}), ([12, 1], {}), ([3, 10], {"antialias": True}),
                        ([7, 11], {"exclude_outside": True}))
    # onnx's evaluator takes -0.5 for a single pixel, its text 0.
    if not (mode == "cubic" and coordinates == "pytorch_half_pixel" and size == [12, 1])
    and not (mode == "nearest" and extra) and not (mode == "linear" and "exclude_outside" in extra)
    and not (mode == "linear" and extra and coordinates == "align_corners")
]  # fmt: skip


@pytest.mark.parametrize(("mode", "coordinates", "size", "extra"), RESIZES)
def test_resize_is_onnx(
    mode: str, coordinates: str, size: list[int], extra: dict[str, Any]
) -> None:
    full = [1, 3, *size]
    for nearest in ("round_prefer_floor", "floor", "ceil", "round_prefer_ceil"):
        named = {"mode": mode, "coordinate_transformation_mode": coordinates} | extra
        attrs = {"mode": mode, "coordinates": coordinates, "size": full} | extra
        if mode == "nearest":
            named["nearest_mode"] = attrs["nearest_mode"] = nearest
        sizes = np.array(full, np.int64)
        wanted = _onnx("Resize", [REAL, None, None, sizes], **named)[0]  # type: ignore[list-item]
        got = _ours("resize", [REAL], **attrs)[0]
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_cumsum_is_onnx(exclusive: bool, reverse: bool) -> None:
    for axis in (1, 2, 3):
        wanted = _onnx("CumSum", [REAL, np.array(axis)], exclusive=exclusive, reverse=reverse)[0]
        got = _ours("cumsum", [REAL], axis=axis, exclusive=exclusive, reverse=reverse)[0]
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("largest", [False, True])
def test_top_k_is_onnx(largest: bool) -> None:
    for axis in (1, 2, 3):
        wanted = _onnx("TopK", [REAL, np.array([2])], outputs=2, axis=axis, largest=largest)
        got = _ours("top_k", [REAL], axis=axis, k=2, largest=largest)
        np.testing.assert_array_equal(got[0], wanted[0])
        np.testing.assert_array_equal(got[1], wanted[1])


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("kind", ["max", "min"])
def test_arg_is_onnx(kind: str, last: bool) -> None:
    x = np.round(REAL)  # with equal elements
    for axis in (1, 2, 3):
        wanted = _onnx(f"Arg{kind.capitalize()}", [x], axis=axis, select_last_index=last)[0]
        np.testing.assert_array_equal(_ours("arg", [x], kind=kind, axis=axis, last=last)[0], wanted)


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
def test_pad_is_onnx(mode: str) -> None:
    pads = [0, 1, 2, 3, 0, 2, 1, 0]
    operands = [REAL, np.array(pads, np.int64), np.array(1.5, np.float32)]
    wanted = _onnx("Pad", operands, mode=mode)[0]
    got = _ours("pad", [REAL], pads=pads, mode=mode, value=1.5)[0]
    np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("batch_dims", [0, 1])
def test_gather_nd_is_onnx(batch_dims: int) -> None:
    x = REAL[0]
    at = np.random.default_rng(1).integers(-3, 3, (3, 4, 2)).astype(np.int32)
    wanted = _onnx("GatherND", [x, at.astype(np.int64)], batch_dims=batch_dims)[0]
    np.testing.assert_array_equal(_ours("gather_nd", [x, at], batch_dims=batch_dims)[0], wanted)


def test_conv_transpose_is_onnx() -> None:
    r = np.random.default_rng(2)
    for groups, w_shape in ((1, (3, 4, 3, 2)), (3, (3, 2, 3, 2))):
        w = r.normal(0, 1, w_shape).astype(np.float32)  # ONNX: [I, O/groups, KH, KW]
        bias = r.normal(0, 1, w_shape[1] * groups).astype(np.float32)
        attrs = {"strides": [2, 3], "dilations": [2, 1], "pads": [1, 0, 2, 1]}
        wanted = _onnx("ConvTranspose", [REAL, w, bias], group=groups, output_padding=[1, 2],
                       **attrs)[0]  # fmt: skip
        # [I/g, O/g] of each group becomes [O, I/g].
        mine = np.concatenate([part.transpose(1, 2, 3, 0) for part in np.split(w, groups)])
        got = _ours("conv_transpose2d", [REAL.transpose(0, 2, 3, 1), np.ascontiguousarray(mine),
                    bias], groups=groups, output_padding=[1, 2], **attrs)[0]  # fmt: skip
        np.testing.assert_allclose(got.transpose(0, 3, 1, 2), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("include", [False, True])
@pytest.mark.parametrize("dilations", [[1, 1], [2, 2]])
def test_average_pool_is_onnx(include: bool, dilations: list[int]) -> None:
    attrs = {"strides": [2, 1], "dilations": dilations, "pads": [1, 1, 0, 1]}
    wanted = _onnx("AveragePool", [REAL], kernel_shape=[2, 2], count_include_pad=include,
                   **attrs)[0]  # fmt: skip
    got = _ours("average_pool2d", [REAL.transpose(0, 2, 3, 1)], kernel=[2, 2],
                count_include_pad=include, **attrs)[0]  # fmt: skip
    np.testing.assert_allclose(got.transpose(0, 3, 1, 2), wanted, rtol=1e-5, atol=1e-5)


def test_ceil_padding_is_not_counted() -> None:
    """A window that only begins in the image because the size was rounded up."""
    wanted = _onnx("AveragePool", [REAL], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1],
                   count_include_pad=1, ceil_mode=1)[0]  # fmt: skip
    got = _ours("average_pool2d", [REAL.transpose(0, 2, 3, 1)], kernel=[3, 3], strides=[2, 2],
                pads=[1, 1, 2, 1], ceil_pads=[1, 0], count_include_pad=True)[0]  # fmt: skip
    np.testing.assert_allclose(got.transpose(0, 3, 1, 2), wanted, rtol=1e-5, atol=1e-5)


def int8(*shape: int) -> Value:
    return Value("v", shape, "int8")


@pytest.mark.parametrize(
    ("op", "inputs", "attrs", "message"),
    [
        ("concat", [int8(1, 2), int8(1, 2, 3)], {"axis": 1}, "agree in all axes"),
        ("concat", [int8(1, 2), Value("v", (1, 2), "int16")], {"axis": 1}, "one dtype"),
        ("slice", [int8(1, 4)], {"starts": [0, 5], "stops": [None, None], "steps": [1, 1]}, "lie"),
        ("slice", [int8(1, 4)], {"starts": [0, 0], "stops": [None, 2], "steps": [1, 0]}, "step"),
        ("pad", [int8(1, 4)], {"pads": [0, 4, 0, 0], "mode": "reflect"}, "less than the axis"),
        ("pad", [int8(1, 4)], {"pads": [0, -1, 0, 0]}, "negative"),
        ("gather", [int8(1, 4), int8(2)], {"axis": 1}, "int32 indices"),
        ("gather_nd", [int8(1, 4), Value("i", (1, 3), "int32")], {}, "last axis"),
        ("expand", [int8(1, 4)], {"shape": [1, 3]}, "broadcasts"),
        ("tile", [int8(1, 4)], {"repeats": [1]}, "repeats"),
        ("resize", [int8(4, 4)], {"size": [2, 4]}, "leading axis"),
        ("resize", [int8(1, 4)], {"size": [1, 2], "coordinates": "tf_crop_and_resize"}, "mode"),
        ("reduce", [int8(1, 4)], {"kind": "any", "axes": [1]}, "kind"),
        ("reduce", [int8(1, 4)], {"kind": "sum", "axes": [2]}, "axes"),
        ("reduce", [Value("v", (1, 65536), "int16")], {"kind": "sum", "axes": [1]}, "65535"),
        ("arg", [int8(1, 4)], {"kind": "most", "axis": 1}, "max or min"),
        ("top_k", [int8(1, 4)], {"axis": 1, "k": 5}, "at most the length"),
        ("cumsum", [int8(1, 4)], {"axis": 2}, "axis"),
        ("one_hot", [int8(1, 4)], {"axis": 2, "depth": 3}, "int32"),
        ("max_pool2d", [int8(1, 4, 4, 3)], {"kernel": [2, 2], "pads": [2, 0, 0, 0]}, "real pixel"),
    ],
)  # fmt: skip
def test_refusals(op: str, inputs: list[Value], attrs: dict[str, Any], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        operator(op).checked(Node(op, (), ("y",), attrs, "n"), inputs)
