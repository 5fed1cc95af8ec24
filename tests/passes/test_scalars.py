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


def test_rule_3_indices() -> None:
    before = graph(
        'input "x": float32[1, 4]',
        'node reshape "f" ("x") -> "v": float32[4] {"shape": [4]}',
        'node arg "a" ("v") -> "i": int32[] {"kind": "max", "axis": 0, "keepdims": false}',
        'node gather "g" ("v", "i") -> "y": float32[] {"axis": 0}',
        'node one_hot "o" ("i") -> "z": float32[4] {"axis": 0, "depth": 4}',
        'output "y"',
        'output "z"',
    )
    after = before.copy()
    assert scalars(after) is True
    after.verify()
    assert ops(after) == ["reshape", "arg", "reshape", "gather", "one_hot", "reshape"]
    x = np.array([[1, 3, 2, 0]], np.float32)
    have = run(after, {"x": x})
    assert have["y"].ravel().tolist() == [3.0]
    assert have["z"].ravel().tolist() == [0.0, 1.0, 0.0, 0.0]


def test_graphs_without_scalars_stay() -> None:
    assert scalars(graph('input "x": float32[1, 4]',
                         'node unary "u" ("x") -> "y": float32[1, 4] {"function": "tanh"}',
                         'output "y"')) is False  # fmt: skip
