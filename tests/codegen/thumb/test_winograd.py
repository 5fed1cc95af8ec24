"""Integer Winograd: every variant against the reference, its identity, its sanitized host form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from exactness import draw_seed
from graphs import one_node
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from template_kernels import candidates, check_everywhere, forced, instructions, run_sanitized

from codegen.kernel import NotApplicable
from codegen.lower import layer_of
from codegen.thumb import _winograd_f2 as f2
from codegen.thumb import _winograd_f4 as f4
from codegen.thumb import winograd
from edgekit import reference
from edgekit.graph import Graph, Quant, Value

F2, F4 = "winograd_f2", "winograd_f4"
PER_BUILD = 6
CHECKED = settings(
    max_examples=1,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def conv(
    shape: tuple[int, int, int], outputs: int, pads: list[int], *, seed: int = 0,
    relu: bool = False, spread: float = 1.0, zero: int = 0, weights: np.ndarray | None = None,
    scale: float = 1.0,
) -> Graph:  # fmt: skip
    """One conv2d whose results are mostly not saturated; `spread` is that of weight scales."""
    r = np.random.default_rng(seed)
    height, width, channels = shape
    w = r.integers(-127, 128, (outputs, 3, 3, channels)) if weights is None else weights
    w_scale = 0.01 * np.exp2(r.uniform(-spread, 0, outputs))
    x_quant = Quant.make(0.05, zero)
    # The accumulator's standard deviation with random inputs is about 40 steps of the output.
    deviation = 0.05 * 0.01 * 74 * 74 * (9 * channels) ** 0.5
    y_quant = Quant.make(deviation / 40 * scale, -128 if relu else int(r.integers(-128, 128)))
    bias = r.integers(-(2**14), 2**14, outputs).astype(np.int32)
    out = (1, height + pads[0] + pads[2] - 2, width + pads[1] + pads[3] - 2, outputs)
    return one_node(
        "conv2d",
        [
            Value("x", (1, *shape), "int8", x_quant),
            Value("w", w.shape, "int8", Quant.make(w_scale, 0, 0)),
            Value("b", (outputs,), "int32", Quant.make(0.05 * w_scale, 0, 0)),
        ],
        Value("y", out, "int8", y_quant),
        {"w": w.astype(np.int8), "b": bias},
        strides=[1, 1], dilations=[1, 1], pads=pads, groups=1,
        clamp=[0, None] if relu else None,
    )  # fmt: skip


@st.composite
def graphs(draw: st.DrawFn, tile: int) -> Graph:
    """A layer that tiles of `tile` outputs take, two side by side."""
    pads = draw(st.sampled_from([[1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 0, 1]]))
    if tile == 2 and draw(st.integers(0, 3)) == 0:
        pads = [2, 2, 1, 2]
    rows = 1 if tile == 2 else 4
    return conv(
        (
            draw(st.integers(max(rows + 2 - pads[0] - pads[2], 1), 9)),
            draw(st.integers(2 * tile + 2 - pads[1] - pads[3], 17)),
            draw(st.sampled_from([4, 8, 12, 16, 20, 32, 36, 64])),
        ),
        2 * draw(st.integers(1, 5)),
        pads,
        seed=draw(st.integers(0, 1000)),
        relu=draw(st.booleans()),
        spread=draw(st.sampled_from([0.0, 2.0, 12.0])),
        zero=draw(st.integers(-128, 127)),
        scale=draw(st.sampled_from([0.3, 1.0, 30.0])),
    )


def inputs(graph: Graph, kind: str, seed: int) -> dict[str, np.ndarray]:
    r = np.random.default_rng(seed)
    feeds = {}
    for name in graph.inputs:
        shape = graph.values[name].shape
        values = {"low": [-128], "high": [127], "extremes": [-128, 127]}.get(kind, range(-128, 128))
        feeds[name] = r.choice(np.array(values, np.int8), shape)
    return feeds


@pytest.mark.parametrize("template", [F2, F4])
@CHECKED
@given(data=st.data())
def test_exact(
    template: str, data: st.DataObject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_seed(data)
    layers = st.lists(graphs(int(template[-1])), min_size=PER_BUILD, max_size=PER_BUILD)
    # Some draws have shifts out of reach of every cheap requantization.
    fitting = [g for g in data.draw(layers) if candidates(g, template)]
    assert len(fitting) >= PER_BUILD // 2
    variant = data.draw(st.integers(0, 12))
    check_everywhere(fitting, template, variant, tmp_path, monkeypatch, alone=True)


@pytest.mark.parametrize("kind", ["low", "high", "extremes"])
def test_adversarial(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest sums that int8 allows, in every form, without saturating the results."""
    r = np.random.default_rng(3)
    layers = []
    shape = (6, 3, 3, 32)
    for w in (np.full(shape, 127), np.full(shape, -127), r.choice([-127, 127], shape)):
        for relu in (False, True):
            # Where all add up, the accumulator is sqrt(K) times the usual deviation.
            scale = 2.0 if w.min() < w.max() else (9 * 32) ** 0.5
            layers.append(conv((5, 9, 32), 6, [1, 1, 1, 1], weights=w, relu=relu, scale=scale))
    whole = merged_inputs(layers, kind)
    for template, variant in ((F2, 0), (F2, 1), (F4, 0)):
        check_everywhere(layers, template, variant, tmp_path, monkeypatch, whole, alone=True)


def merged_inputs(layers: list[Graph], kind: str) -> dict[str, np.ndarray]:
    """Inputs of `built.merged`."""
    return {f"x_{i}": inputs(g, kind, i)["x"] for i, g in enumerate(layers)}


def test_identity_2x2() -> None:
    """All 9 * 16 unit responses: bilinear, so this is a proof for all integers."""
    for ky, kx in np.ndindex(3, 3):
        g = np.zeros((3, 3), int)
        g[ky, kx] = 1
        u = f2.G_Y @ g @ f2.G_X.T
        for dy, dx in np.ndindex(4, 4):
            d = np.zeros((4, 4), int)
            d[dy, dx] = 1
            m = u * (f2.B @ d @ f2.B.T)
            rows = np.stack([m[:, 0] + m[:, 1] + m[:, 2], m[:, 1] - m[:, 2] + m[:, 3]], 1)
            halves = np.stack([rows[1] + rows[2], rows[1] - rows[2]])
            assert not (halves % 2).any()
            y = np.stack([rows[0] + halves[0] // 2, rows[3] + halves[1] // 2])
            want = [[2 * (dy - i == ky and dx - j == kx) for j in range(2)] for i in range(2)]
            np.testing.assert_array_equal(y, want)


def test_identity_4x4() -> None:
    """All 9 * 36 unit responses, and what the multiplication by 9's inverse makes of them."""
    for ky, kx in np.ndindex(3, 3):
        g = np.zeros((3, 3), int)
        g[ky, kx] = 1
        u = f4.G @ g @ f4.G.T
        for dy, dx in np.ndindex(6, 6):
            d = np.zeros((6, 6), int)
            d[dy, dx] = 1
            y = f4.A @ (u * (f4.B @ d @ f4.B.T)) @ f4.A.T
            for i, j in np.ndindex(4, 4):
                power = f4.EXPONENTS[i] + f4.EXPONENTS[j]
                hit = int(dy - i == ky and dx - j == kx)
                assert y[i, j] == hit * 9 * 2**power
                factor = f4.INVERSE_9 << (f4.SHIFT - power)
                assert (int(y[i, j]) * factor - (hit << f4.SHIFT)) % 2**32 == 0


def test_ranges() -> None:
    """Transformed inputs and weights fit int16 for all int8."""
    for b, low, high in ((f2.B, -128, 127), (f4.B, 0, 255)):
        k = np.einsum("iy,jx->ijyx", b, b)
        up, down = np.maximum(k, 0).sum((2, 3)), np.maximum(-k, 0).sum((2, 3))
        assert (up * high - down * low).max() < 1 << 15
        assert (up * low - down * high).min() >= -(1 << 15)
    assert np.abs(f4.G).sum(1).max() ** 2 * 128 < 1 << 15
    assert np.abs(f2.G_Y).sum(1).max() * np.abs(f2.G_X).sum(1).max() * 128 < 1 << 15
    assert np.abs(f2.B).sum(1).max() * 128 == winograd.TRANSFORMED


def test_forms_and_costs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variants of mid-size layers, in all three forms; the cost is what runs."""
    forms = set()
    for graph in (
        conv((10, 12, 16), 12, [1, 1, 1, 1], relu=True),
        conv((15, 15, 32), 8, [1, 1, 1, 1], relu=True, spread=12.0),
        conv((10, 10, 64), 16, [0, 0, 0, 0]),
    ):
        choices = [(F2, variant) for variant in range(4)]
        if candidates(graph, F4):
            choices.append((F4, 0))
        for template, variant in choices:
            candidate = candidates(graph, template)[variant]
            forms.add((template, candidate.spec.params["requant"]))
            program = forced(graph, template, variant, monkeypatch, alone=True)
            counted = instructions(program, tmp_path, inputs(graph, "random", variant))
            assert candidate.cost is not None
            assert candidate.cost.instructions == pytest.approx(counted, rel=0.02)
    assert forms == {(t, form) for t in (F2, F4) for form in ("fast", "relu", "general")}


def test_refused() -> None:
    for graph, reason in (
        (conv((8, 8, 6), 4, [0, 0, 0, 0]), "by 4"),
        (conv((8, 8, 8), 3, [0, 0, 0, 0]), "by 2"),
        (conv((8, 5, 8), 4, [0, 0, 0, 0]), "rows of 4"),
        (conv((8, 8, 244), 4, [0, 0, 0, 0]), "244"),
    ):
        with pytest.raises(NotApplicable, match=reason):
            winograd.candidates(layer_of(graph, graph.nodes[0]))


@pytest.mark.parametrize(("template", "channels", "variant"), [(F2, 32, 4), (F4, 12, 0)])
def test_sanitized(
    template: str, channels: int, variant: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = conv((5, 11, channels), 6, [1, 1, 1, 1], seed=variant)
    program = forced(graph, template, variant, monkeypatch, alone=True)
    feeds = inputs(graph, "random", variant)
    want = reference.run(graph, feeds)["y"]
    assert run_sanitized(program, tmp_path, feeds) == want.tobytes()
