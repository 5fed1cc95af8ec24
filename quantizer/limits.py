"""The least scale a result may have: where fixed point would leave its legal range below it.

Such scales come from degenerate networks only: layers whose results cancel to nothing, or scores
that hardly differ from zero.
"""

from __future__ import annotations

import numpy as np

from edgekit.errors import EdgekitError
from edgekit.graph import Graph, Node, Quant
from edgekit.ops.requant import tensor_quant
from quantizer.ranges import activation_quant, with_zero
from quantizer.weights import CHANNEL_AXIS

#: An accumulator times its left shift stays below 2**30.
HEADROOM = float(1 << 30)


def least_scale(graph: Graph, node: Node, quants: dict[str, Quant]) -> float:
    """The least scale of the node's result under the quantization of its operands (SPEC.md)."""
    least = 0.0
    for reader in graph.consumers(node.output):
        if reader.op == "softmax":  # its multiplier has to exceed 1: beta * scale * 2**26 > 1
            least = 2.0**-25 / float(reader.attrs.get("beta", 1.0))
    scales = [_operand_scale(graph, name, quants) for name in node.inputs[:2]]
    if node.op in CHANNEL_AXIS:
        w, bias = (graph.constants[i].astype(np.float64) for i in node.inputs[1:])
        axes = tuple(i for i in range(w.ndim) if i != CHANNEL_AXIS[node.op])
        reach = np.abs(bias) + 255 * scales[0] * np.abs(w).sum(axis=axes)
        return max(least, float(reach.max()) / HEADROOM)
    if node.op == "add":  # 2 * max(scales) / 2**20 / scale has to stay below 1
        return max(least, max(scales) * 2.0**-18)
    if node.op == "mul":
        return max(least, scales[0] * scales[1] * 255 * 255 / HEADROOM)
    return max(least, scales[0] * 255 / HEADROOM)


def _operand_scale(graph: Graph, name: str, quants: dict[str, Quant]) -> float:
    if name in graph.constants:
        data = graph.constants[name]
        extremes = with_zero(float(data.min()), float(data.max()))
        return float(activation_quant(*extremes).scale[0])
    return float(quants[name].scale[0])


def widened(lo: float, hi: float, scale: float) -> tuple[float, float]:
    """The range, stretched where its scale is below `scale`; zero stays where it is."""
    width = 255 * scale
    if hi - lo >= width:
        return lo, hi
    factor = width / (hi - lo)
    return lo * factor, hi * factor


def check_accumulators(integer: Graph) -> None:
    """Refuse weights and biases whose sums could leave int32 (SPEC.md, "The edge of int32").

    Raises:
        EdgekitError: E209 with the layer and its first such channel. The floor of the scales
            (`weights.Grid`) rules it out up to 66 000 products per result.
    """
    for node in integer.nodes:
        if node.op not in CHANNEL_AXIS:
            continue
        w, bias = (integer.constants[i].astype(np.int64) for i in node.inputs[1:])
        axes = tuple(i for i in range(w.ndim) if i != CHANNEL_AXIS[node.op])
        zero_point = tensor_quant(integer.values[node.inputs[0]])[1]
        reach = np.abs(bias - zero_point * w.sum(axis=axes)) + 128 * np.abs(w).sum(axis=axes)
        if (reach >= 1 << 31).any():
            channel = int(np.argmax(reach >= 1 << 31))
            raise EdgekitError(
                "E209",
                f"layer '{node.name or node.output}' ({node.op}), channel {channel}: sums reach "
                f"{reach[channel]}, an int32 accumulator holds {(1 << 31) - 1}",
                help=f"{w.size // len(bias)} products per result are too many: split the layer",
            )
