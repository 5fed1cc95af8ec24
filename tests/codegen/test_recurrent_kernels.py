"""Kernels of lstm, gru, rnn and svdf against the numpy reference: 0 differing bytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from built import M4, merged, run_host, run_m4
from exactness import draw_seed
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pace import every
from recurrent_models import cells, integers, svdfs
from template_kernels import run_sanitized

from codegen import memory_check
from codegen.lower import build_program
from edgekit import reference
from edgekit.graph import Graph

CASES = {
    **{f"{op} {dtype}": cells(op, dtype) for op in ("lstm", "gru", "rnn")
       for dtype in ("int8", "int16")},
    "lstm of TFLite": cells("lstm", tflite=True),
    # Products that leave int32 when they are shifted left, whose sums leave it as well.
    **{f"{op} beyond int32": cells(op, reach=1e6) for op in ("lstm", "gru", "rnn")},
    "svdf int8": svdfs("int8"),
    "svdf int16": svdfs("int16"),
}  # fmt: skip
FEW = settings(
    max_examples=1,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
PER_BUILD = 6


def opened(graph: Graph) -> Graph:
    """The layer with its states as inputs and what they become as outputs."""
    (node,) = graph.nodes
    inputs = [n for n in node.inputs if n not in graph.constants]
    return replace(graph, inputs=inputs, outputs=list(node.outputs), states=[])


def feeds_of(graph: Graph, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        name: integers(rng, graph.values[name].shape, graph.values[name].dtype)
        for name in graph.inputs
    }


@pytest.mark.parametrize("case", every(2, CASES))
@FEW
@given(data=st.data())
def test_exact(case: str, tmp_path: Path, data: st.DataObject) -> None:
    """Side by side in one program, on the host and on the virtual M4."""
    drawn = data.draw(st.lists(CASES[case], min_size=PER_BUILD, max_size=PER_BUILD))
    graph = merged([opened(g) for g in drawn])
    program = build_program(graph, replace(M4.target, families=("c99",)))
    memory_check.check(program)
    feeds = feeds_of(graph, draw_seed(data))
    want = reference.run(graph, feeds)
    on_host = run_host(program, tmp_path, feeds)
    on_m4, _ = run_m4(program, tmp_path, feeds)
    for tensor, host, m4 in zip(program.outputs, on_host, on_m4, strict=True):
        np.testing.assert_array_equal(host, want[tensor.name], err_msg=f"host {tensor}")
        np.testing.assert_array_equal(m4, want[tensor.name], err_msg=f"m4 {tensor}")


@pytest.mark.parametrize("case", CASES)
@FEW
@given(data=st.data())
def test_sanitized(case: str, tmp_path: Path, data: st.DataObject) -> None:
    """Alone, with states as inputs, every operand in memory of exactly its size."""
    graph = opened(data.draw(CASES[case]))
    program = build_program(graph, replace(M4.target, families=("c99",)))
    feeds = feeds_of(graph, draw_seed(data))
    want = reference.run(graph, feeds)
    found = run_sanitized(program, tmp_path, feeds)
    assert found == b"".join(want[name].tobytes() for name in graph.outputs)


@pytest.mark.parametrize("op", ["lstm", "gru", "rnn"])
@FEW
@given(data=st.data())
def test_sums_of_more_than_32_bits(op: str, tmp_path: Path, data: st.DataObject) -> None:
    """Of int16 inputs, with the most that one row of weights can make of them."""
    drawn = data.draw(cells(op, "int16", least_inputs=1200, most_inputs=1210))
    graph = opened(drawn)
    feeds = feeds_of(graph, draw_seed(data))
    row = graph.constants["w"][0]
    feeds["x"][0, 0] = np.where(row < 0, -32767, 32767)
    assert int(feeds["x"][0, 0].astype(np.int64) @ row) >= 1 << 31
    program = build_program(graph, replace(M4.target, families=("c99",)))
    assert program.calls[0].kernel.spec.params["wide"]
    want = reference.run(graph, feeds)
    expected = b"".join(want[name].tobytes() for name in graph.outputs)
    assert run_sanitized(program, tmp_path, feeds) == expected
    on_m4, _ = run_m4(program, tmp_path, feeds)
    for tensor, m4 in zip(program.outputs, on_m4, strict=True):
        np.testing.assert_array_equal(m4, want[tensor.name], err_msg=f"m4 {tensor}")
