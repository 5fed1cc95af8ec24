"""Integer Winograd: every variant against the reference, its identity, its sanitized host form."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from built import M4, merged, run_host, run_m4, write_sources
from graphs import one_node
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tools import need

from codegen import memory_check, program
from codegen.kernel import Candidate, Layer, NotApplicable
from codegen.program import Program, build_program, layer_of
from codegen.thumb import _winograd_f2 as f2
from codegen.thumb import winograd
from edgekit import reference
from edgekit.devices.bench import Bench, Out, link_functions
from edgekit.devices.build import firmware_folder
from edgekit.devices.model import KERNEL_OPT
from edgekit.graph import Graph, Quant, Value
from edgekit.toolchain import find_compiler, host_executable

PER_BUILD = 10
CHECKED = settings(
    max_examples=20,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def conv(
    shape: tuple[int, int, int], outputs: int, pads: list[int], *, seed: int = 0, relu: bool = False,
    spread: float = 1.0, zero: int = 0, weights: np.ndarray | None = None, scale: float = 1.0,
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
def graphs(draw: st.DrawFn) -> Graph:
    pads = draw(st.sampled_from([[1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 0, 1], [2, 2, 1, 2]]))
    height = draw(st.integers(max(3 - pads[0] - pads[2], 1), 9))
    width = draw(st.integers(6 - pads[1] - pads[3], 17))
    return conv(
        (height, width, draw(st.sampled_from([4, 8, 12, 16, 20, 32, 64, 128]))),
        2 * draw(st.integers(1, 5)),
        pads,
        seed=draw(st.integers(0, 1000)),
        relu=draw(st.booleans()),
        spread=draw(st.sampled_from([0.0, 2.0, 12.0])),
        zero=draw(st.integers(-128, 127)),
        scale=draw(st.sampled_from([0.3, 1.0, 30.0])),
    )


def candidates(graph: Graph) -> list[Candidate]:
    return winograd.candidates(layer_of(graph, graph.nodes[0]))


def taken(graph: Graph) -> bool:
    """False where requantization is out of reach of every cheap form."""
    try:
        return bool(candidates(graph))
    except NotApplicable as reason:
        assert "limits" in str(reason), reason
        return False


@pytest.fixture
def forced(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Which candidate each layer takes, by the layer's name (counted round)."""
    picks: dict[str, int] = {}

    def select(layer: Layer, target: Any) -> tuple[Candidate, str]:
        found = winograd.candidates(layer)
        return found[picks.get(layer.name, 0) % len(found)], ""

    monkeypatch.setattr(program, "select", select)
    return picks


def check(graph: Graph, feeds: dict[str, np.ndarray], folder: Path) -> None:
    built = build_program(graph, M4.target)
    memory_check.check(built)
    want = reference.run(graph, feeds)
    on_host = run_host(built, folder, feeds)
    on_m4, _ = run_m4(built, folder, feeds)
    for tensor, host, m4, call in zip(built.outputs, on_host, on_m4, built.calls, strict=True):
        message = f"{call.kernel.spec}"
        np.testing.assert_array_equal(host, want[tensor.name], err_msg="host " + message)
        np.testing.assert_array_equal(m4, want[tensor.name], err_msg="m4 " + message)


def run_kernel(built: Program, folder: Path, feeds: dict[str, Any]) -> tuple[np.ndarray, int]:
    """Output bytes and instructions of the kernel alone on the virtual M4, alignment checked."""
    sources = write_sources(built, folder)
    cc = find_compiler("zig", M4.target)
    include = [folder, firmware_folder() / "include"]
    objects = cc.objects(sources, include=include, opt=KERNEL_OPT)
    bench = Bench(link_functions(objects, M4, [f"{built.name}_invoke"]), M4, strict=True)
    data = [feeds[t.name].tobytes() for t in built.inputs]
    done = bench.call(f"{built.name}_invoke", [*data, Out(built.outputs[0].nbytes)])
    counted = sum(n for name, (n, _) in done.functions.items() if name.startswith("ek_"))
    return np.frombuffer(done.outputs[0], np.int8), counted


def inputs(graph: Graph, kind: str, seed: int) -> dict[str, np.ndarray]:
    r = np.random.default_rng(seed)
    feeds = {}
    for name in graph.inputs:
        shape = graph.values[name].shape
        values = {"low": [-128], "high": [127], "extremes": [-128, 127]}.get(kind, range(-128, 128))
        feeds[name] = r.choice(np.array(values, np.int8), shape)
    return feeds


@CHECKED
@given(data=st.data())
def test_exact(forced: dict[str, int], tmp_path: Path, data: st.DataObject) -> None:
    drawn = data.draw(st.lists(graphs(), min_size=PER_BUILD, max_size=PER_BUILD))
    graph = merged([g for g in drawn if taken(g)])
    forced |= {node.name: data.draw(st.integers(0, 30)) for node in graph.nodes}
    check(graph, inputs(graph, "random", data.draw(st.integers(0, 100))), tmp_path)


@pytest.mark.parametrize("kind", ["low", "high", "extremes"])
def test_adversarial(forced: dict[str, int], tmp_path: Path, kind: str) -> None:
    """The largest sums that int8 allows, in every form, without saturating the results."""
    r = np.random.default_rng(3)
    layers = []
    for channels in (16, 64):
        shape = (6, 3, 3, channels)
        for w in (np.full(shape, 127), np.full(shape, -127), r.choice([-127, 127], shape)):
            for relu in (False, True):
                # Where all add up, the accumulator is sqrt(K) times the usual deviation.
                scale = 2.0 if w.min() < w.max() else (9 * channels) ** 0.5
                layers.append(
                    conv((5, 6, channels), 6, [1, 1, 1, 1], weights=w, relu=relu, scale=scale)
                )
    graph = merged(layers)
    for variant in (0, 1):
        forced |= {node.name: variant for node in graph.nodes}
        check(graph, inputs(graph, kind, 5), tmp_path)


def test_identity() -> None:
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


def test_forms_and_costs(forced: dict[str, int], tmp_path: Path) -> None:
    """Every variant of two mid-size layers, in all three forms; the cost is what runs."""
    forms = set()
    for graph in (
        conv((10, 12, 16), 12, [1, 1, 1, 1], relu=True),
        conv((9, 9, 32), 8, [1, 1, 1, 1], relu=True, spread=12.0),
        conv((8, 8, 64), 16, [0, 0, 0, 0]),
    ):
        found = candidates(graph)
        for pick, candidate in enumerate(found[:4]):
            forms.add(candidate.spec.params["requant"])
            forced[graph.nodes[0].name] = pick
            built = build_program(graph, M4.target)
            feeds = inputs(graph, "random", pick)
            output, counted = run_kernel(built, tmp_path, feeds)
            np.testing.assert_array_equal(output, reference.run(graph, feeds)["y"].reshape(-1))
            assert candidate.cost is not None
            assert candidate.cost.instructions == pytest.approx(counted, rel=0.02)
    assert forms == {"fast", "relu", "general"}


def test_overlap() -> None:
    """What `overlap` promises, step by step: no byte is read after it was written over."""
    for graph in (
        conv((9, 17, 8), 8, [1, 1, 1, 1]),
        conv((8, 12, 4), 12, [0, 0, 0, 0]),
        conv((3, 9, 12), 2, [2, 2, 1, 2]),
    ):
        for candidate in candidates(graph):
            p = candidate.spec.params
            shift = winograd.overlap(p)
            if shift is None:
                assert p["step"] < p["O"]
                continue
            line = p["W"] * p["C"]
            alive = np.ones(p["H"] * line, bool)
            for oh in range(0, p["OH"], 2):
                for ow in range(0, p["OW"], p["strip"]):
                    for ih in range(max(oh - p["pads"][0], 0), min(oh + 4 - p["pads"][0], p["H"])):
                        assert alive[ih * line : (ih + 1) * line].all(), (p, oh, ow, ih)
                    # The strip's output, from below the input's start.
                    last = min(oh + 2, p["OH"]) * p["OW"] * p["O"]
                    alive[: max(last - shift, 0)] = False


def test_refused() -> None:
    for graph, reason in (
        (conv((8, 8, 6), 4, [0, 0, 0, 0]), "by 4"),
        (conv((8, 8, 8), 3, [0, 0, 0, 0]), "by 2"),
        (conv((8, 5, 8), 4, [0, 0, 0, 0]), "rows of 4"),
        (conv((8, 8, 244), 4, [0, 0, 0, 0]), "244"),
    ):
        with pytest.raises(NotApplicable, match=reason):
            candidates(graph)


MAIN = """\
#include <stdio.h>
#include <stdlib.h>
#include "kernels.h"
static void *part(size_t bytes, int filled)
{
    void *p = malloc(bytes);
    if (p == NULL || (filled && fread(p, 1, bytes, stdin) != bytes)) { exit(9); }
    return p;
}
int main(void)
{
    int8_t *x = part(%d, 1), *y = part(%d, 0);
    void *w = part(%d, 1), *rq = part(%d, 1), *scratch = part(%d, 0);
    %s(x, w, rq, y, scratch);
    fwrite(y, 1, %d, stdout);
    free(x); free(y); free(w); free(rq); free(scratch);
    return 0;
}
"""


@pytest.mark.parametrize(("channels", "pick"), [(16, 1), (32, 4)])
def test_sanitized(forced: dict[str, int], tmp_path: Path, channels: int, pick: int) -> None:
    """Each buffer on its own, exactly as long as declared, under both sanitizers."""
    need("gcc")
    graph = conv((5, 11, channels), 6, [1, 1, 1, 1], seed=pick)
    forced["conv2d"] = pick
    built = build_program(graph, M4.target)
    write_sources(built, tmp_path)
    kernel = built.calls[0].kernel
    x, w, rq, y = (o.nbytes for o in kernel.spec.operands)
    main = tmp_path / "main.c"
    main.write_text(MAIN % (x, y, w, rq, kernel.scratch_bytes, kernel.name, y))
    run = host_executable(
        [main, tmp_path / "kernels.c"],
        include=[tmp_path, firmware_folder() / "include"],
        defines={"EK_CHECK_ALIGNMENT": ""},
        sanitize=True,
    )
    feeds = inputs(graph, "random", pick)
    packed = candidates(graph)[pick].constants
    data = b"".join(a.tobytes() for a in (feeds["x"], packed["w"], packed["rq"]))
    done = subprocess.run([run], input=data, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[:2000]
    want = reference.run(graph, feeds)["y"]
    np.testing.assert_array_equal(np.frombuffer(done.stdout, np.int8), want.reshape(-1))
