"""``--optimize``, ``--require-fast``, and budgets that pick an objective."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphs import one_node
from shared import SHARED, needs_shared

from edgekit.build import build
from edgekit.cli import main
from edgekit.devices.find import find_board, find_target
from edgekit.errors import EdgekitError
from edgekit.graph import Graph, Quant, Value

MODEL = SHARED / "models" / "ad01_int8.tflite"


def compiled(out: Path, *options: object) -> dict[str, Any]:
    facts = out.with_suffix(".json")
    arguments = ["compile", MODEL, "-o", out, "--json", facts, *options]
    assert main([str(a) for a in arguments]) == 0
    found: dict[str, Any] = json.loads(facts.read_text())
    return found


@needs_shared
def test_objectives(tmp_path: Path) -> None:
    balanced = compiled(tmp_path / "balanced")
    ram = compiled(tmp_path / "ram", "--optimize", "ram", "--require-fast")
    assert (balanced["optimize"], ram["optimize"]) == ("balanced", "ram")
    assert ram["ram"]["arena"] < balanced["ram"]["arena"]
    assert ram["instructions"] > balanced["instructions"]
    limit = balanced["ram_bytes"] - 1
    within = compiled(tmp_path / "within", "--max-ram", limit)
    assert within["optimize"] == "ram" and within["ram_bytes"] <= limit
    # Who asks for an objective gets it, or nothing.
    arguments = ["compile", MODEL, "-o", tmp_path / "none", "--max-ram", limit]
    assert main([*map(str, arguments), "--optimize", "balanced"]) == 1
    assert not (tmp_path / "none").exists()


def grouped() -> Graph:
    """A convolution in groups, for which there are portable kernels only."""
    rng = np.random.default_rng(0)
    w = rng.integers(-127, 128, (8, 3, 3, 4)).astype(np.int8)
    return one_node(
        "conv2d",
        [
            Value("x", (1, 8, 8, 8), "int8", Quant.make(0.1, 0)),
            Value("w", w.shape, "int8", Quant.make(np.full(8, 0.01), 0, 0)),
            Value("b", (8,), "int32", Quant.make(np.full(8, 0.001), 0, 0)),
        ],
        Value("y", (1, 8, 8, 8), "int8", Quant.make(0.5, 0)),
        {"w": w, "b": np.zeros(8, np.int32)},
        groups=2, strides=[1, 1], dilations=[1, 1], pads=[1, 1, 1, 1],
    )  # fmt: skip


def test_require_fast(tmp_path: Path) -> None:
    target = find_target("cortex-m4")
    options: dict[str, Any] = {
        "target": target,
        "board": find_board(target.default_board),
        "compiler": "zig",
        "say": lambda stage, share: None,
    }
    slow = build(grouped(), None, **options)
    assert slow.report.layers[0].family == "c99"
    with pytest.raises(EdgekitError, match="portable") as refused:
        build(grouped(), None, **options, require_fast=True)
    assert refused.value.code == "E315"
    assert "2 groups" in refused.value.details[0]
