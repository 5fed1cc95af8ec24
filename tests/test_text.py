"""The text form of graphs: an exact round trip, and errors that name the line."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shared import SHARED, needs_shared

from edgekit.errors import EdgekitError
from edgekit.graph import Graph, Node, Quant, Value
from edgekit.importers import import_raw, load
from edgekit.text import dumps, loads

EXAMPLE = """edgekit-graph 1
graph "kws"
metadata {"layout": {"input": "NCHW"}}
input "x": int8[1, 4, 4, 1] scale=0.5 zero_point=-3
constant "w": int8[2, 1, 1, 1] scale=[0.25, 0.125] zero_point=0 axis=0 = [3, -7]
constant "b": int32[2] scale=[0.125, 0.0625] zero_point=0 axis=0 = [0, 1]
node conv2d "conv" ("x", "w", "b") -> "y": int8[1, 4, 4, 2] scale=1.0 zero_point=0 {"groups": 1}
output "y"
"""


def same(a: Graph, b: Graph) -> bool:
    """Equality to the bit, order of values aside."""
    return (
        (a.name, a.inputs, a.outputs, a.metadata) == (b.name, b.inputs, b.outputs, b.metadata)
        and a.nodes == b.nodes
        and a.values == b.values
        and a.constants.keys() == b.constants.keys()
        and all(
            a.constants[k].dtype == b.constants[k].dtype
            and a.constants[k].shape == b.constants[k].shape
            and a.constants[k].tobytes() == b.constants[k].tobytes()
            for k in a.constants
        )
        and all(_same_quant(v.quant, b.values[k].quant) for k, v in a.values.items())
    )


def _same_quant(a: Quant | None, b: Quant | None) -> bool:
    if a is None or b is None:
        return a is b
    return (a.scale.dtype, a.zero_point.dtype) == (b.scale.dtype, b.zero_point.dtype) and (
        a.scale.tobytes(), a.zero_point.tobytes(), a.axis
    ) == (b.scale.tobytes(), b.zero_point.tobytes(), b.axis)  # fmt: skip


def test_example() -> None:
    graph = loads(EXAMPLE)
    assert dumps(graph) == EXAMPLE
    assert graph.nodes[0].attrs == {"groups": 1}
    assert graph.constants["w"].reshape(-1).tolist() == [3, -7]
    assert same(graph, loads("\n# a comment\n\n".join(EXAMPLE.splitlines())))


scales = st.floats(np.float32(1e-30), np.float32(1e30), width=32)
names = st.text(min_size=1, max_size=8).map(lambda s: s.replace("~", "-"))


@st.composite
def quants(draw: st.DrawFn, shape: tuple[int, ...]) -> Quant:
    if draw(st.booleans()):
        return Quant.make(draw(scales), draw(st.integers(-128, 127)))
    axis = draw(st.integers(0, len(shape) - 1))
    n = shape[axis]
    zeros = draw(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=n, max_size=n))
    return Quant.make(draw(st.lists(scales, min_size=n, max_size=n)), zeros, axis)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Legal graphs of add, clip and reshape nodes on one shape, with all kinds of values."""
    g = Graph(draw(st.text(max_size=10)))
    shape = (1, *draw(st.lists(st.integers(1, 5), min_size=1, max_size=3)))
    dtype = draw(st.sampled_from(["float32", "int8"]))

    def value(name: str) -> str:
        quant = draw(quants(shape)) if dtype == "int8" else None
        return g.add_value(Value(g.fresh(name), shape, dtype, quant))

    g.inputs = [value(draw(names))]
    for _ in range(draw(st.integers(0, 3))):
        if dtype == "float32":
            raw = draw(
                st.binary(min_size=4 * int(np.prod(shape)), max_size=4 * int(np.prod(shape)))
            )
            data = np.frombuffer(raw, np.float32).reshape(shape)
        else:
            data = np.array(draw(st.integers(-128, 127)), np.int8) * np.ones(shape, np.int8)
        g.add_constant(draw(names), data, draw(quants(shape)) if dtype == "int8" else None)
    for other in draw(st.lists(st.sampled_from(["int64", "bool", "int32"]), max_size=2)):
        g.add_constant(draw(names), np.arange(draw(st.integers(1, 40))).astype(other))
    for _ in range(draw(st.integers(0, 5))):
        usable = [k for k, v in g.values.items() if v.dtype == dtype]
        op = draw(st.sampled_from(["add", "clip", "reshape"]))
        inputs = tuple(draw(st.sampled_from(usable)) for _ in range(2 if op == "add" else 1))
        out = value(draw(names))
        attrs: dict[str, object] = {}
        if op == "reshape":
            attrs = {"shape": list(shape)}
        elif op == "clip":
            attrs = {"clamp": [draw(st.none() | st.floats(-9, 0)), draw(st.floats(0, 9))]}
        g.nodes.append(Node(op, inputs, (out,), attrs, draw(st.text(max_size=8))))
    g.outputs = [draw(st.sampled_from(list(g.values)))] if g.nodes else [g.inputs[0]]
    g.outputs = (g.nodes[-1:] and [g.nodes[-1].output]) or g.inputs[:1]
    json_values = st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False)
        | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
        max_leaves=5,
    )
    g.metadata = draw(st.dictionaries(st.text(max_size=5), json_values, max_size=2))
    return g.verify()


@settings(deadline=None, max_examples=50)
@given(graphs())
def test_round_trip(g: Graph) -> None:
    text = dumps(g)
    again = loads(text)
    assert same(g, again)
    assert dumps(again) == text


@given(st.floats(width=32, min_value=np.float32(1e-38), allow_infinity=False))
def test_scales_are_exact(scale: float) -> None:
    g = Graph("s", ["x"], ["x"], values={"x": Value("x", (1,), "int8", Quant.make(scale))})
    assert _same_quant(loads(dumps(g)).values["x"].quant, g.values["x"].quant)


@needs_shared
@pytest.mark.parametrize("name", ["mlperf_tiny_sww_float32.onnx", "kws_ref_model.tflite"])
def test_real_models(name: str) -> None:
    for graph in (import_raw(SHARED / "models" / name), load(SHARED / "models" / name)):
        assert same(graph, loads(dumps(graph)))


@pytest.mark.parametrize(
    ("old", "new", "line", "word"),
    [
        ("edgekit-graph 1", "edgekit-graph 9", 1, "edgekit-graph 1"),
        ('graph "kws"', "graph kws", 2, "name"),
        ('{"layout"', '["layout"', 3, "object"),
        ('input "x"', 'inptu "x"', 4, "inptu"),
        ("int8[1, 4, 4, 1]", "int9[1, 4, 4, 1]", 4, "int9"),
        ("int8[1, 4, 4, 1]", "int8[1, 4, x, 1]", 4, "shape"),
        ("int8[1, 4, 4, 1]", "int8[1, 4.0, 4, 1]", 4, "shape"),
        ("zero_point=-3", "zero=-3", 4, "zero_point"),
        ("scale=0.5", 'scale="a"', 4, "numbers"),
        ("[0.25, 0.125] zero_point=0", "[0.25, 0.125] zero_point=[1, 2, 3]", 5, "3 zero points"),
        ("[3, -7]", "[3]", 5, "2 numbers"),
        ("[3, -7]", "[3, 700]", 5, "int8"),
        ("[3, -7]", 'base64 "A"', 5, "base64"),
        ("[3, -7]", 'base64 "AAAA"', 5, "2 bytes"),
        ('constant "b"', 'constant "w"', 6, "twice"),
        ("conv2d", "conv3d", 7, "conv3d"),
        ('("x", "w"', '("x" "w"', 7, "','"),
        ('("x", "w"', '("x", "v"', 7, "'v'"),
        ("->", "=>", 7, "'->'"),
        ('{"groups": 1}', '{"groups": 1', 7, "attributes"),
        ('{"groups": 1}', '{"groups": 1} extra', 7, "extra"),
        ('output "y"', 'output "z"', 8, "'z'"),
    ],
)
def test_errors_name_the_line(old: str, new: str, line: int, word: str) -> None:
    assert old in EXAMPLE
    with pytest.raises(EdgekitError) as caught:
        loads(EXAMPLE.replace(old, new, 1))
    assert caught.value.code == "E108"
    assert f"line {line}," in caught.value.message
    assert word in caught.value.message


def test_illegal_graphs_are_errors_too() -> None:
    with pytest.raises(EdgekitError, match="not legal"):
        loads(EXAMPLE.replace("[1, 4, 4, 2]", "[1, 4, 4, 3]"))
    with pytest.raises(EdgekitError, match="line 1"):
        loads("")


@settings(deadline=None, max_examples=200)
@given(st.integers(0, len(EXAMPLE) - 1), st.text(max_size=3), st.integers(0, 5))
def test_damaged_text(at: int, put: str, cut: int) -> None:
    """Any edit gives a legal graph or an EdgekitError, never another exception."""
    try:
        loads(EXAMPLE[:at] + put + EXAMPLE[at + cut :]).verify()
    except EdgekitError as error:
        assert error.code == "E108"
