"""Concats and slices without copies: what becomes a view, and that the bytes stay the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from built import M4, run_host, run_m4
from movement_graphs import samples
from placed import check_placed

from codegen import memory_check
from codegen.lower import build_program
from codegen.views import as_views
from edgekit import reference
from edgekit.graph import Graph, Node, Quant, Value
from edgekit.ops import operator

QUANT = Quant.make(0.1, 3)


class Net:
    """Nodes on int8 tensors of one quantization."""

    def __init__(self, *shape: int) -> None:
        self.graph = Graph("views", inputs=["x"])
        self.graph.add_value(Value("x", shape, "int8", QUANT))

    def node(self, op: str, *inputs: str, quant: Quant = QUANT, **attrs: Any) -> str:
        name = f"{op}_{len(self.graph.nodes)}"
        node = Node(op, inputs, (name,), attrs, name)
        [(shape, dtype)] = operator(op).checked(node, [self.graph.values[i] for i in inputs])
        self.graph.add_value(Value(name, shape, dtype, quant))
        self.graph.nodes.append(node)
        return name

    def turned(self, x: str) -> str:
        """Some kernel."""
        return self.node("transpose", x, perm=[0, 2, 1, 3])

    def half(self, x: str, begin: int, end: int) -> str:
        return self.node("slice", x, starts=[0, begin, 0, 0], stops=[None, end, None, None],
                         steps=[1] * 4)  # fmt: skip

    def done(self, *outputs: str) -> Graph:
        self.graph.outputs = list(outputs)
        return self.graph.verify()


def check(graph: Graph, ops: list[str], folder: Path) -> None:
    """The program calls kernels of these operators; its results are the reference's."""
    program = build_program(graph, M4.target)
    memory_check.check(program)
    check_placed(program)
    assert [call.op for call in program.calls] == ops
    feeds = samples(graph, 1, 1)
    want = reference.run(graph, feeds)
    for tensor, host in zip(program.outputs, run_host(program, folder, feeds), strict=True):
        np.testing.assert_array_equal(host, want[tensor.name])
    for tensor, m4 in zip(program.outputs, run_m4(program, folder, feeds)[0], strict=True):
        np.testing.assert_array_equal(m4, want[tensor.name])


def test_parts_are_read_and_made_in_their_places(tmp_path: Path) -> None:
    net = Net(1, 4, 4, 2)
    upper, lower = net.turned(net.half("x", 0, 2)), net.turned(net.half("x", 2, 4))
    whole = net.node("concat", lower, upper, axis=1)
    graph = net.done(net.node("clip", whole, clamp=[0, None]))
    check(graph, ["transpose", "transpose", "clip"], tmp_path)


@pytest.mark.parametrize("case", ["input", "twice", "scales", "axis", "unaligned"])
def test_copies_that_stay(case: str, tmp_path: Path) -> None:
    """Parts that are no kernel's result, in two places, requantized, interleaved, or unaligned."""
    net = Net(1, 2, 2, 2) if case != "unaligned" else Net(1, 2, 3, 1)
    part = net.turned("x")
    other = {"input": "x", "twice": part}.get(case) or net.turned("x")
    quant = Quant.make(0.2, 3) if case == "scales" else QUANT
    whole = net.node("concat", part, other, axis=3 if case == "axis" else 1, quant=quant)
    graph = net.done(net.node("clip", whole, clamp=[0, None]))
    assert as_views(graph) is graph
    made = ["transpose"] * (1 if case in ("input", "twice") else 2)
    check(graph, [*made, "concat", "clip"], tmp_path)


def test_a_result_of_the_graph_may_be_a_part_of_its_input(tmp_path: Path) -> None:
    net = Net(1, 4, 2, 2)
    check(net.done(net.half("x", 2, 4), net.turned("x")), ["transpose"], tmp_path)
