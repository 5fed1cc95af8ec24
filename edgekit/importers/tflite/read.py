"""Decoding a .tflite file into plain values, with every offset and length checked.

The generated accessors follow whatever offsets the file holds. Here each vector is compared with
the size of the file before it is walked, so that a damaged file costs neither time nor memory, and
whatever the accessors raise becomes an EdgekitError.

Tensors of uint8 with a scale are decoded as the int8 tensors that hold the same reals: each integer
and the zero point lowered by 128. Four-bit constants are unpacked to int8.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.graph import Quant, Shape
from edgekit.importers.common import DAMAGE, check_size, invalid, printable

#: TensorType of the TFLite schema to numpy; the others are named but never decoded.
DTYPES = {0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 6: "bool",
          7: "int16", 9: "int8", 10: "float64"}  # fmt: skip
OTHER_TYPES = {5: "string", 8: "complex64", 13: "resource", 14: "variant", 15: "uint32",
               16: "uint16", 17: "int4", 18: "bfloat16"}  # fmt: skip
INT4 = 17


@dataclass
class Tensor:
    """`data` is None for activations; `quant` keeps the file's exact float32 scales.

    `variable` marks a tensor that keeps its content from one inference to the next, `unsigned` one
    that is uint8 in the file.
    """

    name: str
    shape: Shape
    dtype: str
    quant: Quant | None
    data: np.ndarray | None
    variable: bool = False
    unsigned: bool = False


@dataclass(frozen=True)
class Spread:
    """Dilations (rows, columns) and pads (top, left, bottom, right) of a convolution."""

    dilations: tuple[int, int]
    pads: tuple[int, int, int, int]


@dataclass
class TfliteNode:
    """One operator; an absent optional input is -1. `table` is its flatbuffer of options."""

    op: str
    name: str
    inputs: list[int]
    outputs: list[int]
    table: Any
    #: Tensors that say nothing but the quantization of intermediate results.
    intermediates: list[int] = field(default_factory=list)
    #: What a pair of SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND around a convolution amounts to.
    spread: Spread | None = None

    def options(self, kind: type) -> Any:
        """The options table as `kind`, an accessor class of the `tflite` package."""
        if self.table is None:
            raise invalid(f"'{self.name}' ({self.op}) has no options")
        accessor = kind()
        accessor.Init(self.table.Bytes, self.table.Pos)
        return accessor

    def option(self, kind: type, name: str, default: Any) -> Any:
        """One option by its accessor's name, the default where the node has no table."""
        return default if self.table is None else getattr(self.options(kind), name)()


@dataclass
class Subgraph:
    """Indices of inputs, outputs and nodes count the tensors of their own subgraph."""

    name: str
    tensors: list[Tensor]
    nodes: list[TfliteNode]
    inputs: list[int]
    outputs: list[int]


@dataclass
class TfliteModel:
    """The first subgraph is what an inference runs; operators may call the others by number."""

    name: str
    subgraphs: list[Subgraph]


def read(path: Path, data: bytes) -> TfliteModel:
    """Decode `data`, the content of the file `path`.

    Raises:
        EdgekitError: E103 where the file is cut off, damaged or contradicts itself, E107 where
            a size is absurd.
    """
    try:
        return _decode(path, data)
    except DAMAGE as error:
        raise invalid(
            f"{path.name} is cut off or damaged: {len(data)} bytes do not decode "
            f"({type(error).__name__}: {error})",
            "check that the file was copied whole, or convert the model again",
        ) from None


class _Decoder:
    """What every part of a file is decoded with: the file's size, its buffers and operators."""

    def __init__(self, path: Path, data: bytes, model: Any) -> None:
        self.path, self.limit = path, len(data)
        self.buffers = [
            _buffer(b, data, i)
            for i, b in enumerate(self.vector(model.BuffersLength(), "buffers", model.Buffers))
        ]
        self.codes = [
            _operator_name(c)
            for c in self.vector(model.OperatorCodesLength(), "operator codes", model.OperatorCodes)
        ]

    def vector(self, length: int, what: str, item: Callable[[int], Any]) -> list[Any]:
        # Each element takes four bytes or more (an offset or a table).
        if length * 4 > self.limit:
            raise invalid(f"{self.path.name} claims {length} {what} in {self.limit} bytes")
        items = [item(i) for i in range(length)]
        if any(i is None for i in items):
            raise invalid(f"{self.path.name}: one of its {length} {what} is missing")
        return items

    def subgraph(self, graph: Any) -> Subgraph:
        tables = self.vector(graph.TensorsLength(), "tensors", graph.Tensors)
        names = _unique([_text(t.Name()) for t in tables])
        tensors = [_tensor(t, name, self.buffers) for t, name in zip(tables, names, strict=True)]

        def indices(array: Any, what: str) -> list[int]:
            result = [int(i) for i in array] if not isinstance(array, int) else []
            for i in result:
                if not -1 <= i < len(tensors):
                    raise invalid(f"{what} names tensor {i}, the file has {len(tensors)}")
            return result

        nodes = []
        operators = self.vector(graph.OperatorsLength(), "operators", graph.Operators)
        for i, op in enumerate(operators):
            if not 0 <= op.OpcodeIndex() < len(self.codes):
                raise invalid(f"operator {i} has code {op.OpcodeIndex()} of {len(self.codes)}")
            outputs = indices(op.OutputsAsNumpy(), f"operator {i}")
            named = outputs and outputs[0] >= 0
            nodes.append(
                TfliteNode(
                    self.codes[op.OpcodeIndex()],
                    tensors[outputs[0]].name if named else f"operator {i}",
                    indices(op.InputsAsNumpy(), f"operator {i}"),
                    outputs,
                    op.BuiltinOptions(),
                    indices(op.IntermediatesAsNumpy(), f"operator {i}"),
                )
            )
        return Subgraph(
            _text(graph.Name()),
            tensors,
            nodes,
            indices(graph.InputsAsNumpy(), "the list of inputs"),
            indices(graph.OutputsAsNumpy(), "the list of outputs"),
        )


def _decode(path: Path, data: bytes) -> TfliteModel:
    import tflite

    model = tflite.Model.GetRootAs(data, 0)
    if model.Version() != 3:
        raise invalid(f"{path.name} has TFLite schema version {model.Version()}, 3 is known")
    decoder = _Decoder(path, data, model)
    tables = decoder.vector(model.SubgraphsLength(), "subgraphs", model.Subgraphs)
    if not tables:
        raise invalid(f"{path.name} has no subgraph", "the file holds no model: convert it again")
    main, *others = (decoder.subgraph(t) for t in tables)
    given, made = main.inputs, main.outputs
    if not given or not made or not main.nodes or min(given) < 0 or min(made) < 0:
        raise invalid(
            f"{path.name} has {len(given)} inputs, {len(main.nodes)} operators, {len(made)} outputs"
        )
    return TfliteModel(path.stem, [main, *others])


def _text(raw: bytes | None) -> str:
    return printable(raw or b"")


def _unique(names: Sequence[str]) -> list[str]:
    """Each name as it is where it is the only one of its kind, else with the tensor's index."""
    counts = Counter(names)
    taken, result = {n for n in names if counts[n] == 1}, []
    for i, name in enumerate(names):
        unique = name
        if not name or counts[name] > 1:
            unique = f"{name or 'tensor'}#{i}"
            while unique in taken:
                unique += "#"
            taken.add(unique)
        result.append(unique)
    return result


def _operator_name(code: Any) -> str:
    import tflite

    # Files written before the 128th operator carry the code in the older, one-byte field alone.
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    if number == tflite.BuiltinOperator.CUSTOM:
        return f"CUSTOM {_text(code.CustomCode())}"
    names = {v: k for k, v in vars(tflite.BuiltinOperator).items() if isinstance(v, int)}
    return names.get(number, f"operator {number}")


def _buffer(buffer: Any, data: bytes, index: int) -> bytes | memoryview:
    """The bytes of a buffer; large files keep them behind the flatbuffer, at an offset."""
    offset, size = buffer.Offset(), buffer.Size()
    if offset > 1:
        if offset + size > len(data):
            raise invalid(f"buffer {index} ends at {offset + size}, the file at {len(data)}")
        return data[offset : offset + size]
    if buffer.DataIsNone():
        return b""
    array = buffer.DataAsNumpy()  # raises ValueError where it leaves the file
    return b"" if isinstance(array, int) else array.tobytes()


def _tensor(t: Any, name: str, buffers: list[bytes | memoryview]) -> Tensor:
    shape = tuple(int(d) for d in t.ShapeAsNumpy()) if t.ShapeLength() else ()
    dtype = DTYPES.get(t.Type()) or OTHER_TYPES.get(t.Type()) or f"type {t.Type()}"
    if not 0 <= t.Buffer() < len(buffers):
        raise invalid(f"tensor '{name}' is in buffer {t.Buffer()}, the file has {len(buffers)}")
    if t.Type() in DTYPES:
        check_size(f"tensor '{name}'", [d for d in shape if d])
    raw = buffers[t.Buffer()]
    data = None
    if raw and t.Type() == INT4:
        dtype, data = "int8", _unpacked(raw, name, shape)
    elif raw and t.Type() in DTYPES:
        want = math.prod(shape) * np.dtype(dtype).itemsize
        if len(raw) != want:
            raise invalid(
                f"tensor '{name}' {dtype}{list(shape)} needs {want} bytes, "
                f"its buffer has {len(raw)}"
            )
        data = np.frombuffer(raw, dtype).reshape(shape)
    tensor = Tensor(name, shape, dtype, _quant(t, name, shape), data, bool(t.IsVariable()))
    if dtype == "uint8" and tensor.quant is not None:
        _as_int8(tensor)
    return tensor


def _unpacked(raw: bytes | memoryview, name: str, shape: Shape) -> np.ndarray:
    """Two four-bit integers per byte, the first one in the lower half."""
    check_size(f"tensor '{name}'", [d for d in shape if d])
    count = math.prod(shape)
    if len(raw) != (count + 1) // 2:
        raise invalid(f"tensor '{name}' int4{list(shape)} has a buffer of {len(raw)} bytes")
    packed = np.frombuffer(raw, np.int8)
    halves = np.stack([packed << 4 >> 4, packed >> 4], axis=1).reshape(-1)
    return halves[:count].reshape(shape)


def _as_int8(tensor: Tensor) -> None:
    q = tensor.quant
    assert q is not None
    tensor.dtype, tensor.unsigned = "int8", True
    tensor.quant = Quant(q.scale, q.zero_point - 128, q.axis)
    if tensor.data is not None:
        tensor.data = (tensor.data ^ np.uint8(128)).view(np.int8)


def _quant(t: Any, name: str, shape: Shape) -> Quant | None:
    q = t.Quantization()
    if q is None or not q.ScaleLength():
        return None
    scale = np.array(q.ScaleAsNumpy(), np.float32)
    zero = np.array(q.ZeroPointAsNumpy() if q.ZeroPointLength() else [0], np.int64)
    axis = int(q.QuantizedDimension()) if scale.size > 1 else None
    if axis is not None and (not 0 <= axis < len(shape) or shape[axis] != scale.size):
        raise invalid(f"tensor '{name}' {list(shape)} has {scale.size} scales along axis {axis}")
    if zero.size not in (1, scale.size) or not (np.abs(zero) < 1 << 30).all():
        raise invalid(f"tensor '{name}' has {zero.size} zero points for {scale.size} scales")
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        raise invalid(f"tensor '{name}' has a scale that is not positive and finite")
    return Quant.make(scale, zero.astype(np.int32), axis)
