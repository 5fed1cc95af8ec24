"""A small model for tests of GPU programs: a convolution, a fully connected layer, softmax."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgekit import reference
from edgekit.build import build
from edgekit.graph import Graph, Node, Quant, Value
from edgekit.output import Output, write_output
from targets import board, target


def small_graph() -> Graph:
    """int8 [1, 6, 6, 3] to int8 [1, 5]; channels that are no multiples of four."""
    chance = np.random.default_rng(4)
    graph = Graph("small")
    for value in (
        Value("x", (1, 6, 6, 3), "int8", Quant.make(0.05, 3)),
        Value("w1", (6, 3, 3, 3), "int8", Quant.make(np.linspace(0.01, 0.02, 6), 0, 0)),
        Value("b1", (6,), "int32", Quant.make(0.05 * np.linspace(0.01, 0.02, 6), 0, 0)),
        Value("y1", (1, 6, 6, 6), "int8", Quant.make(0.04, -128)),
        Value("flat", (1, 216), "int8", Quant.make(0.04, -128)),
        Value("w2", (5, 216), "int8", Quant.make(np.array([0.01]), 0)),
        Value("b2", (5,), "int32", Quant.make(np.array([0.0004]), 0)),
        Value("y2", (1, 5), "int8", Quant.make(0.3, 5)),
        Value("y", (1, 5), "int8", Quant.make(1 / 256, -128)),
    ):
        graph.add_value(value)
    for name in ("w1", "w2"):
        shape = graph.values[name].shape
        graph.constants[name] = chance.integers(-127, 128, shape).astype(np.int8)
    for name in ("b1", "b2"):
        shape = graph.values[name].shape
        graph.constants[name] = chance.integers(-999, 1000, shape).astype(np.int32)
    graph.inputs, graph.outputs = ["x"], ["y"]
    convolution = {"strides": [1, 1], "dilations": [1, 1], "pads": [1, 1, 1, 1], "groups": 1}
    graph.nodes += [
        Node("conv2d", ("x", "w1", "b1"), ("y1",), {**convolution, "clamp": [0, None]}, "conv"),
        Node("reshape", ("y1",), ("flat",), {"shape": [1, 216]}, "flat"),
        Node("fully_connected", ("flat", "w2", "b2"), ("y2",), {"clamp": None}, "dense"),
        Node("softmax", ("y2",), ("y",), {"beta": 1.0}, "softmax"),
    ]
    return graph.verify()


def compile_small(folder: Path) -> Output:
    """The model compiled for the GPU of a PC."""
    made = build(
        small_graph(), None, target=target("gpu-x86_64"), board=board("gpu-pocl"), compiler="zig",
        say=lambda stage, share: None,
    )  # fmt: skip
    return write_output(folder, made.files, made.description("small", "zig"))


def samples(count: int = 3) -> tuple[list[bytes], list[bytes]]:
    """Inputs and the reference's outputs."""
    graph = small_graph()
    x = np.random.default_rng(9).integers(-128, 128, (count, 6, 6, 3)).astype(np.int8)
    y = reference.run(graph, {"x": x})["y"]
    return [row.tobytes() for row in x], [row.tobytes() for row in y]
