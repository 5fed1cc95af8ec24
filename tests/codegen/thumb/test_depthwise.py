"""Depthwise convolution by columns: every variant against the reference, 0 differing bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphs import batch, one_node, quants
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from template_kernels import candidates, check_everywhere, forced, instructions, run_sanitized
from tools import need

from codegen.thumb.taps import Taps
from edgekit import reference
from edgekit.graph import Graph, Quant, Value

TEMPLATE = "depthwise_columns"
CHECKED = settings(
    max_examples=2,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def depthwise(
    size: tuple[int, int, int],
    kernel: tuple[int, int],
    strides: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] | None = None,
    *,
    seed: int = 0,
    x_quant: Quant | None = None,
    y_quant: Quant | None = None,
    spread: float = 8.0,
    clamp: Any = None,
) -> Graph:
    """One layer with weights of up to `spread` times the least scale; SAME padding where None."""
    chance = np.random.default_rng(seed)
    height, width, channels = size
    if pads is None:
        total = [
            max((-(-n // s) - 1) * s + k - n, 0)
            for n, s, k in zip((height, width), strides, kernel, strict=True)
        ]
        pads = (total[0] // 2, total[1] // 2, total[0] - total[0] // 2, total[1] - total[1] // 2)
    out = [
        (n + pads[i] + pads[i + 2] - k) // s + 1
        for i, (n, s, k) in enumerate(zip((height, width), strides, kernel, strict=True))
    ]
    x_quant = x_quant or Quant.make(0.02, -3)
    w_scale = 0.002 * spread ** chance.uniform(0, 1, channels)
    weights = chance.integers(-128, 128, (*kernel, channels)).astype(np.int8)
    weights[..., 0] = 0  # a constant channel
    return one_node(
        "depthwise_conv2d",
        [
            Value("x", (1, *size), "int8", x_quant),
            Value("w", weights.shape, "int8", Quant.make(w_scale, 0, 2)),
            Value("b", (channels,), "int32", Quant.make(x_quant.scale[0] * w_scale, 0, 0)),
        ],
        Value("y", (1, out[0], out[1], channels), "int8", y_quant or Quant.make(0.05, -128)),
        {"w": weights, "b": chance.integers(-3000, 3001, channels).astype(np.int32)},
        strides=list(strides),
        pads=list(pads),
        clamp=clamp,
    )


@st.composite
def layers(draw: st.DrawFn) -> Graph:
    kernel = (draw(st.integers(1, 6)), draw(st.integers(1, 4)))
    pads = draw(st.none() | st.tuples(*(st.integers(0, min(kernel[i % 2], 3)) for i in range(4))))
    sizes = [draw(st.integers(kernel[i], 13)) for i in range(2)]
    return depthwise(
        (sizes[0], sizes[1], 4 * draw(st.integers(1, 2))),
        kernel,
        (draw(st.integers(1, 3)), draw(st.integers(1, 3))),
        pads,
        seed=draw(st.integers(0, 2**31)),
        x_quant=draw(quants(1e-3, 0.5)),
        y_quant=draw(st.just(Quant.make(0.05, -128)) | quants(1e-2, 2.0)),
        spread=draw(st.sampled_from([1.0, 8.0, 1000.0])),
        clamp=draw(st.sampled_from([None, [0, None]])),
    )


@pytest.mark.parametrize("variant", [0, 3])
@CHECKED
@given(graphs=st.lists(layers(), min_size=8, max_size=8))
def test_exact(
    variant: int, graphs: list[Graph], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitting = [g for g in graphs if len(candidates(g, TEMPLATE)) > variant]
    if fitting:
        check_everywhere(fitting, TEMPLATE, variant, tmp_path, monkeypatch, alone=True)


#: 3x3 at both strides, in strips, high without, 1-D with many taps, one output.
SHAPES = {
    "KWS": depthwise((25, 5, 8), (3, 3), clamp=[0, None]),
    "strips": depthwise((48, 9, 4), (3, 3), clamp=[0, None]),
    "strips s2": depthwise((48, 12, 8), (3, 3), (2, 2), clamp=[0, None]),
    "three strips": depthwise((61, 4, 4), (3, 3), clamp=[0, None]),
    "high": depthwise((70, 3, 4), (5, 3), y_quant=Quant.make(0.1, 5)),
    "12 channels": depthwise((12, 10, 12), (3, 3), (1, 2), y_quant=Quant.make(0.1, 5)),
    "small": depthwise((3, 3, 16), (3, 3), y_quant=Quant.make(0.1, 5)),
    "10x1": depthwise((24, 1, 8), (10, 1), pads=(0, 0, 0, 0), y_quant=Quant.make(0.1, 5)),
    "3x1": depthwise((28, 1, 64), (3, 1), pads=(0, 0, 0, 0), y_quant=Quant.make(0.1, 5)),
    "5x1": depthwise((28, 1, 64), (5, 1), pads=(0, 0, 0, 0), y_quant=Quant.make(0.1, 5)),
    "4x1": depthwise((30, 1, 8), (4, 1), pads=(2, 0, 1, 0), clamp=[0, None]),
    "2x1 spread": depthwise((27, 1, 8), (2, 1), spread=1000.0, y_quant=Quant.make(0.5, -128)),
    "15x1": depthwise((15, 1, 8), (15, 1), pads=(0, 0, 0, 0), y_quant=Quant.make(0.1, 5)),
    "5x1 s2": depthwise((9, 1, 8), (5, 1), (2, 1), y_quant=Quant.make(0.1, 5)),
    "7x7 s2": depthwise((14, 13, 4), (7, 7), (2, 2), y_quant=Quant.make(0.2, 5)),
    "one pixel": depthwise((1, 1, 4), (3, 3), clamp=[0, None]),
    "spread": depthwise((6, 6, 8), (3, 3), spread=1000.0, y_quant=Quant.make(0.5, -128)),
}


@pytest.mark.parametrize(
    ("value", "compiler", "variant"), [(-128, "zig", 1), (127, "gcc", 2), (None, "zig", 7)]
)
def test_shapes_and_extremes(
    value: int | None,
    compiler: str,
    variant: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if compiler == "gcc":
        need("arm-none-eabi-gcc")
    graphs = list(SHAPES.values())
    feeds = None
    if value is not None:
        feeds = {
            f"x_{i}": np.full(g.values["x"].shape, value, np.int8) for i, g in enumerate(graphs)
        }
    check_everywhere(graphs, TEMPLATE, variant, tmp_path, monkeypatch, feeds, compiler, alone=True)


@pytest.mark.parametrize(("name", "variant"), [
    ("strips", 1), ("strips s2", 2), ("10x1", 1)
])  # fmt: skip
def test_sanitized(
    name: str, variant: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("gcc")
    graph = SHAPES[name]
    feeds = batch(graph, 1, n=1)
    program = forced(graph, TEMPLATE, variant, monkeypatch)
    assert run_sanitized(program, tmp_path, feeds) == reference.run(graph, feeds)["y"].tobytes()


@pytest.mark.parametrize(("name", "variant"), [
    ("KWS", 0), ("KWS", 3), ("strips", 2), ("strips s2", 1), ("12 channels", 0),
    ("3x1", 0), ("5x1", 1)
])  # fmt: skip
def test_cost(name: str, variant: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = SHAPES[name]
    cost = candidates(graph, TEMPLATE)[variant].cost
    assert cost is not None
    ran = instructions(
        forced(graph, TEMPLATE, variant, monkeypatch), tmp_path, batch(graph, 1, n=1)
    )
    assert abs(cost.instructions - ran) <= 0.03 * ran


def test_instructions_of_kws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = depthwise((25, 5, 64), (3, 3), clamp=[0, None])
    program = forced(graph, TEMPLATE, 0, monkeypatch)
    assert program.calls[0].in_place
    assert instructions(program, tmp_path, batch(graph, 1, n=1)) < 1.66 * 72000


#: One pixel of results: odd and even taps, a loop, rows of a window, every requantization.
NO_PADS = (0, 0, 0, 0)
WINDOWS = [
    depthwise((15, 1, 32), (15, 1), pads=NO_PADS, y_quant=Quant.make(0.1, 5)),
    depthwise((36, 1, 16), (36, 1), pads=NO_PADS, clamp=[0, None]),
    depthwise((7, 7, 12), (7, 7), pads=NO_PADS, y_quant=Quant.make(0.2, -9)),
    depthwise((1, 9, 4), (1, 2), (1, 8), pads=NO_PADS, clamp=[0, None]),
    depthwise((4, 3, 8), (3, 3), (2, 1), pads=NO_PADS, spread=1000.0,
              y_quant=Quant.make(0.5, -128)),
    depthwise((3, 1, 8), (3, 1), pads=NO_PADS, x_quant=Quant.make(0.3, 127)),
]  # fmt: skip


@pytest.mark.parametrize(("value", "compiler"), [(None, "zig"), (-128, "gcc"), (127, "zig")])
def test_one_window(
    value: int | None, compiler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if compiler == "gcc":
        need("arm-none-eabi-gcc")
    name = "depthwise_window"
    found = [c for g in WINDOWS for c in candidates(g, name)]
    assert len(found) == len(WINDOWS)
    assert {c.spec.params["requant"] for c in found} == {"fast", "relu", "general"}
    feeds = None
    if value is not None:
        feeds = {
            f"x_{i}": np.full(g.values["x"].shape, value, np.int8) for i, g in enumerate(WINDOWS)
        }
    check_everywhere(WINDOWS, name, 0, tmp_path, monkeypatch, feeds, compiler, alone=True)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_one_window_costs_what_it_says(
    index: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, name = WINDOWS[index], "depthwise_window"
    (candidate,) = candidates(graph, name)
    assert candidate.cost is not None
    program = forced(graph, name, 0, monkeypatch, alone=True)
    feeds = batch(graph, 1, n=1)
    assert candidate.cost.instructions == pytest.approx(
        instructions(program, tmp_path, feeds), rel=0.03
    )
    assert run_sanitized(program, tmp_path, feeds) == reference.run(graph, feeds)["y"].tobytes()


def test_one_window_is_refused_elsewhere() -> None:
    for graph in (
        depthwise((16, 1, 8), (15, 1), pads=NO_PADS),
        depthwise((3, 3, 8), (3, 2), (1, 2), pads=NO_PADS),
        depthwise((1, 1, 8), (3, 3)),
        depthwise((3, 1, 6), (3, 1), pads=NO_PADS),
    ):
        assert not candidates(graph, "depthwise_window")


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 3), (2, 2), (3, 3), (5, 1), (6, 2)])
def test_taps(height: int, width: int, stride: int) -> None:
    """The products of four rows, carried out, are the convolution."""
    taps = Taps(height, width, stride)
    chance = np.random.default_rng(height)
    x = chance.integers(-128, 128, (3 * stride + height + 1, width))
    w = chance.integers(-128, 128, (1, height, width))
    packed = taps.pack(w).view(np.int16).reshape(-1, 2)
    sums = [0] * 4
    for p in taps.products(4):
        n, half = taps.weight(p)
        pixels = x[2 * p.word : 2 * p.word + 2, p.column]
        if not p.half:
            sums[p.row] += int(pixels @ packed[n].astype(int))
        else:
            sums[p.row] += int(pixels["bt".index(p.half)]) * int(packed[n]["bt".index(half)])
    want = [int((x[r * stride : r * stride + height] * w[0]).sum()) for r in range(4)]
    assert sums == want


def test_refused() -> None:
    for graph in (
        depthwise((6, 6, 6), (3, 3)),
        depthwise((6, 6, 4), (3, 3), clamp=[0, 1]),
    ):
        assert not candidates(graph, TEMPLATE)
