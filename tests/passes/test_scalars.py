"""Each numbered rule of edgekit/passes/scalars.py."""

from __future__ import annotations

import numpy as np
from graph_text import graph, ops

from edgekit.passes.scalars import scalars
from edgekit.reference import run

LINES = [
    'input "x": float32[1, 4]',
    'input "s": float32[]',
    'node reduce "r" ("x") -> "m": float32[] {"kind": "sum", "axes": [0, 1], "keepdims": false}',
    'node add "a" ("m", "s") -> "t": float32[]',
    'node unary "u" ("t") -> "y": float32[] {"function": "tanh"}',
    'node mul "b" ("x", "t") -> "z": float32[1, 4]',
    'output "y"',
    'output "z"',
]


def test_rules_1_and_2() -> None:
    before = graph(*LINES)
    after = before.copy()
    assert scalars(after) is True
    after.verify()
    assert scalars(after) is False
    assert ops(after) == ["reduce", "reshape", "add", "unary", "mul"]
    assert all(v.shape for v in after.values.values())
    x = np.arange(4, dtype=np.float32).reshape(1, 4) / 10
    want = run(before, {"x": x, "s": np.float32([0.25])})
    have = run(after, {"x": x, "s": np.float32([[0.25]]).reshape(1)})
    for name in ("y", "z"):
        np.testing.assert_allclose(have[name].ravel(), want[name].ravel(), rtol=1e-6)


def test_graphs_without_scalars_stay() -> None:
    assert scalars(graph('input "x": float32[1, 4]',
                         'node unary "u" ("x") -> "y": float32[1, 4] {"function": "tanh"}',
                         'output "y"')) is False  # fmt: skip
