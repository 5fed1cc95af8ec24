"""Run the float graph over the calibration data and choose each tensor's quantization."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np

from edgekit.errors import EdgekitError
from edgekit.graph import Graph, Node, Quant
from edgekit.reference import steps
from quantizer.floats import evaluate
from quantizer.limits import least_scale, widened
from quantizer.pooling import PoolInputs
from quantizer.ranges import (
    Observer,
    Ranges,
    activation_quant,
    range_of,
    wide_quant,
    with_zero,
)
from quantizer.widths import SHARING

#: TFLite's fixed quantization of probabilities.
SOFTMAX_QUANT = {"int8": Quant.make(1 / 256, -128), "int16": Quant.make(1 / 32768, 0)}
#: Fewer different calibration samples than this say too little about ranges.
MIN_SAMPLES = 8
#: Results that calibration keeps between its two passes: 128 MB of float32.
KEPT_ELEMENTS = 1 << 25
#: Elements of the largest tensor in one batch: 16 MB of float32.
BATCH_ELEMENTS = 1 << 22


def batches(graph: Graph, data: dict[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    """The data as float32 in batches of bounded memory."""
    largest = max(value.size for value in graph.values.values())
    step = max(1, BATCH_ELEMENTS // largest)
    n = len(next(iter(data.values())))
    for i in range(0, n, step):
        yield {name: x[i : i + step].astype(np.float32) for name, x in data.items()}


def check_samples(data: dict[str, np.ndarray]) -> None:
    """Refuse calibration data with too few different samples.

    Raises:
        EdgekitError: E205.
    """
    count = len(next(iter(data.values())))
    distinct = len({b"".join(x[i].tobytes() for x in data.values()) for i in range(count)})
    if distinct < MIN_SAMPLES:
        same = "" if distinct == count else f", {distinct} of them different"
        if distinct == 1 < count:
            same = ", all of them the same"
        raise EdgekitError(
            "E205",
            f"the calibration data has {count} samples{same}, at least {MIN_SAMPLES} different "
            "ones are needed: ranges and biases are set by how activations vary between samples",
            help="about 100 typical samples give good ranges",
        )


def check_constants(graph: Graph) -> None:
    """Refuse weights that are no numbers, before they are met in some layer's result.

    Raises:
        EdgekitError: E213 with the layer.
    """
    for node in graph.nodes:
        for name in node.inputs:
            data = graph.constants.get(name)
            if data is None or data.dtype.kind != "f":
                continue
            bad = ~np.isfinite(data)
            if bad.any():
                place = ", ".join(str(int(i)) for i in np.argwhere(bad)[0])
                raise EdgekitError(
                    "E213",
                    f"layer '{node.name or node.output}' ({node.op}): {int(bad.sum())} of the "
                    f"{data.size} numbers of its constant '{name}' are NaN or infinite, the first "
                    f"at [{place}]",
                    help="export the model again from a checkpoint that works: a network with such "
                    "weights computes nothing",
                )


def observe(
    graph: Graph, data: dict[str, np.ndarray], progress: Callable[[str, float], None]
) -> tuple[dict[str, Observer], PoolInputs]:
    """Extremes and histogram of every input and node result, samples of what pools read.

    Raises:
        EdgekitError: E208 where the float network itself gives NaN or infinity.
    """
    names = [*graph.inputs, *(node.output for node in graph.nodes)]
    observers = {name: Observer() for name in names}
    count = len(next(iter(data.values())))
    pools = PoolInputs(graph, count)

    # Run once where all results fit into memory, else once more for the histograms.
    results = sum(graph.values[node.output].size for node in graph.nodes) * count
    kept: list[list[np.ndarray]] = []
    for number, see in enumerate((Observer.see_extremes, Observer.see_histogram)):
        done = 0
        for index, feeds in enumerate(batches(graph, data)):
            for name in graph.inputs:
                see(observers[name], feeds[name])
            found: Iterable[tuple[Node, np.ndarray]]
            if number == 1 and kept:
                found = zip(graph.nodes, kept[index], strict=True)
            else:
                found = ((node, y) for node, _, y in steps(graph, feeds, evaluate))
            batch = []
            for node, result in found:
                if number == 0:
                    check_finite(node, result, done)
                    batch.append(result)
                see(observers[node.output], result)
                if number == 1:
                    pools.see(node.output, result)
            if number == 0 and results <= KEPT_ELEMENTS:
                kept.append(batch)
            done += len(next(iter(feeds.values())))
            progress("calibrate", (number + done / count) / 2)
    return observers, pools


def check_finite(node: Node, result: np.ndarray, first: int) -> None:
    """Refuse a node's result [n, ...] with NaN or infinity; `first` is the number of its sample 0.

    Raises:
        EdgekitError: E208.
    """
    if np.isfinite(result).all():
        return
    bad = ~np.isfinite(result.reshape(len(result), -1))
    row = int(np.argmax(bad.any(axis=1)))
    raise EdgekitError(
        "E208",
        f"layer '{node.name or node.output}' ({node.op}) gives NaN or infinity for sample "
        f"{first + row} ({int(bad[row].sum())} of {bad.shape[1]} numbers)",
        help="the float model itself does so: check its weights and the scale of the inputs",
    )


def choose_quants(
    graph: Graph,
    observers: dict[str, Observer],
    pools: PoolInputs,
    ranges: Ranges,
    dtypes: Mapping[str, str],
) -> dict[str, Quant]:
    """The quantization by name of every activation that is int8 or int16.

    Graph inputs keep their observed extremes: clipping would lose pixels that calibration saw
    rarely. Graph outputs and what a softmax reads get a margin beyond theirs (`tails`): clipping
    would merge the largest scores.
    """
    scores = set(graph.outputs) | {n.inputs[0] for n in graph.nodes if n.op == "softmax"}
    exact = scores | set(graph.inputs)
    quants: dict[str, Quant] = {}

    def choose(name: str) -> tuple[float, float]:
        seen = observers[name]
        if ranges == "mse" and name in pools.pools:
            return with_zero(*pools.range_of(name, seen.lo, seen.hi))
        if name in scores and ranges != "minmax":
            return with_zero(*seen.extended())
        return range_of(seen, "minmax" if name in exact else ranges)

    def quant(name: str, least: float) -> Quant:
        if dtypes[name] == "int16":
            seen = observers[name]
            return wide_quant(*widened(*with_zero(seen.lo, seen.hi), least, 32767))
        return activation_quant(*widened(*choose(name), least))

    for name in graph.inputs:
        quants[name] = quant(name, 0.0)
    for node in graph.nodes:
        name = node.output
        if dtypes[name] == "float32":
            continue
        if node.op == "softmax":
            quants[name] = SOFTMAX_QUANT[dtypes[name]]
        elif node.op in SHARING:
            quants[name] = quants[node.inputs[0]]
        else:
            quants[name] = quant(name, least_scale(graph, node, quants, dtypes))
    return quants
