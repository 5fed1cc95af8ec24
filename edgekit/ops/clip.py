"""clip: an activation that could not be fused."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops import fixedpoint as fp
from edgekit.ops.base import Inferred, Operator, clamp_float, require
from edgekit.ops.requant import clip_params, tensor_quant


class Clip(Operator):
    """Clamp to a real interval; in integers it also requantizes to the output's scale."""

    name = "clip"

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        require(len(inputs) == 1, node, f"needs one operand, has {len(inputs)}")
        x = inputs[0]
        require(x.dtype in ("float32", "int8"), node, f"x must be float32 or int8, not {x.dtype}")
        require(node.attrs.get("clamp") is not None, node, "has no clamp")
        return [(x.shape, x.dtype)]

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        return clamp_float(node, inputs[0])

    def reference_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        p = clip_params(node, values, out)
        levels = np.arange(-128, 128, dtype=np.int64) - tensor_quant(values[0])[1]
        table = fp.requantize(levels, p.multiplier, p.shift, tensor_quant(out)[1], p.qmin, p.qmax)
        return table[inputs[0].astype(np.intp) + 128]


OPERATOR = Clip()
