"""Movement, reduction and window kernels on host and virtual M4 against the reference: 0 bytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from built import M4, merged, run_host, run_m4
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from movement_graphs import STRATEGIES, samples

from codegen import memory_check
from codegen.lower import build_program
from edgekit import reference
from edgekit.graph import Graph

PLAIN, BOTH = ("int8", "int16", "int32", "bool"), ("int8", "int16")
CASES = {
    "concat": PLAIN,
    "slice": PLAIN,
    "pad": PLAIN,
    "gather": PLAIN,
    "gather computed": PLAIN,
    "gather_nd": PLAIN,
    "expand": PLAIN,
    "tile": PLAIN,
    "resize nearest": PLAIN,
    "transpose wide": PLAIN,
    **{f"reduce {kind}": BOTH for kind in ("sum", "mean", "prod", "max", "min")},
    "reduce any": ("bool",),
    "reduce all": ("bool",),
    "arg": (*BOTH, "int32"),
    "top_k": (*BOTH, "int32"),
    "cumsum": (*BOTH, "int32"),
    "one_hot": PLAIN,
    "conv_transpose2d": BOTH,
    "average_pool2d wide": BOTH,
    "max_pool2d wide": BOTH,
    "resize linear": BOTH,
    "resize cubic": BOTH,
}
TARGET = replace(M4.target, families=("c99",))
PER_BUILD = 8
CHECKED = settings(
    max_examples=2,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def compare(graphs: list[Graph], seed: int, folder: Path) -> None:
    """All of `graphs` in one program."""
    graph = merged(graphs)
    program = build_program(graph, TARGET)
    memory_check.check(program)
    feeds = {name: x[:1] for name, x in samples(graph, seed, n=2).items()}
    want = reference.run(graph, feeds)
    on_host = run_host(program, folder, feeds)
    on_m4, _ = run_m4(program, folder, feeds)
    for tensor, host, m4 in zip(program.outputs, on_host, on_m4, strict=True):
        call = next(c for c in program.calls if any(a.value == tensor.name for a in c.arguments))
        expected = want[tensor.name].reshape(tensor.shape)
        message = f"{call.kernel.spec} {tensor}"
        np.testing.assert_array_equal(host, expected, err_msg="host " + message)
        np.testing.assert_array_equal(m4, expected, err_msg="m4 " + message)


@pytest.mark.parametrize("case", CASES)
@CHECKED
@given(data=st.data())
def test_exact(case: str, tmp_path: Path, data: st.DataObject) -> None:
    graphs = [
        data.draw(STRATEGIES[case](dtype)) for dtype in CASES[case] for _ in range(PER_BUILD // 2)
    ]
    compare(graphs, data.draw(st.integers(0, 1000)), tmp_path)
