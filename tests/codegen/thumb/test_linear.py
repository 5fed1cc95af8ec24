"""add, sub and clip as linear forms: proven point by point, 0 differing bytes over all points."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from built import run_host
from graphs import batch, one_node, quants
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from template_kernels import candidates, check_everywhere, forced, instructions, run_sanitized
from tools import need, need_cpu

from codegen.lower import layer_of
from codegen.thumb import linear
from edgekit import reference
from edgekit.graph import Graph, Quant, Value

CHECKED = settings(
    max_examples=2,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
#: The additions of MLPerf Tiny's image classification.
REAL = [
    ((0.0289, -128), (0.0566, 4), (0.0417, -128)),
    ((0.0417, -128), (0.0871, 13), (0.0618, -128)),
    ((0.0263, -128), (0.1098, 17), (0.0803, -128)),
]


def layer(op: str, shape: tuple[int, ...], grids: list[Quant], clamp: object = None) -> Graph:
    *inputs, out = grids
    values = [Value("ab"[i], shape, "int8", q) for i, q in enumerate(inputs)]
    return one_node(op, values, Value("y", shape, "int8", out), {}, clamp=clamp)


@st.composite
def layers(draw: st.DrawFn) -> Graph:
    op = draw(st.sampled_from(["add", "sub", "clip"]))
    grids = [draw(quants(1e-2, 0.2)) for _ in range(2 if op == "clip" else 3)]
    shape = (1, draw(st.integers(1, 40)), draw(st.integers(1, 3)))
    clamp = [0, None] if op == "clip" or draw(st.booleans()) else None
    if clamp:
        grids[-1] = Quant.make(float(grids[-1].scale[0]), -128)
    return layer(op, shape, grids, clamp)


@pytest.mark.parametrize("variant", range(2))
@CHECKED
@given(graphs=st.lists(layers(), min_size=8, max_size=8))
def test_exact(
    variant: int, graphs: list[Graph], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitting = [g for g in graphs if len(candidates(g, "linear")) > variant]
    if fitting:
        check_everywhere(fitting, "linear", variant, tmp_path, monkeypatch)


def test_all_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.arange(-128, 128).astype(np.int8)
    a, b = np.broadcast_arrays(x[:, None], x)
    for i, grids in enumerate(REAL):
        op = ("add", "sub", "add")[i]
        graph = layer(op, (1, 256, 256, 1), [Quant.make(*q) for q in grids])
        feeds = {f"{n}_0": v.reshape(1, 256, 256, 1).copy() for n, v in (("a", a), ("b", b))}
        check_everywhere([graph], "linear", i % 2, tmp_path, monkeypatch, feeds)


def test_all_pairs_with_avx2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LLVM 22 made wrong bytes of this routine's C with AVX2 (DESIGN, "What building taught")."""
    need_cpu("x86_64_v3")
    x = np.arange(-128, 128).astype(np.int8)
    a, b = (v.reshape(1, 256, 256, 1).copy() for v in np.broadcast_arrays(x[:, None], x))
    graph = layer("add", (1, 256, 256, 1), [Quant.make(*q) for q in REAL[0]])
    program = forced(graph, "linear", 0, monkeypatch)
    feeds = {"a": a, "b": b}
    (found,) = run_host(program, tmp_path, feeds, "-O2", ("-mcpu=x86_64_v3",))
    np.testing.assert_array_equal(found, reference.run(graph, feeds)["y"])


def test_form_is_found_for_most_layers() -> None:
    chance = np.random.default_rng(0)
    found = 0
    for _ in range(40):
        scales = np.exp(chance.normal(-3, 0.7, 3)) * [1, 1, 1.5]
        points = chance.integers(-128, 128, 3)
        grids = [Quant.make(float(s), int(z)) for s, z in zip(scales, points, strict=True)]
        found += bool(candidates(layer("add", (1, 4, 4), grids), "linear"))
        found += bool(candidates(layer("sub", (1, 4, 4), grids), "linear"))
    assert found >= 76


def test_search_is_exact_or_nothing() -> None:
    graph = layer("add", (1, 8), [Quant.make(*q) for q in REAL[0]])
    want = linear._points(layer_of(graph, graph.nodes[0]))
    x = np.arange(-128, 128)
    feeds = {"a": np.repeat(x, 256)[None].astype(np.int8), "b": np.tile(x, 256)[None]
             .astype(np.int8)}  # fmt: skip
    whole = layer("add", (1, 65536), [Quant.make(*q) for q in REAL[0]])
    np.testing.assert_array_equal(reference.run(whole, feeds)["y"].reshape(256, 256), want)
    found = linear.search(want, [289 / 417, 566 / 417])
    assert found is not None
    (m1, m2), c = found
    form = np.clip((c + (m1 * x[:, None] >> 8) + (m2 * x >> 8)) >> 16, -128, 127)
    np.testing.assert_array_equal(form, want)
    for i, j in itertools.product((0, 100, 255), repeat=2):
        changed = want.copy()
        changed[i, j] += 3 if want[i, j] < 100 else -3
        assert linear.search(changed, [289 / 417, 566 / 417]) is None


def test_cost_and_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = layer("add", (1, 32, 32, 16), [Quant.make(*q) for q in REAL[0]])
    found = candidates(graph, "linear")
    assert [c.inputs for c in found] == [("a", "b"), ("b", "a")]
    program = forced(graph, "linear", 0, monkeypatch)
    assert program.calls[0].in_place
    ran = instructions(program, tmp_path, batch(graph, 1, n=1))
    cost = found[0].cost
    assert cost is not None
    assert abs(cost.instructions - ran) <= 0.03 * ran
    assert ran <= 5.56 * 16384


def test_sanitized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need("gcc")
    graph = layer("add", (1, 29), [Quant.make(*q) for q in REAL[1]])
    feeds = batch(graph, 1, n=1)
    program = forced(graph, "linear", 1, monkeypatch)
    assert run_sanitized(program, tmp_path, feeds) == reference.run(graph, feeds)["y"].tobytes()


def test_refused() -> None:
    grids = [Quant.make(0.05, 3)] * 3
    assert not candidates(layer("add", (1, 8), grids, [-1, 1]), "linear")
    same = layer("add", (1, 8), grids)
    same.nodes[0] = same.nodes[0].__class__("add", ("a", "a"), ("y",), {}, "add")
    (one, two) = candidates(same, "linear")
    assert not one.in_place
    assert not two.in_place
