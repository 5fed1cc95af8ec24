"""The rv_cfu family: random layers against the numpy reference, on this machine and on the virtual
core whose custom instructions are emulated; 0 differing bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from built import merged, run_host, run_tight, run_virtual
from exactness import CHECKED, PER_BUILD, draw_seed
from graphs import batch, graphs_of, one_node
from hypothesis import given
from hypothesis import strategies as st
from pace import thinned
from tflm import same_pads

from codegen import memory_check
from codegen.lower import build_program
from codegen.program import Program
from edgekit import reference
from edgekit.errors import EdgekitError
from edgekit.graph import Graph, Quant, Value
from targets import board

CFU = board("virtual-riscv32-cfu")


#: (height, width, channels, results, kernel, strides): blocks that are not whole, tiles that are
#: not, bands of rows, one and three channels, rows of one tile.
SHAPES = [
    ("conv2d", 24, 24, 16, 8, (1, 1), (1, 1)),
    ("conv2d", 25, 5, 64, 8, (1, 1), (1, 1)),
    ("conv2d", 1, 131, 8, 12, (1, 1), (1, 1)),
    ("conv2d", 8, 8, 64, 8, (3, 3), (1, 1)),
    ("conv2d", 16, 16, 3, 8, (3, 3), (2, 2)),
    ("conv2d", 25, 10, 1, 8, (10, 4), (2, 2)),
    ("conv2d", 16, 16, 16, 10, (1, 1), (2, 2)),
    ("depthwise_conv2d", 12, 25, 16, 16, (3, 3), (1, 1)),
    ("depthwise_conv2d", 25, 5, 64, 64, (3, 3), (1, 1)),
    ("depthwise_conv2d", 12, 12, 60, 60, (3, 3), (2, 2)),
]


def layer(op: str, h: int, w: int, c: int, o: int, kernel: tuple[int, int],
          strides: tuple[int, int]) -> Graph:  # fmt: skip
    """A layer with SAME padding, so that it fits the shapes of networks."""
    r = np.random.default_rng(h * w + c)
    (top, bottom), (left, right) = (
        same_pads(size, k, s, 1) for size, k, s in zip((h, w), kernel, strides, strict=True)
    )
    shape = (o, *kernel, c) if op == "conv2d" else (*kernel, o)
    scales = np.exp(r.uniform(np.log(1e-3), np.log(1e-2), o))
    x, y = Quant.make(0.05, -7), Quant.make(0.5, -128)
    return one_node(
        op,
        [
            Value("x", (1, h, w, c), "int8", x),
            Value("w", shape, "int8", Quant.make(scales, 0, 0 if op == "conv2d" else 2)),
            Value("b", (o,), "int32", Quant.make(0.05 * scales, 0, 0)),
        ],
        Value("y", (1, -(-h // strides[0]), -(-w // strides[1]), o), "int8", y),
        {
            "w": r.integers(-127, 128, shape).astype(np.int8),
            "b": r.integers(-9999, 9999, o).astype(np.int32),
        },
        strides=list(strides),
        pads=[top, left, bottom, right],
    )


def test_shapes_of_networks(tmp_path: Path) -> None:
    graph = merged([layer(*shape) for shape in SHAPES])
    program = build_program(graph, CFU.target)
    assert {call.kernel.spec.family for call in program.calls} == {"rv_cfu"}
    memory_check.check(program)
    feeds = batch(graph, 5, n=1)
    check(program, graph, feeds, tmp_path)
    want = reference.run(graph, feeds)
    for tensor, found in zip(program.outputs, run_tight(program, tmp_path, feeds), strict=True):
        np.testing.assert_array_equal(found, want[tensor.name], err_msg=f"sanitized {tensor}")


@pytest.mark.parametrize(
    "op",
    thinned(
        ["conv2d", "conv2d fours", "depthwise_conv2d fours", "fully_connected"],
        lambda op: op != "conv2d fours",
    ),
)
@CHECKED
@given(data=st.data())
def test_exact(op: str, tmp_path: Path, data: st.DataObject) -> None:
    graphs = data.draw(st.lists(graphs_of(op), min_size=PER_BUILD, max_size=PER_BUILD))
    seed = draw_seed(data)
    buildable = []
    for graph in graphs:
        try:
            build_program(graph, CFU.target)
            buildable.append(graph)
        except EdgekitError as refused:
            assert refused.code == "E310", refused
    if not buildable:
        return
    program = build_program(merged(buildable), CFU.target)
    assert any(call.kernel.spec.family == "rv_cfu" for call in program.calls)
    memory_check.check(program)
    feeds = {name: x[:1] for name, x in batch(merged(buildable), seed, n=2).items()}
    check(program, merged(buildable), feeds, tmp_path)


def check(program: Program, graph: Graph, feeds: dict[str, np.ndarray], folder: Path) -> None:
    want = reference.run(graph, feeds)
    on_host = run_host(program, folder, feeds)
    on_core, _ = run_virtual(CFU, program, folder, feeds)
    for tensor, host, core in zip(program.outputs, on_host, on_core, strict=True):
        np.testing.assert_array_equal(host, want[tensor.name], err_msg=f"host {tensor}")
        np.testing.assert_array_equal(core, want[tensor.name], err_msg=f"core {tensor}")
