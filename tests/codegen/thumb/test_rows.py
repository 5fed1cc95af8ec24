"""Rows of pixels against channels: exact in every template, and as cheap as their cost says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from built import merged
from graphs import one_node
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from thumb_kernels import check, conv, count, forced

from codegen import memory_check
from codegen.kernel import Candidate, NotApplicable
from codegen.program import layer_of
from codegen.templates import templates
from codegen.thumb.scaled import scaled
from edgekit.errors import EdgekitError
from edgekit.graph import Graph, Quant, Value

CHECKED = settings(
    max_examples=1,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
ROWS = ("rows_5x1", "rows_1xn", "rows_2x2", "rows_strip", "stem_rgb")
SAME = (1, 1, 1, 1)
#: (templates, shape): sizes of real layers cut down, in every way of gathering taps.
SHAPES: list[tuple[tuple[str, ...], dict[str, Any]]] = [
    (("rows_5x1", "rows_2x2"), {"height": 25, "width": 5, "channels": 64, "out": 64}),
    (("rows_5x1", "rows_2x2"), {"height": 3, "width": 3, "channels": 60, "out": 33}),
    (("rows_5x1", "rows_2x2"),
     {"height": 6, "width": 6, "channels": 136, "out": 20, "relu": False}),
    (("rows_5x1", "rows_2x2"),
     {"height": 16, "width": 16, "channels": 16, "out": 32, "kernel": (3, 3), "strides": (2, 2),
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
    (("rows_1xn",), {"height": 1, "width": 1, "channels": 136, "out": 12, "relu": False}),
    (("rows_1xn",), {"height": 2, "width": 2, "channels": 32, "out": 30}),
    (("rows_1xn",), {"height": 2, "width": 1, "channels": 10, "out": 7, "pads": (0, 1, 0, 0)}),
]  # fmt: skip


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
    else:
        dilations = [draw(st.integers(1, 2)), draw(st.integers(1, 2))]
        size[0] += 3 * strides[0] * (template == "rows_2x2")
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    size = [max(s, e - before - after) for s, e, before, after
            in zip(size, extent, pads[:2], pads[2:], strict=True)]  # fmt: skip
    shape = [(s + before + after - e) // step + 1 for s, before, after, e, step
             in zip(size, pads[:2], pads[2:], extent, strides, strict=True)]  # fmt: skip
    relu = draw(st.booleans())
    zero_point = -128 if relu else draw(st.integers(-128, 127))
    scale = np.exp(chance.uniform(-4, 2, out)) * 0.03 / np.sqrt(kernel[0] * kernel[1] * c)
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


def candidates(graph: Graph, template: str) -> list[Candidate]:
    """Of a graph of one node; none where the template refuses."""
    known = templates()["thumb_dsp"][template]
    if graph.nodes[0].op not in known.ops:
        return []
    try:
        return known.candidates(layer_of(graph, graph.nodes[0]))
    except (NotApplicable, EdgekitError):
        return []


def cases() -> Iterator[tuple[str, dict[str, Any]]]:
    for names, shape in SHAPES:
        for name in names:
            yield name, shape


@pytest.mark.parametrize("template", ROWS)
@CHECKED
@given(data=st.data())
def test_exact(template: str, tmp_path: Path, data: st.DataObject) -> None:
    drawn = data.draw(st.lists(graphs(template), min_size=12, max_size=12))
    found = [(g, candidates(g, template)) for g in drawn]
    # Shapes are those of the template; what is left to refuse are weights, bounds and shifts.
    assert sum(bool(some) for _, some in found) >= 3
    for which in range(max(len(some) for _, some in found)):
        graph = merged([g for g, some in found if len(some) > which])
        program = forced(graph, template, which)
        memory_check.check(program)
        check(program, graph, tmp_path)


@pytest.mark.parametrize(("template", "shape"), list(cases()))
def test_shapes_and_cost(template: str, shape: dict[str, Any], tmp_path: Path) -> None:
    graph = conv(**shape)
    found = candidates(graph, template)
    assert found
    for which, candidate in enumerate(found):
        program = forced(graph, template, which)
        check(program, graph, tmp_path)
        for value in (-128, 127):
            x = np.full(graph.values["x"].shape, value, np.int8)
            check(program, graph, tmp_path, {"x": x})
        assert candidate.cost is not None
        counts = count(program, tmp_path)
        if counts.instructions > 10_000:
            assert candidate.cost.instructions == pytest.approx(counts.instructions, rel=0.03)
            assert candidate.cost.cycles == pytest.approx(counts.cycles, rel=0.06)


def test_scaled_weights_are_refused_where_they_do_not_fit() -> None:
    graph = conv(height=5, width=1, channels=4, out=1)
    (layer,) = (layer_of(graph, n) for n in graph.nodes)
    from codegen.thumb.layers import channels_of

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
