"""Decoding an ONNX file into plain values: nodes, numpy constants, and inputs with static shapes.

Everything here distrusts the file. Protobuf accepts a lot (a truncated file may parse, sizes may
lie), so each field is checked before it is used, and whatever the decoder itself raises becomes an
EdgekitError. Calls of the file's own functions are replaced by the nodes of the functions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.errors import EdgekitError, did_you_mean
from edgekit.importers.common import check_size, invalid, printable
from edgekit.importers.onnx.inline import inlined
from edgekit.importers.onnx.node import (
    OnnxNode,
    decode_function,
    decode_node,
    in_order,
    opset_of,
)
from edgekit.importers.onnx.tensor import tensor

OLDEST_OPSET = 7  # from here on Add and Mul broadcast as numpy does
Shape = tuple[int, ...]


@dataclass
class OnnxModel:
    """What the importer needs of a file; `constants` are the initializers and bound inputs."""

    name: str
    opset: int
    nodes: list[OnnxNode]
    constants: dict[str, np.ndarray]
    inputs: dict[str, Shape]
    outputs: list[str]
    #: The dtype of the inputs that are int8 or uint8: quantized, or images.
    integer_inputs: dict[str, str]
    #: What the file declares the inputs as, by name: float32, float16, int64, bool, ...
    dtypes: dict[str, str] = field(default_factory=dict)
    #: Whether the first axis of an input has no fixed size, so that it is the batch.
    open_batch: bool = False
    #: The decoded file, for shape inference.
    proto: Any = None


def read(path: Path, data: bytes, bind: dict[str, int]) -> OnnxModel:
    """Decode `data`, the content of the file `path`.

    Args:
        bind: sizes of symbolic dimensions, by name (or ``INPUT[AXIS]`` for one without a name),
            and values of integer or bool inputs of one element, by name of the input.

    Raises:
        EdgekitError: E101 not an ONNX file, E103 contradictory, E104 a dimension that is not
            static, E105 external data, E106 a kind of model that is not taken, E107 too many
            nodes.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError) as error:
        raise _not_onnx(path, f"{len(data)} bytes do not decode ({error})") from None
    if not model.HasField("graph") or not model.opset_import:
        raise _not_onnx(path, f"{len(data)} bytes decode to no graph")
    try:
        return _decode(path, model, bind)
    except (UnicodeDecodeError, ValueError, TypeError, OverflowError) as error:
        raise invalid(f"{path.name}: {type(error).__name__}: {error}") from None


def _not_onnx(path: Path, why: str) -> EdgekitError:
    return EdgekitError(
        "E101",
        f"{path.name} is neither ONNX nor TFLite: {why}",
        help="give an .onnx or .tflite file, and check that it was copied whole",
    )


def _decode(path: Path, model: Any, bind: dict[str, int]) -> OnnxModel:
    graph, folder = model.graph, path.parent
    opset = opset_of(model.opset_import)
    if opset < OLDEST_OPSET:
        raise EdgekitError(
            "E106",
            f"{path.name} uses ONNX opset {opset}, the oldest taken is {OLDEST_OPSET}",
            help="convert it: onnx.version_converter.convert_version(model, 17)",
        )
    if not graph.node or not graph.output:
        raise invalid(
            f"{path.name} has {len(graph.node)} nodes and {len(graph.output)} outputs",
            "the file holds no model: export it again",
        )
    if graph.sparse_initializer:
        raise EdgekitError(
            "E106",
            f"{path.name} holds {len(graph.sparse_initializer)} sparse tensors",
            help="export the model with dense weights",
        )
    constants = {printable(t.name): tensor(t, folder) for t in graph.initializer}
    declared = [v for v in graph.input if printable(v.name) not in constants]
    dtypes = {printable(v.name): _input_dtype(v) for v in declared}
    bind = _bound_values(declared, dtypes, bind, constants)
    declared = [v for v in declared if printable(v.name) not in constants]
    inputs = _inputs(declared, bind)
    if not inputs:
        raise invalid(f"{path.name} has no inputs", "export the model with its input")
    functions = {
        (printable(f.domain), printable(f.name), printable(f.overload)): decode_function(
            f, folder, opset
        )
        for f in model.functions
    }
    nodes = [decode_node(n, i, folder, opset) for i, n in enumerate(graph.node)]
    nodes = inlined(in_order(nodes, {*inputs, *constants}), functions)
    return OnnxModel(
        path.stem, opset, nodes, constants, inputs, [printable(o.name) for o in graph.output],
        {n: dtypes[n] for n in inputs if dtypes[n] in ("int8", "uint8")}, dtypes,
        any(v.type.tensor_type.shape.dim and _is_open(v.type.tensor_type.shape.dim[0])
            for v in declared),
        model,
    )  # fmt: skip


#: What the graph has for a dtype of the file. Reals are float32, indices int32.
GRAPH_DTYPES = {
    **dict.fromkeys(("float32", "float16", "bfloat16", "float64", "int8", "uint8"), "float32"),
    **dict.fromkeys(("int16", "uint16", "int32", "uint32", "int64", "uint64"), "int32"),
    "bool": "bool",
}


def _input_dtype(v: Any) -> str:
    """The dtype of an input as the file declares it.

    Raises:
        EdgekitError: E103 where it has no type or no shape, E106 for a type that is not taken.
    """
    import onnx

    kind, name = v.type.tensor_type, printable(v.name)
    if not v.type.HasField("tensor_type") or not kind.HasField("shape"):
        raise invalid(
            f"input '{name}' has no {'shape' if v.type.HasField('tensor_type') else 'type'}",
            "export the model with typed inputs of fixed rank",
        )
    try:
        dtype = str(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)))
    except (KeyError, ValueError, TypeError):
        dtype = str(kind.elem_type)
    if dtype not in GRAPH_DTYPES:
        names = {n: k.lower() for k, n in onnx.TensorProto.DataType.items()}
        raise EdgekitError(
            "E106",
            f"input '{name}' is {names.get(kind.elem_type, kind.elem_type)}, only reals, integers "
            "and bool are taken",
            help="export the float32 model; edgekit quantizes it",
        )
    return dtype


def _bound_values(
    declared: list[Any],
    dtypes: dict[str, str],
    bind: dict[str, int],
    constants: dict[str, np.ndarray],
) -> dict[str, int]:
    """Make constants of the inputs that `bind` gives a value; returns the other bindings."""
    for v in declared:
        name, dims = printable(v.name), v.type.tensor_type.shape.dim
        integer = dtypes[name] == "bool" or GRAPH_DTYPES[dtypes[name]] == "int32"
        if name in bind and integer and all(d.dim_value in (0, 1) for d in dims):
            constants[name] = np.full((1,) * len(dims), bind[name]).astype(dtypes[name])
    return {name: size for name, size in bind.items() if name not in constants}


def _inputs(declared: list[Any], bind: dict[str, int]) -> dict[str, Shape]:
    """Static shapes of the graph inputs; an axis in front without a size is 1."""
    shapes: dict[str, Shape] = {}
    known: set[str] = set()
    for v in declared:
        name, dims = printable(v.name), v.type.tensor_type.shape.dim
        shapes[name] = tuple(_dimension(name, i, d, bind, known) for i, d in enumerate(dims))
        check_size(f"input '{name}'", shapes[name])
    for bound in bind:
        if bound not in known:
            hint = did_you_mean(bound, sorted(known)) if known else "the model has none"
            raise EdgekitError("E104", f"--bind {bound}: no such symbolic dimension", help=hint)
    return shapes


def _is_open(dim: Any) -> bool:
    """Whether the file gives a dimension no size."""
    return not (dim.HasField("dim_value") and dim.dim_value > 0)


def _dimension(name: str, axis: int, dim: Any, bind: dict[str, int], known: set[str]) -> int:
    symbol = printable(dim.dim_param) or f"{name}[{axis}]"
    if not _is_open(dim):
        return int(dim.dim_value)
    known.add(symbol)
    if symbol in bind:
        return bind[symbol]
    if axis == 0:
        return 1
    raise EdgekitError(
        "E104",
        f"input '{name}': axis {axis} has no fixed size ('{symbol}')",
        help=f"give it one: --bind {symbol}=N",
    )
