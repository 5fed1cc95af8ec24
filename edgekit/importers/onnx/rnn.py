"""ONNX's LSTM, GRU and RNN: one node of ours for each direction, results joined behind them.

ONNX orders the rows of weights by gate as i, o, f, c (LSTM) and z, r, h (GRU); ours are i, f, g, o
and z, r, n. Its sequences are [T, B, I] (layout 0) or [B, T, I] (layout 1), with a batch of 1 the
same numbers in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgekit.importers.common import Refused, invalid
from edgekit.importers.onnx.builder import OnnxBuilder, handles
from edgekit.importers.onnx.node import OnnxNode, operand
from edgekit.importers.onnx.samples import sample_by_sample

#: Our operator, the order of its gates in ONNX's rows, and the activations that it computes with.
CELLS = {
    "LSTM": ("lstm", (0, 2, 3, 1), ("sigmoid", "tanh", "tanh")),
    "GRU": ("gru", (0, 1, 2), ("sigmoid", "tanh")),
    "RNN": ("rnn", (0,), ("tanh",)),
}
#: Whether each direction goes from the end to the beginning.
DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}


class _Cell:
    """A node's attributes and weights, checked."""

    def __init__(self, b: OnnxBuilder, node: OnnxNode) -> None:
        self.b, self.node = b, node
        self.op, order, activations = CELLS[node.op]
        kind = node.text("direction", "forward")
        if kind not in DIRECTIONS:
            raise invalid(f"node '{node.name}' ({node.op}) has direction '{kind}'")
        self.reversed = DIRECTIONS[kind]
        self.batch_first = bool(node.integer("layout", 0))
        self._check_attributes(activations)
        count, gates = len(self.reversed), len(order)
        w, r = b.floats(node, 1, "weights"), b.floats(node, 2, "recurrent weights")
        self.units = node.integer("hidden_size", r.shape[-1] if r.ndim else 0)
        rows = gates * self.units
        fits = w.ndim == 3 and w.shape[:2] == (count, rows) and r.shape == (count, rows, self.units)
        if self.units < 1 or not fits:
            raise invalid(
                f"node '{node.name}' ({node.op}): weights {list(w.shape)} and {list(r.shape)} do "
                f"not fit {count} directions of {gates} gates of {self.units} units"
            )
        bias = np.zeros((count, 2 * rows), np.float32)
        if operand(node, 3):
            bias = b.floats(node, 3, "bias")
        if bias.shape != (count, 2 * rows):
            raise invalid(f"node '{node.name}' ({node.op}): bias {list(bias.shape)}")

        def ordered(a: np.ndarray) -> np.ndarray:
            by_gate = a.reshape(count, gates, self.units, -1)[:, order, :, :]
            return by_gate.reshape(count, rows, -1)

        self.w, self.r = ordered(w), ordered(r)
        self.bias = ordered(bias[:, :rows])[..., 0], ordered(bias[:, rows:])[..., 0]

    def _check_attributes(self, wanted: tuple[str, ...]) -> None:
        node = self.node
        given = node.attrs.get("activations")
        if given is not None and not isinstance(given, list):
            raise invalid(f"node '{node.name}' ({node.op}): 'activations' must be a list")
        if given is not None:
            names = tuple(str(a).lower() for a in given)
            if names != wanted * len(self.reversed):
                raise Refused(
                    f"its activations are {', '.join(map(str, given))}; {', '.join(wanted)} are "
                    "supported"
                )
        if node.number("clip", 0.0) > 0:
            raise Refused("it clips what its gates read, which is not supported")
        if node.integer("input_forget", 0):
            raise Refused("coupled input and forget gates (input_forget) are not supported")
        if operand(node, 7) and self.b.floats(node, 7, "peepholes").any():
            raise Refused("peepholes are not supported")

    def sequence(self) -> tuple[str, int]:
        """x as [1, T, I], and T; T is what the sequences' lengths say."""
        b, node = self.b, self.node
        x = b.x(node)
        shape = b.value(x).shape
        if len(shape) != 3:
            raise invalid(f"node '{node.name}' ({node.op}) reads {list(shape)}, 3 axes are needed")
        batch, steps = (shape[0], shape[1]) if self.batch_first else (shape[1], shape[0])
        if batch != 1:
            raise Refused(f"it has a batch of {batch}, 1 is supported")
        if not self.batch_first and steps != 1:
            x = b.reshape(x, (1, steps, shape[2]), node=node.name)
        length = self._length(steps)
        if length != steps:
            cut = {"starts": [0, 0, 0], "stops": [None, length, None], "steps": [1, 1, 1]}
            x = b.emit("slice", [x], cut, node=node.name)
        return x, length

    def _length(self, steps: int) -> int:
        if not operand(self.node, 4):
            return steps
        lengths = self.b.const_of(self.node, 4, "sequence_lens").reshape(-1)
        if lengths.size != 1 or not 1 <= int(lengths[0]) <= steps:
            raise invalid(
                f"node '{self.node.name}' ({self.node.op}): sequence_lens {lengths.tolist()} of "
                f"{steps} steps"
            )
        return int(lengths[0])

    def initial(self, index: int, direction: int) -> str:
        """The state [1, H] of a direction from operand `index`, zeros where that is absent."""
        b, node, count = self.b, self.node, len(self.reversed)
        what = f"{node.name}:state {index - 5}.{direction}"
        if not operand(node, index):
            return b.constant(what, np.zeros((1, self.units), np.float32))
        shape = b.shape_of(operand(node, index))
        wanted = (1, count, self.units) if self.batch_first else (count, 1, self.units)
        if shape != wanted:
            raise invalid(
                f"node '{node.name}' ({node.op}): initial state {list(shape)}, not {list(wanted)}"
            )
        known = b.const(operand(node, index))
        if known is not None:
            data = b.floats(node, index, "initial state").reshape(count, 1, self.units)
            return b.constant(what, data[direction])
        x = b.x(node, index)
        if count > 1:
            axis = 1 if self.batch_first else 0
            starts, stops = [0, 0, 0], list(shape)
            starts[axis], stops[axis] = direction, direction + 1
            cut = {"starts": starts, "stops": stops, "steps": [1, 1, 1]}
            x = b.emit("slice", [x], cut, node=node.name)
        return b.reshape(x, (1, self.units), node=node.name)

    def emit(self, x: str, direction: int) -> list[str]:
        """One direction: y [1, T, H] and the states [1, H] after it."""
        b, node = self.b, self.node
        count = 2 if self.op == "lstm" else 1
        states = [self.initial(5 + i, direction) for i in range(count)]
        attrs: dict[str, Any] = {"reverse": self.reversed[direction]}
        bias = self.bias[0][direction].copy()
        inner = self.bias[1][direction].copy()
        if self.op == "gru":
            attrs["linear_before_reset"] = bool(node.integer("linear_before_reset", 0))
            bias[: 2 * self.units] += inner[: 2 * self.units]
            biases = [bias, inner[2 * self.units :]]
        else:
            biases = [bias + inner]
        constants = [self.w[direction], self.r[direction], *biases]
        names = [
            b.constant(f"{node.name}:{what}.{direction}", np.ascontiguousarray(data))
            for what, data in zip(("W", "R", "bias", "inner bias"), constants, strict=False)
        ]
        results = 1 + count
        return b.emit_all(
            self.op, [x, *states, *names], attrs, node=node.name, outs=[""] * results,
            quants=[None] * results,
        )  # fmt: skip

    def joined(self, parts: Sequence[str], axis: int) -> str:
        """The results of all directions side by side."""
        if len(parts) == 1:
            return parts[0]
        return self.b.emit("concat", list(parts), {"axis": axis}, node=self.node.name)


@handles("LSTM", "GRU", "RNN")
def recurrent(b: OnnxBuilder, node: OnnxNode) -> None:
    """Default activations, either layout and direction, constant weights and sequence_lens; no
    clip, peepholes or coupled gates."""
    shape = b.shape_of(operand(node, 0))
    axis = 0 if node.integer("layout", 0) else 1
    if len(shape) == 3 and shape[axis] > 1:
        operands = {0: axis, 4: 0, 5: axis, 6: axis}
        joined = {0: 0 if axis == 0 else 2, 1: axis, 2: axis}
        sample_by_sample(b, node, shape[axis], operands, joined)
        return
    cell = _Cell(b, node)
    x, length = cell.sequence()
    made = [cell.emit(x, direction) for direction in range(len(cell.reversed))]
    directions, units = len(cell.reversed), cell.units
    steps = shape[1] if cell.batch_first else shape[0]
    for index, out in enumerate(node.outputs):
        if not out:
            continue
        if index >= len(made[0]):
            raise invalid(f"node '{node.name}' ({node.op}) has {len(node.outputs)} results")
        whole = cell.joined([r[index] for r in made], 2 if index == 0 else 1)
        if index == 0 and length != steps:
            pads = [0, 0, 0, 0, steps - length, 0]
            attrs = {"pads": pads, "mode": "constant", "value": 0.0}
            whole = b.emit("pad", [whole], attrs, node=node.name)
        end = [1, directions, units] if cell.batch_first else [directions, 1, units]
        if index == 0:
            end.insert(1 if cell.batch_first else 0, steps)
        b.reshape(whole, end, node=node.name, out=out)
