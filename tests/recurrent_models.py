"""Random recurrent layers: integer graphs of one node, and the .tflite files that mean the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import flatbuffers
import numpy as np
from graphs import quants
from hypothesis import strategies as st
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema
from tflm import TYPES

from edgekit.graph import Graph, Node, Quant, State, Value

GATES = {"lstm": 4, "gru": 3, "rnn": 1}
#: A gate's pre-activation in Q3.12 shall reach about this far: it saturates now and then.
REACH = 12.0


def integers(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    info = np.iinfo(dtype)
    return rng.integers(info.min, int(info.max) + 1, shape).astype(dtype)


def _weights(
    rng: np.random.Generator,
    rows: int,
    groups: int,
    columns: int,
    x: Value,
    per_row: bool,
    reach: float,
) -> tuple[np.ndarray, Quant, np.ndarray]:
    """int8 [rows, columns] with a scale for each row or for each of `groups`, and int32 biases."""
    assert x.quant is not None
    span = 128.0 if x.dtype == "int8" else 32768.0
    usual = reach / (float(x.quant.scale[0]) * span * 60 * np.sqrt(columns))
    count = rows if per_row else groups
    scale = np.repeat(usual * rng.uniform(0.3, 2.0, count).astype(np.float32), rows // count)
    w = rng.integers(-127, 128, (rows, columns)).astype(np.int8)
    unit = np.float64(x.quant.scale[0]) * scale.astype(np.float64)
    bias = np.clip(rng.normal(0, reach / 6, rows) / unit, -(2.0**30), 2.0**30)
    return w, Quant.make(scale, 0, 0), bias.astype(np.int32)


@st.composite
def cells(
    draw: st.DrawFn,
    op: str,
    dtype: str = "int8",
    *,
    tflite: bool = False,
    reach: float = REACH,
    most_inputs: int = 9,
    least_inputs: int = 1,
) -> Graph:
    """One lstm, gru or rnn, whose pre-activations reach about as far as `reach`.

    As TFLite has them: one scale for each gate, terms that saturate, no reversal; h0 and c0 are
    then states of the graph, elsewhere inputs.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    steps, units = (draw(st.integers(1, 9)) for _ in range(2))
    inputs = draw(st.integers(least_inputs, most_inputs))
    groups = GATES[op]
    rows = groups * units
    x = Value("x", (1, steps, inputs), dtype, draw(quants(1e-2, 0.1, dtype)))
    zero = 0 if dtype == "int16" else draw(st.integers(-20, 20))
    hidden = Quant.make(1 / (127 if dtype == "int8" else 32767) * draw(st.floats(0.5, 1.5)), zero)
    power = Quant.make(2.0 ** -draw(st.integers(9, 15)), 0)
    grids = {"lstm": [(dtype, hidden), ("int16", power)], "gru": [("int16", power)],
             "rnn": [(dtype, hidden)]}[op]  # fmt: skip
    g = Graph(op, inputs=["x"])
    g.add_value(x)
    names = [Value(n, (1, units), *grid) for n, grid in zip(("h0", "c0"), grids, strict=False)]
    y = Value("y", (1, steps, units), dtype, hidden)
    per_row = not tflite and draw(st.booleans())
    w, of_w, bias = _weights(rng, rows, groups, inputs, x, per_row, reach)
    r, of_r, inner = _weights(rng, rows, groups, units, y, per_row, reach)
    for value in names:
        g.add_value(value)
    operands = ["x", *(v.name for v in names)]
    operands += [g.add_constant("w", w, of_w), g.add_constant("r", r, of_r)]
    operands.append(g.add_constant("bias", bias))
    if op == "gru":
        operands.append(g.add_constant("inner", inner[-units:]))
    attrs: dict[str, Any] = {"reverse": not tflite and draw(st.booleans())}
    if op == "gru":
        attrs["linear_before_reset"] = draw(st.booleans())
    if op == "lstm":
        attrs["clamp_terms"] = tflite or draw(st.booleans())
        attrs["cell_clip"] = draw(st.sampled_from([0.0, 0.5, 10.0]))
    g.add_value(y)
    after = [Value(n, v.shape, v.dtype, v.quant) for n, v in zip(("h", "c"), names, strict=False)]
    for value in after:
        g.add_value(value)
    g.nodes = [Node(op, tuple(operands), ("y", *(v.name for v in after)), attrs, op)]
    g.outputs = ["y"]
    for before, following in zip(names, after, strict=True):
        if tflite:
            zeros = np.full(before.shape, int(before.quant.zero_point[0]), before.dtype)  # type: ignore[union-attr]
            g.states.append(State(before.name, following.name, zeros))
        else:
            g.inputs.append(before.name)
            g.outputs.append(following.name)
    return g.verify()


@st.composite
def svdfs(draw: st.DrawFn, memory: str = "int16") -> Graph:
    """One svdf whose memory is a state."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    inputs, units, rank, depth = (draw(st.integers(1, n)) for n in (9, 6, 3, 5))
    x = Value("x", (1, inputs), "int8", draw(quants(1e-2, 0.1)))
    filters = units * rank
    feature, time = rng.uniform(1e-3, 1e-2, 2).astype(np.float32)
    zero = 0 if memory == "int16" else draw(st.integers(-20, 20))
    span = 32768 if memory == "int16" else 128
    assert x.quant is not None
    reach = float(x.quant.scale[0]) * 100 * feature * 70 * np.sqrt(inputs)
    state = Value("s", (1, filters * depth), memory, Quant.make(reach * 1.5 / span, zero))
    of_state = np.float32(state.quant.scale[0])  # type: ignore[union-attr]
    y_reach = reach * time * span * 0.6 * np.sqrt(depth * rank)
    y = Value("y", (1, units), "int8", Quant.make(y_reach / 128, draw(st.integers(-128, 127))))
    g = Graph("svdf", inputs=["x"], outputs=["y"])
    for value in (x, state, y, Value("s1", state.shape, memory, state.quant)):
        g.add_value(value)
    names = [
        g.add_constant("feature", integers(rng, (filters, inputs), "int8"), Quant.make(feature)),
        # Sums of int16 products stay within int32, where TFLM leaves more undefined.
        g.add_constant(
            "time",
            (integers(rng, (filters, depth), memory) // (1 if memory == "int8" else 16)),
            Quant.make(time),
        ),
        g.add_constant(
            "bias", rng.integers(-(2**16), 2**16, units).astype(np.int32),
            Quant.make(of_state * time),
        ),
    ]  # fmt: skip
    g.nodes = [Node("svdf", ("x", "s", *names), ("y", "s1"), {"rank": rank}, "svdf")]
    g.states = [State("s", "s1", np.full(state.shape, zero, memory))]
    return g.verify()


class Writer:
    """A .tflite file of one operator."""

    def __init__(self) -> None:
        self.buffers = [schema.BufferT()]
        self.tensors: list[Any] = []

    def tensor(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: str,
        quant: Quant | None,
        data: np.ndarray | None = None,
        variable: bool = False,
    ) -> int:
        t = schema.TensorT()
        t.name, t.shape, t.type, t.buffer = name, list(shape), TYPES[dtype], 0
        t.isVariable = variable
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            t.buffer = len(self.buffers)
            self.buffers.append(buffer)
        if quant is not None:
            q = schema.QuantizationParametersT()
            q.scale, q.zeroPoint = quant.scale, quant.zero_point.astype(np.int64)
            t.quantization = q
        self.tensors.append(t)
        return len(self.tensors) - 1

    def value(self, graph: Graph, name: str, variable: bool = False) -> int:
        v = graph.values[name]
        return self.tensor(name, v.shape, v.dtype, v.quant, graph.constants.get(name), variable)

    def file(
        self,
        op: str,
        options: Any,
        inputs: list[int],
        outputs: list[int],
        intermediates: list[int] | None = None,
    ) -> bytes:
        """The file of the operator, whose first input and whose outputs are the model's."""
        model, sub, code = schema.ModelT(), schema.SubGraphT(), schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, op)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = 3
        operator = schema.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = 0, inputs, outputs
        operator.intermediates = intermediates
        operator.builtinOptionsType = getattr(
            schema.BuiltinOptions, type(options).__name__.removesuffix("T")
        )
        operator.builtinOptions = options
        sub.tensors, sub.operators = self.tensors, [operator]
        sub.inputs, sub.outputs = [inputs[0]], outputs
        model.version, model.subgraphs, model.operatorCodes = 3, [sub], [code]
        model.buffers = self.buffers
        builder = flatbuffers.Builder(1 << 12)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def _gates(out: Writer, graph: Graph, name: str, prefix: str = "") -> list[int]:
    """One tensor for each gate of weights or biases, in TFLite's order, which is ours."""
    (node,) = graph.nodes
    data, quant = graph.constants[name], graph.values[name].quant
    units = graph.values[node.inputs[1]].shape[1]
    if data.ndim == 1 and graph.values[node.inputs[0]].dtype == "int16":
        data = data.astype(np.int64)
    found = []
    for i in range(0, len(data), units):
        part = data[i : i + units]
        q = None if quant is None else Quant.make(quant.scale[i], 0)
        found.append(out.tensor(f"{prefix}{name}{i}", part.shape, str(part.dtype), q, part))
    return found


def _states(out: Writer, graph: Graph, prefix: str = "") -> list[int]:
    """The variable tensors of a layer, which are its operands behind the first."""
    (node,) = graph.nodes
    values = [graph.values[n] for n in node.inputs[1:] if n not in graph.constants]
    return [out.tensor(prefix + v.name, v.shape, v.dtype, v.quant, None, True) for v in values]


def lstm_file(graph: Graph, *, time_major: bool = False) -> bytes:
    """An integer or float lstm as UNIDIRECTIONAL_SEQUENCE_LSTM; with `time_major` its x and y are
    [T, 1, I] and [T, 1, H]."""
    if time_major:
        graph = graph.copy()
        for name in ("x", "y"):
            v = graph.values[name]
            graph.values[name] = replace(v, shape=(v.shape[1], 1, v.shape[2]))
    (node,) = graph.nodes
    x, h0, _, w, r, bias = node.inputs
    out = Writer()
    first = out.value(graph, x)
    weights = [*_gates(out, graph, w), *_gates(out, graph, r)]
    biases, states = _gates(out, graph, bias), _states(out, graph)
    y = out.value(graph, node.outputs[0])
    options = schema.UnidirectionalSequenceLSTMOptionsT()
    options.fusedActivationFunction = 4
    options.cellClip, options.timeMajor = float(node.attrs.get("cell_clip", 0.0)), time_major
    inner = None
    if graph.values[x].dtype != "float32":
        inner = [out.tensor(f"inner{i}", (0,), "float32", None) for i in range(4)]
        inner.append(out.tensor("hidden", (0,), "int8", graph.values[h0].quant))
    inputs = [first, *weights, -1, -1, -1, *biases, -1, -1, *states, -1, -1, -1, -1]
    return out.file("UNIDIRECTIONAL_SEQUENCE_LSTM", options, inputs, [y], inner)


def bidirectional_file(forward: Graph, backward: Graph, *, merge: bool) -> bytes:
    """Two float layers, lstm or rnn, as one bidirectional operator; one result where `merge`."""
    op, out = forward.nodes[0].op, Writer()
    first = out.value(forward, "x")
    parts, states = [], []
    for prefix, graph in (("fw_", forward), ("bw_", backward)):
        *_, w, r, bias = graph.nodes[0].inputs
        parts.append([_gates(out, graph, n, prefix) for n in (w, r, bias)])
        states.append(_states(out, graph, prefix))
    if op == "lstm":
        options = schema.BidirectionalSequenceLSTMOptionsT()
        weights = [[*w, *r, -1, -1, -1, *bias, -1, -1] for w, r, bias in parts]
        inputs = [first, *weights[0], *weights[1], *states[0], *states[1], *[-1] * 9]
    else:
        options = schema.BidirectionalSequenceRNNOptionsT()
        each = [[*w, *r, *bias, *s] for (w, r, bias), s in zip(parts, states, strict=True)]
        inputs = [first, *each[0], *each[1], -1, -1, -1]
    options.fusedActivationFunction, options.mergeOutputs = 4, merge
    options.timeMajor = False
    y = forward.values["y"]
    if merge:
        shape = (*y.shape[:2], 2 * y.shape[2])
        outputs = [out.tensor("y", shape, "float32", None)]
    else:
        outputs = [out.tensor(n, y.shape, "float32", None) for n in ("y", "z")]
    return out.file(f"BIDIRECTIONAL_SEQUENCE_{op.upper()}", options, inputs, outputs)


def rnn_file(graph: Graph) -> bytes:
    """A float rnn as UNIDIRECTIONAL_SEQUENCE_RNN."""
    *_, w, r, bias = graph.nodes[0].inputs
    out = Writer()
    inputs = [out.value(graph, "x"), *(i for n in (w, r, bias) for i in _gates(out, graph, n))]
    inputs += _states(out, graph)
    options = schema.SequenceRNNOptionsT()
    options.fusedActivationFunction = 4
    return out.file(
        "UNIDIRECTIONAL_SEQUENCE_RNN", options, inputs, [out.value(graph, "y")]
    )  # fmt: skip


def svdf_file(graph: Graph) -> bytes:
    """An svdf as SVDF."""
    (node,) = graph.nodes
    x, state, feature, time, bias = node.inputs
    out = Writer()
    inputs = [out.value(graph, n) for n in (x, feature, time, bias)]
    inputs.append(out.value(graph, state, True))
    options = schema.SVDFOptionsT()
    options.rank, options.fusedActivationFunction = node.attrs["rank"], 1
    return out.file("SVDF", options, inputs, [out.value(graph, node.outputs[0])])
