"""Run the float graph over the calibration data and choose each tensor's quantization."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from edgekit.errors import EdgekitError
from edgekit.graph import Graph, Node, Quant
from edgekit.ops import operator
from edgekit.reference import steps
from quantizer.floats import evaluate
from quantizer.groups import Groups, activations, grid_groups, inner_grids
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
        yield {name: x[i : i + step].astype(graph.values[name].dtype) for name, x in data.items()}


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


#: Extremes by the name of an inner quantity, by the name of a node's first result.
InnerRanges = dict[str, dict[str, tuple[float, float]]]


@dataclass(frozen=True)
class Observed:
    """What calibration saw: every real tensor, samples of what pools read, extremes of quantities
    inside of operators."""

    tensors: dict[str, Observer]
    pools: PoolInputs
    inner: InnerRanges

    def see_inside(self, node: Node, operands: list[np.ndarray]) -> None:
        found = self.inner.setdefault(node.output, {})
        for name, (lo, hi) in operator(node.op).inner_ranges(node, operands).items():
            before = found.get(name, (np.inf, -np.inf))
            found[name] = (min(before[0], lo), max(before[1], hi))


def observe(
    graph: Graph, data: dict[str, np.ndarray], progress: Callable[[str, float], None]
) -> Observed:
    """Extremes and histogram of every input and node result, samples of what pools read.

    Raises:
        EdgekitError: E208 where the float network itself gives NaN or infinity.
    """
    observers = {name: Observer() for name in activations(graph)}
    count = len(next(iter(data.values())))
    pools = PoolInputs(graph, count)
    observed = Observed(observers, pools, {})

    # Run once where all results fit into memory, else once more for the histograms.
    sizes = sum(graph.values[name].size for node in graph.nodes for name in node.outputs) * count
    kept: list[list[list[np.ndarray]]] = []
    for number, see in enumerate((Observer.see_extremes, Observer.see_histogram)):
        done = 0
        for index, feeds in enumerate(batches(graph, data)):
            for name in graph.inputs:
                if name in observers:
                    see(observers[name], feeds[name])
            found: Iterable[tuple[Node, list[np.ndarray]]]
            if number == 1 and kept:
                found = zip(graph.nodes, kept[index], strict=True)
            else:
                found = _results(graph, feeds, observed if number == 0 else None)
            batch = []
            for node, results in found:
                if number == 0:
                    batch.append(results)
                for name, result in zip(node.outputs, results, strict=True):
                    if name not in observers:
                        continue
                    if number == 0:
                        check_finite(node, result, done)
                    see(observers[name], result)
                    if number == 1:
                        pools.see(name, result)
            if number == 0 and sizes <= KEPT_ELEMENTS:
                kept.append(batch)
            done += len(next(iter(feeds.values())))
            progress("calibrate", (number + done / count) / 2)
    return observed


def _results(
    graph: Graph, feeds: dict[str, np.ndarray], observed: Observed | None
) -> Iterator[tuple[Node, list[np.ndarray]]]:
    for node, operands, results in steps(graph, feeds, evaluate):
        if observed is not None:
            observed.see_inside(node, operands)
        yield node, results


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
    observed: Observed,
    ranges: Ranges,
    dtypes: Mapping[str, str],
) -> dict[str, Quant]:
    """The quantization by name of every activation that is int8 or int16.

    Graph inputs keep their observed extremes: clipping would lose pixels that calibration saw
    rarely. Graph outputs and what a softmax reads get a margin beyond theirs (`tails`): clipping
    would merge the largest scores. Tensors that have one quantization (`quantizer.groups`) get it
    for all that was seen of them.
    """
    groups, fixed = grid_groups(graph, dtypes)
    extremes = {name: (seen.lo, seen.hi) for name, seen in observed.tensors.items()}
    fixed = inner_grids(graph, observed.inner, extremes, groups) | fixed
    choice = _Choice(graph, observed, ranges, dtypes, groups)
    quants = _Quants(choice, groups)
    makers = {name: node for node in graph.nodes for name in node.outputs}
    chosen: dict[str, Quant] = {}
    for root, members in groups.members().items():
        if root in fixed:
            chosen[root] = fixed[root]
            quants.update(dict.fromkeys(members, fixed[root]))
    for name in groups.names:
        root = groups.of(name)
        if root not in chosen and dtypes[name] != "float32":
            sources = choice.sources(root)
            floors = [least_scale(graph, makers[n], quants, dtypes) for n in sources if n in makers]
            chosen[root] = choice.quant(root, max(floors, default=0.0))
            quants.update(dict.fromkeys(groups.members()[root], chosen[root]))
    return {name: quants[name] for name in groups.names if dtypes[name] != "float32"}


class _Choice:
    """The quantization of groups of tensors under one method of ranges."""

    def __init__(
        self,
        graph: Graph,
        observed: Observed,
        ranges: Ranges,
        dtypes: Mapping[str, str],
        groups: Groups,
    ) -> None:
        self.graph, self.observed, self.ranges, self.dtypes = graph, observed, ranges, dtypes
        self.members = groups.members()
        self.scores = set(graph.outputs) | {n.inputs[0] for n in graph.nodes if n.op == "softmax"}
        moved = {
            name
            for node in graph.nodes
            if operator(node.op).grid_for(node) == "operand" and operator(node.op).keeps_range(node)
            for name in node.outputs
        }
        self.made = {name for name in groups.names if name not in moved}

    def sources(self, root: str) -> list[str]:
        """The members of a group that hold numbers of their own, not those of another member."""
        members = self.members[root]
        return [name for name in members if name in self.made] or members[:1]

    def quant(self, root: str, least: float) -> Quant:
        """The quantization of a group whose scale is not below `least`."""
        names = self.sources(root)
        seen = Observer.merged([self.observed.tensors[name] for name in names])
        if self.dtypes[root] == "int16":
            return wide_quant(*widened(*with_zero(seen.lo, seen.hi), least, 32767))
        return activation_quant(*widened(*self._range(names, seen), least))

    def _range(self, names: list[str], seen: Observer) -> tuple[float, float]:
        pools = self.observed.pools
        if self.ranges == "mse" and names[0] in pools.pools and len(names) == 1:
            return with_zero(*pools.range_of(names[0], seen.lo, seen.hi))
        if self.scores.intersection(names) and self.ranges != "minmax":
            return with_zero(*seen.extended())
        exact = self.graph.inputs
        return range_of(seen, "minmax" if set(names) & self.scores.union(exact) else self.ranges)


class _Quants(dict[str, Quant]):
    """What is chosen so far. Floors need some quantization of operands that are chosen later: what
    these would get without a floor."""

    def __init__(self, choice: _Choice, groups: Groups) -> None:
        super().__init__()
        self._choice, self._groups = choice, groups

    def __missing__(self, name: str) -> Quant:
        return self._choice.quant(self._groups.of(name), 0.0)
