"""lstm, gru and rnn as ONNX's LSTM, GRU and RNN.

ONNX's sequences are [T, B, I] in layout 0, the only one that onnxruntime computes; ours are
[B, T, I]. Rows of weights are ordered by gate as i, o, f, c and z, r, h there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgekit.errors import EdgekitError
from edgekit.exporters.writer import Writer
from edgekit.graph import Node

#: ONNX's operator, the place of each of its gates among ours, and the number of states.
CELLS = {
    "lstm": ("LSTM", (0, 3, 1, 2), 2),
    "gru": ("GRU", (0, 1, 2), 1),
    "rnn": ("RNN", (0,), 1),
}


def recurrent(w: Writer, node: Node) -> None:
    """One node between transposes; states that are zeros are left away."""
    op, order, count = CELLS[node.op]
    name = node.name or node.output
    states = node.inputs[1 : 1 + count]
    weights = [w.graph.constants[i] for i in node.inputs[1 + count :]]
    units, gates = w.graph.values[states[0]].shape[1], len(order)

    def ordered(data: np.ndarray) -> np.ndarray:
        by_gate = data.reshape(gates, units, -1)[list(order)]
        return by_gate.reshape(1, gates * units, -1)

    inner = np.zeros_like(weights[2])
    if node.op == "gru":
        inner[2 * units :] = weights[3]
    bias = np.concatenate([ordered(weights[2]), ordered(inner)], axis=1)[..., 0]
    swapped = w.fresh(f"{node.output}:steps")
    w.emit("Transpose", [w.get(node.inputs[0], "NHWC")], swapped, f"{name}:in", perm=[1, 0, 2])
    operands = [
        swapped,
        w.constant(f"{node.output}:W", ordered(weights[0])),
        w.constant(f"{node.output}:R", ordered(weights[1])),
        w.constant(f"{node.output}:B", bias),
        "",
        *(_state(w, node, s) for s in states),
    ]
    while operands[-1] == "":
        operands.pop()
    attrs: dict[str, Any] = {"hidden_size": units}
    if node.attrs.get("reverse"):
        attrs["direction"] = "reverse"
    if node.op == "gru":
        attrs["linear_before_reset"] = int(bool(node.attrs.get("linear_before_reset")))
    if node.attrs.get("cell_clip"):
        raise EdgekitError(
            "E153",
            f"layer '{name}' (lstm) clips its cell to {node.attrs['cell_clip']:g}, which ONNX's "
            "LSTM does not do",
            help="leave the clip away, or keep the model in its own format",
        )
    raw = [w.fresh(f"{o}:raw") for o in node.outputs]
    w.emit_all(op, operands, raw, name, **attrs)
    flat = w.fresh(f"{node.output}:flat")
    w.emit("Squeeze", [raw[0], _axis(w, 1)], flat, f"{name}:one direction")
    w.emit("Transpose", [flat], w.put(node.output, "NHWC"), f"{name}:out", perm=[1, 0, 2])
    for result, made in zip(node.outputs[1:], raw[1:], strict=True):
        w.emit("Squeeze", [made, _axis(w, 0)], w.put(result, "NHWC"), f"{name}:{result}")


def _axis(w: Writer, axis: int) -> str:
    return w.constant(f"edgekit:axis {axis}", np.asarray([axis], np.int64))


def _state(w: Writer, node: Node, name: str) -> str:
    """The initial state [1, B, H], "" for zeros.

    Raises:
        EdgekitError: E153 for another constant: it would have to grow with the batch.
    """
    data = w.graph.constants.get(name)
    if data is None:
        grown = w.fresh(f"{name}:direction")
        w.emit("Unsqueeze", [w.get(name, "NHWC"), _axis(w, 0)], grown, f"{node.name}:{name}")
        return grown
    if data.any():
        raise EdgekitError(
            "E153",
            f"layer '{node.name or node.output}' ({node.op}) begins with a constant state other "
            "than zeros, which an ONNX model with any number of samples cannot hold",
            help="make the state an input of the model",
        )
    return ""
