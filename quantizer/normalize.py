"""Integer constants of layer_norm, rms_norm, instance_norm and group_norm."""

from __future__ import annotations

from dataclasses import replace

from edgekit.graph import Node
from edgekit.ops.normalize import integer_affine
from quantizer.constants import Context, quantizes


@quantizes("layer_norm", "rms_norm", "instance_norm", "group_norm")
def normalization(node: Node, context: Context) -> Node:
    """Gamma as int16 with one scale, beta as int32 with a 64th of it (SPEC, "layer_norm")."""
    x, *names = node.inputs
    vectors = [context.constant(name) for name in names]
    made = integer_affine(vectors[0], vectors[1] if len(vectors) > 1 else None)
    operands = [
        context.out.add_constant(f"{name}_{data.dtype}", data, quant)
        for name, (data, quant) in zip(names, made, strict=True)
    ]
    return replace(node, inputs=(x, *operands))
