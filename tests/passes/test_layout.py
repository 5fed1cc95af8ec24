"""Each numbered rule of edgekit/passes/layout.py."""

from __future__ import annotations

import pytest
from graph_text import applied, floats, graph, ops

from edgekit.passes.layout import layout

X = 'input "x": float32[1, 3, 4, 5]'  # NCHW
IN = 'node transpose "in" ("x") -> "a": float32[1, 4, 5, 3] {"perm": [0, 2, 3, 1]}'
POOL = 'node max_pool2d "p" ("a") -> "b": float32[1, 2, 2, 3] {"kernel": [2, 2], "strides": [2, 2]}'
OUT = 'node transpose "out" ("b") -> "c": float32[1, 3, 2, 2] {"perm": [0, 3, 1, 2]}'


def test_rules_1_and_2_inputs_and_outputs() -> None:
    after = applied(graph(X, IN, POOL, OUT, 'output "c"'), layout)
    assert ops(after) == ["max_pool2d"]
    assert after.metadata == {"layout": {"x": "NCHW", "c": "NCHW"}}
    assert after.values["x"].shape == (1, 4, 5, 3)
    assert after.values["c"].shape == (1, 2, 2, 3)


def test_rule_2_holds_once() -> None:
    """The second of two transposes to NCHW that reach an output is no layout any more."""
    again = 'node transpose "again" ("c") -> "d": float32[1, 2, 3, 2] {"perm": [0, 3, 1, 2]}'
    shape = 'node reshape "r" ("d") -> "e": float32[1, 2, 3, 2] {"shape": [1, 2, 3, 2]}'
    after = applied(graph(X, IN, POOL, OUT, again, shape, 'output "e"'), layout)
    assert ops(after).count("transpose") <= 1


def test_rule_1_behind_elementwise_operators() -> None:
    lines = [
        floats("k", 3, 1, 1),
        'node mul "m" ("x", "k") -> "h": float32[1, 3, 4, 5]',
        'node clip "c" ("h") -> "i": float32[1, 3, 4, 5] {"clamp": [0.0, null]}',
        IN.replace('("x")', '("i")'),
    ]
    after = applied(graph(X, *lines, POOL, 'output "b"'), layout)
    assert ops(after) == ["mul", "clip", "max_pool2d"]


def test_rule_1_other_readers_of_the_input_get_a_transpose() -> None:
    flat = 'node reshape "r" ("x") -> "f": float32[1, 60] {"shape": [1, 60]}'
    after = applied(graph(X, IN, POOL, OUT, flat, 'output "c"', 'output "f"'), layout)
    assert sorted(ops(after)) == ["max_pool2d", "reshape", "transpose"]


def test_rule_2_other_readers_of_the_output() -> None:
    flat = 'node reshape "r" ("c") -> "f": float32[1, 12] {"shape": [1, 12]}'
    after = applied(graph(X, IN, POOL, OUT, flat, 'output "c"', 'output "f"'), layout)
    assert after.metadata["layout"] == {"x": "NCHW", "c": "NCHW"}


@pytest.mark.parametrize(
    "line",
    [
        'node clip "n" ("c") -> "y": float32[1, 3, 2, 2] {"clamp": [0.0, 6.0]}',
        'node add "n" ("c", "k") -> "y": float32[1, 3, 2, 2]',
        'node mul "n" ("c", "s") -> "y": float32[1, 3, 2, 2]',
        'node add "n" ("c", "c") -> "y": float32[1, 3, 2, 2]',
        'node add "n" ("c", "z") -> "y": float32[1, 3, 2, 2]',
    ],
)
def test_rules_3_and_4_elementwise(line: str) -> None:
    constants = [floats("k", 3, 1, 1), floats("s", 1), 'input "z": float32[1, 3, 2, 2]']
    after = applied(graph(X, *constants, IN, POOL, OUT, line, 'output "y"'), layout)
    assert "transpose" not in ops(after)
    assert after.metadata["layout"]["y"] == "NCHW"


def test_rule_3_softmax_over_channels() -> None:
    lines = [
        'node transpose "t" ("c") -> "d": float32[1, 2, 2, 3] {"perm": [0, 2, 3, 1]}',
        'node softmax "s" ("d") -> "e": float32[1, 2, 2, 3] {"beta": 1.0}',
        'node transpose "u" ("e") -> "y": float32[1, 3, 2, 2] {"perm": [0, 3, 1, 2]}',
    ]
    after = applied(graph(X, IN, POOL, OUT, *lines, 'output "y"'), layout)
    assert ops(after) == ["max_pool2d", "softmax"]


def test_rule_4_channel_gate_broadcasts() -> None:
    """x * gate with gate [1, C, 1, 1], as in squeeze and excitation."""
    gate = [
        'node average_pool2d "g" ("a") -> "g1": float32[1, 1, 1, 3] '
        '{"kernel": [4, 5], "strides": [4, 5]}',
        'node transpose "h" ("g1") -> "g2": float32[1, 3, 1, 1] {"perm": [0, 3, 1, 2]}',
        'node mul "m" ("g2", "c") -> "y": float32[1, 3, 2, 2]',
    ]
    after = applied(graph(X, IN, POOL, OUT, *gate, 'output "y"'), layout)
    assert "transpose" not in ops(after)


def test_rule_5_weights_behind_a_flatten() -> None:
    tail = [
        'node reshape "r" ("c") -> "f": float32[1, 12] {"shape": [1, 12]}',
        'node fully_connected "fc" ("f", "w", "k") -> "y": float32[1, 2]',
    ]
    constants = [floats("w", 2, 12), floats("k", 2)]
    after = applied(graph(X, *constants, IN, POOL, OUT, *tail, 'output "y"'), layout)
    assert ops(after) == ["max_pool2d", "reshape", "fully_connected"]
    # With another reader of the flattened numbers that one keeps a transpose.
    outputs = ['output "y"', 'output "f"']
    after = applied(graph(X, *constants, IN, POOL, OUT, *tail, *outputs), layout)
    assert ops(after).count("transpose") == 1


def test_rule_6_constants() -> None:
    lines = [
        floats("k", 1, 3, 4, 5),
        'node transpose "t" ("k") -> "l": float32[1, 4, 5, 3] {"perm": [0, 2, 3, 1]}',
        'node add "s" ("a", "l") -> "y": float32[1, 4, 5, 3]',
    ]
    after = applied(graph(X, lines[0], IN, *lines[1:], 'output "y"'), layout)
    assert ops(after) == ["add"]


def test_rule_7_axes_of_size_one() -> None:
    g = graph(
        'input "x": float32[1, 6]',
        'node reshape "r" ("x") -> "a": float32[1, 1, 2, 3] {"shape": [1, 1, 2, 3]}',
        'node transpose "t" ("a") -> "b": float32[1, 2, 3, 1] {"perm": [0, 2, 3, 1]}',
        'node clip "c" ("b") -> "y": float32[1, 2, 3, 1] {"clamp": [0.0, null]}',
        'output "y"',
    )
    after = applied(g, layout)
    assert "transpose" not in ops(after)


def test_what_cannot_be_removed_stays() -> None:
    """A flatten of NCHW that leaves the graph needs its transpose."""
    flat = 'node reshape "r" ("c") -> "f": float32[1, 12] {"shape": [1, 12]}'
    after = applied(graph(X, IN, POOL, OUT, flat, 'output "f"'), layout)
    assert ops(after) == ["max_pool2d", "transpose", "reshape"]
