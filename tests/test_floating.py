"""Float models left in float: C against the numpy reference byte for byte, and the command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from built import merged, run_host
from exactness import CHECKED
from float_graphs import float_graphs
from graphs import batch
from hypothesis import given, settings
from hypothesis import strategies as st
from quantizer_small import Builder

from codegen import memory_check
from codegen.lower import build_program
from edgekit import pipeline, reference
from edgekit.errors import EdgekitError
from edgekit.execute import execute
from edgekit.floating import left_in_float
from edgekit.graph import Graph
from edgekit.ops import exact_float
from edgekit.output import open_output
from edgekit.validate import validate
from samples import digits
from targets import board, target

TARGET = target("linux-x86_64")


def compare(graphs: list[Graph], folder: Path, seed: int = 1) -> None:
    graph = left_in_float(merged(graphs))
    program = build_program(graph, TARGET, optimize="speed")
    memory_check.check(program)
    feeds = batch(graph, seed, n=1)
    want = reference.run(graph, feeds)
    for tensor, found in zip(program.outputs, run_host(program, folder, feeds), strict=True):
        assert tensor.dtype == "float32" and (tensor.scale, tensor.zero_point) == (1.0, 0)
        assert found.tobytes() == want[tensor.name].tobytes(), tensor.name


@settings(CHECKED, max_examples=1)
@given(st.data())
def test_random_graphs(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    graphs = [data.draw(float_graphs()) for _ in range(8)]
    compare(graphs, tmp_path_factory.mktemp("float"), data.draw(st.integers(0, 1000)))


def elements(op: str, *constants: tuple[int, ...], **attrs: Any) -> Graph:
    b = Builder(4)
    x = b.input("x", 1, 3, 4, 5)
    others = [b.constant(f"c{i}", *shape) for i, shape in enumerate(constants)]
    return b.done(b.node(op, x, *others, **attrs))


def test_every_function_and_operator(tmp_path: Path) -> None:
    graphs = [elements("unary", function=name) for name in exact_float.UNARY]
    graphs += [elements(op, (5,), clamp=[-1, 1]) for op in ("sub", "add", "mul")]
    graphs += [elements(op, (1, 3, 1, 5)) for op in ("minimum", "maximum")]
    graphs.append(elements("clip", clamp=[None, 0.25]))
    graphs.append(elements("softmax", beta=0.7))
    pool = {"kernel": [2, 2], "strides": [2, 1], "pads": [1, 1, 0, 0], "clamp": [0, None]}
    graphs += [elements(op, **pool) for op in ("average_pool2d", "max_pool2d")]
    graphs.append(elements("average_pool2d", count_include_pad=True, **pool))
    graphs.append(elements("pad", pads=[0, 1, 0, 2, 0, 0, 1, 0], value=0.5))
    compare(graphs, tmp_path)


def test_exp_is_within_two_units_in_the_last_place() -> None:
    x = np.linspace(-87, 88, 200_001).astype(np.float32)
    exact = np.exp(x.astype(np.float64))
    units = np.abs(exact_float.exp(x) - exact) / np.spacing(exact.astype(np.float32))
    assert units.max() < 2
    assert exact_float.exp(np.array([-1e9, 0, 1e9], np.float32)).tolist() == [
        exact_float.exp(np.float32([-87]))[0], 1.0, exact_float.exp(np.float32([88]))[0],
    ]  # fmt: skip


def test_exact_forms_are_close_to_the_operators() -> None:
    for name in exact_float.UNARY:
        graph = elements("unary", function=name)
        feeds = batch(graph, 3, n=2)
        want, found = (
            reference.run(g, feeds)["y"]
            if "y" in g.outputs
            else reference.run(g, feeds)[g.outputs[0]]
            for g in (graph, left_in_float(graph))
        )
        np.testing.assert_allclose(found, want, rtol=2e-6, atol=2e-7, err_msg=name)


def test_the_original_graph_stays_as_it_was() -> None:
    graph = elements("add", (5,))
    left_in_float(graph)
    assert "float" not in graph.nodes[0].attrs and "precision" not in graph.metadata


def test_layers_without_an_exact_form_are_named() -> None:
    with pytest.raises(EdgekitError, match=r"1 of 1 layers of .* cannot be left in float") as found:
        left_in_float(elements("unary", function="erf"))
    assert found.value.code == "E316" and "unary" in found.value.details[0]


def test_compile_run_and_validate(tmp_path: Path) -> None:
    done = pipeline.compile(
        digits.MODEL, output=tmp_path / "out", target="linux-x86_64", precision="fp32"
    )
    assert not any(v.quant for v in done.graph.values.values())
    folder = open_output(tmp_path / "out")
    graph = folder.graph
    x = np.load(digits.EVALUATION)
    name = graph.inputs[0]
    samples = x[name if name in x else x.files[0]][:8].astype(np.float32)
    feeds = {name: samples.reshape(8, *graph.values[name].sample_shape)}
    want = execute(folder, feeds, "reference")[graph.outputs[0]]
    assert want.dtype == np.float32
    for mode in ("interpreter", "aot"):
        found = execute(folder, feeds, "host", mode=mode)[graph.outputs[0]]
        assert found.tobytes() == want.tobytes()
    result = validate(folder, board("linux-x86_64"), feeds)
    assert (result.equal, result.different_bytes) == (8, 0)


@pytest.mark.parametrize(
    "options, said",
    [
        ({"precision": "fp16"}, "--float fp16 is for GPUs, target 'linux-x86_64' has none"),
        ({"precision": "fp32", "calibration": digits.CALIBRATION}, "nothing to calibrate"),
        ({"precision": "fp32", "quantization": {"weight_bits": 4}}, "nothing to calibrate"),
    ],
)
def test_what_does_not_go_together(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(EdgekitError, match=said) as found:
        pipeline.compile(digits.MODEL, output=tmp_path / "o", target="linux-x86_64", **options)
    assert found.value.code == "E317" and not (tmp_path / "o").exists()


@pytest.mark.parametrize("name", ["cortex-a53", "armv7-neon", "cortex-m4", "cortex-m55", "npu64"])
def test_kernels_of_integers_leave_float_layers_alone(name: str) -> None:
    """Every family is asked; what has no float kernel refuses, and portable C remains."""
    pool = {"kernel": [2, 2], "strides": [2, 1], "pads": [1, 1, 0, 0]}
    graphs = [elements("unary", function="hard_swish"), elements("softmax", beta=1.0)]
    graphs += [elements(op, (5,)) for op in ("add", "mul", "sub", "minimum")]
    graphs += [elements(op, **pool) for op in ("average_pool2d", "max_pool2d")]
    graphs += [elements("clip", clamp=[0, 6])]
    program = build_program(left_in_float(merged(graphs)), target(name), optimize="speed")
    assert all(c.kernel.spec.params["float"] for c in program.calls)
    assert {c.kernel.spec.family for c in program.calls} == {"c99"}
