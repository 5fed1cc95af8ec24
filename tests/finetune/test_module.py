"""The torch module of a graph against the float reference, and back to a graph."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from float_graphs import float_graphs
from float_twins import feeds_of, float_twin
from graphs import graphs_of, one_node
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from quantizer_small import Builder, network, samples
from torches import need_torch

from edgekit.errors import EdgekitError
from edgekit.exporters import save_onnx
from edgekit.graph import Graph, Node, Value
from edgekit.importers import load
from edgekit.reference import run
from quantizer import quantize

torch = need_torch()
from finetune import module_of  # noqa: E402
from finetune.operators import FUNCTIONS  # noqa: E402

relaxed = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def assert_equal(graph: Graph, feeds: dict[str, np.ndarray]) -> None:
    want = run(graph, feeds)
    found = module_of(graph)(*(torch.from_numpy(feeds[name]) for name in graph.inputs))
    found = found if isinstance(found, tuple) else (found,)
    for name, have in zip(graph.outputs, found, strict=True):
        atol = 1e-5 * max(1.0, float(np.abs(want[name]).max(initial=0)))
        np.testing.assert_allclose(have.detach().numpy(), want[name], rtol=1e-4, atol=atol)


@pytest.mark.parametrize("op", sorted(set(FUNCTIONS) - {"reshape"}))
@relaxed
@given(data=st.data())
def test_operator(op: str, data: st.DataObject) -> None:
    graph = float_twin(data.draw(graphs_of(op)))
    assert_equal(graph, feeds_of(graph))


@relaxed
@given(graph=float_graphs())
def test_network(graph: Graph) -> None:
    assert_equal(graph, feeds_of(graph))


def test_export_gives_the_graph_back(tmp_path: Path) -> None:
    graph = network()
    same = module_of(graph).export()
    for name, data in graph.constants.items():
        np.testing.assert_array_equal(same.constants[name], data)
    save_onnx(same, tmp_path / "m.onnx")
    feeds = samples(4)
    want, again = run(graph, feeds), load(tmp_path / "m.onnx")
    have = run(again, feeds)[again.outputs[0]]
    np.testing.assert_allclose(have, want[graph.outputs[0]], atol=1e-6)


def test_parameters_are_named_after_layers() -> None:
    graph = network()
    graph.nodes = [
        replace(
            n, name={"conv2d_0": "stem.conv", "depthwise_conv2d_1": "forward"}.get(n.name, n.name)
        )
        for n in graph.nodes
    ]
    names = [name for name, _ in module_of(graph).named_parameters()]
    assert names == [
        f"{layer}.{kind}"
        for layer in ("stem_conv", "forward_", "fully_connected_7")
        for kind in ("weight", "bias")
    ]


def test_a_constant_of_two_layers_is_one_parameter() -> None:
    b = Builder()
    x = b.input("x", 1, 4)
    w, bias = b.constant("w", 4, 4), b.constant("b", 4)
    y = b.node("fully_connected", b.node("fully_connected", x, w, bias), w, bias)
    graph = b.done(y)
    assert len(list(module_of(graph).parameters())) == 2
    assert_equal(graph, feeds_of(graph))


def refused(graph: Graph) -> EdgekitError:
    with pytest.raises(EdgekitError) as error:
        module_of(graph)
    assert error.value.code == "E261"
    return error.value


def test_quantized_graphs_are_refused() -> None:
    assert "int8" in refused(quantize(network(), samples()).graph).message


@pytest.mark.parametrize(
    ("op", "attrs", "out"),
    [("reshape", {"shape": [4, 1, 2]}, (4, 1, 2)), ("transpose", {"perm": [1, 0, 2]}, (4, 1, 2))],
)
def test_a_moved_batch_is_refused(op: str, attrs: dict[str, Any], out: tuple[int, ...]) -> None:
    graph = one_node(op, [Value("x", (1, 4, 2))], Value("y", out), {}, **attrs)
    assert f"'{op}' ({op})" in refused(graph).details[0]


def test_an_operator_without_a_torch_form_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(FUNCTIONS, "mul")
    assert refused(network()).details == ("'mul_4' (mul): there is no torch form of this operator",)


def test_computed_weights_are_refused() -> None:
    graph = Graph("g", ["x", "w"], ["y"])
    for name, shape in (("x", (1, 3)), ("w", (2, 3)), ("y", (1, 2))):
        graph.add_value(Value(name, shape))
    graph.add_constant("b", np.zeros(2, np.float32))
    graph.nodes = [Node("fully_connected", ("x", "w", "b"), ("y",), {}, "fc")]
    assert "computed" in refused(graph.verify()).details[0]
