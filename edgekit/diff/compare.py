"""Run two networks on the same data and compare every tensor that both have.

Tensors are matched by name: the passes and the quantizer keep the names of the model file. One
batch of both networks is held at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from edgekit.data import prepare, quantize_input
from edgekit.diff.lift import Lifter, group, more_flash, peak_bytes
from edgekit.diff.model import Diff, Lift, TensorDiff
from edgekit.diff.tally import Noise, Tally
from edgekit.errors import EdgekitError, did_you_mean
from edgekit.graph import Graph, Node, logits_of
from edgekit.ops.base import run_node
from edgekit.ops.convert import dequantize, quantize
from edgekit.reference import evaluate_samples, run

Progress = Callable[[str, float], None]
Arrays = dict[str, np.ndarray]
#: Elements of all activations of one batch together: 64 MB of float32.
BATCH_ELEMENTS = 1 << 24
#: Lifting runs the network once per tensor: few samples tell enough.
LIFT_SAMPLES = 32


def compare(
    left: Graph,
    right: Graph,
    arrays: Mapping[str, np.ndarray],
    *,
    labels: np.ndarray | None = None,
    names: tuple[str, str] = ("float", "integer"),
    lift: bool = True,
    progress: Progress | None = None,
) -> Diff:
    """Compare the integer graph `right` with `left`, float or integer.

    Args:
        arrays: samples by input name [n, ...], as `edgekit.data.prepare` takes them.
        labels: a class per sample, for the accuracies.
        names: what the two are called in reports.
        lift: also measure what leaving each tensor unquantized gains.
        progress: called with a stage's name and its share done.

    Raises:
        EdgekitError: E201 .. E205 for the data, E220 .. E222, see `edgekit.diff`.
    """
    say = progress or (lambda stage, share: None)
    matched, unmatched = _match(left, right)
    checked = prepare(right, arrays)
    count = len(next(iter(checked.values())))
    tallies = {name: Tally(right.values[name]) for name in matched}
    local = {n.output: Noise() for n in right.nodes if _isolated(n, right, set(matched))}
    logits = logits_of(right)
    classes = _Classes(left, right, right.outputs[0], labels)
    done = 0
    for batch in _batches(left, right, checked):
        a, b = batch.left, batch.right
        for name in matched:
            tallies[name].see(a[name], dequantize(right.values[name], b[name]), b[name])
        for node in right.nodes:
            if node.output in local:
                local[node.output].add(a[node.output], _alone(right, node, a))
        classes.see(a, b, done)
        done += len(next(iter(batch.reals.values())))
        say("compare", done / count)
    tensors = [
        _tensor(right, name, tallies[name], local.get(name)) for name in _order(right, matched)
    ]
    result = Diff(
        *names,
        samples=count,
        logits=logits,
        logits_sqnr_db=tallies[logits].db,
        agreement=classes.agreement(count),
        accuracy_left=classes.accuracy(0, count),
        accuracy_right=classes.accuracy(1, count),
        tensors=tuple(tensors),
        unmatched=tuple(unmatched),
    )
    return _with_lifts(result, left, right, checked, say) if lift else result


# ---- which tensors


def _match(left: Graph, right: Graph) -> tuple[list[str], list[str]]:
    """Names of tensors in both graphs, and of the second one's that the first has not."""
    shapes = [{n: list(g.values[n].shape) for n in g.inputs} for g in (left, right)]
    if shapes[0] != shapes[1]:
        raise EdgekitError(
            "E220",
            f"the two models have different inputs: {_listed(shapes[0])} against "
            f"{_listed(shapes[1])}",
            help="compare a model with what was compiled from it, or two compilations of one model",
        )
    between = {n.output for n in right.nodes if n.attrs.get("float")}
    # What lies between layers that compute in float32 has no quantization to judge.
    ours = [
        name
        for name in _order(right, right.values)
        if right.values[name].quant is not None or name not in between
    ]
    theirs = set(_order(left, left.values))
    for name in ours:
        value = right.values[name]
        if value.quant is None or value.quant.scale.size != 1:
            raise EdgekitError(
                "E222",
                f"'{name}' of the second model is {value.dtype}, quantized tensors are needed",
                help="the second of the two is an output folder of edgekit compile",
            )
        if name in theirs and left.values[name].shape != value.shape:
            raise EdgekitError(
                "E221",
                f"tensor '{name}' has shape {list(left.values[name].shape)} in the first model, "
                f"{list(value.shape)} in the second",
                help="they are different networks",
            )
    matched = [name for name in ours if name in theirs]
    needed = [right.outputs[0], logits_of(right)]
    missing = [name for name in needed if name not in theirs]
    if missing:
        made = [n.output for n in left.nodes]
        raise EdgekitError(
            "E221",
            f"the first model has no tensor '{missing[0]}' ({len(matched) - len(right.inputs)} of "
            f"{len(right.nodes)} layers have the same name in both)",
            help=f"tensors are matched by name; {did_you_mean(missing[0], made)}",
        )
    return matched, [name for name in ours if name not in theirs]


def _listed(shapes: Mapping[str, list[int]]) -> str:
    return ", ".join(f"'{name}' {shape}" for name, shape in shapes.items())


def _order(graph: Graph, names: Mapping[str, object] | list[str]) -> list[str]:
    """Those of `names` that are inputs or results, in execution order."""
    return [n for n in (*graph.inputs, *(node.output for node in graph.nodes)) if n in names]


def _isolated(node: Node, graph: Graph, matched: set[str]) -> bool:
    activations = [i for i in node.inputs if not graph.is_constant(i)]
    return node.output in matched and matched.issuperset(activations)


# ---- running


@dataclass(frozen=True)
class _Batch:
    """What went in as real values, the first network's reals, the second one's integers."""

    reals: Arrays
    left: Arrays
    right: Arrays


def _batches(left: Graph, right: Graph, arrays: Mapping[str, np.ndarray]) -> Iterator[_Batch]:
    elements = max(
        sum(g.values[n].size for n in (*g.inputs, *(node.output for node in g.nodes)))
        for g in (left, right)
    )
    step = max(1, min(64, BATCH_ELEMENTS // elements))
    for i in range(0, len(next(iter(arrays.values()))), step):
        yield _batch(left, right, {k: v[i : i + step] for k, v in arrays.items()})


def _batch(left: Graph, right: Graph, feeds: Mapping[str, np.ndarray]) -> _Batch:
    raw = {n: quantize_input(right, n, feeds[n]) for n in right.inputs}
    # Arrays of exactly the second network's integers are raw; the first gets the same reals.
    reals = {
        n: dequantize(right.values[n], raw[n]) if feeds[n].dtype == raw[n].dtype else feeds[n]
        for n in right.inputs
    }
    reals = {n: x.astype(np.float32) for n, x in reals.items()}
    a = run(left, {n: quantize_input(left, n, reals[n]) for n in left.inputs}, keep="all")
    a = {n: dequantize(left.values[n], x) for n, x in a.items()}
    return _Batch(reals, a, run(right, raw, keep="all"))


def _alone(graph: Graph, node: Node, reals: Mapping[str, np.ndarray]) -> np.ndarray:
    """The real result of one integer node on the first network's values."""
    operands = [
        graph.constants[i] if i in graph.constants else quantize(graph.values[i], reals[i])
        for i in node.inputs
    ]
    count = len(next(iter(reals.values())))
    results = evaluate_samples(graph, node, operands, count, run_node)
    return dequantize(graph.values[node.output], results[0])


class _Classes:
    """Agreement and accuracy of the first output."""

    def __init__(self, left: Graph, right: Graph, name: str, labels: np.ndarray | None) -> None:
        self.name, self.labels = name, labels
        self.applies = right.values[name].shape[-1] == right.values[name].size > 1
        self.same, self.right = 0, [0, 0]

    def see(self, a: Arrays, b: Arrays, start: int) -> None:
        if not self.applies:
            return
        named = [x[self.name].reshape(len(x[self.name]), -1).argmax(1) for x in (a, b)]
        self.same += int(np.count_nonzero(named[0] == named[1]))
        if self.labels is not None:
            labels = self.labels[start : start + len(named[0])]
            for i in (0, 1):
                self.right[i] += int(np.count_nonzero(named[i] == labels))

    def agreement(self, count: int) -> float | None:
        return self.same / count if self.applies else None

    def accuracy(self, which: int, count: int) -> float | None:
        return self.right[which] / count if self.applies and self.labels is not None else None


# ---- results


def _tensor(graph: Graph, name: str, t: Tally, local: Noise | None) -> TensorDiff:
    node = graph.producer(name)
    return TensorDiff(
        name=name,
        layer=node.name or name if node else name,
        op=node.op if node else "input",
        shape=graph.values[name].shape,
        sqnr_db=t.db,
        local_sqnr_db=local.db if local else (t.db if node is None else None),
        max_error=t.max_error,
        cosine=t.cosine,
        saturated=t.outside / t.count,
        used=t.used,
        seen=(t.lo, t.hi),
        covered=(t.covered[0], t.covered[1]),
        scale=t.scale,
        zero_point=t.zero_point,
        histogram_left=tuple(int(n) for n in t.histograms[0]),
        histogram_right=tuple(int(n) for n in t.histograms[1]),
    )


def _with_lifts(
    diff: Diff, left: Graph, right: Graph, arrays: Mapping[str, np.ndarray], say: Progress
) -> Diff:
    few = {k: v[:LIFT_SAMPLES] for k, v in arrays.items()}
    whole = [(b, Lifter(right, b.reals, b.right)) for b in _batches(left, right, few)]

    def logits_db(lifted: frozenset[str]) -> float:
        noise = Noise()
        for batch, lifter in whole:
            noise.add(batch.left[diff.logits], lifter.run(lifted, diff.logits))
        return noise.db

    base, ram = logits_db(frozenset()), peak_bytes(right)
    tensors = []
    for i, tensor in enumerate(diff.tensors):
        say("lift to 16 bits", i / len(diff.tensors))
        node = right.producer(tensor.name)
        shares = node is not None and node.op in ("reshape", "transpose")
        narrow = right.values[tensor.name].dtype == "int8"
        if narrow and not shares and tensor.op != "softmax":
            members = group(right, tensor.name)
            gain = logits_db(members) - base if np.isfinite(base) else 0.0
            more = peak_bytes(right, members) - ram
            size = right.values[tensor.name].nbytes
            cost = Lift(gain, size, more, more_flash(right, members))
            tensor = replace(tensor, lift=cost)
        tensors.append(tensor)
    return replace(
        diff,
        tensors=tuple(tensors),
        lift_samples=len(next(iter(few.values()))),
        lift_base_db=base,
        weights_only_db=logits_db(frozenset(_order(right, right.values))),
    )
