"""Layers of int16 with int64 biases: generated C against the numpy reference, 0 bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from exactness import CHECKED, PER_BUILD, compare, draw_seed
from hypothesis import given
from hypothesis import strategies as st
from tflite_files import File
from tflite_operators import OPERATORS, Draw

from codegen.aot import aot_sources
from codegen.lower import build_program
from edgekit.devices.find import find_target
from edgekit.errors import EdgekitError
from edgekit.graph import Graph, Node, Quant, Value
from edgekit.importers import load
from edgekit.ops.requant import is_wide
from targets import target

LAYERS = ("CONV_2D", "DILATED_CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")


def drawn(name: str, data: st.DataObject, folder: Path) -> Graph:
    """A graph of one such layer, made by the importer."""
    f, path = File(), folder / "m.tflite"
    path.write_bytes(f.bytes(*OPERATORS[name](f, Draw(data), "int16")))
    graph = load(path)
    [layer] = [n for n in graph.nodes if n.op != "reshape"]
    assert is_wide([graph.values[i] for i in layer.inputs])
    graph.outputs = [layer.output]  # a reshape behind it is no call of its own
    graph.drop_unused()
    return graph


@pytest.mark.parametrize("name", LAYERS)
def test_exact(name: str, tmp_path: Path) -> None:
    @CHECKED
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        graphs = [drawn(name, data, tmp_path) for _ in range(PER_BUILD)]
        compare(graphs, draw_seed(data), ("thumb_dsp", "arm_dsp", "c99"), tmp_path)

    check()


def test_sums_beyond_47_bits_are_refused(tmp_path: Path) -> None:
    from codegen.lower import build_program

    f, path = File(), tmp_path / "m.tflite"
    x, y = f.tensor([1, 2], "int16", 0.01), f.tensor([1, 1], "int16", 0.01)
    w = f.tensor([1, 2], "int8", 0.01, data=np.ones((1, 2)))
    b = f.tensor([1], "int64", 0.0001, data=[1 << 50])
    f.op("FULLY_CONNECTED", [x, w, b], [y], "FullyConnected")
    path.write_bytes(f.bytes([x], [y]))
    with pytest.raises(EdgekitError, match="47 bits") as caught:
        build_program(load(path), target("cortex-m4"))
    assert caught.value.code == "E310"


def test_ahead_of_time_constants_have_64_bits() -> None:
    graph = Graph("w", ["x"], ["y"])
    graph.add_value(Value("x", (1, 8), "int16", Quant.make(1e-4)))
    graph.add_value(Value("y", (1, 2), "int16", Quant.make(1e-3)))
    graph.add_constant("w", np.ones((2, 8), np.int8), Quant.make([0.01, 0.01], 0, 0))
    graph.add_constant("b", np.array([2**40, -5]), Quant.make([1e-6, 1e-6], 0, 0))
    graph.nodes.append(Node("fully_connected", ("x", "w", "b"), ("y",), {}, "fc"))
    program = build_program(graph.verify(), find_target("cortex-m4"))
    assert "static const int64_t c0_bias[2]" in aot_sources(program, bytes(8))["w.c"]
