"""Decoding an ONNX file into plain values: nodes, numpy constants, and inputs with static shapes.

Everything here distrusts the file. Protobuf accepts a lot (a truncated file may parse, sizes may
lie), so each field is checked before it is used, and whatever the decoder itself raises becomes an
EdgekitError.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from edgekit.errors import EdgekitError, did_you_mean
from edgekit.importers.common import check_size, invalid, printable

OLDEST_OPSET = 7  # from here on Add and Mul broadcast as numpy does
Shape = tuple[int, ...]


@dataclass
class OnnxNode:
    """One node; an absent optional input is ''."""

    op: str
    domain: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attrs: dict[str, Any]

    def integer(self, key: str, default: int) -> int:
        """An integer attribute; the readers below raise EdgekitError (E103) on another type."""
        return int(self._typed(key, int, "an integer", default))

    def number(self, key: str, default: float) -> float:
        return float(self._typed(key, float, "a number", default))

    def text(self, key: str, default: str) -> str:
        return str(self._typed(key, str, "a string", default))

    def integers(self, key: str) -> list[int] | None:
        """A list of integers, None where the attribute is absent."""
        value = self._typed(key, list, "a list of integers", None)
        if value is not None and any(type(v) is not int for v in value):
            raise invalid(f"node '{self.name}' ({self.op}): '{key}' must be a list of integers")
        return value

    def _typed(self, key: str, kind: type, what: str, default: Any) -> Any:
        value = self.attrs.get(key, default)
        if key in self.attrs and not isinstance(value, kind):
            raise invalid(f"node '{self.name}' ({self.op}): '{key}' must be {what}")
        return value


@dataclass
class OnnxModel:
    """What the importer needs of a file; `constants` are the initializers."""

    name: str
    opset: int
    nodes: list[OnnxNode]
    constants: dict[str, np.ndarray]
    inputs: dict[str, Shape]
    outputs: list[str]
    #: The dtype of the inputs that are int8 or uint8; the others are float32.
    integer_inputs: dict[str, str]


def read(path: Path, data: bytes, bind: dict[str, int]) -> OnnxModel:
    """Decode `data`, the content of the file `path`.

    Args:
        bind: sizes of symbolic dimensions, by name (or ``INPUT[AXIS]`` for one without a name).

    Raises:
        EdgekitError: E101 not an ONNX file, E103 contradictory, E104 a dimension that is not
            static, E105 external data, E106 a kind of model that is not taken.
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
    graph = model.graph
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
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
    constants = {printable(t.name): tensor(t, path.parent) for t in graph.initializer}
    nodes = [_node(n, i, path.parent) for i, n in enumerate(graph.node)]
    declared = [v for v in graph.input if printable(v.name) not in constants]
    inputs = _inputs(declared, bind)
    if not inputs:
        raise invalid(f"{path.name} has no inputs", "export the model with its input")
    return OnnxModel(
        path.stem, opset, _sorted(nodes, set(inputs) | set(constants)), constants, inputs,
        [printable(o.name) for o in graph.output],
        _integer_inputs(declared),
    )  # fmt: skip


def _node(n: Any, index: int, folder: Path) -> OnnxNode:
    inputs, outputs = ([printable(i) for i in names] for names in (n.input, n.output))
    name = printable(n.name) or next((o for o in outputs if o), f"node {index}")
    attrs = {a.name: _attribute(a, name, folder) for a in n.attribute}
    domain = "" if n.domain == "ai.onnx" else printable(n.domain)
    return OnnxNode(printable(n.op_type), domain, name, inputs, outputs, attrs)


def _attribute(a: Any, node: str, folder: Path) -> Any:
    """A Python value; a tensor becomes an array, a subgraph None (its operator is unsupported)."""
    import onnx

    kinds = onnx.AttributeProto
    if a.type == kinds.TENSOR:
        return tensor(a.t, folder, f"attribute '{printable(a.name)}' of '{node}'")
    if a.type == kinds.STRING:
        return a.s.decode("utf-8", "replace")
    if a.type in (kinds.FLOAT, kinds.INT, kinds.FLOATS, kinds.INTS):
        value = onnx.helper.get_attribute_value(a)
        return list(value) if a.type in (kinds.FLOATS, kinds.INTS) else value
    return None


def tensor(t: Any, folder: Path, what: str = "") -> np.ndarray:
    """The data of a TensorProto, read from its external file where it names one.

    Raises:
        EdgekitError: E103 where sizes disagree, E105 for external data, E106 for its dtype.
    """
    import onnx
    from onnx import numpy_helper

    what = what or f"tensor '{printable(t.name)}'"
    try:
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(t.data_type))
    except (KeyError, ValueError, TypeError):
        raise invalid(f"{what} has the unknown data type {t.data_type}") from None
    shape = tuple(int(d) for d in t.dims)
    if any(d < 0 for d in shape):
        raise invalid(f"{what} has shape {list(shape)}")
    if dtype.kind == "O":
        return np.empty(0, object)  # strings: no operator that reads one is supported
    want = math.prod(shape) * dtype.itemsize
    if t.data_location == onnx.TensorProto.EXTERNAL:
        return np.frombuffer(_external(t, folder, what, want), dtype).reshape(shape)
    packed = "int4" in str(dtype) or "float4" in str(dtype) or "int2" in str(dtype)
    if t.HasField("raw_data") and len(t.raw_data) != want and not packed:
        raise invalid(f"{what} needs {want} bytes, the file holds {len(t.raw_data)}")
    stored = max(len(t.float_data), len(t.int32_data), len(t.int64_data), len(t.double_data),
                 len(t.uint64_data), len(t.raw_data))  # fmt: skip
    if math.prod(shape) > 8 * stored:
        raise invalid(f"{what} has {math.prod(shape)} elements, the file holds {stored} values")
    return np.asarray(numpy_helper.to_array(t))


def _external(t: Any, folder: Path, what: str, want: int) -> bytes:
    """Bytes of a tensor from a file in the model's own folder, and from nowhere else."""
    info = {e.key: e.value for e in t.external_data}
    location = printable(info.get("location", ""))

    def refused(why: str) -> EdgekitError:
        return EdgekitError(
            "E105",
            f"{what}: external data '{location}' {why}",
            help="keep the data file beside the model under the name given at export, "
            "or export with the weights inside the model",
        )

    windows = PureWindowsPath(location)
    parts = {*PurePosixPath(location).parts, *windows.parts}
    if not location or location.startswith("/") or windows.drive or windows.root or ".." in parts:
        raise refused("is not a plain path inside the model's folder")
    home = folder.resolve()
    file = (home / location).resolve()
    if not file.is_relative_to(home):
        raise refused("leads out of the model's folder")
    if not file.is_file():
        raise refused("is missing")
    try:
        offset = int(info.get("offset", "0") or 0)
        length = int(info.get("length", "") or want)
    except ValueError:
        raise refused("has an offset or length that is no number") from None
    size = file.stat().st_size
    if length != want or offset < 0 or offset + length > size:
        raise refused(f"has {size} bytes: {want} are needed at {offset}, {length} are declared")
    with file.open("rb") as f:
        f.seek(offset)
        return f.read(length)


#: TensorProto's UINT8 and INT8.
_INTEGER_INPUTS = {2: "uint8", 3: "int8"}


def _integer_inputs(declared: list[Any]) -> dict[str, str]:
    kinds = {printable(v.name): v.type.tensor_type.elem_type for v in declared}
    return {n: _INTEGER_INPUTS[k] for n, k in kinds.items() if k in _INTEGER_INPUTS}


def _inputs(declared: list[Any], bind: dict[str, int]) -> dict[str, Shape]:
    """Static shapes of the graph inputs, batch 1."""
    import onnx

    shapes: dict[str, Shape] = {}
    known: set[str] = set()
    for v in declared:
        kind, name = v.type.tensor_type, printable(v.name)
        if not v.type.HasField("tensor_type") or not kind.HasField("shape"):
            raise invalid(
                f"input '{name}' has no {'shape' if v.type.HasField('tensor_type') else 'type'}",
                "export the model with typed inputs",
            )
        if kind.elem_type not in (onnx.TensorProto.FLOAT, *_INTEGER_INPUTS):
            names = {n: k.lower() for k, n in onnx.TensorProto.DataType.items()}
            raise EdgekitError(
                "E106",
                f"input '{name}' is {names.get(kind.elem_type, kind.elem_type)}, "
                "only float32 and quantized (int8, uint8) inputs are taken",
                help="export the float32 model; edgekit quantizes it",
            )
        dims = list(kind.shape.dim)
        shapes[name] = tuple(_dimension(name, i, d, bind, known) for i, d in enumerate(dims))
        if dims and shapes[name][0] != 1:
            raise EdgekitError(
                "E104",
                f"input '{name}' has shape {list(shapes[name])}: its first axis is the batch, "
                f"{shapes[name][0]} was found where 1 is needed",
                help="export the model with batch 1 or with a dynamic first axis",
            )
        check_size(f"input '{name}'", shapes[name])
    for bound in bind:
        if bound not in known:
            hint = did_you_mean(bound, sorted(known)) if known else "the model has none"
            raise EdgekitError("E104", f"--bind {bound}: no such symbolic dimension", help=hint)
    return shapes


def _dimension(name: str, axis: int, dim: Any, bind: dict[str, int], known: set[str]) -> int:
    symbol = printable(dim.dim_param) or f"{name}[{axis}]"
    if dim.HasField("dim_value") and dim.dim_value > 0:
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


def _sorted(nodes: list[OnnxNode], known: set[str]) -> list[OnnxNode]:
    """The nodes with every definition before its uses, otherwise in the order of the file.

    Raises:
        EdgekitError: E103 naming an undefined name, a double definition or a cycle.
    """
    maker: dict[str, int] = {}
    for i, node in enumerate(nodes):
        for out in filter(None, node.outputs):
            if out in maker or out in known:
                raise invalid(f"'{out}' is defined twice (node '{node.name}')")
            maker[out] = i
    for node in nodes:
        for name in filter(None, node.inputs):
            if name not in maker and name not in known:
                raise invalid(f"node '{node.name}' ({node.op}) reads '{name}', which nothing makes")
    order: list[OnnxNode] = []
    state = [0] * len(nodes)  # 0 untouched, 1 waiting for its inputs, 2 placed
    for start in range(len(nodes)):
        stack = [start]
        while stack:
            i = stack[-1]
            if state[i] == 2:
                stack.pop()
                continue
            wait = [maker[n] for n in nodes[i].inputs if n in maker and state[maker[n]] != 2]
            if not wait:
                state[i] = 2
                order.append(nodes[stack.pop()])
                continue
            if state[i] == 1 and any(state[w] == 1 for w in wait):
                raise invalid(f"the graph has a cycle through node '{nodes[i].name}'")
            state[i] = 1
            stack.extend(reversed(wait))
    return order
