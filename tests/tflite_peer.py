"""A .tflite file in TFLite Micro's interpreter, with the tensors inside the network by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tflm import Tflm

from edgekit.graph import Graph
from edgekit.importers.tflite.read import read
from edgekit.ops.convert import dequantize
from edgekit.reference import run


def as_int8(array: np.ndarray) -> np.ndarray:
    """uint8 as the importer holds it: lowered by 128."""
    return (array ^ np.uint8(128)).view(np.int8) if array.dtype == np.uint8 else array


def feed(graph: Graph, rng: np.random.Generator, n: int, plausible: bool) -> dict[str, np.ndarray]:
    """`n` samples of integers: over the whole range, or normally distributed around the middle."""
    feeds: dict[str, np.ndarray] = {}
    for name in graph.inputs:
        value = graph.values[name]
        if value.dtype == "float32":
            feeds[name] = rng.standard_normal((n, *value.shape[1:])).astype(np.float32)
            continue
        if value.dtype == "bool":
            feeds[name] = rng.random((n, *value.shape[1:])) < 0.5
            continue
        info = np.iinfo(value.dtype)
        shape = (n, *value.shape[1:])
        if plausible:
            spread = (info.max - info.min) / 10
            x = rng.normal((info.max + info.min) / 2, spread, shape)
            feeds[name] = np.clip(np.round(x), info.min, info.max).astype(value.dtype)
        else:
            feeds[name] = rng.integers(info.min, info.max, shape, value.dtype, endpoint=True)
    return feeds


def both(
    path: Path, graph: Graph, feeds: dict[str, np.ndarray]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """(TFLite Micro's, the reference's) arrays [n, elements] of each tensor of the file that is a
    value of the graph; samples are consecutive, states go on from each to the next."""
    data = path.read_bytes()
    main = read(path, data).subgraphs[0]
    ours = run(graph, feeds, keep="all")
    peer = Tflm(data)
    made = {o for node in main.nodes for o in node.outputs}
    compared = {
        i: t.name
        for i, t in enumerate(main.tensors)
        if i in made
        and t.name in ours
        and t.data is None
        and graph.values[t.name].shape == t.shape  # passes move some to another layout
        and ours[t.name].dtype == t.dtype.replace("int64", "int32")
    }
    for node in main.nodes:
        # The integers in front of a float output have the output's name in the graph.
        if node.op == "DEQUANTIZE" and node.outputs[0] in main.outputs:
            compared[node.inputs[0]] = main.tensors[node.outputs[0]].name
    compared = {i: name for i, name in compared.items() if name in ours}
    count = len(next(iter(feeds.values())))
    theirs: dict[str, list[np.ndarray]] = {name: [] for name in compared.values()}
    for k in range(count):
        sample = {}
        for place, index in enumerate(main.inputs):
            tensor, name = main.tensors[index], graph.inputs[place]
            x = feeds[name][k : k + 1]
            if tensor.dtype == "float32" and x.dtype != np.float32:
                x = dequantize(graph.values[name], x)
            elif tensor.unsigned:
                x = x.view(np.uint8) ^ np.uint8(128)
            sample[place] = x
        peer.run(sample)
        for index, name in compared.items():
            theirs[name].append(as_int8(np.asarray(peer.tensor(index))).reshape(-1))
    return {n: (np.stack(rows), ours[n].reshape(count, -1)) for n, rows in theirs.items()}


def differing_bytes(path: Path, graph: Graph, feeds: dict[str, np.ndarray]) -> dict[str, int]:
    """Elements that differ between TFLite Micro and the reference, for each tensor of `both`."""
    return {n: int((a != b).sum()) for n, (a, b) in both(path, graph, feeds).items()}


def float_error(path: Path, graph: Graph, feeds: dict[str, np.ndarray]) -> dict[str, float]:
    """The greatest difference over the greatest magnitude, for each tensor of `both`."""
    errors = {}
    for name, (a, b) in both(path, graph, feeds).items():
        with np.errstate(invalid="ignore"):
            difference = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0, np.abs(a - b * 1.0))
        largest = np.abs(b[np.isfinite(b)]).max(initial=1.0)
        errors[name] = float(difference.max() / largest)
    return errors
