"""Means over windows without padding: every count of pixels, 0 differing bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from graphs import batch, one_node
from template_kernels import candidates, check_everywhere, forced, instructions, run_sanitized
from tools import need

from codegen.thumb.average import divisor
from edgekit import reference
from edgekit.graph import Graph, Quant, Value

QUANT = Quant.make(0.05, -7)


def pool(
    size: tuple[int, int, int], kernel: tuple[int, int], strides: tuple[int, int] = (1, 1)
) -> Graph:
    out = [(n - k) // s + 1 for n, k, s in zip(size, kernel, strides, strict=False)]
    return one_node(
        "average_pool2d",
        [Value("x", (1, *size), "int8", QUANT)],
        Value("y", (1, *out, size[2]), "int8", QUANT),
        {},
        kernel=list(kernel),
        strides=list(strides),
        pads=[0, 0, 0, 0],
    )


POOLS = [
    pool((25, 5, 64), (25, 5)),
    pool((8, 8, 64), (8, 8)),
    pool((3, 3, 256), (3, 3)),
    pool((6, 8, 8), (2, 2), (2, 2)),
    pool((5, 7, 16), (3, 2), (1, 3)),
    pool((51, 5, 8), (51, 5)),
    pool((4, 3, 8), (1, 3)),
    pool((3, 3, 12), (3, 3)),
    pool((6, 5, 20), (2, 2), (2, 1)),
]


@pytest.mark.parametrize("value", [-128, 127, None])
def test_exact(value: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    feeds = None
    if value is not None:
        feeds = {
            f"x_{i}": np.full(g.values["x"].shape, value, np.int8) for i, g in enumerate(POOLS)
        }
    check_everywhere(POOLS, "average", 0, tmp_path, monkeypatch, feeds)


def test_every_count_has_a_divisor() -> None:
    for count in range(3, 256):
        found = divisor(count)
        assert found is not None, count
        m, c = found
        for total in (-128 * count, -count // 2, -1, 0, count // 2, 127 * count):
            magnitude = (abs(total) + count // 2) // count
            assert (c + (m * total >> 16)) >> 16 == (magnitude if total >= 0 else -magnitude)


def test_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for graph in (POOLS[0], POOLS[3], POOLS[8]):
        (candidate,) = candidates(graph, "average")
        assert candidate.cost is not None
        program = forced(graph, "average", 0, monkeypatch)
        ran = instructions(program, tmp_path, batch(graph, 1, n=1))
        assert abs(candidate.cost.instructions - ran) <= 0.03 * ran


def test_sanitized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need("gcc")
    feeds = batch(POOLS[8], 1, n=1)
    program = forced(POOLS[8], "average", 0, monkeypatch)
    want = reference.run(POOLS[8], feeds)["y"].tobytes()
    assert run_sanitized(program, tmp_path, feeds) == want


def test_refused() -> None:
    for graph in (pool((4, 4, 6), (2, 2)), pool((17, 16, 8), (17, 16))):
        assert not candidates(graph, "average")
