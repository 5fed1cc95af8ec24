"""Integer constants of layer_norm, rms_norm, instance_norm and group_norm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgekit.graph import Node, Quant
from edgekit.ops.fixedpoint import round_half_away
from edgekit.ops.normalize import BETA_STEPS
from quantizer.constants import Context, quantizes

#: Largest magnitudes: gamma is int16, and sums of beta and a normalized number fit into int32.
GAMMA_LIMIT, BETA_LIMIT = 32767, 1 << 29


@quantizes("layer_norm", "rms_norm", "instance_norm", "group_norm")
def normalization(node: Node, context: Context) -> Node:
    """Gamma as int16 with one scale, beta as int32 with a 64th of it (SPEC, "layer_norm")."""
    x, *names = node.inputs
    gamma, *beta = (context.constant(name).astype(np.float64) for name in names)
    needed = [np.abs(gamma).max() / GAMMA_LIMIT]
    needed += [np.abs(b).max() / BETA_STEPS / BETA_LIMIT for b in beta]
    scale = np.float32(max(*needed, np.finfo(np.float32).tiny))
    step = np.float32(scale * np.float32(BETA_STEPS))
    integers = np.clip(round_half_away(gamma / scale), -GAMMA_LIMIT, GAMMA_LIMIT)
    operands = [context.out.add_constant(f"{names[0]}_int16", integers.astype(np.int16),
                                         Quant.make(scale))]  # fmt: skip
    for name, b in zip(names[1:], beta, strict=True):
        steps = np.clip(round_half_away(b / step), -BETA_LIMIT, BETA_LIMIT).astype(np.int32)
        operands.append(context.out.add_constant(f"{name}_int32", steps, Quant.make(step)))
    return replace(node, inputs=(x, *operands))
