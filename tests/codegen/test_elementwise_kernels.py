"""Element by element operators, random shapes and integers: C against the reference, 0 bytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from built import M4, merged, run_tight
from elementwise_graphs import graphs_of, unary_graphs
from exactness import compare, draw_seed
from graphs import batch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pace import every

from codegen.lower import build_program
from edgekit import reference

CASES = [
    *("unary int8", "unary int16", "unary int8>int16", "unary int16>int8"),
    *(f"{op} {kinds}" for op in ("sub", "squared_difference", "mod", "minimum", "maximum")
      for kinds in ("int8", "int16", "int16>int8 int8", "int32")),
    *(f"{op} {kinds}" for op in ("prelu", "pow", "div")
      for kinds in ("int8", "int16", "int8>int16 int16")),
    "div int32",
    *(f"compare {kinds}" for kinds in ("int8", "int16", "int8 int16", "int32", "bool")),
    "logical bool",
    *(f"where {kinds}" for kinds in ("int8", "int16", "int8>int16", "int32", "bool")),
    *(f"cast {kinds}" for kinds in ("int8>int32", "int16>int32", "int8>bool", "int32>bool",
      "bool>int8", "bool>int32", "int32>int8", "int32>int16", "int8>int16", "int16>int8")),
]  # fmt: skip
#: Memory plans of many independent layers take longer than their compilation.
PER_CASE, BUILDS = 4, 16
C99 = replace(M4.target, families=("c99",))
CHECKED = settings(
    max_examples=1,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@pytest.mark.parametrize("cases", every(4, [CASES[i::BUILDS] for i in range(BUILDS)]))
@CHECKED
@given(data=st.data())
def test_exact(cases: list[str], tmp_path: Path, data: st.DataObject) -> None:
    """Several cases share a build: compiling takes longer than everything else."""
    graphs = [data.draw(graphs_of(case)) for case in cases for _ in range(PER_CASE)]
    compare(graphs, draw_seed(data), ("c99",), tmp_path)


#: A function of every form that `unary` has for int16 operands.
FORMS = ("gelu", "sqrt", "reciprocal", "leaky_relu", "shrink", "floor", "ceil", "round", "square",
         "rsqrt", "sigmoid", "tanh")  # fmt: skip


@pytest.mark.parametrize("dtype", ["int16", "int8"])
@CHECKED
@given(data=st.data())
def test_every_int16_under_sanitizers(dtype: str, tmp_path: Path, data: st.DataObject) -> None:
    """All 65,536 integers; no shift, sum or index that C leaves undefined."""
    draw_seed(data)
    drawn = [data.draw(unary_graphs(f, "int16", dtype, count=65536)) for f in FORMS]
    graph = merged(drawn)
    every = np.arange(-32768, 32768).astype(np.int16)[None]
    feeds = dict.fromkeys(graph.inputs, every)
    program = build_program(graph, C99)
    want = reference.run(graph, feeds)
    for tensor, found in zip(program.outputs, run_tight(program, tmp_path, feeds), strict=True):
        np.testing.assert_array_equal(found, want[tensor.name], err_msg=tensor.name)


@CHECKED
@given(data=st.data())
def test_operands_under_sanitizers(tmp_path: Path, data: st.DataObject) -> None:
    """Full-range operands of all operators that compute."""
    cases = [case for case in CASES if not case.startswith(("unary", "where", "logical"))]
    drawn = [data.draw(graphs_of(case)) for case in cases[:: len(cases) // 14]]
    graph = merged(drawn)
    feeds = {name: x[:1] for name, x in batch(graph, draw_seed(data), n=2).items()}
    program = build_program(graph, C99)
    want = reference.run(graph, feeds)
    for tensor, found in zip(program.outputs, run_tight(program, tmp_path, feeds), strict=True):
        np.testing.assert_array_equal(found, want[tensor.name], err_msg=tensor.name)
