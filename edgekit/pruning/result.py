"""What `prune` found out, and the verdict in plain words."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edgekit.graph import Graph
from edgekit.ops import operator


@dataclass(frozen=True)
class Side:
    """A network as it is judged, and as int8 or int4 on the target.

    Shares are 0 to 1; `accuracy` is None without labels, `agreement` (top 1, with the original
    float network) where the output is no class. SQNR is that of the logits against the original
    float network. Bytes, cycles and instructions are None for float networks; cycles are
    estimated, instructions exact.
    """

    name: str
    accuracy: float | None
    agreement: float | None
    sqnr_db: float
    macs: int
    weights: int
    zeros: int
    constant_bytes: int | None = None
    flash_bytes: int | None = None
    ram_bytes: int | None = None
    cycles: int | None = None
    instructions: int | None = None


@dataclass(frozen=True)
class Pruned:
    """The result of `prune`.

    `layers` has (before, after): channels by family, or (weights, zeros) by layer. `judged_on` says
    which samples the figures are from. File sizes are of the float models, as ONNX that we write.
    """

    graph: Graph
    method: str
    target: str
    layers: dict[str, tuple[int, int]]
    samples: int
    judged_on: str
    file_bytes: tuple[int, int]
    before: Side
    after: Side
    before_int8: Side
    after_int8: Side
    before_int4: Side

    @property
    def sides(self) -> tuple[Side, ...]:
        return (self.before, self.after, self.before_int8, self.after_int8, self.before_int4)

    def verdict(self) -> list[str]:
        """What pruning gained and lost, and what would serve better, in lines of plain text."""
        return [*_gains(self.before_int8, self.after_int8), _against_int4(self)]

    def as_json(self) -> dict[str, Any]:
        """Plain values for json.dumps."""
        return {
            "method": self.method,
            "target": self.target,
            "layers": {name: list(pair) for name, pair in self.layers.items()},
            "samples": self.samples,
            "judged_on": self.judged_on,
            "file_bytes": list(self.file_bytes),
            "networks": [_finite(asdict(side)) for side in self.sides],
            "verdict": self.verdict(),
            "cycles_are": "estimated, zero wait states",
        }


def _finite(side: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and math.isinf(v) else v for k, v in side.items()}


def _change(before: int, after: int, unit: str) -> str:
    return f"{spaced(before)} to {spaced(after)} {unit} ({100 * (after / before - 1):+.1f} %)"


def spaced(n: int) -> str:
    """A number with spaces between thousands."""
    return f"{n:,}".replace(",", " ")


def _gains(before: Side, after: Side) -> list[str]:
    figures = [
        ("flash", before.flash_bytes or 0, after.flash_bytes or 0, "B"),
        ("RAM", before.ram_bytes or 0, after.ram_bytes or 0, "B"),
        ("instructions", before.instructions or 0, after.instructions or 0, "(exact)"),
    ]
    lines = []
    for title, word in (("gain", "less"), ("cost", "more")):
        found = [
            f"{what} {_change(a, b, unit)}"
            for what, a, b, unit in figures
            if a and (b < a if word == "less" else b > a)
        ]
        if found:
            lines.append(f"{title}     {'; '.join(found)}")
        elif title == "gain":
            lines.append("no gain  neither flash, RAM nor instructions fell")
    lines.append("quality  " + _quality(before, after))
    return lines


def _quality(before: Side, after: Side) -> str:
    if after.accuracy is not None and before.accuracy is not None:
        a, b = 100 * before.accuracy, 100 * after.accuracy
        return f"accuracy of int8 {a:.2f} to {b:.2f} % ({b - a:+.2f} points)"
    if after.agreement is not None and before.agreement is not None:
        return (f"agreement with the float model {100 * before.agreement:.2f} to "
                f"{100 * after.agreement:.2f} %")  # fmt: skip
    return f"SQNR {before.sqnr_db:.1f} to {after.sqnr_db:.1f} dB"


def closeness(side: Side) -> float:
    """What networks are compared by: agreement with the original, or SQNR without classes."""
    return side.agreement if side.agreement is not None else side.sqnr_db


def _against_int4(p: Pruned) -> str:
    """What four-bit weights of the unpruned model would give instead."""
    four, ours = p.before_int4, p.after_int8
    assert four.flash_bytes and ours.flash_bytes
    close = (f"{100 * four.agreement:.2f} % agreement" if four.agreement is not None
             else f"{four.sqnr_db:.1f} dB")  # fmt: skip
    if not (four.instructions and ours.instructions and p.before_int8.instructions):
        # The target's reference board could not run: nothing to say of speed.
        return f"compare  int4 weights of the unpruned model: flash {four.flash_bytes} B, {close}"
    facts = f"flash {spaced(four.flash_bytes)} B, {spaced(four.instructions)} instructions, {close}"
    if four.flash_bytes <= ours.flash_bytes and closeness(four) >= closeness(ours):
        slower = ours.instructions >= p.before_int8.instructions
        if four.instructions <= ours.instructions or slower:
            return f"instead  int4 weights serve better: edgekit compile --weight-bits 4 ({facts})"
        return f"instead  int4 weights are smaller and closer, but not as fast ({facts})"
    return f"compare  int4 weights of the unpruned model: {facts}"


def sizes_of(graph: Graph) -> dict[str, int]:
    """Multiply-accumulates, weights, and how many of these are zero."""
    macs = weights = zeros = 0
    for node in graph.nodes:
        values = [graph.values[i] for i in node.inputs]
        macs += operator(node.op).macs(node, values, graph.values[node.output])
        if len(node.inputs) == 3:
            w = graph.constants[node.inputs[1]]
            weights += w.size
            zeros += w.size - int(np.count_nonzero(w))
    return {"macs": macs, "weights": weights, "zeros": zeros}
