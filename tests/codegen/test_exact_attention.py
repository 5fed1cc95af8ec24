"""Matrix products and normalizations: generated C against the numpy reference, 0 bytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from attention_graphs import NORMALIZATIONS, ROW_OPERATORS, graphs_of
from attention_nets import Net
from built import M4, merged, run_tight
from exactness import CHECKED, PER_BUILD, compare, draw_seed
from graphs import batch
from hypothesis import given
from hypothesis import strategies as st

from codegen.lower import build_program
from edgekit import reference
from edgekit.graph import Quant, Value

MATMULS = ("int8", "int16", "int16,int8>int8", "int8>int16", "int8,int16>int16")
NORMS = ("int8", "int16", "int8>int16", "int16>int8")


def exact(ops: list[str], folder: Path, families: tuple[str, ...] = ("c99",)) -> None:
    @CHECKED
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        per_op = PER_BUILD // len(ops) + 1
        found = [graph for op in ops for graph in
                 data.draw(st.lists(graphs_of(op), min_size=per_op, max_size=per_op))]  # fmt: skip
        compare(found, draw_seed(data), families, folder)

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


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_sums_and_products_without_a_batch_axis(dtype: str, tmp_path: Path) -> None:
    """Tokens come to stand in front: [T, 1, C] meets [T, 1, C], and [1, 1, C]."""
    found = []
    for op in ("add", "mul"):
        for other in ((5, 1, 4), (1, 1, 4)):
            f = Net(1, 5, 1, 4)
            quant = Quant.make(0.05 if dtype == "int8" else 0.0002)
            f.graph.values["x"] = Value("x", (1, 5, 1, 4), dtype, quant)
            f.add_input("z", (1, *other[1:]) if other[0] == 1 else (1, *other), dtype, quant)
            x = f.emit("reshape", ["x"], {"shape": [5, 1, 4]}, node="x", quant=quant)
            z = f.emit("reshape", ["z"], {"shape": list(other)}, node="z", quant=quant)
            wide = Quant.make(0.1 if dtype == "int8" else 0.0004)
            y = f.emit(op, [x, z], node="y", quant=wide)
            f.graph.outputs = [f.emit("reshape", [y], {"shape": [1, 5, 4]}, node="o", quant=wide)]
            found.append(f.graph.verify())
    compare(found, 3, ("c99",), tmp_path)


@pytest.mark.parametrize("families", [("c99",), ("thumb_dsp", "c99")])
@CHECKED
@given(data=st.data())
def test_under_sanitizers(families: tuple[str, ...], tmp_path: Path, data: st.DataObject) -> None:
    """No overflow and no access outside of operands, which have memory of just their size."""
    ops = [f"{op} {kind}" for op in (*NORMALIZATIONS, *ROW_OPERATORS, "masked_softmax", "matmul")
           for kind in ("int8", "int16")]  # fmt: skip
    graph = merged([data.draw(graphs_of(op)) for op in ops])
    program = build_program(graph, replace(M4.target, families=families))
    feeds = {name: x[:1] for name, x in batch(graph, draw_seed(data), n=2).items()}
    want = reference.run(graph, feeds)
    for tensor, found in zip(program.outputs, run_tight(program, tmp_path, feeds), strict=True):
        np.testing.assert_array_equal(found, want[tensor.name], err_msg=str(tensor))
