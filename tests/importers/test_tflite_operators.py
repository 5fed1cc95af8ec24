"""Single .tflite operators, written with TFLite Micro's schema, through the importer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema
from tflm import TYPES, run_graph, to_tflite

from edgekit.errors import EdgekitError
from edgekit.graph import Graph, Value
from edgekit.importers import load, unsupported
from edgekit.ops.convert import dequantize
from edgekit.reference import run
from edgekit.text import dumps, loads

HEAD = 'edgekit-graph 1\ngraph "m"\n'
X = 'input "x": int8[1, 6, 5, 2] scale=0.5 zero_point=-3\n'
Q = "scale=0.25 zero_point=7"
SOFTMAX = "scale=0.00390625 zero_point=-128"


def text(*lines: str) -> Graph:
    return loads(HEAD + "\n".join(lines))


def weights(name: str, shape: list[int], axis: int) -> str:
    rng = np.random.default_rng(0)
    values = rng.integers(-127, 128, int(np.prod(shape))).tolist()
    scales = [0.25 + i / 8 for i in range(shape[axis])]
    return f'constant "{name}": int8{shape} scale={scales} zero_point=0 axis={axis} = {values}'


def bias(name: str, size: int) -> str:
    scales = [0.125 + i / 16 for i in range(size)]
    return (
        f'constant "{name}": int32[{size}] scale={scales} zero_point=0 axis=0 = {list(range(size))}'
    )


CASES = {
    "conv2d": [X, weights("w", [3, 3, 3, 2], 0), bias("b", 3),
        f'node conv2d "n" ("x", "w", "b") -> "y": int8[1, 3, 3, 3] {Q} '
        '{"strides": [2, 2], "pads": [0, 1, 1, 1], "dilations": [1, 1], "groups": 1, '
        '"clamp": [0.0, 6.0]}'],
    "grouped conv2d": [X, weights("w", [4, 1, 1, 1], 0), bias("b", 4),
        f'node conv2d "n" ("x", "w", "b") -> "y": int8[1, 6, 5, 4] {Q} '
        '{"strides": [1, 1], "pads": [0, 0, 0, 0], "dilations": [1, 1], "groups": 2}'],
    "dilated conv2d": [X, weights("w", [1, 2, 2, 2], 3).replace("axis=3", "axis=0")
                       .replace("[0.25, 0.375]", "0.25").replace(" axis=0", ""),
        'constant "b": int32[1] scale=0.125 zero_point=0 = [9]',
        f'node conv2d "n" ("x", "w", "b") -> "y": int8[1, 4, 3, 1] {Q} '
        '{"strides": [1, 1], "pads": [0, 0, 0, 0], "dilations": [2, 2], "groups": 1}'],
    "depthwise_conv2d": [X, weights("w", [3, 2, 4], 2), bias("b", 4),
        f'node depthwise_conv2d "n" ("x", "w", "b") -> "y": int8[1, 6, 5, 4] {Q} '
        '{"strides": [1, 1], "pads": [1, 0, 1, 1], "dilations": [1, 1], "clamp": [0.0, null]}'],
    "add": [X, 'input "z": int8[1, 6, 5, 2] scale=0.75 zero_point=1',
        f'node add "n" ("x", "z") -> "y": int8[1, 6, 5, 2] {Q} {{"clamp": [-1.0, 1.0]}}'],
    "mul by a constant": [X, 'constant "c": int8[2] scale=0.75 zero_point=1 = [5, -6]',
        f'node mul "n" ("x", "c") -> "y": int8[1, 6, 5, 2] {Q}'],
    "average_pool2d": [X,
        'node average_pool2d "n" ("x") -> "y": int8[1, 3, 3, 2] scale=0.5 zero_point=-3 '
        '{"kernel": [3, 2], "strides": [2, 2], "pads": [0, 0, 1, 1]}'],
    "max_pool2d": [X,
        'node max_pool2d "n" ("x") -> "y": int8[1, 4, 5, 2] scale=0.5 zero_point=-3 '
        '{"kernel": [3, 1], "strides": [1, 1], "pads": [0, 0, 0, 0], "clamp": [0.0, null]}'],
    "clip": [X, f'node clip "n" ("x") -> "y": int8[1, 6, 5, 2] {Q} {{"clamp": [0.0, null]}}'],
    "reshape and softmax": [X,
        'node reshape "r" ("x") -> "f": int8[1, 60] scale=0.5 zero_point=-3 {"shape": [1, 60]}',
        f'node softmax "n" ("f") -> "y": int8[1, 60] {SOFTMAX} {{"beta": 1.0}}'],
    "fully_connected": ['input "x": int8[1, 5] scale=0.5 zero_point=-3',
        weights("w", [3, 5], 0), bias("b", 3),
        f'node fully_connected "n" ("x", "w", "b") -> "y": int8[1, 3] {Q}'],
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_import_gives_the_graph_that_was_written(tmp_path: Path, name: str) -> None:
    graph = text(*CASES[name], 'output "y"')
    path = tmp_path / "m.tflite"
    path.write_bytes(to_tflite(graph))
    imported = load(path)
    assert (imported.inputs, imported.outputs) == (graph.inputs, graph.outputs)
    for a, b in zip(graph.nodes, imported.nodes, strict=True):
        assert a.op == b.op
        # The importer writes every attribute out.
        assert b.attrs.items() >= a.attrs.items()
        assert graph.values[a.output] == imported.values[b.output]
        for i, j in zip(a.inputs, b.inputs, strict=True):
            if i in graph.constants:
                assert np.array_equal(graph.constants[i], imported.constants[j])
                assert graph.values[i].quant == imported.values[j].quant
    assert dumps(loads(dumps(imported))) == dumps(imported)


def floated(graph: Graph) -> Graph:
    """The same operators on float32; weights and biases become the reals that they stand for."""
    result = Graph(graph.name, list(graph.inputs), list(graph.outputs), list(graph.nodes))
    for name, value in graph.values.items():
        real = Value(name, value.shape)
        result.add_value(real)
        if name in graph.constants:
            result.constants[name] = dequantize(value, graph.constants[name])
    return result.verify()


@pytest.mark.parametrize("name", CASES)
def test_float_operators_equal_tflite_micro(tmp_path: Path, name: str) -> None:
    graph = floated(text(*CASES[name], 'output "y"'))
    path = tmp_path / "m.tflite"
    path.write_bytes(to_tflite(graph))
    imported = load(path)
    assert [n.op for n in imported.nodes] == [n.op for n in graph.nodes]
    assert "note" not in imported.metadata
    rng = np.random.default_rng(1)
    feeds = {
        n: rng.standard_normal((3, *graph.values[n].shape[1:])).astype(np.float32)
        for n in graph.inputs
    }
    want = run_graph(graph, feeds)
    got = run(imported, feeds)["y"]
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * np.abs(want).max())


LINEAR = [n for n in CASES if "conv" in n or n == "fully_connected"]


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("stored", ["hybrid", "dequantized int8", "dequantized float16"])
def test_weights_stored_in_fewer_bits(tmp_path: Path, name: str, stored: str) -> None:
    """Hybrid kernels read int8 weights themselves; other converters put a DEQUANTIZE in front."""
    whole = text(*CASES[name], 'output "y"')
    graph = floated(whole)
    kept = dequantize(whole.values["w"], whole.constants["w"])

    def edit(model: Any, sub: Any) -> None:
        at = next(i for i, t in enumerate(sub.tensors) if t.name == b"w")
        w, raw = sub.tensors[at], whole.constants["w"].tobytes()
        if stored == "dequantized float16":
            raw, w.type = kept.astype(np.float16).tobytes(), 1
        else:
            q, w.type = whole.values["w"].quant, TYPES["int8"]
            assert q is not None
            w.quantization = schema.QuantizationParametersT()
            w.quantization.scale, w.quantization.zeroPoint = q.scale, q.zero_point.astype(np.int64)
            depthwise = name == "depthwise_conv2d"
            w.quantization.quantizedDimension = (q.axis or 0) + depthwise
        model.buffers[w.buffer].data = np.frombuffer(raw, np.uint8)
        if stored != "hybrid":
            outside = add_tensor(sub, "w", "real w", "float32")
            convert(model, sub, "DEQUANTIZE", at, outside, True)
            sub.operators[1].inputs = [outside if i == at else i for i in sub.operators[1].inputs]

    path = tmp_path / "m.tflite"
    path.write_bytes(edited(graph, edit))
    imported = load(path)
    assert ("note" in imported.metadata) == (stored != "dequantized float16")
    [node] = imported.nodes
    want = kept.astype(np.float16).astype(np.float32) if stored.endswith("16") else kept
    assert np.array_equal(imported.constants[node.inputs[1]], want)


def test_float_and_int8_mixed(tmp_path: Path) -> None:
    """A float operator between integer ones is refused with both numbers."""

    def edit(model: Any, sub: Any) -> None:
        tensor(sub, "f").type = TYPES["float32"]

    _, error = import_edited(tmp_path, "reshape and softmax", edit)
    assert isinstance(error, EdgekitError)
    assert error.code == "E106" and "1 of 2" in error.message
    assert "--calibration" in error.help


def edited(graph: Graph, edit: Callable[[Any, Any], None]) -> bytes:
    """The graph as .tflite after `edit(model, subgraph)` on the schema's objects."""
    model = schema.ModelT.InitFromPackedBuf(to_tflite(graph))
    edit(model, model.subgraphs[0])
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def import_edited(
    folder: Path, name: str, edit: Callable[[Any, Any], None]
) -> tuple[Path, Graph | EdgekitError]:
    path = folder / "m.tflite"
    path.write_bytes(edited(text(*CASES[name], 'output "y"'), edit))
    try:
        return path, load(path)
    except EdgekitError as error:
        return path, error


def tensor(sub: Any, name: str) -> Any:
    return next(t for t in sub.tensors if t.name == name.encode())


def add_tensor(sub: Any, like: str, name: str, dtype: str, quant: Any = None) -> int:
    t = schema.TensorT()
    t.shape, t.type, t.name, t.buffer = list(tensor(sub, like).shape), TYPES[dtype], name, 0
    t.quantization = quant
    sub.tensors.append(t)
    return len(sub.tensors) - 1


def convert(model: Any, sub: Any, op: str, source: int, result: int, first: bool) -> None:
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, op)
    model.operatorCodes.append(code)
    o = schema.OperatorT()
    o.opcodeIndex, o.inputs, o.outputs = len(model.operatorCodes) - 1, [source], [result]
    sub.operators.insert(0 if first else len(sub.operators), o)


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_conversions_at_the_edges_vanish(tmp_path: Path, dtype: str) -> None:
    def edit(model: Any, sub: Any) -> None:
        def quant(scale: float, zero_point: int) -> Any:
            q = schema.QuantizationParametersT()
            q.scale, q.zeroPoint = np.array([scale], "f4"), np.array([zero_point], "i8")
            return q if dtype == "uint8" else None

        # The same reals as int8 with zero points of -3 and 7.
        outside = add_tensor(sub, "x", "real_x", dtype, quant(0.5, 125))
        convert(model, sub, "QUANTIZE", outside, sub.inputs[0], True)
        sub.inputs = [outside]
        outside = add_tensor(sub, "y", "real_y", dtype, quant(0.25, 135))
        op = "DEQUANTIZE" if dtype == "float32" else "QUANTIZE"
        convert(model, sub, op, sub.outputs[0], outside, False)
        sub.outputs = [outside]

    _, graph = import_edited(tmp_path, "conv2d", edit)
    assert isinstance(graph, Graph)
    assert (graph.inputs, graph.outputs) == (["real_x"], ["real_y"])
    assert [n.op for n in graph.nodes] == ["conv2d"]
    assert graph.values["real_x"] == text(*CASES["conv2d"]).values["x"].__class__(
        "real_x", (1, 6, 5, 2), "int8", text(*CASES["conv2d"]).values["x"].quant
    )


def test_requantization_in_the_middle_is_an_open_clip(tmp_path: Path) -> None:
    def edit(model: Any, sub: Any) -> None:
        quant = schema.QuantizationParametersT()
        quant.scale, quant.zeroPoint = np.array([2], "f4"), np.array([5], "i8")
        end = add_tensor(sub, "y", "z", "int8", quant)
        convert(model, sub, "QUANTIZE", sub.outputs[0], end, False)
        sub.outputs = [end]

    _, graph = import_edited(tmp_path, "conv2d", edit)
    assert isinstance(graph, Graph)
    assert [n.op for n in graph.nodes] == ["conv2d", "clip"]
    assert graph.nodes[1].attrs == {"clamp": [None, None]}


def test_fully_connected_without_bias_on_an_image(tmp_path: Path) -> None:
    def edit(model: Any, sub: Any) -> None:
        tensor(sub, "x").shape = [1, 1, 1, 5]
        sub.operators[0].inputs = [0, 1, -1]

    _, graph = import_edited(tmp_path, "fully_connected", edit)
    assert isinstance(graph, Graph)
    assert [n.op for n in graph.nodes] == ["reshape", "fully_connected"]
    zeros = graph.constants[graph.nodes[1].inputs[2]]
    assert zeros.dtype == np.int32 and not zeros.any()
    quant = graph.values[graph.nodes[1].inputs[2]].quant
    assert quant is not None and quant.scale.tolist() == [0.125, 0.1875, 0.25]


@pytest.mark.parametrize(("op", "clamp"), [("RELU6", [0.0, 6.0]), ("RELU_N1_TO_1", [-1.0, 1.0])])
def test_activations(tmp_path: Path, op: str, clamp: list[float]) -> None:
    def edit(model: Any, sub: Any) -> None:
        code = model.operatorCodes[0]
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, op)

    _, graph = import_edited(tmp_path, "clip", edit)
    assert isinstance(graph, Graph)
    assert graph.nodes[0].attrs == {"clamp": clamp}


def set_in(name: str, **attrs: Any) -> Callable[[Any, Any], None]:
    return _setting(lambda sub: tensor(sub, name), attrs)


def set_quant(name: str, **attrs: Any) -> Callable[[Any, Any], None]:
    return _setting(lambda sub: tensor(sub, name).quantization, attrs)


def set_options(**attrs: Any) -> Callable[[Any, Any], None]:
    return _setting(lambda sub: sub.operators[0].builtinOptions, attrs)


def _setting(where: Callable[[Any], Any], attrs: dict[str, Any]) -> Callable[[Any, Any], None]:
    def edit(model: Any, sub: Any) -> None:
        for key, value in attrs.items():
            setattr(where(sub), key, value)

    return edit


def drop_options(model: Any, sub: Any) -> None:
    sub.operators[0].builtinOptions, sub.operators[0].builtinOptionsType = None, 0


@pytest.mark.parametrize(
    ("name", "edit", "code", "word"),
    [
        ("conv2d", set_options(fusedActivationFunction=4), "E102", "activation 4"),
        ("conv2d", set_quant("w", zeroPoint=np.array([1, 0, 0])), "E102", "asymmetric"),
        ("conv2d", set_quant("w", scale=np.array([1, 1], "f4")), "E103", "2 scales"),
        ("conv2d", set_quant("x", scale=np.array([-1], "f4")), "E103", "positive"),
        ("conv2d", set_quant("x", scale=np.array([np.nan], "f4")), "E103", "positive"),
        ("conv2d", set_quant("x", zeroPoint=np.array([200])), "E103", "200"),
        ("conv2d", set_in("w", shape=[3, 3, 3, 4]), "E103", "108 bytes"),
        ("conv2d", set_in("w", shape=[1 << 30, 1 << 30, 1 << 30, 2]), "E107", "elements"),
        ("conv2d", set_in("y", shape=[1, 9, 9, 3]), "E103", "9, 9"),
        ("conv2d", set_in("x", shape=[2, 6, 5, 2]), "E104", "batch"),
        ("conv2d", set_in("b", type=TYPES["int64"]), "E103", "24 bytes"),
        ("conv2d", set_in("y", type=TYPES["int16"]), "E102", "zero point 7"),
        ("conv2d", set_quant("w", zeroPoint=np.array([1])), "E102", "asymmetric"),
        ("conv2d", set_in("x", type=TYPES["float32"]), "E106", "float32"),
        ("conv2d", set_options(strideH=0), "E103", "strides"),
        ("conv2d", set_options(dilationHFactor=2**31 - 1), "E107", "padding"),
        ("conv2d", drop_options, "E103", "options"),
        ("average_pool2d", set_quant("y", zeroPoint=np.array([0])), "E102", "zero point"),
        ("average_pool2d", set_options(filterHeight=2**31 - 1), "E107", "padding"),
        ("reshape and softmax", set_quant("y", zeroPoint=np.array([0])), "E102", "1/256"),
        ("reshape and softmax", set_in("f", shape=[1, 61]), "E103", "61"),
        ("fully_connected", set_options(weightsFormat=1), "E102", "shuffled"),
        ("fully_connected", set_in("x", shape=[1, 7]), "E103", "[1, 7]"),
        ("fully_connected", set_in("x", shape=[1, 2, 5]), "E103", "10 against 5"),
        ("add", lambda m, s: setattr(s.operators[0], "outputs", [0]), "E103", "two operators"),
        ("add", lambda m, s: setattr(s.operators[0], "inputs", [0, 99]), "E103", "99"),
        ("add", lambda m, s: setattr(s.operators[0], "inputs", [0, -1]), "E103", "operand 1"),
        ("add", lambda m, s: setattr(s, "operators", []), "E103", "0 operators"),
        ("add", lambda m, s: setattr(m, "version", 2), "E103", "version 2"),
    ],
)  # fmt: skip
def test_refusals(tmp_path: Path, name: str, edit: Any, code: str, word: str) -> None:
    path, error = import_edited(tmp_path, name, edit)
    assert isinstance(error, EdgekitError)
    assert error.code == code, str(error)
    assert word in str(error)
    assert error.help
    if code == "E102":
        assert [u.op for u in unsupported(path)] == [error.details[-1].split("(")[1].split(")")[0]]
