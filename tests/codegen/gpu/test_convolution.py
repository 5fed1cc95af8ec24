"""conv2d, depthwise_conv2d and fully_connected on a GPU: every variant, byte for byte, and gaps."""

from __future__ import annotations

from typing import Any

import pytest
from exactness import CHECKED
from gpu_device import check_graph, device
from graphs import batch, conv_graphs
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mve_layers import conv_layers, layer_of_shape

from edgekit.errors import EdgekitError
from edgekit.graph import Graph

OPS = ("conv2d", "depthwise_conv2d", "fully_connected")
#: Examples in `make test`, and in `make test-slow`.
FEW, MORE = 3, 10


def check(graph: Graph, seed: int) -> list[str]:
    """Names of the layer's variants, all of which give the reference's bytes."""
    try:
        checked = check_graph(graph, batch(graph, seed, n=2), device())
    except EdgekitError as refused:
        assert refused.code == "E310", refused  # an accumulator that can overflow
        assume(False)
    (names,) = checked.values()
    assert len(set(names)) == len(names) >= 1
    return names


def some(draw: Any, op: str) -> tuple[Graph, int]:
    """Up to 130 channels with right shifts of two or more; or any requantization, groups, several
    results of a channel."""
    graph = draw(st.one_of(conv_layers(op), conv_graphs(op)))
    return graph, draw(st.integers(0, 1000))


@pytest.mark.parametrize("op", OPS)
@settings(CHECKED, max_examples=FEW)
@given(st.data())
def test_random_layers(op: str, data: st.DataObject) -> None:
    check(*some(data.draw, op))


@pytest.mark.slow
@pytest.mark.parametrize("op", OPS)
@settings(CHECKED, max_examples=MORE)
@given(st.data())
def test_more_random_layers(op: str, data: st.DataObject) -> None:
    check(*some(data.draw, op))


NAMES = ("direct", "narrow", "im2col", "local")
WINDOW = {*NAMES, *(f"{name}_dot" for name in NAMES)}


def test_variants_of_a_window() -> None:
    """With tails of everything: pixels, rows, blocks, channels; input blocks in several rounds."""
    graph = layer_of_shape("conv2d", (11, 13, 35), (3, 3), 18, [1, 1], [1, 1, 1, 1])
    assert set(check(graph, 0)) == WINDOW


def test_variants_of_a_pixel() -> None:
    graph = layer_of_shape("conv2d", (5, 9, 70), (1, 1), 36, [1, 1], [0, 0, 0, 0])
    assert set(check(graph, 0)) == WINDOW - {"im2col", "im2col_dot"}


def test_variants_of_depthwise() -> None:
    graph = layer_of_shape("depthwise_conv2d", (11, 13, 18), (3, 3), 18, [2, 1], [1, 1, 1, 1])
    assert set(check(graph, 0)) == {"direct", "local"}


def test_variants_of_a_vector() -> None:
    """Sums that the items of a group share."""
    graph = layer_of_shape("conv2d", (1, 1, 150), (1, 1), 22, [1, 1], [0, 0, 0, 0])
    assert set(check(graph, 0)) >= {"split", "split_dot", "direct"}
