"""Pads in front of convolutions."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.graph import Graph
from edgekit.passes.fold_pad import fold_pad
from edgekit.reference import run
from edgekit.text import loads

Q = "scale=0.5 zero_point=-3"
LAYERS = {
    "conv2d": 'constant "w": int8[2, 3, 3, 1] scale=0.5 zero_point=0 = '
    + str([i - 9 for i in range(18)]),
    "depthwise_conv2d": 'constant "w": int8[3, 3, 2] scale=0.5 zero_point=0 = '
    + str([9 - i for i in range(18)]),
}


def padded(op: str, pad: str, conv: str = "[0, 0, 0, 0]", shape: str = "7, 6") -> Graph:
    """A pad with attributes `pad` in front of a 3x3 layer with stride 2 and pads `conv`."""
    channels = 1 if op == "conv2d" else 2
    rows, columns = (int(n) for n in shape.split(","))
    top, left, bottom, right = (int(n) for n in conv.strip("[]").split(","))
    out = [(rows + top + bottom - 3) // 2 + 1, (columns + left + right - 3) // 2 + 1]
    return loads("\n".join([
        "edgekit-graph 1", 'graph "m"', f'input "x": int8[1, 5, 5, {channels}] {Q}',
        LAYERS[op], 'constant "b": int32[2] scale=0.25 zero_point=0 = [40, -7]',
        f'node pad "p" ("x") -> "h": int8[1, {rows}, {columns}, {channels}] {Q} {pad}',
        f'node {op} "n" ("h", "w", "b") -> "y": int8[1, {out[0]}, {out[1]}, 2] scale=0.75 '
        f'zero_point=4 {{"strides": [2, 2], "pads": {conv}}}',
        'output "y"',
    ]))  # fmt: skip


def unchanged(graph: Graph) -> bool:
    names = [n.op for n in graph.nodes]
    return not fold_pad(graph) and [n.op for n in graph.nodes] == names


@pytest.mark.parametrize("op", LAYERS)
def test_zeros_become_pads(op: str) -> None:
    graph = padded(op, '{"pads": [0, 1, 0, 0, 0, 1, 1, 0], "mode": "constant", "value": 0.0}')
    x = np.random.default_rng(0).integers(-128, 128, (3, *graph.values["x"].shape[1:]), np.int8)
    want = run(graph, {"x": x})["y"]
    assert fold_pad(graph)
    [node] = graph.verify().nodes
    assert node.attrs["pads"] == [1, 0, 1, 1]
    assert np.array_equal(run(graph, {"x": x})["y"], want)


def test_pads_add_up() -> None:
    graph = padded("conv2d", '{"pads": [0, 1, 0, 0, 0, 1, 1, 0], "value": 0.0}', "[1, 1, 0, 1]")
    assert fold_pad(graph)
    assert graph.nodes[0].attrs["pads"] == [2, 1, 1, 2]


def test_what_stays() -> None:
    ones = '{"pads": [0, 1, 0, 0, 0, 1, 1, 0], "value": 1.0}'
    assert unchanged(padded("conv2d", ones))
    mirrored = '{"pads": [0, 1, 0, 0, 0, 1, 1, 0], "mode": "reflect"}'
    assert unchanged(padded("conv2d", mirrored))
    # A window in padding alone has no kernel; the pad keeps it.
    far = '{"pads": [0, 3, 0, 0, 0, 0, 0, 0], "value": 0.0}'
    assert unchanged(padded("conv2d", far, shape="8, 5"))
