"""Quantize a canonical float graph: ranges, integer weights, bias correction, a report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from edgekit.data import prepare
from edgekit.errors import EdgekitError
from edgekit.graph import Graph, GraphError, Node, Quant
from edgekit.ops import operator
from quantizer.calibrate import Ranges, choose_quants, observe
from quantizer.compare import compare
from quantizer.correct import correct_biases
from quantizer.ranges import activation_quant, with_zero
from quantizer.weights import CHANNEL_AXIS, quantize_bias, quantize_weights

#: Fewer calibration samples than this say too little about ranges.
MIN_SAMPLES = 8


@dataclass(frozen=True)
class TensorReport:
    """What calibration saw of one tensor, and what int8 makes of it.

    `lo`, `hi` are the observed extremes, `range_lo`, `range_hi` the reals that int8 covers,
    `sqnr_db` compares float and integer network at this tensor (inf where they agree).
    """

    lo: float
    hi: float
    range_lo: float
    range_hi: float
    scale: float
    zero_point: int
    sqnr_db: float


@dataclass(frozen=True)
class QuantizationResult:
    """The integer graph and how close it is.

    `sqnr_db` has the graph's outputs and, where an output is a softmax, what that softmax reads
    (the logits) as well, all on calibration data.
    """

    graph: Graph
    float_graph: Graph
    tensors: dict[str, TensorReport]
    sqnr_db: dict[str, float]
    samples: int

    @property
    def logits_sqnr_db(self) -> float:
        """The SQNR of the first output, before its softmax where it has one."""
        name = self.float_graph.outputs[0]
        producer = self.float_graph.producer(name)
        if producer is not None and producer.op == "softmax":
            name = producer.inputs[0]
        return self.sqnr_db[name]


def quantize(
    graph: Graph,
    calibration: Mapping[str, np.ndarray],
    *,
    ranges: Ranges = "mse",
    bias_correction: bool = True,
    progress: Callable[[str, float], None] | None = None,
) -> QuantizationResult:
    """Post-training quantization to TFLite's int8 specification.

    Args:
        graph: canonical float graph.
        calibration: {input name: array [n, ...] of real values}, any real dtype.
        ranges: "mse" searches activation ranges with the least squared error, "minmax" takes the
            observed extremes.
        bias_correction: shift each layer's bias so that the integer network's mean per channel
            equals the float network's (Nagel et al., arXiv:1906.04721, section 4.2, empirical).
        progress: called with (stage, fraction done).

    Raises:
        EdgekitError: E201 .. E205 calibration data, E206 the graph is quantized already,
            E208 NaN in the float network.
    """
    report = progress or (lambda stage, fraction: None)
    _check_float(graph)
    graph = graph.copy()
    graph.drop_unused()
    data = prepare(graph, calibration, source="the calibration data")
    count = len(next(iter(data.values())))
    if count < MIN_SAMPLES:
        raise EdgekitError(
            "E205",
            f"the calibration data has {count} samples, at least {MIN_SAMPLES} are needed",
            help="about 100 typical samples give good ranges",
        )
    observers, pools = observe(graph, data, report)
    quants = choose_quants(graph, observers, pools, ranges)
    integer = build(graph, quants)
    if bias_correction:
        correct_biases(graph, integer, data, report)
    integer.verify()
    sqnr = compare(graph, integer, data, report)
    tensors = {
        name: TensorReport(seen.lo, seen.hi, *_covered(quants[name]), sqnr_db=sqnr[name])
        for name, seen in observers.items()
    }
    named = list(graph.outputs)
    for output in graph.outputs:
        producer = graph.producer(output)
        if producer is not None and producer.op == "softmax":
            named.append(producer.inputs[0])
    return QuantizationResult(integer, graph, tensors, {n: sqnr[n] for n in named}, count)


def _covered(quant: Quant) -> tuple[float, float, float, int]:
    """(lowest real, highest real, scale, zero point)."""
    scale, zero_point = float(quant.scale[0]), int(quant.zero_point[0])
    return (-128 - zero_point) * scale, (127 - zero_point) * scale, scale, zero_point


def _check_float(graph: Graph) -> None:
    integer = [n for n in [*graph.inputs, *graph.outputs] if graph.values[n].dtype != "float32"]
    if integer:
        raise EdgekitError(
            "E206",
            f"'{integer[0]}' is {graph.values[integer[0]].dtype}: the model is quantized already",
            help="compile it without calibration data",
        )
    for node in graph.nodes:
        if not operator(node.op).canonical:
            raise GraphError(f"'{node.name or node.op}' ({node.op}) is not canonical")


def build(graph: Graph, quants: dict[str, Quant]) -> Graph:
    """The integer graph under given activation quantization, biases not corrected yet.

    Values keep their names; constants are replaced by integer ones under new names.
    """
    out = graph.copy()
    for name, quant in quants.items():
        out.values[name] = replace(out.values[name], dtype="int8", quant=quant)
    out.nodes = [_integer_node(graph, out, node, quants) for node in graph.nodes]
    out.drop_unused()
    return out


def _integer_node(graph: Graph, out: Graph, node: Node, quants: dict[str, Quant]) -> Node:
    if node.op in CHANNEL_AXIS:
        x, w_name, b_name = node.inputs
        in_scale = float(quants[x].scale[0])
        bias = graph.constants[b_name]
        w, w_quant, b_scale = quantize_weights(node, graph.constants[w_name], bias, in_scale)
        b_quant = Quant.make(b_scale.astype(np.float32), 0, 0)
        weights = out.add_constant(w_name + "_int8", w, w_quant)
        biases = out.add_constant(b_name + "_int32", quantize_bias(bias, b_scale), b_quant)
        return replace(node, inputs=(x, weights, biases))
    operands = []
    for name in node.inputs:
        if name in graph.constants:
            data = graph.constants[name]
            quant = activation_quant(*with_zero(float(data.min()), float(data.max())))
            scale, zero_point = float(quant.scale[0]), int(quant.zero_point[0])
            q = np.clip(np.rint(data / scale) + zero_point, -128, 127).astype(np.int8)
            name = out.add_constant(name + "_int8", q, quant)
        operands.append(name)
    return replace(node, inputs=tuple(operands))
