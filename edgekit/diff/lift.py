"""What one tensor's quantization costs: the integer network run again without it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgekit.graph import Graph, Node
from edgekit.ops import operator
from edgekit.ops.base import run_node
from edgekit.ops.convert import dequantize, quantize
from edgekit.ops.fixedpoint import TABLE_STEPS
from edgekit.reference import evaluate_samples

#: Operators whose result is their operand's numbers: both are one tensor to the memory.
SAME_NUMBERS = ("reshape", "transpose")


def group(graph: Graph, name: str) -> frozenset[str]:
    """`name` and every tensor that holds the same numbers because it is made from it."""
    members = {name}
    for node in graph.nodes:
        if node.op in SAME_NUMBERS and node.inputs[0] in members:
            members.add(node.output)
    return frozenset(members)


class Lifter:
    """Runs an integer graph with some tensors left unquantized.

    Args:
        graph: the integer graph.
        reals: what its inputs were quantized from, by name.
        integers: all tensors of a run on these inputs, by name.
    """

    def __init__(
        self, graph: Graph, reals: Mapping[str, np.ndarray], integers: Mapping[str, np.ndarray]
    ) -> None:
        self.graph, self.reals, self.integers = graph, reals, integers
        self.count = len(next(iter(reals.values())))
        self.constants = {
            name: dequantize(graph.values[name], data) for name, data in graph.constants.items()
        }

    def run(self, lifted: frozenset[str], result: str) -> np.ndarray:
        """The real values of the tensor `result`, with `lifted` kept in float32.

        A node that reads or writes a lifted tensor computes in float32 on dequantized operands,
        weights included; everything else stays integer. What a lifted tensor cannot reach is
        taken from the run there was.
        """
        changed: dict[str, np.ndarray] = {
            name: self.reals[name].astype(np.float32)
            for name in self.graph.inputs
            if name in lifted
        }
        for node in self.graph.nodes:
            if lifted.intersection(node.outputs) or any(i in changed for i in node.inputs):
                results = self._step(node, lifted, changed)
                changed.update(zip(node.outputs, results, strict=True))
            if result in node.outputs:
                break
        x = changed[result] if result in changed else self.integers[result]
        return x if result in lifted else dequantize(self.graph.values[result], x)

    def _step(
        self, node: Node, lifted: frozenset[str], changed: Mapping[str, np.ndarray]
    ) -> list[np.ndarray]:
        graph = self.graph
        if not lifted.intersection((*node.inputs, *node.outputs)):
            have: list[Mapping[str, np.ndarray]] = [graph.constants, changed, self.integers]
            operands = [next(h[i] for h in have if i in h) for i in node.inputs]
            return evaluate_samples(graph, node, operands, self.count, run_node)
        operands = [self._real(i, lifted, changed) for i in node.inputs]
        results = evaluate_samples(graph, node, operands, self.count, _in_reals)
        return [
            y if name in lifted or graph.values[name].quant is None
            else quantize(graph.values[name], y)
            for name, y in zip(node.outputs, results, strict=True)
        ]  # fmt: skip

    def _real(
        self, name: str, lifted: frozenset[str], changed: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        if name in self.constants:
            return self.constants[name]
        if name in lifted:
            return changed[name]
        return dequantize(self.graph.values[name], changed.get(name, self.integers[name]))


def _in_reals(graph: Graph, node: Node, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """The results of a node on reals, whatever the graph says of its tensors."""
    return operator(node.op).evaluate_float(node, inputs)


def more_flash(graph: Graph, lifted: frozenset[str]) -> int:
    """Bytes by which constants grow where `lifted` tensors have 16 bits.

    Weights and biases stay as they are; a softmax has two tables of 513 int16 instead of one of 256
    int32.
    """
    readers = [n for n in graph.nodes if n.op == "softmax" and n.inputs[0] in lifted]
    return (2 * 2 * (TABLE_STEPS + 1) - 4 * 256) * bool(readers)


def peak_bytes(graph: Graph, doubled: frozenset[str] = frozenset()) -> int:
    """The most activation bytes alive at one node, `doubled` tensors counted twice.

    A reshape shares its operand's memory. Kernels' scratch is not counted.
    """
    root: dict[str, str] = {}
    size: dict[str, int] = {}
    last: dict[str, int] = {}
    first: dict[str, int] = {}

    def made(name: str, at: int) -> None:
        root[name], first[name], last[name] = name, at, at
        size[name] = graph.values[name].nbytes * (2 if name in doubled else 1)

    for name in graph.inputs:
        made(name, 0)
    for at, node in enumerate(graph.nodes):
        for name in node.inputs:
            if name in root:
                last[root[name]] = at
        if node.op == "reshape" and node.inputs[0] in root:
            root[node.output] = root[node.inputs[0]]
        else:
            made(node.output, at)
    for name in graph.outputs:
        last[root[name]] = len(graph.nodes)
    alive = range(len(graph.nodes))
    return max((sum(size[n] for n in size if first[n] <= i <= last[n]) for i in alive), default=0)
