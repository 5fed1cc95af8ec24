"""The integer network in torch: the reference's integers forward, useful gradients backward."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from float_graphs import float_graphs
from float_twins import feeds_of, float_twin
from graphs import batch, graphs_of
from hypothesis import given, settings
from hypothesis import strategies as st
from quantizer_small import network, samples
from torches import need_torch

from edgekit.data import quantize_inputs
from edgekit.errors import EdgekitError
from edgekit.graph import Graph, GraphError
from edgekit.ops import fixedpoint as fp
from edgekit.ops.convert import dequantize
from edgekit.reference import run
from quantizer import quantize

torch = need_torch()
from finetune import DEPLOYED, fake_quantized, module_of  # noqa: E402
from finetune.fake_quant import Grids, rescaled, round_half_away, straight_through  # noqa: E402

quick = settings(max_examples=15, deadline=None)


@quick
@given(
    real=st.floats(1e-9, 0.999) | st.floats(1.0, 4.0),
    acc=st.lists(st.integers(-(2**24), 2**24), min_size=1, max_size=20),
)
def test_rescaled_is_mbqm(real: float, acc: list[int]) -> None:
    m, s = fp.quantize_multiplier(real)
    want = fp.multiply_by_quantized_multiplier(np.array(acc), m, s)
    np.testing.assert_array_equal(rescaled(torch.tensor(acc), m, s).numpy(), want)


@quick
@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1))
def test_rounding(x: list[float]) -> None:
    a = np.array(x, np.float32)
    np.testing.assert_array_equal(round_half_away(torch.from_numpy(a)), fp.round_half_away(a))


@pytest.mark.parametrize("op", [
    "add", "mul", "average_pool2d", "max_pool2d", "softmax", "clip", "transpose",
])  # fmt: skip
@quick
@given(data=st.data())
def test_operator_under_any_quantization(op: str, data: st.DataObject) -> None:
    """Operators without weights: every scale and zero point, not only those of the quantizer."""
    integer = data.draw(graphs_of(op))
    graph = float_twin(integer)
    grids = Grids(graph, integer, "per-channel")
    node, feeds = integer.nodes[0], batch(integer, 0)
    want = run(integer, feeds)[integer.outputs[0]].astype(np.int64)

    def u(name: str) -> torch.Tensor:
        value = integer.values[name]
        q = feeds[name] if name in feeds else integer.constants[name]
        assert value.quant is not None
        return torch.from_numpy(q.astype(np.float32) - value.quant.zero_point[0])

    out = integer.values[node.output].quant
    assert out is not None
    have = grids.run(node, [u(name) for name in node.inputs], None) + int(out.zero_point[0])
    np.testing.assert_array_equal(have.numpy().astype(np.int64), want)


def assert_exact(graph: Graph, calibration: dict[str, np.ndarray], **options: object) -> None:
    """Every tensor of the module is the integer reference's, exactly."""
    module = fake_quantized(graph, calibration, **options)
    integer = quantize(graph, calibration, **options, **DEPLOYED).graph  # type: ignore[arg-type]
    feeds = {name: 2 * x for name, x in calibration.items()}  # beyond the ranges as well
    want = run(integer, quantize_inputs(integer, feeds), keep="all")
    names = [*integer.inputs, *(n.output for n in integer.nodes)]
    found = module.tensors({n: torch.from_numpy(x) for n, x in feeds.items()}, names)
    for name in names:
        real = dequantize(integer.values[name], want[name])
        np.testing.assert_array_equal(found[name].detach().numpy(), real, err_msg=name)


@quick
@given(graph=float_graphs(), bits=st.sampled_from([8, 4]),
       weights=st.sampled_from(["per-channel", "per-tensor"]))  # fmt: skip
def test_networks_are_exact(graph: Graph, bits: int, weights: str) -> None:
    calibration = feeds_of(graph, 12)
    assert_exact(graph, calibration, weight_bits={"*": bits}, weights=weights, ranges="minmax")


def test_network_is_exact_with_default_ranges() -> None:
    assert_exact(network(), samples())


def test_exported_weights_lie_on_the_grid() -> None:
    """Float weights behind training are those of the integer network, and stay on requantizing."""
    layers = {"*": 4, "conv2d_0": 4, "depthwise_conv2d_1": 4, "fully_connected_7": 4}
    module = fake_quantized(network(), samples(), weight_bits=layers)
    graph = module.export()
    integer = quantize(graph, samples(), weight_bits=layers, **DEPLOYED).graph
    for f_node, i_node in zip(graph.nodes, integer.nodes, strict=True):
        if i_node.attrs.get("weight_bits") == 4:
            name = i_node.inputs[1]
            real = dequantize(integer.values[name], integer.constants[name])
            np.testing.assert_allclose(graph.constants[f_node.inputs[1]], real, rtol=1e-6)
            assert np.abs(integer.constants[name]).max() == 7


def test_gradients_follow_the_float_network() -> None:
    graph = network()
    x = {name: torch.from_numpy(v) for name, v in samples(64).items()}
    score = graph.nodes[-1].inputs[0]
    found = []
    for module in (fake_quantized(graph, samples(64), ranges="minmax"), module_of(graph)):
        (module.tensors(x, [score])[score] ** 2).mean().backward()
        found.append([p.grad.flatten() for p in module.parameters()])
    for q, f in zip(*found, strict=True):
        assert torch.nn.functional.cosine_similarity(q, f, dim=0) > 0.95
        assert 0.8 < float(q.norm() / f.norm()) < 1.25


def test_no_gradient_beyond_the_range() -> None:
    x = torch.tensor([-3.0, -1.0, 0.4, 2.0, 2.5], requires_grad=True)
    straight_through(x, x.detach().round().clamp(-1, 2), -1, 2).sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 1, 0]


@pytest.mark.parametrize("option", [{"rounding": "gptq"}, {"bias_correction": "empirical"}])
def test_options_that_would_change_the_network_are_refused(option: dict[str, str]) -> None:
    with pytest.raises(EdgekitError, match="quantization-aware") as error:
        fake_quantized(network(), samples(), **option)
    assert error.value.code == "E266"


def test_activations_of_other_types_are_refused() -> None:
    graph = network()
    integer = quantize(graph, samples(), **DEPLOYED).graph
    name = integer.nodes[2].output
    integer.values[name] = replace(integer.values[name], dtype="int16")
    with pytest.raises(EdgekitError, match=f"'{name}' is int16") as error:
        Grids(graph, integer, "per-channel")
    assert error.value.code == "E266"


def test_weights_that_the_quantizer_moved_are_noticed() -> None:
    graph = network()
    integer = quantize(graph, samples(), **DEPLOYED).graph
    Grids(graph, integer, "per-channel").check(graph, integer)
    corrected = quantize(graph, samples(), rounding="nearest").graph  # shifts biases
    with pytest.raises(GraphError, match="conv2d_0"):
        Grids(graph, corrected, "per-channel").check(graph, corrected)
