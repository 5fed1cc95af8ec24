"""Small .tflite files, built tensor by tensor with TFLite Micro's schema."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

TYPES = {
    "float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int64": 4, "bool": 6, "int16": 7,
    "int8": 9, "resource": 13, "int4": 17,
}  # fmt: skip


class File:
    """A model of one main subgraph; `sub` calls others by their number."""

    def __init__(self) -> None:
        self.model = schema.ModelT()
        self.model.version, self.model.operatorCodes = 3, []
        self.model.subgraphs, self.model.buffers = [], [schema.BufferT()]
        self.codes: dict[str, int] = {}
        self.sub = self.subgraph("main")

    def subgraph(self, name: str) -> Any:
        """A further subgraph; set `sub` to it to fill it."""
        sub = schema.SubGraphT()
        sub.name, sub.tensors, sub.operators, sub.inputs, sub.outputs = name, [], [], [], []
        self.model.subgraphs.append(sub)
        return sub

    def tensor(
        self,
        shape: Sequence[int],
        dtype: str,
        scale: float | Sequence[float] | np.ndarray | None = None,
        zero_point: int = 0,
        *,
        data: Any = None,
        name: str | None = None,
        axis: int = 0,
        variable: bool = False,
    ) -> int:
        """Add a tensor, a constant where there is `data`; returns its index."""
        t = schema.TensorT()
        index = len(self.sub.tensors)
        t.shape, t.type, t.buffer = list(shape), TYPES[dtype], 0
        t.name = f"t{index}" if name is None else name
        t.isVariable = variable
        if scale is not None:
            q = t.quantization = schema.QuantizationParametersT()
            q.scale = np.atleast_1d(np.asarray(scale, np.float32))
            q.zeroPoint = np.full(q.scale.size, zero_point, np.int64)
            q.quantizedDimension = axis
        if data is not None:
            raw = data if isinstance(data, bytes) else np.asarray(data, dtype).tobytes()
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(raw, np.uint8)
            t.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        self.sub.tensors.append(t)
        return index

    def quant(self, index: int) -> tuple[float, int]:
        """Scale and zero point of a tensor that has one of each."""
        q = self.sub.tensors[index].quantization
        return float(q.scale[0]), int(q.zeroPoint[0])

    def ints(self, data: Any) -> int:
        """A constant of int32."""
        array = np.asarray(data, np.int32)
        return self.tensor(array.shape, "int32", data=array)

    def op(
        self,
        code: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: str = "",
        version: int = 1,
        **fields: Any,
    ) -> None:
        """Append an operator; `options` is the name of its table, without ``Options``."""
        if code not in self.codes:
            entry = schema.OperatorCodeT()
            entry.builtinCode = getattr(schema.BuiltinOperator, code)
            entry.deprecatedBuiltinCode = min(entry.builtinCode, 127)
            entry.version = version
            self.codes[code] = len(self.model.operatorCodes)
            self.model.operatorCodes.append(entry)
        o = schema.OperatorT()
        o.opcodeIndex, o.inputs, o.outputs = self.codes[code], list(inputs), list(outputs)
        if options:
            o.builtinOptionsType = getattr(schema.BuiltinOptions, f"{options}Options")
            o.builtinOptions = getattr(schema, f"{options}OptionsT")()
            for key, value in fields.items():
                assert hasattr(o.builtinOptions, key), (options, key)
                setattr(o.builtinOptions, key, value)
        self.sub.operators.append(o)

    def bytes(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """The file, with these tensors of the main subgraph as inputs and outputs."""
        main = self.model.subgraphs[0]
        main.inputs, main.outputs = list(inputs), list(outputs)
        builder = flatbuffers.Builder(4096)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())
