"""What each layer's weights and each tensor cost in quality at each width, one at a time.

One thing is quantized, everything else stays float, and the network runs on from there: the squared
error that arrives at the scores is that thing's noise. Noises of different origin hardly correlate,
so that their sum predicts the noise of a mixture well enough to choose one by; what was chosen is
then quantized and measured for real.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from edgekit.data import prepare
from edgekit.graph import Graph, Node, Quant, Value, logits_of
from edgekit.ops import operator
from edgekit.ops.base import run_node
from edgekit.ops.convert import dequantize, quantize
from edgekit.reference import evaluate_samples, run
from quantizer.calibrate import check_samples, choose_quants, observe
from quantizer.compare import sqnr_db
from quantizer.gptq import DAMPING, MOST_INPUTS, damped, round_groups
from quantizer.groups import width_groups
from quantizer.moments import moments
from quantizer.ranges import Ranges
from quantizer.states import opened
from quantizer.weights import grid_of, quantize_weights, rows, unrows
from quantizer.widths import formats_of, layer_name, weighted, widths_of

#: Elements of all tensors of the samples that are looked at: 256 MB of float32.
HELD_ELEMENTS = 1 << 26
MOST_SAMPLES = 64


@dataclass(frozen=True)
class Sensitivity:
    """Mean squared errors at the scores, and the mean square of the scores themselves.

    Attributes:
        weights: {layer: {bits: noise}} for 8 and, where the layer may have them, 4 bits.
        tensors: {layer or input that makes the tensor: {bits: noise}} for 8 and 16 bits. Results
            that share their operand's quantization count with it.
        members: {the same names: tensors that become wide together}.
    """

    signal: float
    weights: Mapping[str, Mapping[int, float]]
    tensors: Mapping[str, Mapping[int, float]]
    members: Mapping[str, tuple[str, ...]]

    def noise(self, weight_bits: Mapping[str, int], activation_bits: Mapping[str, int]) -> float:
        """The predicted noise of a mixture; what it does not name has 8 bits."""
        noise = sum(by_bits[weight_bits.get(n, 8)] for n, by_bits in self.weights.items())
        return noise + sum(by[activation_bits.get(n, 8)] for n, by in self.tensors.items())

    def sqnr_db(self, weight_bits: Mapping[str, int], activation_bits: Mapping[str, int]) -> float:
        """The predicted SQNR of a mixture in dB."""
        return sqnr_db(self.signal, self.noise(weight_bits, activation_bits))


def sensitivity(
    graph: Graph,
    calibration: Mapping[str, np.ndarray],
    *,
    ranges: Ranges = "mse",
    progress: Callable[[str, float], None] | None = None,
) -> Sensitivity:
    """Measure every layer and tensor of a canonical float graph.

    Raises:
        EdgekitError: E201 .. E205, E208 as `quantizer.quantize`.
    """
    say = progress or (lambda stage, share: None)
    graph = graph.copy()
    graph.drop_unused()
    data = prepare(graph, calibration, source="the calibration data")
    check_samples(data)
    graph, data = opened(graph, data)
    observed = observe(graph, data, say)
    quants = {
        bits: choose_quants(graph, observed, ranges, formats_of(graph, 8, bits, ()).dtypes)
        for bits in (8, 16)
    }
    probe = _Probe(graph, data, quants)
    layers, roots = weighted(graph), _roots(graph)
    total, done = len(layers) + len(roots), 0
    allowed = widths_of(graph, 4)
    weights: dict[str, dict[int, float]] = {}
    for node in layers:
        name = layer_name(node)
        weights[name] = {bits: probe.weights(node, bits) for bits in {8, allowed[name]}}
        done += 1
        say("sensitivity", done / total)
    tensors: dict[str, dict[int, float]] = {}
    for name, members in roots.items():
        tensors[name] = {bits: probe.tensor(members, bits) for bits in (8, 16)}
        done += 1
        say("sensitivity", done / total)
    return Sensitivity(probe.signal, weights, tensors, roots)


def _roots(graph: Graph) -> dict[str, tuple[str, ...]]:
    """Tensors by who makes them, with those that have to have the same width."""
    makers = {name: name for name in graph.inputs}
    makers |= {name: layer_name(node) for node in graph.nodes for name in node.outputs}
    found: dict[str, tuple[str, ...]] = {}
    for name, group in width_groups(graph).members().items():
        found[makers[name]] = (*found.get(makers[name], ()), *group)
    return found


class _Probe:
    """The float network on some samples, run again with one thing quantized."""

    def __init__(
        self, graph: Graph, data: Mapping[str, np.ndarray], quants: Mapping[int, dict[str, Quant]]
    ) -> None:
        self.graph, self.quants = graph, quants
        per_sample = sum(v.size for n, v in graph.values.items() if n not in graph.constants)
        n = max(1, min(MOST_SAMPLES, HELD_ELEMENTS // per_sample))
        count = len(next(iter(data.values())))
        picked = np.unique(np.linspace(0, count - 1, min(n, count)).astype(np.intp))
        feeds = {name: x[picked].astype(graph.values[name].dtype) for name, x in data.items()}
        self.count = len(picked)
        self.floats = run(graph, feeds, keep="all")
        self.scores = logits_of(graph)
        self.signal = float(np.mean(np.square(self.floats[self.scores], dtype=np.float64)))

    def weights(self, node: Node, bits: int) -> float:
        """Noise of one layer's weights, rounded as `quantize` does it, means corrected."""
        x, w_name, b_name = node.inputs
        w, bias = self.graph.constants[w_name], self.graph.constants[b_name]
        fake = self._rounded(node, w, bias, bits)
        operator_ = operator(node.op)
        linear = Node(node.op, node.inputs, node.outputs, {**node.attrs, "clamp": None}, node.name)
        have = operator_.reference_float(linear, [self.floats[x], fake, bias])
        want = operator_.reference_float(linear, [self.floats[x], w, bias])
        axes = tuple(range(want.ndim - 1))
        shifted = bias + (want - have).mean(axis=axes, dtype=np.float64).astype(np.float32)
        return self._noise(
            {node.output: operator_.reference_float(node, [self.floats[x], fake, shifted])}, {}
        )

    def _rounded(self, node: Node, w: np.ndarray, bias: np.ndarray, bits: int) -> np.ndarray:
        """The weights as `quantize` rounds them by default, here for float inputs; float32."""
        scale = float(self.quants[8][node.inputs[0]].scale[0])
        r = rows(node, w).astype(np.float64)
        if r.shape[1] > MOST_INPUTS:
            q, quant = quantize_weights(node, w, bias, scale, bits=bits)
            return dequantize(Value("w", tuple(q.shape), "int8", quant), q)
        x = self.floats[node.inputs[0]]
        found = moments(node, w, x, 1.0, x).centred()
        doubt = r.shape[1] / found.count
        metrics = [damped(h, DAMPING + doubt) for h in found.h]
        grid = grid_of("per-channel", bits, r, bias, scale, "int8")
        parts = np.split(r, len(metrics))
        q, scales = round_groups(parts, metrics, grid, grid.scales(r))
        return unrows(node, (q * scales[:, None]).astype(np.float32), w.shape)

    def tensor(self, members: tuple[str, ...], bits: int) -> float:
        """Noise of tensors that have one width, and of the results that keep their quantization."""
        quants = {name: self.quants[bits][name] for name in members}
        makers = {name: node for node in self.graph.nodes for name in node.outputs}
        own = [n for n in members if n not in makers or _makes_numbers(makers[n])]
        return self._noise({n: self._fake(n, self.floats[n], quants) for n in own}, quants)

    def _fake(self, name: str, x: np.ndarray, quants: Mapping[str, Quant]) -> np.ndarray:
        quant = quants[name]
        dtype = "int8" if quant == self.quants[8][name] else "int16"
        value = Value(name, self.graph.values[name].shape, dtype, quant)
        return dequantize(value, quantize(value, x))

    def _noise(self, changed: dict[str, np.ndarray], quants: Mapping[str, Quant]) -> float:
        """Run on from changed tensors; the mean squared error of the scores."""
        for node in self.graph.nodes:
            if self.scores in changed:
                break
            if node.output in changed and node.output not in quants:
                continue
            if not any(i in changed for i in node.inputs):
                continue
            operands = [
                changed[i] if i in changed else self.graph.constants.get(i, self.floats.get(i))
                for i in node.inputs
            ]
            results = evaluate_samples(
                self.graph, node, [x for x in operands if x is not None], self.count, run_node
            )
            for name, y in zip(node.outputs, results, strict=True):
                changed[name] = self._fake(name, y, quants) if name in quants else y
        if self.scores not in changed:
            return 0.0
        error = changed[self.scores] - self.floats[self.scores]
        return float(np.mean(np.square(error, dtype=np.float64)))


def _makes_numbers(node: Node) -> bool:
    """Whether the node's results are not numbers of its operand."""
    return operator(node.op).grid_for(node) != "operand"
