"""Convolutions for AArch64 against the numpy reference, in qemu-user."""

from __future__ import annotations

from pathlib import Path

import pytest
from a64_guarded import CHECKED, exact
from a64_layers import plain_layers, scaled_layers
from a64_programs import A53, A76, A510, check_costs, run
from built import merged
from graphs import batch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mve_layers import layer_of_shape
from tools import need

from codegen.lower import build_program
from edgekit.graph import Graph
from targets import Board

pytestmark = pytest.mark.apt

CORES = [A53, A76, A510]
LAYERS = st.lists(scaled_layers("conv2d"), min_size=5, max_size=5)
PLAIN = st.lists(plain_layers(), min_size=5, max_size=5)
ROWS = st.lists(scaled_layers("fully_connected"), min_size=2, max_size=2)
EXTREMES = st.sampled_from([None, None, -128, 127])
#: conv2d by shape of x, kernel, channels, strides, pads: of the MLPerf Tiny models, and odd ones.
COUNTED = [
    ((25, 5, 64), (1, 1), 64, [1, 1], [0, 0, 0, 0]),
    ((16, 16, 32), (3, 3), 32, [1, 1], [1, 1, 1, 1]),
    ((49, 10, 1), (10, 4), 64, [2, 2], [4, 1, 5, 1]),
    ((24, 24, 3), (3, 3), 8, [2, 2], [0, 0, 1, 1]),
    ((6, 6, 128), (1, 1), 120, [1, 1], [0, 0, 0, 0]),
    ((9, 7, 20), (5, 2), 10, [2, 1], [1, 0, 2, 1]),
    ((24, 24, 5), (1, 1), 16, [1, 1], [0, 0, 0, 0]),
]


@pytest.mark.parametrize("on", CORES, ids=lambda b: b.name)
@CHECKED
@given(convs=LAYERS, plain=PLAIN, rows=ROWS, seed=st.integers(0, 1000), extreme=EXTREMES)
def test_exact_in_parts(
    on: Board,
    convs: list[Graph],
    plain: list[Graph],
    rows: list[Graph],
    seed: int,
    extreme: int | None,
    tmp_path: Path,
) -> None:
    assume(seed > 0)  # the first example is the simplest of all
    exact(convs + plain + rows, on, seed, extreme, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("on", CORES, ids=lambda b: b.name)
@settings(CHECKED, max_examples=4)
@given(convs=LAYERS, plain=PLAIN, rows=ROWS, seed=st.integers(0, 1000), extreme=EXTREMES)
def test_exact_in_parts_more(
    on: Board,
    convs: list[Graph],
    plain: list[Graph],
    rows: list[Graph],
    seed: int,
    extreme: int | None,
    tmp_path: Path,
) -> None:
    exact(convs + plain + rows, on, seed, extreme, tmp_path)


@pytest.mark.parametrize("on", CORES, ids=lambda b: b.name)
def test_costs_are_what_runs(on: Board, tmp_path: Path) -> None:
    """Candidates' costs, which choose kernels, against counted instructions."""
    need("qemu-aarch64", str(on.target.gcc_command))
    graph = merged([layer_of_shape("conv2d", *case) for case in COUNTED])
    program = build_program(graph, on.target, optimize="speed")
    feeds = {name: x[:1] for name, x in batch(graph, 0, n=2).items()}
    _, counts = run(program, tmp_path, feeds)
    check_costs(graph, program, counts, rel=0.02)
