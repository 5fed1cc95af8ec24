"""Every operator, random shapes and integers: generated C against the numpy reference, 0 bytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from built import M4, merged, run_host, run_m4
from graphs import batch, graphs_of
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from codegen import memory_check
from codegen.lower import build_program
from edgekit import reference
from edgekit.errors import EdgekitError
from edgekit.graph import Graph

DSP, C99 = ("arm_dsp", "c99"), ("c99",)
CASES = [
    (op, families) for op in ("conv2d", "depthwise_conv2d", "fully_connected",
               "conv2d int4", "depthwise_conv2d int4", "fully_connected int4")
    for families in (DSP, C99)
] + [
    (op, C99)
    for op in ("add", "mul", "clip", "average_pool2d", "max_pool2d", "softmax", "transpose")
] + [
    (op, families) for op in ("conv2d int16", "depthwise_conv2d int16", "fully_connected int16",
               "conv2d int8>int16", "depthwise_conv2d int16>int8", "conv2d int4 int16",
               "fully_connected int4 int16>int8")
    for families in (DSP, C99)
] + [
    (op, C99)
    for op in ("add int16", "mul int16", "clip int16", "average_pool2d int16", "max_pool2d int16",
               "softmax int16", "transpose int16", "add int16 mixed", "mul int16>int8 mixed",
               "conv2d float int8", "conv2d float int16>int8", "depthwise_conv2d float int8>int16",
               "fully_connected float int8", "add float int8", "mul float int16>int8",
               "add int8>int16", "mul int16>int8",
               "clip int8>int16", "clip int16>int8")
]  # fmt: skip
PER_BUILD = 10
CHECKED = settings(
    max_examples=2,
    deadline=None,
    # A build takes a second; the graphs are small as they are drawn.
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def compare(graphs: list[Graph], seed: int, families: tuple[str, ...], folder: Path) -> None:
    """Build `graphs` as one program and run it on host and virtual M4."""
    target = replace(M4.target, families=families)
    buildable = []
    for graph in graphs:
        try:
            build_program(graph, target)
            buildable.append(graph)
        except EdgekitError as refused:
            # An accumulator that can overflow is refused by name, which is the promise.
            assert refused.code == "E310", refused
    if not buildable:
        return
    graph = merged(buildable)
    program = build_program(graph, target)
    memory_check.check(program)
    feeds = {name: x[:1] for name, x in batch(graph, seed, n=2).items()}
    want = reference.run(graph, feeds)
    on_host = run_host(program, folder, feeds)
    on_m4, _ = run_m4(program, folder, feeds)
    for tensor, host, m4 in zip(program.outputs, on_host, on_m4, strict=True):
        call = next(c for c in program.calls if c.arguments[-1].value == tensor.name
                    or any(a.value == tensor.name for a in c.arguments))  # fmt: skip
        message = f"{call.kernel.spec} {tensor}"
        np.testing.assert_array_equal(host, want[tensor.name], err_msg="host " + message)
        np.testing.assert_array_equal(m4, want[tensor.name], err_msg="m4 " + message)


@pytest.mark.parametrize(("op", "families"), CASES)
@CHECKED
@given(data=st.data())
def test_exact(op: str, families: tuple[str, ...], tmp_path: Path, data: st.DataObject) -> None:
    graphs = data.draw(st.lists(graphs_of(op), min_size=PER_BUILD, max_size=PER_BUILD))
    compare(graphs, data.draw(st.integers(0, 1000)), families, tmp_path)
