"""What four channels of a pixel are in memory and in registers, by the dtype of a tensor."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from codegen.gpu.layout import BLOCK, Blocked, blocked, pack
from codegen.kernel import Layer, NotApplicable
from edgekit.graph import Value


@dataclass(frozen=True)
class Cell:
    """`memory` and `scalar` are the dtypes of a block and of an element as buffers hold them,
    `vector` what arithmetic sees of a block; `suffix` is that of the prelude's functions."""

    memory: str
    scalar: str
    vector: str
    suffix: str

    def load(self, value: Any) -> Any:
        """TE expression: a block of memory as arithmetic sees it."""
        return _call(self.vector, "ek_from_half4", value) if self.suffix == "h4" else value

    def store(self, value: Any) -> Any:
        return _call(self.memory, "ek_to_half4", value) if self.suffix == "h4" else value

    def lanes(self, value: Any, block: Any, channels: int) -> Any:
        """TE expression: a block of memory with zeros in the gap of the last one."""
        if channels % BLOCK == 0:
            return value
        from codegen.tvm_api import int32

        return _call(self.memory, f"ek_lanes{self.suffix}", value, int32(channels) - block * BLOCK)

    def of_scalars(self, *scalars: Any) -> Any:
        """TE expression: four elements of memory as a block of memory."""
        function = {"4": "ek_char4", "f4": "ek_float4", "h4": "ek_ushort4"}[self.suffix]
        return _call(self.memory, function, *scalars)


#: Half is what memory holds; sums and products are in float32.
CELLS = {
    "int8": Cell("int8x4", "int8", "int8x4", "4"),
    "float32": Cell("float32x4", "float32", "float32x4", "f4"),
    "float16": Cell("uint16x4", "uint16", "float32x4", "h4"),
}


def _call(dtype: str, name: str, *args: Any) -> Any:
    from codegen.tvm_api import call

    return call(dtype, name, *args)


def cell_of(layer: Layer, *dtypes: str) -> str:
    """The one dtype of all activations of a layer, which is among `dtypes`.

    Raises:
        NotApplicable: where it is another one, or there are several.
    """
    kinds = {v.dtype for v in (*layer.inputs, layer.output)}
    if len(kinds) != 1 or not kinds <= set(dtypes):
        raise NotApplicable(f"{', '.join(sorted(kinds))}, not {' or '.join(dtypes)} throughout")
    return kinds.pop()


def cell_of_activations(layer: Layer, *dtypes: str) -> str:
    """`cell_of` of a layer whose operands beyond the first are weights."""
    return cell_of(replace(layer, inputs=layer.inputs[:1]), *dtypes)


def layout_of(value: Value) -> Blocked:
    return blocked(value.shape, value.dtype)


def packed(layer: Layer, value: Value) -> np.ndarray:
    """A constant operand as it lies on the device."""
    data = layer.constants[value.name].astype(value.dtype)
    return pack(np.ascontiguousarray(data), layout_of(value))
