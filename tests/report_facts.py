"""Made-up builds for tests of `edgekit.htmlreport`."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

from edgekit.htmlreport.facts import (
    Buffer,
    Facts,
    GraphEdge,
    GraphNode,
    Layer,
    Region,
    State,
)
from edgekit.htmlreport.measured import Energy, LayerEnergy, Profile, Ticks, Use

HOSTILE = "</script><img src=x onerror=document.title='owned'>\"'`&{{7*7}}\u2028"


def made(count: int = 4, name: str = "layer{}") -> Facts:
    """A build of `count` layers in a row, every third skipping two, with one of everything."""
    names = [name.format(i) for i in range(count)]
    layers = tuple(
        Layer(
            n, "conv2d", (1, 8, 8, 4), (1, 8, 8, 4), 1000 * (i + 1), f"ek_conv2d_{i}", "thumb_dsp",
            "rows_4x2", "rows_2x2: ~100 instructions, +0 B of constants", "int16 weights",
            100 * (i + 1), 64, 3000 * (i + 1), 2000 * (i + 1), f"tensor{i}", "int8", 40.0 + i % 7,
        )
        for i, n in enumerate(names)
    )  # fmt: skip
    ticks = tuple(Ticks(x.name, 3100 * (i + 1), 3100 * (i + 1), 3200 * (i + 1), 3900 * (i + 1))
                  for i, x in enumerate(layers))  # fmt: skip
    whole = sum(t.value for t in ticks) + 50
    used = tuple(LayerEnergy(x.name, 1e-3, 2.0 * (i + 1), 1.9 * (i + 1), 2.0 * (i + 1),
                             2.4 * (i + 1), 5.5) for i, x in enumerate(layers))  # fmt: skip
    used = (replace(used[0], energy_uj=None, max_uj=None, why="3 samples are too few"), *used[1:])
    nodes = [GraphNode("input", "", "input", None, (1, 8, 8, 4), "int8", 0.5, -3)]
    nodes += [
        GraphNode(n, "conv2d", "layer", i, (1, 8, 8, 4), "int8", 0.25, 0, "int8[4, 3, 3, 4]")
        for i, n in enumerate(names)
    ]
    nodes.append(GraphNode("output", "", "output", None, (1, 8, 8, 4), "int8"))
    edges = [GraphEdge(i, i + 1) for i in range(count + 1)]
    edges += [GraphEdge(i, i + 3) for i in range(1, count - 1, 3)]
    buffers = [Buffer("input", 0, 256, -1, 0, "input"), Buffer("held", 512, 64, -1, count, "state")]
    for i in range(count):
        kind = "output" if i == count - 1 else "tensor"
        last = count if i == count - 1 else i + 1
        buffers.append(Buffer(f"tensor{i}", 256 * ((i + 1) % 2), 256, i, last, kind))
        buffers.append(Buffer(f"scratch of {names[i]}", 576, 64 + i, i, i, "scratch"))
    return Facts(
        name="made", target="cortex-m4", layers=layers, model="made.onnx",
        board="virtual-cortex-m4", hash="0123456789abcdef", edgekit="0.1.0", compiler="zig",
        clock_hz=100_000_000, optimize="balanced",
        flash={"kernels": 5000, "runtime": 3000, "bundle": 9000},
        ram={"arena": 700, "runtime": 100, "stack": 300}, arena_lower_bound=700,
        model_macs=sum(x.macs for x in layers), cycles=sum(x.cycles or 0 for x in layers) + 10,
        instructions=sum(x.instructions or 0 for x in layers) + 5, logits_sqnr_db=38.5,
        calibration_samples=64, wide=(names[0],), states=(State("held", 64, "int8", (1, 64)),),
        ram_regions=(Region("tcm", 0, 65536, 512, 9000, 0), Region("sram", 1, 131072, 188, 9, 9)),
        buffers=tuple(buffers), nodes=tuple(nodes), edges=tuple(edges),
        profiles=(Profile("cycles", ticks, "board", whole, whole, whole + 40, whole + 900, "dwt",
                          100_000_000, 5, "interpreter", 400, 1, True, "I-cache", True,
                          ("2 of 5 runs were thrown away",),
                          (Use("FLASH", "flash", 65536, 17000), Use("RAM", "ram", 8192, 2048)),
                          "p.json"),),
        energies=(Energy(used, LayerEnergy("whole", 1e-2, 2500.0), "board", 7, 1e-5, "e.json"),),
    )  # fmt: skip


def hostile(value: Any, text: str = HOSTILE) -> Any:
    """The same with `text` in place of every string that a file decides on."""
    if isinstance(value, str):
        return text
    if isinstance(value, dict):
        return {text + k: hostile(v, text) for k, v in value.items()}
    if isinstance(value, tuple):
        return tuple(hostile(v, text) for v in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: hostile(getattr(value, f.name), text)
                                 for f in fields(value)})  # fmt: skip
    return value
