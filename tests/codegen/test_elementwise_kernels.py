"""Element by element operators, random shapes and integers: C against the reference, 0 bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
from elementwise_graphs import graphs_of
from exactness import compare
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

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
CHECKED = settings(
    max_examples=1,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@pytest.mark.parametrize("cases", [CASES[i::BUILDS] for i in range(BUILDS)])
@CHECKED
@given(data=st.data())
def test_exact(cases: list[str], tmp_path: Path, data: st.DataObject) -> None:
    """Several cases share a build: compiling takes longer than everything else."""
    graphs = [data.draw(graphs_of(case)) for case in cases for _ in range(PER_CASE)]
    compare(graphs, data.draw(st.integers(0, 1000)), ("c99",), tmp_path)
