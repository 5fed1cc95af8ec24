"""Quantize a canonical float graph: ranges, integer weights, bias correction, a report."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from edgekit.data import prepare
from edgekit.errors import EdgekitError, did_you_mean
from edgekit.graph import Graph, Node, Quant, Value, logits_of, scores_of
from edgekit.ops import operator
from edgekit.ops.convert import quantize as quantize_numbers
from edgekit.ops.requant import tensor_quant
from quantizer import movement, normalize, recurrent  # noqa: F401  they fill QUANTIZERS
from quantizer.calibrate import (
    InnerRanges,
    check_constants,
    check_samples,
    choose_quants,
    observe,
)
from quantizer.compare import compare
from quantizer.constants import QUANTIZERS, Context
from quantizer.correct import BiasCorrection, Refinement, refine
from quantizer.equalize import equalize as equalized
from quantizer.gptq import MOST_INPUTS
from quantizer.limits import check_accumulators
from quantizer.ranges import Ranges, constant_quant
from quantizer.states import closed, opened
from quantizer.weights import CHANNEL_AXIS, Weights, bias_scale, quantize_bias, quantize_weights
from quantizer.widths import Formats, constant_dtype, formats_of, layer_name, weighted

Rounding = Literal["nearest", "gptq"]
#: The values of each option, in the order of `quantize`'s arguments.
CHOICES: dict[str, tuple[str, ...]] = {
    "ranges": get_args(Ranges),
    "weights": get_args(Weights),
    "bias_correction": get_args(BiasCorrection),
    "rounding": get_args(Rounding),
}


@dataclass(frozen=True)
class Options:
    """The choices of `quantize`."""

    ranges: Ranges
    weights: Weights
    bias_correction: BiasCorrection
    formats: Formats
    rounding: Rounding | None

    def gptq(self, graph: Graph) -> set[str]:
        """The layers whose weights GPTQ rounds.

        Raises:
            EdgekitError: E214 where it was asked for and a layer has too many inputs for it.
        """
        if self.rounding == "nearest":
            return set()
        inputs = {
            layer_name(n): _fan_in(graph, n)
            for n in weighted(graph)
            if layer_name(n) in self.formats.weight_bits
        }
        large = [name for name, k in inputs.items() if k > MOST_INPUTS]
        if large and self.rounding == "gptq":
            raise EdgekitError(
                "E214",
                f"layer '{large[0]}' sums {inputs[large[0]]} products per result, GPTQ takes up to "
                f"{MOST_INPUTS}: it holds the square of that in memory",
                help="leave the rounding open: such layers then take the nearest integers",
            )
        return inputs.keys() - set(large)


@dataclass(frozen=True)
class TensorReport:
    """What calibration saw of one tensor, and what its integers make of it.

    `lo`, `hi` are the observed extremes, `range_lo`, `range_hi` the reals that the integers cover,
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
    (the logits) as well, all on calibration data. `equalized` says whether cross-layer
    equalization was kept; `float_graph` then is the equalized network.
    """

    graph: Graph
    float_graph: Graph
    tensors: dict[str, TensorReport]
    sqnr_db: dict[str, float]
    samples: int
    formats: Formats
    equalized: bool = False

    @property
    def logits_sqnr_db(self) -> float:
        """The SQNR of the first output, before its softmax where it has one."""
        return self.sqnr_db[logits_of(self.float_graph)]


def quantize(
    graph: Graph,
    calibration: Mapping[str, np.ndarray],
    *,
    ranges: Ranges = "mse",
    weights: Weights = "per-channel",
    bias_correction: BiasCorrection = "empirical",
    weight_bits: int | Mapping[str, int] = 8,
    activation_bits: int | Mapping[str, int] = 8,
    float_layers: Collection[str] = (),
    rounding: Rounding | None = None,
    equalize: bool = False,
    progress: Callable[[str, float], None] | None = None,
) -> QuantizationResult:
    """Post-training quantization to TFLite's integer specification.

    Weights have 8 or 4 bits, activations 8 or 16; single layers may stay in float32.

    docs/QUANTIZATION.md has what each choice is and measures.

    Args:
        graph: canonical float graph.
        calibration: {input name: array [n, ...] of real values}, any real dtype.
        ranges: how activation ranges are chosen: "mse" least squared error, "minmax" the observed
            extremes, "percentile" 99.99 % of the numbers, "kl" least divergence of histograms.
        weights: one scale per output channel, or one per layer.
        bias_correction: shift each layer's bias so that the integer network's mean per channel
            equals the float network's: "empirical" in the running networks, "analytic" from the
            rounding of the weights alone, or "none".
        weight_bits: 8, 4 (first, last and depthwise layers stay at 8), or bits by layer name with
            "*" for the others.
        activation_bits: 8, 16, or bits by layer (of its result) or input name with "*" for the
            others. Pools, reshapes, transposes and softmax have their operand's.
        float_layers: names of layers that compute in float32, with their operands and results
            converted inside the layer.
        rounding: of weights, "nearest" or "gptq"; None takes gptq, the measured best, but for
            layers with more than 4096 products per result.
        equalize: also try cross-layer equalization, and keep it where the SQNR of the first
            output (before its softmax) on the calibration data is the better for it.
        progress: called with (stage, fraction done).

    Raises:
        EdgekitError: E201 .. E205 calibration data, E206 the graph is quantized already,
            E208 NaN in the float network, E209 an accumulator that could overflow,
            E211 weight_bits, E212 an unknown option, E213 NaN or infinity in weights,
            E214 a layer too large for GPTQ, E280 activation_bits, E281 float_layers.
    """
    report = progress or (lambda stage, fraction: None)
    _check_options(ranges, weights, bias_correction, rounding)
    _check_float(graph)
    graph = graph.copy()
    graph.drop_unused()
    check_constants(graph)
    data = prepare(graph, calibration, source="the calibration data")
    check_samples(data)
    formats = formats_of(graph, weight_bits, activation_bits, float_layers)
    options = Options(ranges, weights, bias_correction, formats, rounding)
    plain = _quantize(graph, data, options, report)
    if not equalize:
        return plain
    balanced = equalized(graph, data)
    if balanced is graph:
        return plain
    # Equalized tensors have names of their own, layers keep theirs.
    formats = formats_of(balanced, weight_bits, activation_bits, float_layers)
    other = _quantize(balanced, data, replace(options, formats=formats), report)
    better = other.logits_sqnr_db > plain.logits_sqnr_db
    return replace(other, equalized=True) if better else plain


def _quantize(
    graph: Graph,
    data: dict[str, np.ndarray],
    options: Options,
    report: Callable[[str, float], None],
) -> QuantizationResult:
    whole, graph, samples = graph, *opened(graph, data)
    observed = observe(graph, samples, report)
    formats = options.formats
    quants = choose_quants(graph, observed, options.ranges, formats.dtypes)
    integer = build(graph, quants, options, observed.inner)
    gptq, sqnr = options.gptq(graph), None
    if gptq or options.bias_correction != "none":
        means = {name: seen.means for name, seen in observed.tensors.items()}
        how = Refinement(options.bias_correction, options.weights, formats.weight_bits, gptq, means)
        sqnr = refine(graph, integer, samples, how, report)
    integer = closed(integer.verify(), whole)
    check_accumulators(integer)
    if sqnr is None or whole.states:
        sqnr = compare(whole, integer, data, report)
    tensors = {
        name: TensorReport(seen.lo, seen.hi, *_covered(integer.values[name]), sqnr_db=sqnr[name])
        for name, seen in observed.tensors.items()
        if name in quants and name in sqnr
    }
    named = [n for n in (*whole.outputs, *scores_of(whole)) if n in sqnr]
    count = len(next(iter(data.values())))
    return QuantizationResult(integer, whole, tensors, {n: sqnr[n] for n in named}, count, formats)


def _covered(value: Value) -> tuple[float, float, float, int]:
    """(lowest real, highest real, scale, zero point)."""
    (scale, zero_point), info = tensor_quant(value), np.iinfo(value.dtype)
    lo, hi = (int(info.min) - zero_point) * scale, (int(info.max) - zero_point) * scale
    return lo, hi, scale, zero_point


def _check_options(*chosen: str | None) -> None:
    for value, known in zip(chosen, CHOICES.values(), strict=True):
        if value is not None and value not in known:
            option = next(name for name, values in CHOICES.items() if values is known)
            raise EdgekitError(
                "E212",
                f"{option} is '{value}'",
                help=did_you_mean(str(value), list(known)),
            )


def _fan_in(graph: Graph, node: Node) -> int:
    """Products per result."""
    shape = graph.values[node.inputs[1]].shape
    return int(np.prod(shape)) // shape[CHANNEL_AXIS[node.op]]


def _check_float(graph: Graph) -> None:
    integer = [
        n for n in [*graph.inputs, *graph.outputs] if graph.values[n].dtype in ("int8", "int16")
    ]
    if integer:
        raise EdgekitError(
            "E206",
            f"'{integer[0]}' is {graph.values[integer[0]].dtype}: the model is quantized already",
            help="compile it without calibration data",
        )


def build(graph: Graph, quants: dict[str, Quant], options: Options, inner: InnerRanges) -> Graph:
    """The integer graph under given activation quantization, weights rounded to the nearest and
    biases not corrected yet.

    Values keep their names; constants are replaced by integer ones under new names.
    """
    out = graph.copy()
    for name, quant in quants.items():
        out.values[name] = replace(
            out.values[name], dtype=options.formats.dtypes[name], quant=quant
        )
    out.nodes = []
    for node in graph.nodes:
        ranges = inner.get(node.output, {})
        context = Context(graph, out, quants, options.formats.dtypes, ranges)
        out.nodes.append(_integer_node(node, context, options))
    out.drop_unused()
    return out


def _integer_node(node: Node, context: Context, options: Options) -> Node:
    graph, out, quants, formats = context.graph, context.out, context.quants, options.formats
    dtype, attrs = formats.dtypes.get(node.output), dict(node.attrs)
    if dtype is not None and operator(node.op).converts:
        # Without the attribute a result is as wide as the first real operand, if there is one.
        real = [name for name in node.inputs if graph.values[name].dtype == "float32"]
        constant = constant_dtype(node, formats.dtypes)
        if not real or formats.dtypes.get(real[0], constant) != dtype:
            attrs["out_dtype"] = dtype
    if layer_name(node) in formats.floats:
        return replace(node, attrs={**attrs, "float": True})
    if node.op in CHANNEL_AXIS:
        x, w_name, b_name = node.inputs
        in_scale = float(quants[x].scale[0])
        bias = graph.constants[b_name]
        bits = formats.weight_bits[layer_name(node)]
        w, w_quant = quantize_weights(
            node,
            graph.constants[w_name],
            bias,
            in_scale,
            options.weights,
            bits,
            formats.dtypes[x],
        )
        b_scale = bias_scale(in_scale, w_quant)
        b_quant = Quant.make(b_scale.astype(np.float32), 0, 0)
        weights = out.add_constant(w_name + "_int8", w, w_quant)
        biases = out.add_constant(b_name + "_int32", quantize_bias(bias, b_scale), b_quant)
        if bits != 8:
            attrs["weight_bits"] = bits
        return replace(node, inputs=(x, weights, biases), attrs=attrs)
    if node.op in QUANTIZERS:
        return QUANTIZERS[node.op](replace(node, attrs=attrs), context)
    operands = []
    for name in node.inputs:
        if name in graph.constants and graph.values[name].dtype == "float32":
            kind = constant_dtype(node, formats.dtypes)
            quant = constant_quant(graph.constants[name], kind)
            value = Value(name, graph.values[name].shape, kind, quant)
            data = quantize_numbers(value, graph.constants[name])
            name = out.add_constant(f"{name}_{kind}", data, quant)
        operands.append(name)
    return replace(node, inputs=tuple(operands), attrs=attrs)
