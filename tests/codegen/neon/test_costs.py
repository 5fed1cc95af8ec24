"""Estimates of the family neon against what qemu-user counts: C, whose compilers have their way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from built import merged, write_sources
from graphs import batch, one_node
from mve_layers import layer_of_shape
from tools import need

from codegen.lower import build_program, layer_of
from codegen.templates import templates
from edgekit import reference
from edgekit.devices.firmware.build import build_firmware, firmware_folder
from edgekit.devices.session import connect
from edgekit.graph import Graph, Quant, Value
from targets import board

ON = board("qemu-armv7")
CASES = [
    ("conv2d", (25, 5, 64), (1, 1), 64, [1, 1], [0, 0, 0, 0]),
    ("conv2d", (8, 8, 64), (3, 3), 64, [1, 1], [1, 1, 1, 1]),
    ("conv2d", (32, 32, 3), (3, 3), 16, [1, 1], [1, 1, 1, 1]),
    ("conv2d", (49, 10, 1), (10, 4), 64, [2, 2], [4, 1, 5, 1]),
    ("conv2d", (1, 1, 640), (1, 1), 128, [1, 1], [0, 0, 0, 0]),
    ("depthwise_conv2d", (25, 5, 64), (3, 3), 64, [1, 1], [1, 1, 1, 1]),
    ("depthwise_conv2d", (48, 48, 16), (3, 3), 16, [2, 2], [0, 0, 1, 1]),
    ("depthwise_conv2d", (28, 1, 128), (5, 1), 128, [1, 1], [0, 0, 0, 0]),
    ("depthwise_conv2d", (10, 10, 16), (7, 7), 16, [1, 1], [3, 3, 3, 3]),
]


def _pool(op: str) -> Graph:
    q = Quant.make(0.05, -3)
    x, y = Value("x", (1, 16, 16, 32), "int8", q), Value("y", (1, 8, 8, 32), "int8", q)
    return one_node(op, [x], y, {}, kernel=[2, 2], strides=[2, 2], pads=[0] * 4, clamp=None)


def _add() -> Graph:
    a, b, y = (
        Value(name, (1, 4096), "int8", Quant.make(scale, zero))
        for name, scale, zero in (("a", 0.05, -3), ("b", 0.03, 7), ("y", 0.08, -5))
    )
    return one_node("add", [a, b], y, {}, clamp=None)


def _softmax() -> Graph:
    x = Value("x", (1, 4, 49, 49), "int8", Quant.make(0.1, 3))
    y = Value("y", x.shape, "int8", Quant.make(1 / 256, -128))
    return one_node("softmax", [x], y, {}, beta=1.0)


@pytest.mark.apt
def test_costs_are_near_what_runs(tmp_path: Path) -> None:
    need("qemu-arm")
    layers = [layer_of_shape(*case) for case in CASES]
    graph = merged([*layers, _pool("average_pool2d"), _pool("max_pool2d"), _add(), _softmax()])
    program = build_program(graph, ON.target, optimize="speed")
    sources = [*write_sources(program, tmp_path), firmware_folder() / "app" / "ek_app_aot.c"]
    elf = build_firmware(sources, ON, include=[tmp_path], opt=ON.target.kernel_opt).elf
    feeds = {name: x[:1] for name, x in batch(graph, 0, n=2).items()}
    with connect(ON, elf=elf) as session:
        inputs = [np.ascontiguousarray(feeds[t.name]).tobytes() for t in program.inputs]
        profile = session.profile(inputs, repeat=1)
        found = session.outputs()
    assert profile.unit == "instructions"
    want = reference.run(graph, feeds)
    assert [f == want[t.name].tobytes() for f, t in zip(found, program.outputs, strict=True)]
    nodes = {node.name: node for node in graph.nodes}
    for call, count in zip(program.calls, profile.layers, strict=True):
        node = nodes[call.layer]
        costs = [c.cost for t in templates()["neon"].values() if node.op in t.ops
                 for c in t.candidates(layer_of(graph, node))]  # fmt: skip
        assert costs[0] is not None
        rel = 0.15 if "conv" in call.op else 0.4
        assert costs[0].instructions == pytest.approx(count, rel=rel), call.kernel.spec
