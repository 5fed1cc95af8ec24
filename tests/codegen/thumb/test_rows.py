"""Rows of five pixels: exact, and as cheap as their cost says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from built import merged
from graphs import conv_graphs
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from thumb_kernels import check, conv, count, forced

from codegen.kernel import NotApplicable
from codegen.program import layer_of
from codegen.thumb import rows_5x1
from edgekit.errors import EdgekitError
from edgekit.graph import Graph

CHECKED = settings(
    max_examples=2,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
SHAPES: list[dict[str, Any]] = [
    {"height": 25, "width": 5, "channels": 64, "out": 64},
    {"height": 3, "width": 3, "channels": 60, "out": 32},
    {"height": 6, "width": 6, "channels": 128, "out": 20, "relu": False},
    {"height": 16, "width": 16, "channels": 16, "out": 32, "kernel": (3, 3), "strides": (2, 2),
     "pads": (0, 0, 1, 1)},
    {"height": 9, "width": 9, "channels": 3, "out": 8, "kernel": (3, 3), "pads": (1, 1, 1, 1)},
    {"height": 1, "width": 1, "channels": 10, "out": 3},
]  # fmt: skip


def applicable(graph: Graph) -> bool:
    try:
        return bool(rows_5x1.candidates(layer_of(graph, graph.nodes[0])))
    except (NotApplicable, EdgekitError):
        return False


@pytest.mark.parametrize("op", ["conv2d", "fully_connected"])
@CHECKED
@given(data=st.data())
def test_exact(op: str, tmp_path: Path, data: st.DataObject) -> None:
    graphs = data.draw(st.lists(conv_graphs(op), min_size=25, max_size=25))
    graphs = [g for g in graphs if applicable(g)]
    if graphs:
        graph = merged(graphs)
        check(forced(graph, "rows_5x1"), graph, tmp_path)


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_and_cost(shape: dict[str, Any], tmp_path: Path) -> None:
    graph = conv(**shape)
    program = forced(graph, "rows_5x1")
    check(program, graph, tmp_path)
    for value in (-128, 127):
        x = np.full(graph.values["x"].shape, value, np.int8)
        check(program, graph, tmp_path, {"x": x})
    (candidate,) = rows_5x1.candidates(layer_of(graph, graph.nodes[0]))
    assert candidate.cost is not None
    measured = count(program, tmp_path).instructions
    assert candidate.cost.instructions == pytest.approx(measured, rel=0.03)
