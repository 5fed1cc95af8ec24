"""Every number format from the float model to the board: still the same bytes everywhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from built import M4, run_host, run_m4
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from models import DIGITS, compiled, raw_samples
from quantizer_small import network, samples

from codegen import memory_check
from codegen.lower import build_program
from edgekit import data, pipeline, reference
from edgekit.execute import execute
from edgekit.output import Output
from edgekit.reference import run
from quantizer import quantize
from quantizer.widths import FLOAT_OPERATORS, layer_name

LAYERS = [layer_name(n) for n in network().nodes]
FLOATABLE = [layer_name(n) for n in network().nodes if n.op in FLOAT_OPERATORS]


def digits_formats() -> dict[str, dict[str, Any]]:
    names = [layer_name(n) for n in compiled(DIGITS).graph.nodes if n.op == "conv2d"]
    return {
        "int4": {"weight_bits": 4},
        "16x8": {"activation_bits": 16},
        "16x4": {"activation_bits": 16, "weight_bits": 4},
        "one_tensor_16": {"activation_bits": {names[0]: 16}},
        "float": {"float_layers": names[:2]},
    }


@pytest.fixture(scope="module", params=["int4", "16x8", "16x4", "one_tensor_16", "float"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Output:
    out = tmp_path_factory.mktemp("formats") / request.param
    options = digits_formats()[request.param]
    return pipeline.compile(
        DIGITS.path, output=out, calibration=DIGITS.calibration, quantization=options
    ).output


@pytest.mark.parametrize("mode", ["interpreter", "aot"])
@pytest.mark.parametrize("where", ["host", "virtual-cortex-m4"])
def test_same_bytes(
    folder: Output, where: str, mode: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EDGEKIT_STATE_DIR", str(tmp_path))
    inputs = raw_samples(DIGITS, folder.graph, 8)
    want = run(folder.graph, inputs)
    found = execute(folder, inputs, where, mode=mode)
    for name in folder.graph.outputs:
        assert found[name].dtype == folder.graph.values[name].dtype
        np.testing.assert_array_equal(found[name], want[name])


def test_flash_shrinks_by_what_four_bits_promise(tmp_path: Path) -> None:
    folder = pipeline.compile(
        DIGITS.path,
        output=tmp_path / "out",
        calibration=DIGITS.calibration,
        quantization={"weight_bits": 4},
    ).output
    packed = [n for n in folder.graph.nodes if n.attrs.get("weight_bits") == 4]
    saved = sum(folder.graph.values[n.inputs[1]].size for n in packed) // 2
    # The same kernels but for the weights: int8 has others too, with other constants around them.
    target = replace(M4.target, families=("arm_dsp", "c99"))
    before, after = (
        len(build_program(f.graph, target).constants) for f in (compiled(DIGITS), folder)
    )
    assert packed and before - after == saved


@settings(
    max_examples=6,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    st.dictionaries(st.sampled_from(LAYERS), st.sampled_from([8, 16])),
    st.sampled_from([8, 16]),
    st.sets(st.sampled_from(FLOATABLE)),
    st.integers(0, 9),
)
def test_any_mixture(
    tmp_path: Path, named: dict[str, int], general: int, floats: set[str], seed: int
) -> None:
    """conv, depthwise, add, mul, pools, fully connected and softmax in any mixture of formats."""
    result = quantize(
        network(seed), samples(), activation_bits={"*": general, **named}, float_layers=floats
    )
    assert result.logits_sqnr_db > 15
    graph = result.graph
    program = build_program(graph, M4.target)
    memory_check.check(program)
    feeds = data.quantize_inputs(graph, samples(1, seed))
    want = reference.run(graph, feeds)
    on_host, (on_m4, _) = run_host(program, tmp_path, feeds), run_m4(program, tmp_path, feeds)
    for tensor, host, m4 in zip(program.outputs, on_host, on_m4, strict=True):
        np.testing.assert_array_equal(host, want[tensor.name])
        np.testing.assert_array_equal(m4, want[tensor.name])
