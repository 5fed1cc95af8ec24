"""TFLite Micro as an oracle: write an integer graph as .tflite, run it in TFLM's interpreter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import flatbuffers
import numpy as np
from tflite_micro import runtime
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema
from tflm_movement import LOWERINGS, Writer

from edgekit.graph import Graph, Node, Value

TYPES = {"float32": 0, "int32": 2, "uint8": 3, "int64": 4, "bool": 6, "int16": 7, "int8": 9}
ACTIVATIONS = {(None, None): 0, (0, None): 1, (-1, 1): 2, (0, 6): 3}
OPERATORS = {
    "conv2d": ("CONV_2D", "Conv2DOptions"),
    "depthwise_conv2d": ("DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions"),
    "fully_connected": ("FULLY_CONNECTED", "FullyConnectedOptions"),
    "add": ("ADD", "AddOptions"),
    "mul": ("MUL", "MulOptions"),
    "average_pool2d": ("AVERAGE_POOL_2D", "Pool2DOptions"),
    "max_pool2d": ("MAX_POOL_2D", "Pool2DOptions"),
    "softmax": ("SOFTMAX", "SoftmaxOptions"),
    "reshape": ("RESHAPE", "ReshapeOptions"),
    "transpose": ("TRANSPOSE", "TransposeOptions"),
    "clip": ("RELU", None),
    "matmul": ("BATCH_MATMUL", "BatchMatMulOptions"),
    "l2_normalize": ("L2_NORMALIZATION", "L2NormOptions"),
    "log_softmax": ("LOG_SOFTMAX", "LogSoftmaxOptions"),
    "sub": ("SUB", "SubOptions"),
    "div": ("DIV", "DivOptions"),
    "pow": ("POW", "PowOptions"),
    "minimum": ("MINIMUM", "MaximumMinimumOptions"),
    "maximum": ("MAXIMUM", "MaximumMinimumOptions"),
    "squared_difference": ("SQUARED_DIFFERENCE", "SquaredDifferenceOptions"),
    "mod": ("FLOOR_MOD", "FloorModOptions"),
    "prelu": ("PRELU", None),
    "where": ("SELECT_V2", "SelectV2Options"),
    "cast": ("CAST", "CastOptions"),
}
#: Functions of `unary`, kinds of `compare` and of `logical`.
OPERATORS |= {
    f"unary {function}": (function.upper(), None)
    for function in (
        *("exp", "log", "sqrt", "rsqrt", "square", "abs", "neg", "sin", "cos", "ceil", "floor"),
        *("round", "elu", "tanh", "gelu", "hard_swish", "leaky_relu", "sign"),
    )
}
OPERATORS |= {
    "unary sigmoid": ("LOGISTIC", None),
    "unary gelu": ("GELU", "GeluOptions"),
    "unary leaky_relu": ("LEAKY_RELU", "LeakyReluOptions"),
    **{
        f"compare {kind}": (kind.upper(), None)
        for kind in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
    },
    **{f"logical {kind}": (f"LOGICAL_{kind.upper()}", None) for kind in ("and", "or", "not")},
}


def operator_key(node: Node) -> str:
    """The node's key in OPERATORS: the operator, and which one of a family."""
    return " ".join([node.op, *(node.attrs[k] for k in ("function", "kind") if k in node.attrs)])


def same_pads(size: int, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """TFLite's SAME padding (before, after) along one axis."""
    extent = (kernel - 1) * dilation + 1
    total = max((-(-size // stride) - 1) * stride + extent - size, 0)
    return total // 2, total - total // 2


def to_tflite(graph: Graph) -> bytes:
    """The integer graph as a .tflite file, its tensors in the order of `graph.values`.

    Convolutions whose padding is neither none nor TFLite's SAME get a PAD operator in front, as
    converters do it; pooling must have one of the two. Clamps must be TFLite's activations.
    """
    index = {name: i for i, name in enumerate(graph.values)}
    model, sub = schema.ModelT(), schema.SubGraphT()
    model.version, model.subgraphs, model.operatorCodes = 3, [sub], []
    model.buffers = [schema.BufferT()]
    sub.tensors, sub.operators = [], []
    for value in graph.values.values():
        sub.tensors.append(_tensor(graph, value, model.buffers))
    codes: dict[str, int] = {}

    def operator(code_name: str, inputs: list[int], outputs: list[int]) -> Any:
        if code_name not in codes:
            codes[code_name] = len(model.operatorCodes)
            code = schema.OperatorCodeT()
            code.builtinCode = getattr(schema.BuiltinOperator, code_name)
            code.deprecatedBuiltinCode = min(code.builtinCode, 127)
            code.version = 5 if code_name == "CONV_2D" else 3
            model.operatorCodes.append(code)
        op = schema.OperatorT()
        op.opcodeIndex, op.inputs, op.outputs = codes[code_name], inputs, outputs
        return op

    def integers(name: str, data: Any) -> int:
        sub.tensors.append(_integers(name, data, model.buffers))
        return len(sub.tensors) - 1

    def constant(value: Value, data: np.ndarray) -> int:
        holder = Graph("", constants={value.name: data})
        sub.tensors.append(_tensor(holder, value, model.buffers))
        return len(sub.tensors) - 1

    def emit(code: str, inputs: list[int], outputs: list[int], options: Any = None) -> None:
        op = operator(code, inputs, outputs)
        if options is not None:
            name = type(options).__name__.removesuffix("T")
            op.builtinOptionsType = getattr(schema.BuiltinOptions, name)
            op.builtinOptions = options
        sub.operators.append(op)

    for node in graph.nodes:
        if node.op in LOWERINGS:
            operands = [index[i] for i in node.inputs]
            results = [index[o] for o in node.outputs]
            LOWERINGS[node.op](graph, node, Writer(integers, constant, emit), operands, results)
            continue
        code_name, options_name = OPERATORS[operator_key(node)]
        inputs = [index[i] for i in node.inputs]
        if node.op == "transpose":
            inputs.append(integers("perm", node.attrs["perm"]))
        if _padding(graph, node) is None:
            top, left, bottom, right = node.attrs["pads"]
            amounts = integers("amounts", [[0, 0], [top, bottom], [left, right], [0, 0]])
            x = graph.values[node.inputs[0]]
            wide = (x.shape[0], x.shape[1] + top + bottom, x.shape[2] + left + right, x.shape[3])
            sub.tensors.append(_tensor(graph, replace(x, shape=wide, name="padded"), []))
            padded = len(sub.tensors) - 1
            pad = operator("PAD", [inputs[0], amounts], [padded])
            sub.operators.append(pad)
            inputs[0] = padded
        op = operator(code_name, inputs, [index[node.output]])
        if options_name:
            op.builtinOptionsType = getattr(schema.BuiltinOptions, options_name)
            op.builtinOptions = _options(graph, node, getattr(schema, options_name + "T")())
        sub.operators.append(op)
    sub.inputs, sub.outputs = [index[i] for i in graph.inputs], [index[o] for o in graph.outputs]
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _tensor(graph: Graph, value: Value, buffers: list[Any]) -> Any:
    t = schema.TensorT()
    shape = value.shape
    depthwise = any(n.op == "depthwise_conv2d" and n.inputs[1] == value.name for n in graph.nodes)
    t.shape = [1, *shape] if depthwise else list(shape)
    t.type, t.name, t.buffer = TYPES[value.dtype], value.name, 0
    if value.name in graph.constants:
        buffer = schema.BufferT()
        raw = np.ascontiguousarray(graph.constants[value.name]).tobytes()
        buffer.data = np.frombuffer(raw, np.uint8)
        t.buffer = len(buffers)
        buffers.append(buffer)
    if value.quant is not None:
        q = schema.QuantizationParametersT()
        q.scale = value.quant.scale
        q.zeroPoint = value.quant.zero_point.astype(np.int64)
        q.quantizedDimension = (value.quant.axis or 0) + depthwise
        t.quantization = q
    return t


def _integers(name: str, data: Any, buffers: list[Any]) -> Any:
    t, buffer, array = schema.TensorT(), schema.BufferT(), np.array(data, np.int32)
    buffer.data = np.frombuffer(array.tobytes(), np.uint8)
    t.shape, t.type, t.name, t.buffer = list(array.shape), TYPES["int32"], name, len(buffers)
    buffers.append(buffer)
    return t


def _padding(graph: Graph, node: Node) -> int | None:
    """TFLite's enumeration: 0 SAME, 1 VALID; None where the padding is neither."""
    a = node.attrs
    pads = list(a.get("pads", [0, 0, 0, 0]))
    if not any(pads):
        return 1
    w = graph.values[node.inputs[1]].shape if len(node.inputs) > 1 else ()
    kernel = a.get("kernel") or (w[1:3] if node.op == "conv2d" else w[:2])
    x = graph.values[node.inputs[0]].shape
    strides, dilations = a.get("strides", (1, 1)), a.get("dilations", (1, 1))
    (top, bottom), (left, right) = (
        same_pads(x[1 + k], kernel[k], strides[k], dilations[k]) for k in (0, 1)
    )
    if pads == [top, left, bottom, right]:
        return 0
    assert node.op in ("conv2d", "depthwise_conv2d"), f"{node.op} with pads {pads}"
    return None


def _options(graph: Graph, node: Node, o: Any) -> Any:
    a = node.attrs
    if hasattr(o, "fusedActivationFunction"):
        o.fusedActivationFunction = ACTIVATIONS[tuple(a.get("clamp") or (None, None))]
    if hasattr(o, "strideH"):
        o.strideH, o.strideW = a.get("strides", (1, 1))
        padding = _padding(graph, node)
        o.padding = 1 if padding is None else padding
    if hasattr(o, "dilationHFactor"):
        o.dilationHFactor, o.dilationWFactor = a.get("dilations", (1, 1))
    if hasattr(o, "depthMultiplier"):
        o.depthMultiplier = (
            graph.values[node.output].shape[-1] // graph.values[node.inputs[0]].shape[-1]
        )
    if hasattr(o, "filterHeight"):
        o.filterHeight, o.filterWidth = a["kernel"]
    if hasattr(o, "adjY"):
        o.adjX, o.adjY = False, bool(a.get("transpose_b"))
    if hasattr(o, "keepNumDims"):
        o.keepNumDims = len(graph.values[node.output].shape) > 2
    if hasattr(o, "beta"):
        o.beta = a.get("beta", 1.0)
    if hasattr(o, "alpha"):
        o.alpha = a.get("alpha", 0.01)
    if hasattr(o, "approximate"):
        o.approximate = a.get("approximate") == "tanh"
    if hasattr(o, "newShape"):
        o.newShape = a["shape"]
    return o


class Tflm:
    """One model in TFLM's interpreter with every tensor readable after a run."""

    def __init__(self, model: bytes, arena: int = 8 << 20) -> None:
        self.interpreter = runtime.Interpreter.from_bytes(
            model,
            arena_size=arena,
            intrepreter_config=runtime.InterpreterConfig.kPreserveAllTensors,
        )

    def run(self, sample: dict[int, np.ndarray] | np.ndarray) -> np.ndarray:
        """The first output of one sample [1, ...]; several inputs go by their index."""
        feeds = sample if isinstance(sample, dict) else {0: sample}
        for i, array in feeds.items():
            self.interpreter.set_input(array, i)
        self.interpreter.invoke()
        return self.interpreter.get_output(0)

    def tensor(self, index: int) -> np.ndarray:
        """Tensor `index` of the file after the last run."""
        return self.interpreter.GetTensor(index, 0)["tensor_data"]


def run_graph(graph: Graph, batch: dict[str, np.ndarray]) -> np.ndarray:
    """The graph's first output for each sample of the batch, stacked, by TFLM."""
    oracle = Tflm(to_tflite(graph))
    n = len(next(iter(batch.values())))
    rows = [
        oracle.run({k: batch[name][i : i + 1] for k, name in enumerate(graph.inputs)})
        for i in range(n)
    ]
    return np.concatenate([r.reshape(graph.values[graph.outputs[0]].shape) for r in rows])
