"""Decoding a .tflite file into plain values, with every offset and length checked.

The generated accessors follow whatever offsets the file holds. Here each vector is compared with
the size of the file before it is walked, so that a damaged file costs neither time nor memory, and
whatever the accessors raise becomes an EdgekitError.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.graph import Quant, Shape
from edgekit.importers.common import check_size, invalid, printable

#: TensorType of the TFLite schema to numpy; the others are named but never decoded.
DTYPES = {0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 6: "bool",
          7: "int16", 9: "int8", 10: "float64"}  # fmt: skip
OTHER_TYPES = {5: "string", 8: "complex64", 13: "resource", 14: "variant", 15: "uint32",
               16: "uint16", 17: "int4", 18: "bfloat16"}  # fmt: skip
DAMAGE = (struct.error, IndexError, ValueError, TypeError, OverflowError, AttributeError,
          UnicodeDecodeError, AssertionError)  # fmt: skip


@dataclass
class Tensor:
    """`data` is None for activations; `quant` keeps the file's exact float32 scales."""

    name: str
    shape: Shape
    dtype: str
    quant: Quant | None
    data: np.ndarray | None


@dataclass
class TfliteNode:
    """One operator; an absent optional input is -1. `table` is its flatbuffer of options."""

    op: str
    name: str
    inputs: list[int]
    outputs: list[int]
    table: Any

    def options(self, kind: type) -> Any:
        """The options table as `kind`, an accessor class of the `tflite` package."""
        if self.table is None:
            raise invalid(f"'{self.name}' ({self.op}) has no options")
        accessor = kind()
        accessor.Init(self.table.Bytes, self.table.Pos)
        return accessor


@dataclass
class TfliteModel:
    name: str
    tensors: list[Tensor]
    nodes: list[TfliteNode]
    inputs: list[int]
    outputs: list[int]


def read(path: Path, data: bytes) -> TfliteModel:
    """Decode `data`, the content of the file `path`; only its first subgraph is looked at.

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


def _decode(path: Path, data: bytes) -> TfliteModel:
    import tflite

    model = tflite.Model.GetRootAs(data, 0)
    if model.Version() != 3:
        raise invalid(f"{path.name} has TFLite schema version {model.Version()}, 3 is known")
    limit = len(data)

    def vector(length: int, what: str, item: Callable[[int], Any]) -> list[Any]:
        # Each element takes four bytes or more (an offset or a table).
        if length * 4 > limit:
            raise invalid(f"{path.name} claims {length} {what} in {limit} bytes")
        items = [item(i) for i in range(length)]
        if any(i is None for i in items):
            raise invalid(f"{path.name}: one of its {length} {what} is missing")
        return items

    subgraphs = vector(model.SubgraphsLength(), "subgraphs", model.Subgraphs)
    if not subgraphs:
        raise invalid(f"{path.name} has no subgraph", "the file holds no model: convert it again")
    buffers = [
        _buffer(b, data, i)
        for i, b in enumerate(vector(model.BuffersLength(), "buffers", model.Buffers))
    ]
    codes = [
        _operator_name(c)
        for c in vector(model.OperatorCodesLength(), "operator codes", model.OperatorCodes)
    ]
    graph = subgraphs[0]
    tensors = vector(graph.TensorsLength(), "tensors", graph.Tensors)
    names = [_text(t.Name()) for t in tensors]
    decoded = [
        _tensor(
            t, names[i] if names[i] and names.count(names[i]) == 1 else f"{names[i]}#{i}", buffers
        )
        for i, t in enumerate(tensors)
    ]

    def indices(array: Any, what: str) -> list[int]:
        result = [int(i) for i in array] if not isinstance(array, int) else []
        for i in result:
            if not -1 <= i < len(decoded):
                raise invalid(f"{what} names tensor {i}, the file has {len(decoded)}")
        return result

    nodes = []
    for i, op in enumerate(vector(graph.OperatorsLength(), "operators", graph.Operators)):
        if not 0 <= op.OpcodeIndex() < len(codes):
            raise invalid(f"operator {i} has code {op.OpcodeIndex()} of {len(codes)}")
        outputs = indices(op.OutputsAsNumpy(), f"operator {i}")
        name = decoded[outputs[0]].name if outputs and outputs[0] >= 0 else f"operator {i}"
        inputs = indices(op.InputsAsNumpy(), f"operator {i}")
        nodes.append(
            TfliteNode(codes[op.OpcodeIndex()], name, inputs, outputs, op.BuiltinOptions())
        )
    inputs = indices(graph.InputsAsNumpy(), "the list of inputs")
    outputs = indices(graph.OutputsAsNumpy(), "the list of outputs")
    if not inputs or not outputs or not nodes or min(inputs) < 0 or min(outputs) < 0:
        raise invalid(
            f"{path.name} has {len(inputs)} inputs, {len(nodes)} operators, {len(outputs)} outputs"
        )
    return TfliteModel(path.stem, decoded, nodes, inputs, outputs)


def _text(raw: bytes | None) -> str:
    return printable(raw or b"")


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
    if raw and t.Type() in DTYPES:
        want = math.prod(shape) * np.dtype(dtype).itemsize
        if len(raw) != want:
            raise invalid(
                f"tensor '{name}' {dtype}{list(shape)} needs {want} bytes, "
                f"its buffer has {len(raw)}"
            )
        data = np.frombuffer(raw, dtype).reshape(shape)
    return Tensor(name, shape, dtype, _quant(t, name, shape), data)


def _quant(t: Any, name: str, shape: Shape) -> Quant | None:
    q = t.Quantization()
    if q is None or not q.ScaleLength():
        return None
    scale = np.array(q.ScaleAsNumpy(), np.float32)
    zero = np.array(q.ZeroPointAsNumpy() if q.ZeroPointLength() else [0], np.int64)
    axis = int(q.QuantizedDimension()) if scale.size > 1 else None
    if axis is not None and (not 0 <= axis < len(shape) or shape[axis] != scale.size):
        raise invalid(f"tensor '{name}' {list(shape)} has {scale.size} scales along axis {axis}")
    if zero.size not in (1, scale.size) or not (np.abs(zero) < 1 << 31).all():
        raise invalid(f"tensor '{name}' has {zero.size} zero points for {scale.size} scales")
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        raise invalid(f"tensor '{name}' has a scale that is not positive and finite")
    return Quant.make(scale, zero.astype(np.int32), axis)
