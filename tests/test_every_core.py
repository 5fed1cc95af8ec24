"""Streaming, recurrent and attention models on cores of every kind: 0 differing bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pace import thinned
from shared import SHARED
from tools import need

from edgekit.build import build
from edgekit.devices.find import find_board, find_target
from edgekit.execute import execute
from edgekit.graph import Graph
from edgekit.importers import load
from edgekit.output import write_output
from edgekit.reference import run
from quantizer import quantize

#: Boards with memory for the models, and the command that they need ("": none).
CORES = {
    "cortex-m0": ("qemu-nrf51-1m", "qemu-system-arm"),
    "cortex-m4": ("qemu-mps2-an386", "qemu-system-arm"),
    "cortex-m55": ("qemu-mps3-an547", "qemu-system-arm"),
    "riscv32": ("qemu-riscv32-virt", "qemu-system-riscv32"),
    "cortex-a53": ("virtual-cortex-a53", ""),
    "cortex-a76": ("virtual-cortex-a76", ""),
    "armv7-neon": ("virtual-armv7", ""),
}
LSTM, WAKE_WORD = "tflm_trained_lstm_int8.tflite", "pymicrowakeword_okay_nabu.tflite"
ATTENTION, GRU = "torch213_exp_attn_ts.onnx", "torch213_exp_rnn_ts.onnx"
CASES = [
    (LSTM, "cortex-m0"), (LSTM, "riscv32"), (WAKE_WORD, "cortex-m0"), (WAKE_WORD, "cortex-m55"),
    (ATTENTION, "riscv32"), (ATTENTION, "cortex-m55"), (GRU, "cortex-m4"), (GRU, "riscv32"),
    (WAKE_WORD, "cortex-a53"), (LSTM, "cortex-a53"), (ATTENTION, "cortex-a76"), (GRU, "armv7-neon"),
]  # fmt: skip


def integer_graph(path: Path) -> Graph:
    graph = load(path)
    if all(graph.values[name].quant for name in graph.inputs):
        return graph
    rng = np.random.default_rng(0)
    feeds = {
        name: rng.normal(0, 1, (32, *graph.values[name].sample_shape)).astype(np.float32)
        for name in graph.inputs
    }
    return quantize(graph, feeds).graph


#: Each model once, each core once.
FAST = [(LSTM, "cortex-m0"), (WAKE_WORD, "cortex-m55"), (ATTENTION, "riscv32"), (GRU, "cortex-m4")]


@pytest.mark.parametrize(("name", "core"), thinned(CASES, FAST.__contains__))
def test_same_bytes(name: str, core: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKIT_STATE_DIR", str(tmp_path / "boards"))
    path, (board, command) = SHARED / "models" / name, CORES[core]
    if not path.exists():
        pytest.skip(f"needs {name} of {SHARED}")
    need(*filter(None, [command]))
    graph, target = integer_graph(path), find_target(core)
    rng = np.random.default_rng(1)
    feeds = {
        n: rng.integers(-128, 128, (3, *graph.values[n].sample_shape)).astype(np.int8)
        for n in graph.inputs
    }
    built = build(
        graph, None, target=target, board=find_board(target.default_board), compiler="zig",
        say=lambda stage, share: None,
    )  # fmt: skip
    folder = write_output(tmp_path / "out", built.files, built.description(name, "zig"))
    found, want = execute(folder, feeds, board), run(graph, feeds)
    for output in graph.outputs:
        np.testing.assert_array_equal(found[output], want[output], err_msg=f"{name} {board}")
