"""``edgekit finetune``, and what it says where PyTorch is missing."""

from __future__ import annotations

import importlib.util
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torches import need_torch

from edgekit.cli import main
from edgekit.exporters import save_onnx
from edgekit.graph import Graph
from edgekit.importers import load
from edgekit.pruning.result import sizes_of
from pruner import prune_channels
from samples.digits import CALIBRATION, EVALUATION, MODEL


def macs(graph: Graph) -> int:
    return sizes_of(graph)["macs"]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """The digits model, pruned to a fifth of its multiply-accumulates."""
    path = tmp_path / "small.onnx"
    graph = load(MODEL)
    with np.load(CALIBRATION) as few:
        pruned = prune_channels(graph, dict(few), 0.6).graph
    assert macs(pruned) <= 0.2 * macs(graph)
    save_onnx(pruned, path)
    return path


def test_a_pruned_network_wins_back(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """128 images and blends of them, and the float model's word for each; no labels."""
    need_torch()
    rng = np.random.default_rng(0)
    with np.load(CALIBRATION) as few:
        x = few["image"].astype(np.float32)
    one, two = x[rng.integers(0, len(x), (2, 1920))]
    share = rng.uniform(0, 0.5, (1920, 1, 1, 1)).astype(np.float32)
    np.savez(tmp_path / "train.npz", image=np.concatenate([x, one * (1 - share) + two * share]))
    out = tmp_path / "tuned.onnx"
    status = main([
        "finetune", str(small), "--teacher", str(MODEL), "--data", str(tmp_path / "train.npz"),
        "--eval", str(EVALUATION), "--epochs", "20", "--lr", "2e-3", "--batch-size", "64",
        "-o", str(out), "--json", "-",
    ])  # fmt: skip
    assert status == 0
    found = json.loads(capsys.readouterr().out)
    teacher, before, after = found["networks"]
    assert found["samples"] == 500 and found["held_out"]
    assert teacher["accuracy"] > after["accuracy"] >= before["accuracy"] + 0.015
    assert macs(load(out)) == macs(load(small))


def test_four_bits_trained_are_four_bits_compiled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The printed command compiles the very network that the figures are of."""
    need_torch()
    out = tmp_path / "tuned.onnx"
    status = main([
        "finetune", str(MODEL), "--data", str(CALIBRATION), "--calibration", str(CALIBRATION),
        "--eval", str(EVALUATION), "--weight-bits", "4", "--layer-bits", "layer0=4", "--epochs",
        "2", "-o", str(out), "--json", str(tmp_path / "f.json"),
    ])  # fmt: skip
    assert status == 0
    printed = capsys.readouterr().out
    names = [r["network"] for r in json.loads((tmp_path / "f.json").read_text())["networks"]]
    assert names == ["before, float", "before, integer", "after, float", "after, integer"]
    (line,) = (part for part in printed.splitlines() if part.startswith("next "))
    words = shlex.split(line)[2:]
    assert words[:2] == ["compile", str(out)] and words[-2:] == ["-o", "OUT"]
    folder = tmp_path / "out"
    assert main([*words[:-1], str(folder)]) == 0
    assert main([
        "run", str(folder), "--input", str(EVALUATION), "--on", "reference",
        "--json", str(tmp_path / "r.json"),
    ]) == 0  # fmt: skip
    after = json.loads((tmp_path / "f.json").read_text())["networks"][-1]
    assert json.loads((tmp_path / "r.json").read_text())["accuracy"] == after["accuracy"]


def test_interruption_writes_nothing(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_torch()
    from finetune import GraphModule

    def stop(self: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(GraphModule, "export", stop)
    arguments = ["finetune", str(small), "--data", str(CALIBRATION), "--epochs", "1"]
    assert main([*arguments, "-o", str(tmp_path / "t.onnx")]) == 130
    assert sorted(p.name for p in tmp_path.iterdir()) == ["small.onnx"]


def test_calibration_without_quantization_is_a_usage_error(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    need_torch()
    arguments = ["finetune", str(small), "--data", str(CALIBRATION), "-o", str(tmp_path / "t.onnx")]
    assert main([*arguments, "--calibration", str(CALIBRATION)]) == 2
    assert "--qat" in capsys.readouterr().err


def test_without_torch_the_command_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "torch" else real(name, *a)
    )
    out = tmp_path / "t.onnx"
    assert main(["finetune", str(MODEL), "--data", str(CALIBRATION), "-o", str(out)]) == 1
    said = capsys.readouterr().err
    assert "E260" in said and "pip install 'edgekit[torch]'" in said
    assert not out.exists()


def test_nothing_but_training_loads_torch() -> None:
    code = (
        "import sys, edgekit.pipeline, edgekit.cli.finetune, finetune, finetune.measure\n"
        "assert finetune.DEPLOYED\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
