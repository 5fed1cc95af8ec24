"""Rule 1 of edgekit/passes/fold_constants.py."""

from __future__ import annotations

from graph_text import applied, floats, graph, ops

from edgekit.passes.fold_constants import fold_constants

X = 'input "x": float32[1, 3]'


def test_what_depends_on_constants_alone_is_computed() -> None:
    after = applied(
        graph(X, floats("a", 1, 3), floats("b", 3),
              'node mul "m" ("a", "b") -> "c": float32[1, 3]',
              'node unary "n" ("c") -> "d": float32[1, 3] {"function": "abs"}',
              'node add "s" ("x", "d") -> "y": float32[1, 3]', 'output "y"'),
        fold_constants,
    )  # fmt: skip
    assert ops(after) == ["add"]
    assert set(after.constants) == {"d"}


def test_large_tables_and_outputs_stay() -> None:
    applied(
        graph(X, floats("a", 1, 1), 'node unary "n" ("a") -> "z": float32[1, 1] '
              '{"function": "abs"}',
              'node expand "e" ("a") -> "b": float32[300, 300] {"shape": [300, 300]}',
              'node reduce "r" ("b") -> "c": float32[1, 1] '
              '{"kind": "max", "axes": [0, 1], "keepdims": true}',
              'node add "s" ("x", "c") -> "y": float32[1, 3]', 'output "y"', 'output "z"'),
        fold_constants,
        changes=False,
    )  # fmt: skip
