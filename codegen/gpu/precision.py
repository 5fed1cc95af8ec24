"""Which dtype a float model's tensors have on a device: float32, or half with fp16."""

from __future__ import annotations

from dataclasses import replace

from codegen.kernel import Layer
from edgekit.graph import Value

#: Operators whose operands beyond the first are weights, which makers store as they like.
WEIGHTED = ("conv2d", "depthwise_conv2d", "fully_connected")


def stored_dtype(value: Value, precision: str) -> str:
    """What lies in the device's memory of a value that is float32 on the CPU."""
    return "float16" if precision == "fp16" and value.dtype == "float32" else value.dtype


def in_precision(layer: Layer, precision: str) -> Layer:
    """`layer` with operands and results in the dtypes of the device's memory."""
    if precision != "fp16":
        return layer

    def there(value: Value) -> Value:
        return replace(value, dtype=stored_dtype(value, precision))

    operands = layer.inputs[:1] if layer.node.op in WEIGHTED else layer.inputs
    return replace(
        layer,
        inputs=(*map(there, operands), *layer.inputs[len(operands) :]),
        output=there(layer.output),
        further=tuple(map(there, layer.further)),
    )
