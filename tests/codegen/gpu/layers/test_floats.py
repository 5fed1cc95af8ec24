"""Float layers on a GPU: float32 byte for byte as docs/SPEC.md has it, half within a bound."""

from __future__ import annotations

import numpy as np
import pytest
from exactness import CHECKED
from float_graphs import float_graphs
from gpu_device import device
from gpu_program import HALF_TOLERANCE
from graphs import batch
from hypothesis import given, settings
from hypothesis import strategies as st

from codegen.gpu.layers import variants
from codegen.gpu.layout import blocked, pack
from codegen.gpu.precision import in_precision
from codegen.lower import layer_of
from edgekit import reference
from edgekit.floating import left_in_float
from edgekit.graph import Graph


def check(graph: Graph, precision: str, seed: int) -> None:
    """Every variant of every layer, on the reference's operands."""
    graph = left_in_float(graph, precision)
    for node, read, results in reference.steps(graph, batch(graph, seed, n=1)):
        if node.op == "reshape":
            continue
        layer = in_precision(layer_of(graph, node), precision)
        inputs = [
            pack(x.astype(v.dtype), blocked(v.shape, v.dtype))
            for x, v in zip(read, layer.inputs, strict=True)
            if v.name not in layer.constants
        ]
        out = layer.output
        want = pack(results[0].astype(out.dtype), blocked(out.shape, out.dtype))
        offered = variants(layer)
        device().build(launch.function for variant in offered for launch in variant.launches)
        for variant in offered:
            (raw,) = device().run(variant, inputs, [want.nbytes])
            found = raw.view(want.dtype)
            message = f"{variant.name} of {node.op} {node.attrs}"
            if precision == "fp32":
                np.testing.assert_array_equal(found, want, message)
                continue
            most = HALF_TOLERANCE * float(np.abs(want).max())
            reals = (a.astype(np.float32) for a in (found, want))
            np.testing.assert_allclose(*reals, rtol=0, atol=most, err_msg=message)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@settings(CHECKED, max_examples=2)
@given(st.data())
def test_random_graphs(precision: str, data: st.DataObject) -> None:
    check(data.draw(float_graphs(layers=3)), precision, data.draw(st.integers(0, 1000)))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@settings(CHECKED, max_examples=8)
@given(st.data())
def test_more_random_graphs(precision: str, data: st.DataObject) -> None:
    check(data.draw(float_graphs()), precision, data.draw(st.integers(0, 1000)))
