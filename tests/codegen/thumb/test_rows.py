"""Rows of pixels against channels: exact in every template, and as cheap as their cost says."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from built import M4
from exactness import draw_seed
from graphs import one_node
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pace import every
from template_kernels import (
    ONLY,
    candidates,
    check_everywhere,
    forced,
    instructions,
    run_sanitized,
)

from codegen.choose import Slot, choose, options
from codegen.emit import emit
from codegen.kernel import NotApplicable
from codegen.lower import layer_of
from codegen.templates import templates
from codegen.thumb.layers import channels_of
from codegen.thumb.scaled import scaled
from edgekit import reference
from edgekit.graph import Graph, Quant, Value

CHECKED = settings(
    max_examples=1,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
ROWS = ("rows_5x1", "rows_1xn", "rows_2x2", "rows_4x2", "rows_strip", "stem_rgb", "resident")
SAME = (1, 1, 1, 1)
#: (templates, shape): sizes of real layers cut down, in every way of gathering taps.
SHAPES: list[tuple[tuple[str, ...], dict[str, Any]]] = [
    (("rows_5x1", "rows_2x2"), {"height": 25, "width": 5, "channels": 64, "out": 64}),
    (("rows_5x1", "rows_2x2", "rows_4x2"), {"height": 3, "width": 3, "channels": 60, "out": 33}),
    (("rows_5x1", "rows_2x2", "rows_4x2"),
     {"height": 6, "width": 6, "channels": 136, "out": 20, "relu": False}),
    (("rows_4x2",), {"height": 5, "width": 7, "channels": 40, "out": 35, "relu": False}),
    (("rows_5x1", "rows_4x2"),
     {"height": 15, "width": 17, "channels": 16, "out": 32, "kernel": (3, 3), "strides": (2, 2),
      "pads": (0, 0, 1, 1)}),
    (("rows_5x1", "rows_2x2", "stem_rgb"),
     {"height": 9, "width": 9, "channels": 3, "out": 8, "kernel": (3, 3), "pads": SAME}),
    (("stem_rgb",),
     {"height": 20, "width": 16, "channels": 3, "out": 16, "kernel": (3, 3), "strides": (2, 2),
      "pads": (0, 0, 1, 1), "relu": False}),
    (("rows_strip",),
     {"height": 17, "width": 10, "channels": 1, "out": 12, "kernel": (10, 4), "strides": (2, 2),
      "pads": (4, 1, 4, 1)}),
    (("rows_strip",),
     {"height": 6, "width": 10, "channels": 3, "out": 12, "kernel": (3, 3), "pads": SAME}),
    (("resident",), {"height": 10, "width": 10, "channels": 8, "out": 16}),
    (("rows_1xn",), {"height": 1, "width": 1, "channels": 136, "out": 12, "relu": False}),
    (("rows_1xn",), {"height": 2, "width": 2, "channels": 32, "out": 32}),
    (("rows_1xn",), {"height": 2, "width": 1, "channels": 10, "out": 7, "pads": (0, 1, 0, 0)}),
]  # fmt: skip


def conv(
    height: int,
    width: int,
    channels: int,
    out: int,
    kernel: tuple[int, int] = (1, 1),
    strides: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] = (0, 0, 0, 0),
    *,
    relu: bool = True,
    seed: int = 0,
) -> Graph:
    """A conv2d whose results fill the whole int8 range."""
    chance = np.random.default_rng(seed)
    shape = (out, *kernel, channels)
    scale = chance.uniform(0.5, 1.5, out) * 0.022 / np.sqrt(np.prod(shape[1:]))
    oh = (height + pads[0] + pads[2] - kernel[0]) // strides[0] + 1
    ow = (width + pads[1] + pads[3] - kernel[1]) // strides[1] + 1
    return one_node(
        "conv2d",
        [
            Value("x", (1, height, width, channels), "int8", Quant.make(0.5, -7)),
            Value("w", shape, "int8", Quant.make(scale, 0, 0)),
            Value("b", (out,), "int32", Quant.make(0.5 * scale, 0, 0)),
        ],
        Value("y", (1, oh, ow, out), "int8", Quant.make(1.0, -128) if relu else Quant.make(2.0, 5)),
        {
            "w": chance.integers(-127, 128, shape).astype(np.int8),
            "b": chance.integers(-3000, 3000, out).astype(np.int32),
        },
        strides=list(strides),
        pads=list(pads),
        groups=1,
        clamp=[0, None] if relu else None,
    )


@st.composite
def graphs(draw: st.DrawFn, template: str) -> Graph:
    """A layer of the kind that `template` takes, with any numbers."""
    chance = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    strides = [draw(st.integers(1, 3)), draw(st.integers(1, 3))]
    dilations, pads = [1, 1], [draw(st.integers(0, 2)) for _ in range(4)]
    kernel = [draw(st.integers(1, 4)), draw(st.integers(1, 4))]
    size = [draw(st.integers(1, 9)), draw(st.integers(1, 9))]
    c = draw(st.sampled_from([1, 2, 3, 4, 5, 8, 12]))
    out = draw(st.integers(4, 11))
    if template == "rows_strip":
        strides[0] = draw(st.integers(1, kernel[0] - 1)) if kernel[0] > 1 else 1
        kernel[0] = max(kernel[0], 2)
        size[1] = draw(st.sampled_from([4, 9])) * strides[1] + kernel[1]
        pads[1] = draw(st.integers(0, size[1] - 1))
        size[1], pads[3] = size[1] - pads[1], 0
    elif template == "stem_rgb":
        c, kernel, out = 3, [3, 3], 2 * draw(st.integers(1, 4))
    elif template == "rows_1xn":
        size, kernel, strides, pads = [draw(st.integers(1, 4)), 1], [1, 1], [1, 1], [0, 0, 0, 0]
        c = draw(st.integers(1, 40))
    elif template == "resident":
        size, kernel = [draw(st.integers(1, 4)), draw(st.sampled_from([4, 6, 25]))], [1, 1]
        c, strides, pads = draw(st.sampled_from([4, 8])), [1, 1], [0, 0, 0, 0]
    else:
        dilations = [draw(st.integers(1, 2)), draw(st.integers(1, 2))]
        size[0] += 3 * strides[0] * (template in ("rows_2x2", "rows_4x2"))
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    size = [max(s, e - before - after) for s, e, before, after
            in zip(size, extent, pads[:2], pads[2:], strict=True)]  # fmt: skip
    shape = [(s + before + after - e) // step + 1 for s, before, after, e, step
             in zip(size, pads[:2], pads[2:], extent, strides, strict=True)]  # fmt: skip
    if size == [1, 1]:
        c = max(c, 2)
    relu = template == "resident" or draw(st.booleans())
    lowest = 0 if template == "resident" else -4
    zero_point = -128 if relu else draw(st.integers(-128, 127))
    scale = np.exp(chance.uniform(lowest, 2, out)) * 0.03 / np.sqrt(kernel[0] * kernel[1] * c)
    weights = chance.integers(-127, 128, (out, *kernel, c))
    if draw(st.booleans()):
        weights = 127 * np.sign(weights)
    spread = draw(st.sampled_from([0, 3_000, 100_000]))
    return one_node(
        "conv2d",
        [
            Value("x", (1, *size, c), "int8", Quant.make(0.5, draw(st.integers(-128, 127)))),
            Value("w", weights.shape, "int8", Quant.make(scale, 0, 0)),
            Value("b", (out,), "int32", Quant.make(0.5 * scale, 0, 0)),
        ],
        Value("y", (1, *shape, out), "int8", Quant.make(1.0, zero_point)),
        {
            "w": weights.astype(np.int8),
            "b": chance.integers(-spread, spread + 1, out).astype(np.int32),
        },
        strides=strides,
        dilations=dilations,
        pads=pads,
        groups=1,
        clamp=[0, None] if relu else None,
    )


def cases() -> Iterator[tuple[str, dict[str, Any]]]:
    for names, shape in SHAPES:
        for name in names:
            yield name, shape


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch, template: str) -> pytest.MonkeyPatch:
    """No other template than `template` is asked."""
    known = templates()["thumb_dsp"]
    for name in set(known) - {template}:
        monkeypatch.delitem(known, name)
    return monkeypatch


@pytest.mark.parametrize("template", every(2, ROWS))
@CHECKED
@given(data=st.data())
def test_exact(
    template: str, only: pytest.MonkeyPatch, tmp_path: Path, data: st.DataObject
) -> None:
    draw_seed(data)
    drawn = data.draw(st.lists(graphs(template), min_size=12, max_size=12))
    found = [(g, candidates(g, template)) for g in drawn]
    # Shapes are those of the template; what is left to refuse are weights, bounds and shifts.
    assert sum(bool(some) for _, some in found) >= 3
    for variant in range(max(len(some) for _, some in found)):
        some = [g for g, offered in found if len(offered) > variant]
        check_everywhere(some, template, variant, tmp_path, only)


@pytest.mark.parametrize(("template", "shape"), every(3, cases()))
def test_shapes_and_cost(
    template: str, shape: dict[str, Any], only: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    graph = conv(**shape)
    offered = candidates(graph, template)
    assert offered
    size = graph.values["x"].shape
    for variant, candidate in enumerate(offered):
        x = np.random.default_rng(variant).integers(-128, 128, size).astype(np.int8)
        feeds = {"x_0": x, "x_1": np.full_like(x, -128), "x_2": np.full_like(x, 127)}
        check_everywhere([graph] * 3, template, variant, tmp_path, only, feeds)
        assert candidate.cost is not None
        count = instructions(forced(graph, template, variant, only), tmp_path, {"x": x})
        if count > 10_000:
            assert candidate.cost.instructions == pytest.approx(count, rel=0.03)


@pytest.mark.parametrize(("template", "shape"), [
    ("rows_5x1", SHAPES[5][1]), ("rows_4x2", SHAPES[3][1]), ("rows_strip", SHAPES[7][1]),
    ("stem_rgb", SHAPES[5][1]), ("resident", SHAPES[9][1]), ("rows_1xn", SHAPES[12][1]),
])  # fmt: skip
def test_reads_nothing_outside(
    template: str, shape: dict[str, Any], only: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    graph = conv(**shape)
    x = np.random.default_rng(0).integers(-128, 128, graph.values["x"].shape).astype(np.int8)
    for variant in range(len(candidates(graph, template))):
        program = forced(graph, template, variant, only)
        got = run_sanitized(program, tmp_path, {"x": x})
        assert got == reference.run(graph, {"x": x})["y"].tobytes()


@pytest.mark.parametrize(
    "shape", [{"height": 9}, {"height": 1, "pads": (2, 0, 2, 0)}], ids=["inside", "outside"]
)
def test_every_routine_is_called(shape: dict[str, Any]) -> None:
    """Also where all windows lie in the image, and where none does: compilers warn of others."""
    graph = conv(width=9, channels=4, out=8, kernel=(3, 2), **shape)
    for template in ("rows_2x2", "rows_5x1"):
        for candidate in candidates(graph, template):
            kernel = emit(candidate.spec)
            for name in kernel.parts:
                others = (text for other, text in kernel.parts.items() if other != name)
                assert any(f"{name}(" in text for text in (kernel.text, *others)), name


@pytest.mark.parametrize("template", ["rows_2x2"])
def test_layers_share_a_routine(only: pytest.MonkeyPatch) -> None:
    graphs = [conv(6, 6, channels, 32) for channels in (32, 20, 60, 28, 108)]
    slots = [Slot(options(layer_of(g, g.nodes[0]), ONLY), lambda option: 0) for g in graphs]
    for objective, routines in (("speed", 5), ("balanced", 1)):
        taken = choose(slots, objective, weight_bytes=1 << 20)
        names = {n for c in taken for n in c.option.kernel.parts if n.startswith("ek_rows_2x2")}
        assert len(names) == routines


def test_compiled_by_gcc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not shutil.which(M4.target.gcc_command):
        pytest.skip("arm-none-eabi-gcc is not installed")
    graphs = [conv(**SHAPES[i][1]) for i in (1, 5, 7, 10)]
    check_everywhere(graphs, "rows_5x1", 0, tmp_path, monkeypatch, compiler="gcc")


def test_scaled_weights_are_refused_where_they_do_not_fit() -> None:
    graph = conv(height=5, width=1, channels=4, out=1)
    (layer,) = (layer_of(graph, n) for n in graph.nodes)
    channels, weights = channels_of(layer, 4)
    assert scaled(channels, np.array([[-127, -128, 0, 127]], np.int8)).words.tolist() == [
        [256 * -128 + 127, 256 * 127]
    ]
    for wrong in ([-128, 0, 0, 0], [1, -128, 0, 0]):
        with pytest.raises(NotApplicable, match="-128"):
            scaled(channels, np.array([wrong], np.int8))
    with pytest.raises(NotApplicable, match=r"2\^23"):
        scaled(replace(channels, bound=1 << 23), weights)
    with pytest.raises(NotApplicable, match="shifts"):
        scaled(replace(channels, shift=channels.shift * 0 - 27), weights)
