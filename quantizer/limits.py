"""The least scale a result may have: where fixed point would leave its legal range below it.

Such scales come from degenerate networks only: layers whose results cancel to nothing, or scores
that hardly differ from zero.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgekit.errors import EdgekitError
from edgekit.graph import Graph, Node, Quant
from edgekit.ops.requant import tensor_quant
from quantizer.ranges import constant_quant
from quantizer.weights import CHANNEL_AXIS
from quantizer.widths import constant_dtype

#: An accumulator times its left shift stays below 2**30.
HEADROOM = float(1 << 30)


def least_scale(
    graph: Graph, node: Node, quants: Mapping[str, Quant], dtypes: Mapping[str, str]
) -> float:
    """The least scale of the node's result under the quantization of its operands (SPEC.md)."""
    least = 0.0
    for reader in graph.consumers(node.output):
        if reader.op == "softmax":  # its multiplier has to exceed 1: beta * scale * 2**26 > 1
            least = 2.0**-25 / float(reader.attrs.get("beta", 1.0))
    if any(dtypes.get(name) == "float32" for name in node.inputs):
        return least
    real = [n for n in node.inputs[:2] if graph.values[n].dtype == "float32"]
    reach = [_reach(graph, node, name, quants, dtypes) for name in real] or [0.0]
    axis = CHANNEL_AXIS.get(node.op, 0 if node.op == "conv_transpose2d" else None)
    if axis is not None:
        w, bias = (graph.constants[i].astype(np.float64) for i in node.inputs[1:])
        axes = tuple(i for i in range(w.ndim) if i != axis)
        sums = np.abs(bias) + reach[0] * np.abs(w).sum(axis=axes)
        return max(least, float(sums.max()) / HEADROOM)
    if node.op in ("add", "sub", "mod"):
        # 2 * max(scales) / scale has to stay below 2**20, 2**15 for int16
        return max(least, max(reach) * 2.0**-25)
    if node.op == "squared_difference":
        return max(least, sum(reach) ** 2 / HEADROOM)
    if node.op in ("mul", "prelu"):
        return max(least, reach[0] * reach[1] / HEADROOM)
    return max(least, reach[0] / HEADROOM)


def _reach(
    graph: Graph,
    node: Node,
    name: str,
    quants: Mapping[str, Quant],
    dtypes: Mapping[str, str],
) -> float:
    """The largest real magnitude of an operand under its quantization, zero point counted in."""
    if name in graph.constants:
        quant = constant_quant(graph.constants[name], constant_dtype(node, dtypes))
        dtype = constant_dtype(node, dtypes)
    else:
        quant, dtype = quants[name], dtypes[name]
    return float(quant.scale[0]) * (32768 if dtype == "int16" else 255)


def widened(lo: float, hi: float, scale: float, steps: int = 255) -> tuple[float, float]:
    """The range, stretched where `steps` of `scale` are wider; zero stays where it is."""
    width = steps * scale
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
        x = integer.values[node.inputs[0]]
        if x.dtype == "float32" or integer.values[node.inputs[1]].dtype == "float32":
            continue
        zero_point, lowest = tensor_quant(x)[1], int(np.iinfo(x.dtype).min)
        reach = np.abs(bias - zero_point * w.sum(axis=axes)) - lowest * np.abs(w).sum(axis=axes)
        if (reach >= 1 << 31).any():
            channel = int(np.argmax(reach >= 1 << 31))
            raise EdgekitError(
                "E209",
                f"layer '{node.name or node.output}' ({node.op}), channel {channel}: sums reach "
                f"{reach[channel]}, an int32 accumulator holds {(1 << 31) - 1}",
                help=f"{w.size // len(bias)} products per result are too many: split the layer",
            )
