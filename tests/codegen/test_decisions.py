"""threshold, nms and rescale in C: 0 bytes differ, on the host under sanitizers and on the M4."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from built import M4, merged, run_host, run_m4
from graphs import one_node
from template_kernels import run_sanitized

from codegen import memory_check
from codegen.lower import build_program
from edgekit import reference
from edgekit.graph import Graph, Node, Quant, Value
from edgekit.ops.rescale import PIXELS


def grid(dtype: str, zero_point: int = 5) -> Quant:
    return Quant.make(0.01, zero_point) if dtype == "int8" else Quant.make(1e-4)


def thresholds(dtype: str, classes: int, value: float) -> Graph:
    return one_node(
        "threshold",
        [Value("x", (1, 7, classes), dtype, grid(dtype))],
        Value("y", (1, 7), "int32"),
        {},
        value=value,
    )


def boxes(dtype: str, scores: str, most: int, iou: float, value: float) -> Graph:
    return one_node(
        "nms",
        [Value("b", (1, 30, 4), dtype, grid(dtype)), Value("s", (1, 30, 3), scores, grid(scores))],
        Value("y", (1, most, 2), "int32"),
        {},
        most=most,
        iou=iou,
        value=value,
    )


GRAPHS = {
    "threshold": [thresholds(d, c, v) for d in ("int8", "int16") for c in (1, 6)
                  for v in (-9e9, 0.0, 0.7, 9e9)],
    "nms": [boxes(d, s, m, i, v) for d, s, m, i, v in (
        ("int8", "int8", 5, 0.3, 0.2), ("int16", "int16", 30, 0.0, -9e9),
        ("int16", "int8", 1, 1.0, 0.0), ("int8", "int16", 9, 0.5, 9e9))],
}  # fmt: skip


def feeds_of(graph: Graph, seed: int) -> dict[str, np.ndarray]:
    """Boxes with all four corners anywhere, many of them alike, and scores with ties."""
    r = np.random.default_rng(seed)
    feeds = {}
    for name in graph.inputs:
        value = graph.values[name]
        info = np.iinfo(value.dtype)
        x = r.integers(info.min, info.max + 1, value.shape)
        if value.shape[-1] == 4:
            x[:, 10:, :2] = info.min + x[:, 10:, :2] % 40
            x[:, 10:, 2:] = info.max - x[:, 10:, 2:] % 40
            x[:, 0] = info.min, info.min, info.max, info.max
        else:
            x[:, ::4] = info.max - 1
        feeds[name] = x.astype(value.dtype)
    return feeds


@pytest.mark.parametrize("op", GRAPHS)
def test_exact(op: str, tmp_path: Path) -> None:
    graph = merged(GRAPHS[op])
    feeds = feeds_of(graph, 0)
    want = reference.run(graph, feeds)
    program = build_program(graph, M4.target)
    memory_check.check(program)
    for found in (run_host(program, tmp_path, feeds), run_m4(program, tmp_path, feeds)[0]):
        for tensor, y in zip(program.outputs, found, strict=True):
            np.testing.assert_array_equal(y, want[tensor.name])
    for i in (1, len(GRAPHS[op]) - 2):
        one = GRAPHS[op][i]
        folder = tmp_path / str(i)
        folder.mkdir()
        own = {name: feeds[f"{name}_{i}"] for name in one.inputs}
        raw = run_sanitized(build_program(one, M4.target), folder, own)
        assert raw == want[f"y_{i}"].tobytes()


def test_rescaled_pixels_are_the_same_bytes(tmp_path: Path) -> None:
    """rescale is a view: nothing runs for it, and the clip behind it reads the input's buffer."""
    g = Graph("pixels", ["x"], ["y"])
    g.add_value(Value("x", (1, 5, 5, 3), "int8", PIXELS))
    grids = {"r": Quant.make(np.float32(1 / 58), 116 - 128), "y": Quant.make(0.02, 1)}
    for name, quant in grids.items():
        g.add_value(Value(name, (1, 5, 5, 3), "int8", quant))
    g.nodes = [
        Node("rescale", ("x",), ("r",), {"mean": 116, "std": 58.0}, "r"),
        Node("clip", ("r",), ("y",), {"clamp": [None, None]}, "y"),
    ]
    g.verify()
    x = np.random.default_rng(0).integers(-128, 128, (1, 5, 5, 3)).astype(np.int8)
    program = build_program(g, M4.target)
    memory_check.check(program)
    assert [c.op for c in program.calls] == ["clip"]
    want = reference.run(g, {"x": x})["y"]
    np.testing.assert_array_equal(run_host(program, tmp_path, {"x": x})[0], want)
    np.testing.assert_array_equal(run_m4(program, tmp_path, {"x": x})[0][0], want)
