"""Graphs for pass tests: written as text, run before and after."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgekit.graph import Graph
from edgekit.reference import run
from edgekit.text import loads


def graph(*lines: str) -> Graph:
    """A verified graph from the lines of its text, without header."""
    return loads("\n".join(['edgekit-graph 1\ngraph "test"', *lines]))


def floats(name: str, *shape: int, seed: int = 0) -> str:
    """The line of a random float32 constant."""
    values = np.random.default_rng([seed, *name.encode()]).standard_normal(shape)
    flat = np.round(values, 3).astype(np.float32).reshape(-1).tolist()
    return f'constant "{name}": float32{list(shape)} = {flat}'


def ops(g: Graph) -> list[str]:
    return [n.op for n in g.nodes]


def applied(g: Graph, edit: Callable[[Graph], bool], changes: bool = True) -> Graph:
    """A copy of `g` after one pass that computes the same as before; checks what it returns.

    Inputs and outputs that the pass newly declares NHWC are fed and read transposed.
    """
    after = g.copy()
    assert edit(after) is changes
    after.verify()
    again = after.copy()
    assert edit(again) is False, "a pass must leave nothing to itself"
    assert (after.inputs, after.outputs) == (g.inputs, g.outputs)
    rng = np.random.default_rng(0)
    nchw = set(after.metadata.get("layout", {})) - set(g.metadata.get("layout", {}))
    feeds = {i: rng.standard_normal(g.values[i].shape).astype(np.float32) for i in g.inputs}
    moved = {k: v.transpose(0, 2, 3, 1) if k in nchw else v for k, v in feeds.items()}
    before, result = run(g, feeds), run(after, moved)
    for name in g.outputs:
        got = result[name].transpose(0, 3, 1, 2) if name in nchw else result[name]
        np.testing.assert_allclose(got, before[name], rtol=1e-4, atol=1e-5)
    return after
