"""Matrix products for AArch64 against the numpy reference, in qemu-user."""

from __future__ import annotations

from pathlib import Path

import pytest
from a64_guarded import CHECKED, exact
from a64_programs import A53, A76, check_costs, run
from attention_graphs import matmul_graphs
from built import merged
from graphs import batch, one_node
from hypothesis import assume, given
from hypothesis import strategies as st
from tools import need

from codegen.lower import build_program
from edgekit.graph import Graph, Quant, Value
from targets import Board

pytestmark = pytest.mark.apt

SIZES = st.one_of(st.integers(1, 12), st.sampled_from([4, 16, 17, 32, 48, 80]))
GRAPHS = st.lists(matmul_graphs(sizes=SIZES), min_size=8, max_size=8)


@pytest.mark.parametrize("on", [A53, A76], ids=lambda b: b.name)
@CHECKED
@given(graphs=GRAPHS, seed=st.integers(0, 1000), extreme=st.sampled_from([None, -128, 127]))
def test_exact(
    on: Board, graphs: list[Graph], seed: int, extreme: int | None, tmp_path: Path
) -> None:
    assume(seed > 0)  # the first example is the simplest of all
    exact(graphs, on, seed, extreme, tmp_path)


def product(
    rows: int, depth: int, columns: int, transpose_b: bool, heads: tuple[int, int] = (1, 1)
) -> Graph:
    """`heads` are those of a and of b, of which one may be 1."""
    shape = (columns, depth) if transpose_b else (depth, columns)
    values = [
        Value("a", (1, heads[0], rows, depth), "int8", Quant.make(0.02, 3)),
        Value("b", (1, heads[1], *shape), "int8", Quant.make(0.02, -7)),
    ]
    y = Value("y", (1, max(heads), rows, columns), "int8", Quant.make(0.1, 5))
    return one_node("matmul", values, y, {}, transpose_b=transpose_b, clamp=None)


@pytest.mark.parametrize("on", [A53, A76], ids=lambda b: b.name)
def test_costs_are_what_runs(on: Board, tmp_path: Path) -> None:
    need("qemu-aarch64", str(on.target.gcc_command))
    shapes = [(32, 64, 64, True), (49, 64, 49, False), (21, 33, 17, True), (6, 80, 5, False)]
    graph = merged([product(*shape) for shape in shapes])
    program = build_program(graph, on.target, optimize="speed")
    feeds = {name: x[:1] for name, x in batch(graph, 0, n=2).items()}
    _, counts = run(program, tmp_path, feeds)
    check_costs(graph, program, counts, rel=0.03)


@pytest.mark.parametrize("on", [A53, A76], ids=lambda b: b.name)
def test_parts(on: Board, tmp_path: Path) -> None:
    """Threads share heads, and rows where heads are few; not where each would copy all of b."""
    wanted = {
        (49, 64, 49, True, (3, 3)): 3 * 6,
        (50, 24, 7, True, (1, 1)): 6 if on == A53 else 4,
        (16, 64, 64, False, (4, 1)): 4,
        (32, 48, 32, True, (1, 5)): 5 * 4,
        (2, 32, 32, False, (1, 1)): 0,
    }
    graphs = [product(*shape) for shape in wanted]
    program = build_program(merged(graphs), on.target, threads=4)
    units = {tuple(call.kernel.spec.params["size"]): call.kernel.units for call in program.calls}
    assert units == {shape[:3]: count for shape, count in wanted.items()}
    exact(graphs, on, 5, None, tmp_path)
