"""The numpy back end: what it returns, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from quantizer_small import network, samples

from edgekit.graph import GraphError
from edgekit.reference import run, steps


def test_keep() -> None:
    graph, data = network(), samples(4)
    output = graph.outputs[0]
    assert set(run(graph, data)) == {output}
    first = graph.nodes[0].output
    assert set(run(graph, data, keep={first, "image", "w0"})) == {output, first, "image", "w0"}
    everything = run(graph, data, keep="all")
    assert set(everything) == {"image", *(n.output for n in graph.nodes)}
    np.testing.assert_allclose(everything[output].sum(axis=1), 1, rtol=1e-5)


def test_steps_in_order() -> None:
    graph = network()
    assert [node for node, _, _ in steps(graph, samples(2))] == graph.nodes


def test_feeds_are_checked() -> None:
    graph, data = network(), samples(2)
    with pytest.raises(GraphError, match="no array"):
        run(graph, {})
    with pytest.raises(GraphError, match="float64"):
        run(graph, {"image": data["image"].astype(np.float64)})
    with pytest.raises(GraphError, match="7, 8, 2"):
        run(graph, {"image": data["image"][:, :7]})
