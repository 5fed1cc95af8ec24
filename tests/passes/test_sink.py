"""Transposes that move behind operators with axes, and behind reshapes."""

from __future__ import annotations

import numpy as np
import pytest
from graph_text import applied, floats, graph, ops

from edgekit.graph import Graph
from edgekit.passes.layout import layout

X = 'input "x": float32[1, 4, 5, 6]'  # NHWC
OUT = 'node transpose "out" ("x") -> "t": float32[1, 6, 4, 5] {"perm": [0, 3, 1, 2]}'


def sunk(*lines: str, output: str = "y") -> Graph:
    """Behind a transpose to NCHW; the pass must leave no transpose in front of the operator."""
    after = applied(graph(X, OUT, *lines, f'output "{output}"'), layout)
    kinds = ops(after)
    assert "transpose" not in kinds or kinds.index("transpose") == len(kinds) - 1
    return after


@pytest.mark.parametrize(
    ("op", "attrs", "shape", "want"),
    [
        ("unary", '{"function": "tanh"}', [1, 6, 4, 5], {}),
        ("slice", '{"starts": [0, 5, 0, 1], "stops": [null, 1, 3, null], "steps": [1, -2, 1, 1]}',
         [1, 2, 3, 4], {"starts": [0, 0, 1, 5], "stops": [None, 3, None, 1]}),
        ("pad", '{"pads": [0, 1, 2, 3, 0, 4, 5, 6], "mode": "constant", "value": 0.5}',
         [1, 11, 11, 14], {"pads": [0, 2, 3, 1, 0, 5, 6, 4]}),
        ("reduce", '{"kind": "sum", "axes": [2], "keepdims": true}', [1, 6, 1, 5], {"axes": [1]}),
        ("reduce", '{"kind": "sum", "axes": [2], "keepdims": false}', [1, 6, 5], {"axes": [1]}),
        ("reduce", '{"kind": "sum", "axes": [2, 3], "keepdims": false}', [1, 6], {"axes": [1, 2]}),
        ("resize", '{"size": [1, 6, 8, 5], "mode": "nearest"}', [1, 6, 8, 5],
         {"size": [1, 8, 5, 6]}),
        ("tile", '{"repeats": [1, 2, 1, 3]}', [1, 12, 4, 15], {"repeats": [1, 1, 3, 2]}),
        ("cumsum", '{"axis": 1}', [1, 6, 4, 5], {"axis": 3}),
    ],
)  # fmt: skip
def test_operators_with_one_operand(op: str, attrs: str, shape: list[int], want: dict) -> None:
    after = sunk(f'node {op} "n" ("t") -> "y": float32{shape} {attrs}')
    node = next(n for n in after.nodes if n.op == op)
    assert {k: node.attrs[k] for k in want} == want


def test_concat_and_constants() -> None:
    after = sunk(
        'input "z": float32[1, 4, 5, 2]',
        'node transpose "other" ("z") -> "u": float32[1, 2, 4, 5] {"perm": [0, 3, 1, 2]}',
        floats("k", 1, 3, 4, 5),
        'node concat "n" ("t", "u", "k") -> "y": float32[1, 11, 4, 5] {"axis": 1}',
    )
    assert ops(after) == ["concat"]
    assert after.nodes[0].attrs["axis"] == 3


def test_operand_with_one_pixel_is_reshaped() -> None:
    """As squeeze and excitation scales channels by what a linear layer computes."""
    after = sunk(
        'input "s": float32[1, 6]',
        'node reshape "r" ("s") -> "u": float32[1, 6, 1, 1] {"shape": [1, 6, 1, 1]}',
        'node mul "n" ("t", "u") -> "y": float32[1, 6, 4, 5]',
    )
    assert ops(after) == ["reshape", "mul"]
    assert after.values[after.nodes[0].output].shape == (1, 1, 1, 6)


def test_places_and_comparisons() -> None:
    after = applied(
        graph(X, OUT, floats("k", 6, 1, 1),
              'node compare "c" ("t", "k") -> "y": bool[1, 6, 4, 5] {"kind": "less"}',
              'node arg "a" ("t") -> "i": int32[1, 4, 5] '
              '{"kind": "max", "axis": 1, "keepdims": false}', 'output "y"', 'output "i"'),
        layout,
    )  # fmt: skip
    arg = next(n for n in after.nodes if n.op == "arg")
    assert (arg.inputs, arg.attrs["axis"]) == (("x",), 3)


def test_a_resize_of_the_leading_axis_stays_behind_its_transpose() -> None:
    lines = [
        'node transpose "odd" ("x") -> "t": float32[5, 1, 4, 6] {"perm": [2, 0, 1, 3]}',
        'node slice "n" ("t") -> "y": float32[4, 1, 4, 6] '
        '{"starts": [1, 0, 0, 0], "stops": [null, null, null, null], "steps": [1, 1, 1, 1]}',
    ]
    after = applied(graph(X, *lines, 'output "y"'), layout)
    assert ops(after) == ["slice", "transpose"]


def test_softmax_over_an_axis_that_moves_keeps_its_transpose() -> None:
    line = 'node softmax "n" ("t") -> "y": float32[1, 6, 4, 5] {"beta": 1.0}'
    applied(graph(X, OUT, line, 'output "y"'), layout, changes=False)


# ---- reshapes


def test_merged_axes_that_are_neighbours_move() -> None:
    line = 'node reshape "n" ("t") -> "y": float32[1, 6, 20] {"shape": [1, 6, 20]}'
    after = sunk(line)
    assert ops(after) == ["reshape", "transpose"]
    assert after.nodes[0].attrs["shape"] == [1, 20, 6]


def test_shuffled_channels_stay_channels() -> None:
    """ShuffleNet's: [1, 2, 3, H, W] with the first two axes exchanged."""
    lines = (
        'node reshape "a" ("t") -> "p": float32[1, 2, 3, 4, 5] {"shape": [1, 2, 3, 4, 5]}',
        'node transpose "b" ("p") -> "q": float32[1, 3, 2, 4, 5] {"perm": [0, 2, 1, 3, 4]}',
        'node reshape "c" ("q") -> "r": float32[1, 6, 4, 5] {"shape": [1, 6, 4, 5]}',
        'node transpose "d" ("r") -> "s": float32[1, 4, 5, 6] {"perm": [0, 2, 3, 1]}',
        'node unary "e" ("s") -> "y": float32[1, 4, 5, 6] {"function": "abs"}',
    )
    after = applied(graph(X, OUT, *lines, 'output "y"'), layout)
    assert ops(after) == ["reshape", "transpose", "reshape", "unary"]
    assert after.nodes[1].attrs["perm"] == [0, 1, 2, 4, 3]


def test_heads_of_attention_are_left_alone() -> None:
    lines = [
        'input "q": float32[1, 8, 4, 8]',
        'node transpose "a" ("q") -> "t": float32[1, 4, 8, 8] {"perm": [0, 2, 1, 3]}',
        'node reshape "b" ("t") -> "y": float32[4, 8, 8] {"shape": [4, 8, 8]}',
    ]
    before = graph(*lines, 'output "y"')
    applied(before, layout, changes=False)
    assert np.prod(before.values["y"].shape) == 256
