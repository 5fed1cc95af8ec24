"""The product of a fully connected operator's two scales is taken in double (per tensor)."""

from __future__ import annotations

import graphs
import numpy as np
from tflm import run_graph

from edgekit.graph import Quant, Value
from edgekit.ops import fixedpoint as fp
from edgekit.ops.requant import effective_scales
from edgekit.reference import run


def test_scale_product_in_double() -> None:
    """Biases at which the float32 and the float64 product give different bytes."""
    s_in, s_w, s_out = np.float32(0.0123457), np.float32(1.1e-5), np.float32(0.77)
    in_float32 = np.float64(s_in * s_w) / np.float64(s_out)
    in_float64 = np.float64(s_in) * np.float64(s_w) / np.float64(s_out)
    assert in_float32 != in_float64
    halves = np.arange(40, 127) + 0.5
    edges = np.round(halves * (1 / in_float32 + 1 / in_float64) / 2).astype(np.int64)
    edges = edges[edges < 2**31 - 1].astype(np.int32)
    assert len(edges) > 20
    wide = fp.quantize_multiplier(in_float64)
    narrow = fp.quantize_multiplier(in_float32)
    assert (
        fp.multiply_by_quantized_multiplier(edges, *wide)
        != fp.multiply_by_quantized_multiplier(edges, *narrow)
    ).any()
    n = len(edges)
    graph = graphs.one_node(
        "fully_connected",
        [
            Value("x", (1, 1), "int8", Quant.make(s_in, 0)),
            Value("w", (n, 1), "int8", Quant.make(s_w)),
            Value("b", (n,), "int32", Quant.make(s_in * s_w)),
        ],
        Value("y", (1, n), "int8", Quant.make(s_out, 0)),
        {"w": np.zeros((n, 1), np.int8), "b": edges},
    )
    values = [graph.values[v] for v in ("x", "w", "b")]
    assert effective_scales(graph.nodes[0], values, graph.values["y"])[0] == in_float64
    feeds = {"x": np.zeros((1, 1), np.int8)}
    np.testing.assert_array_equal(run(graph, feeds)["y"], run_graph(graph, feeds))
