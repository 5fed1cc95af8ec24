"""Transposed convolutions as convolutions: the same integers, and fewer instructions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from built import M4, run_host, run_m4
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from movement_graphs import conv_transpose_graphs, node_graph, samples

from codegen import memory_check
from codegen.lower import build_program
from codegen.subpixel import as_convolutions
from edgekit import reference
from edgekit.graph import Graph, Quant, Value

FEW = settings(max_examples=60, deadline=None, phases=[Phase.explicit, Phase.generate])


@pytest.mark.parametrize("tflite", [False, True])
@pytest.mark.parametrize("dtypes", [("int8", "int8"), ("int16", "int16"), ("int8", "int16")])
def test_the_same_integers(dtypes: tuple[str, str], tflite: bool) -> None:
    done = []

    @FEW
    @given(conv_transpose_graphs(*dtypes, plain=True, tflite=tflite), st.integers(0, 99))
    def check(graph: Graph, seed: int) -> None:
        changed = as_convolutions(graph)
        done.append(changed is not graph)
        if not done[-1]:
            return
        assert "conv_transpose2d" not in [n.op for n in changed.nodes]
        feeds = samples(graph, seed, 3)
        want = reference.run(graph, feeds)["y"]
        np.testing.assert_array_equal(reference.run(changed, feeds)["y"], want)

    check()
    assert sum(done) > len(done) // 4


def layer(kernel: int, stride: int, pads: list[int]) -> Graph:
    r = np.random.default_rng(kernel)
    shape = (8, kernel, kernel, 16)
    quant = Quant.make(np.full(8, 0.01), 0, 0)
    x = Value("x", (1, 6, 6, 16), "int8", Quant.make(0.05, 3))
    values = [x, Value("w", shape, "int8", quant), Value("b", (8,), "int32", quant)]
    data = {"w": r.integers(-127, 128, shape).astype(np.int8), "b": np.arange(8, dtype=np.int32)}
    return node_graph("conv_transpose2d", values, data, Quant.make(0.1, -5),
                      strides=[stride, stride], pads=pads, clamp=[0, None])  # fmt: skip


@pytest.mark.parametrize(
    ("kernel", "stride", "pads"),
    [(2, 2, [0] * 4), (3, 2, [0, 0, 1, 1]), (4, 2, [1] * 4), (3, 1, [1] * 4)],
)
def test_fewer_instructions(kernel: int, stride: int, pads: list[int], tmp_path: Path) -> None:
    """Against the plain kernel, which a build for little flash keeps."""
    graph, taken = layer(kernel, stride, pads), []
    feeds = samples(graph, 1, 1)
    want = reference.run(graph, feeds)["y"]
    for optimize in ("balanced", "size"):
        program = build_program(graph, M4.target, optimize=optimize)
        memory_check.check(program)
        folder = tmp_path / optimize
        folder.mkdir()
        np.testing.assert_array_equal(run_host(program, folder, feeds)[0], want)
        outputs, steps = run_m4(program, folder, feeds)
        np.testing.assert_array_equal(outputs[0], want)
        taken.append(steps)
    assert taken[0] < taken[1] / 2, taken
