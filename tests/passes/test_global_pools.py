"""Each numbered rule of edgekit/passes/global_pools.py."""

from __future__ import annotations

import pytest
from graph_text import applied, graph, ops

from edgekit.passes.global_pools import global_pools


@pytest.mark.parametrize(
    ("axes", "keep", "shape", "made"),
    [
        ([1, 2], "true", [1, 1, 1, 6], ["average_pool2d"]),
        ([1, 2], "false", [1, 6], ["average_pool2d", "reshape"]),
        ([2], "true", [1, 4, 1, 6], ["average_pool2d"]),
        ([1], "false", [1, 5, 6], ["average_pool2d", "reshape"]),
    ],
)
def test_rule_1_images(axes: list[int], keep: str, shape: list[int], made: list[str]) -> None:
    line = f'node reduce "r" ("x") -> "y": float32{shape} '
    line += f'{{"kind": "mean", "axes": {axes}, "keepdims": {keep}}}'
    after = applied(graph('input "x": float32[1, 4, 5, 6]', line, 'output "y"'), global_pools)
    assert ops(after) == made


@pytest.mark.parametrize("kind", ["mean", "max"])
def test_rule_2_sequences(kind: str) -> None:
    line = 'node reduce "r" ("x") -> "y": float32[1, 6] '
    line += f'{{"kind": "{kind}", "axes": [1], "keepdims": false}}'
    after = applied(graph('input "x": float32[1, 7, 6]', line, 'output "y"'), global_pools)
    assert ops(after) == ["reshape", "average_pool2d" if kind == "mean" else "max_pool2d",
                          "reshape"]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "axes", "shape"),
    [("mean", [3], [1, 4, 5, 1]), ("sum", [1, 2], [1, 1, 1, 6]), ("mean", [0, 1], [1, 1, 5, 6])],
)
def test_others_stay(kind: str, axes: list[int], shape: list[int]) -> None:
    line = f'node reduce "r" ("x") -> "y": float32{shape} '
    line += f'{{"kind": "{kind}", "axes": {axes}, "keepdims": true}}'
    applied(graph('input "x": float32[1, 4, 5, 6]', line, 'output "y"'), global_pools, False)
