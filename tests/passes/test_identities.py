"""Each numbered rule of edgekit/passes/identities.py."""

from __future__ import annotations

import pytest
from graph_text import applied, floats, graph, ops

from edgekit.passes.identities import identities

X = 'input "x": float32[1, 2, 3, 4]'
CLIP = 'node clip "c" ("x") -> "h": float32[1, 2, 3, 4] {"clamp": [0.0, null]}'


@pytest.mark.parametrize(
    "line",
    [
        'node reshape "n" ("h") -> "y": float32[1, 2, 3, 4] {"shape": [1, 2, 3, 4]}',
        'node transpose "n" ("h") -> "y": float32[1, 2, 3, 4] {"perm": [0, 1, 2, 3]}',
        'node clip "n" ("h") -> "y": float32[1, 2, 3, 4] {"clamp": [null, null]}',
        'node add "n" ("h", "zero") -> "y": float32[1, 2, 3, 4]',
        'node mul "n" ("h", "one") -> "y": float32[1, 2, 3, 4]',
    ],
)
def test_rules_1_2_3_6_the_output_keeps_its_name(line: str) -> None:
    zero = 'constant "zero": float32[4] = [0.0, 0.0, 0.0, 0.0]'
    one = 'constant "one": float32[1] = [1.0]'
    g = graph(X, zero, one, CLIP, line, 'output "y"')
    after = applied(g, identities)
    assert ops(after) == ["clip"]
    assert after.nodes[0].output == "y"
    assert set(after.values) == {"x", "y"}


def test_an_input_that_is_the_output_needs_its_node() -> None:
    g = graph(X, 'node reshape "n" ("x") -> "y": float32[1, 2, 3, 4] {"shape": [1, 2, 3, 4]}',
              'output "y"')  # fmt: skip
    assert ops(applied(g, identities, changes=False)) == ["reshape"]


def test_add_that_broadcasts_is_no_identity() -> None:
    zeros = f'constant "zero": float32[2, 2] = {[0.0] * 4}'
    g = graph('input "x": float32[1, 2]', zeros,
              'node add "n" ("x", "zero") -> "y": float32[2, 2]', 'output "y"')  # fmt: skip
    after = g.copy()
    assert not identities(after)


def test_a_clamp_is_no_identity() -> None:
    one = 'constant "one": float32[1] = [1.0]'
    line = 'node mul "n" ("x", "one") -> "y": float32[1, 2, 3, 4] {"clamp": [0.0, 6.0]}'
    applied(graph(X, one, line, 'output "y"'), identities, changes=False)


def test_rule_4_reshapes_merge() -> None:
    g = graph(
        X,
        'node reshape "a" ("x") -> "h": float32[1, 24] {"shape": [1, 24]}',
        'node reshape "b" ("h") -> "y": float32[1, 6, 4] {"shape": [1, 6, 4]}',
        'output "y"',
    )
    after = applied(g, identities)
    assert ops(after) == ["reshape"]
    assert after.nodes[0].inputs == ("x",)


def test_rule_5_transposes_compose() -> None:
    g = graph(
        X,
        'node transpose "a" ("x") -> "h": float32[1, 4, 2, 3] {"perm": [0, 3, 1, 2]}',
        'node transpose "b" ("h") -> "y": float32[1, 4, 3, 2] {"perm": [0, 1, 3, 2]}',
        'output "y"',
    )
    after = applied(g, identities)
    assert [n.attrs for n in after.nodes] == [{"perm": [0, 3, 2, 1]}]


def test_rule_7_clip_moves_before_reshape() -> None:
    reshape = 'node reshape "r" ("x") -> "h": float32[1, 24] {"shape": [1, 24]}'
    clip = 'node clip "c" ("h") -> "y": float32[1, 24] {"clamp": [0.0, 6.0]}'
    after = applied(graph(X, reshape, clip, 'output "y"'), identities)
    assert ops(after) == ["clip", "reshape"]
    # Not where something else reads the reshape.
    applied(graph(X, reshape, clip, 'output "y"', 'output "h"'), identities, changes=False)


def test_integer_reshape_that_changes_quantization_stays() -> None:
    g = graph(
        'input "x": int8[1, 4] scale=0.5 zero_point=0',
        'node clip "n" ("x") -> "y": int8[1, 4] scale=0.25 zero_point=0 {"clamp": [null, null]}',
        'output "y"',
    )
    assert not identities(g.copy())


def test_constants_are_dropped_with_their_node() -> None:
    g = graph(X, floats("w", 4), CLIP, 'node reshape "n" ("h") -> "y": float32[1, 2, 3, 4] '
              '{"shape": [1, 2, 3, 4]}', 'output "y"')  # fmt: skip
    assert "w" not in applied(g, identities).values


@pytest.mark.parametrize(("slopes", "op"), [([0.25] * 4, "unary"), ([0.25, 0.5] * 2, "prelu")])
def test_rule_8_one_slope_is_a_leaky_relu(slopes: list[float], op: str) -> None:
    g = graph(X, f'constant "s": float32[4] = {slopes}',
              'node prelu "n" ("x", "s") -> "y": float32[1, 2, 3, 4]', 'output "y"')  # fmt: skip
    after = applied(g, identities, changes=op == "unary")
    assert ops(after) == [op]
    if op == "unary":
        assert after.nodes[0].attrs == {"function": "leaky_relu", "alpha": 0.25}
