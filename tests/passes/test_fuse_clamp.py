"""Each numbered rule of edgekit/passes/fuse_clamp.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from graph_text import applied, graph, ops
from hypothesis import given
from hypothesis import strategies as st

from edgekit.graph import Graph
from edgekit.passes.fuse_clamp import compose, fuse_clamp
from edgekit.reference import run

X = 'input "x": float32[1, 4, 4, 2]'
SHAPE = "float32[1, 4, 4, 2]"


@pytest.mark.parametrize(
    "line",
    [
        f'node add "n" ("x", "x") -> "h": {SHAPE}',
        f'node max_pool2d "n" ("x") -> "h": {SHAPE} {{"kernel": [1, 1], "strides": [1, 1]}}',
    ],
)
def test_rule_1(line: str) -> None:
    clip = f'node clip "c" ("h") -> "y": {SHAPE} {{"clamp": [0.0, null]}}'
    after = applied(graph(X, line, clip, 'output "y"'), fuse_clamp)
    assert len(after.nodes) == 1
    assert after.nodes[0].attrs["clamp"] == [0.0, None]
    # Not where the unclamped numbers are read as well.
    applied(graph(X, line, clip, 'output "y"', 'output "h"'), fuse_clamp, changes=False)


def test_rule_1_not_behind_softmax_or_reshape() -> None:
    softmax = f'node softmax "n" ("x") -> "h": {SHAPE}'
    clip = f'node clip "c" ("h") -> "y": {SHAPE} {{"clamp": [0.0, null]}}'
    applied(graph(X, softmax, clip, 'output "y"'), fuse_clamp, changes=False)


def test_rule_2() -> None:
    g = graph(
        X,
        f'node clip "a" ("x") -> "h": {SHAPE} {{"clamp": [0.0, null]}}',
        f'node clip "b" ("h") -> "y": {SHAPE} {{"clamp": [null, 6.0]}}',
        'output "y"',
    )
    after = applied(g, fuse_clamp)
    assert ops(after) == ["clip"]
    assert after.nodes[0].attrs == {"clamp": [0.0, 6.0]}


def test_integers_of_one_scale_fuse_and_stay_the_same() -> None:
    """A clip that does not requantize is a clamp; on another scale its producer keeps its own."""

    def chain(zero_point: int) -> Graph:
        shape = "int8[1, 4, 4, 2]"
        return graph(
            f'input "x": {shape} scale=0.5 zero_point=-3',
            f'node add "n" ("x", "x") -> "h": {shape} scale=0.4 zero_point=9 '
            '{"clamp": [-30.3, null]}',
            f'node clip "c" ("h") -> "y": {shape} scale=0.4 zero_point={zero_point} '
            '{"clamp": [-11.3, 17.9]}',
            'output "y"',
        )

    before = chain(9)
    x = np.arange(-128, 128, dtype=np.int8).reshape(8, 4, 4, 2)
    want = run(before, {"x": x})["y"]
    after = before.copy()
    assert fuse_clamp(after)
    assert ops(after.verify()) == ["add"]
    assert np.array_equal(run(after, {"x": x})["y"], want)
    assert not fuse_clamp(chain(8))


bound = st.one_of(st.just(None), st.integers(-4, 4).map(float))


def interval(pair: tuple[Any, Any]) -> tuple[float, float]:
    lo = -np.inf if pair[0] is None else pair[0]
    hi = np.inf if pair[1] is None else pair[1]
    return (min(lo, hi), max(lo, hi))


@given(st.tuples(bound, bound).map(interval), st.tuples(bound, bound).map(interval))
def test_composition(inner: tuple[float, float], outer: tuple[float, float]) -> None:
    x = np.linspace(-6, 6, 49)
    want = np.clip(np.clip(x, *inner), *outer)
    lo, hi = compose(inner, outer)
    got = np.clip(x, -np.inf if lo is None else lo, np.inf if hi is None else hi)
    assert np.array_equal(got, want)


def test_integer_clips_stay() -> None:
    g = graph(
        'input "x": int8[1, 4] scale=0.5 zero_point=0',
        'node add "a" ("x", "x") -> "h": int8[1, 4] scale=0.5 zero_point=0',
        'node clip "c" ("h") -> "y": int8[1, 4] scale=0.25 zero_point=0 {"clamp": [0.0, null]}',
        'output "y"',
    )
    assert not fuse_clamp(g)
