"""Matrix products and normalizations: generated C against the numpy reference, 0 bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
from attention_graphs import NORMALIZATIONS, ROW_OPERATORS, graphs_of
from exactness import CHECKED, PER_BUILD, compare
from hypothesis import given
from hypothesis import strategies as st

MATMULS = ("int8", "int16", "int16,int8>int8", "int8>int16", "int8,int16>int16")
NORMS = ("int8", "int16", "int8>int16", "int16>int8")


def exact(ops: list[str], folder: Path, families: tuple[str, ...] = ("c99",)) -> None:
    @CHECKED
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        per_op = PER_BUILD // len(ops) + 1
        found = [graph for op in ops for graph in
                 data.draw(st.lists(graphs_of(op), min_size=per_op, max_size=per_op))]  # fmt: skip
        compare(found, data.draw(st.integers(0, 1000)), families, folder)

    check()


def test_matmul(tmp_path: Path) -> None:
    exact([f"matmul {types}" for types in MATMULS], tmp_path)


def test_matmul_on_dsp(tmp_path: Path) -> None:
    exact(["matmul int8", "matmul int8>int16"], tmp_path, ("thumb_dsp", "c99"))


@pytest.mark.parametrize("op", NORMALIZATIONS)
def test_normalizations(op: str, tmp_path: Path) -> None:
    exact([f"{op} {types}" for types in NORMS], tmp_path)


@pytest.mark.parametrize("op", NORMALIZATIONS)
def test_normalizations_on_dsp(op: str, tmp_path: Path) -> None:
    exact([f"{op} {types}" for types in NORMS], tmp_path, ("thumb_dsp", "c99"))


def test_masked_softmax(tmp_path: Path) -> None:
    exact(["masked_softmax int8", "masked_softmax int16"], tmp_path)


def test_rows(tmp_path: Path) -> None:
    exact([f"{op} {kind}" for op in ROW_OPERATORS for kind in ("int8", "int16")], tmp_path)
