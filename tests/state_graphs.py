"""Small integer graphs with states, compiled without a model file, and what they have to answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgekit.build import build
from edgekit.devices.find import find_board, find_target
from edgekit.graph import Graph, Node, Quant, State, Value
from edgekit.output import Output, write_output
from edgekit.reference import run

GRID = Quant.make(0.5, 3)


def accumulator(initial: list[int], in_place: bool = False) -> Graph:
    """A running sum that becomes h; with `in_place` it is made when h is not read any more, so that
    it can lie where h lies."""
    g = Graph("accumulator", ["x"], ["z"])
    for name in ("x", "h", "y", "z"):
        g.add_value(Value(name, (1, 4), "int8", GRID))
    if in_place:
        g.nodes.append(Node("add", ("h", "x"), ("z",), {}, "first"))
        g.nodes.append(Node("add", ("x", "z"), ("y",), {}, "second"))
    else:
        g.nodes.append(Node("add", ("h", "x"), ("y",), {}, "first"))
        g.nodes.append(Node("add", ("y", "h"), ("z",), {}, "second"))
    g.states.append(State("h", "y", np.array([initial], np.int8)))
    return g.verify()


def stepwise(graph: Graph, x: np.ndarray) -> np.ndarray:
    """`graph` sample by sample, its state carried by hand."""
    h, rows = graph.states[0].initial, []
    for sample in x:
        alone = graph.copy()
        alone.states, alone.inputs = [], ["x", "h"]
        found = run(alone, {"x": sample[None], "h": h}, keep="all")
        h = found["y"]
        rows.append(found["z"][0])
    return np.stack(rows)


def compiled_graph(graph: Graph, folder: Path, target: str = "cortex-m4") -> Output:
    """The output folder of an integer graph."""
    chosen = find_target(target)
    built = build(
        graph, None, target=chosen, board=find_board(chosen.default_board), compiler="zig",
        say=lambda stage, share: None,
    )  # fmt: skip
    return write_output(folder, built.files, built.description(graph.name, "zig"))
