"""``edgekit prune`` on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from models import DIGITS, compiled
from onnx_models import session

import edgekit
import edgekit.pruning.run
from edgekit import importers
from edgekit.cli import main
from edgekit.pruning import Pruned, Side
from edgekit.reference import run


def prune(out: Path, *options: object) -> int:
    arguments = ["prune", DIGITS.path, "--calibration", DIGITS.calibration, "-o", out, *options]
    return main([str(a) for a in arguments])


def test_channels(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out, facts = tmp_path / "pruned.onnx", tmp_path / "facts.json"
    status = prune(out, "--channels", 0.25, "--data", DIGITS.samples, "--json", facts)
    said = capsys.readouterr().out
    assert status == 0
    for word in ("accuracy", "int4", "instructions", "gain", "quality", str(out)):
        assert word in said
    found = json.loads(facts.read_text())
    floats, thin, int8, small, int4 = found["networks"]
    assert [n["name"] for n in found["networks"]] == [
        "float", "pruned float", "int8", "pruned int8", "int4"]  # fmt: skip
    assert thin["macs"] < floats["macs"] and thin["weights"] < floats["weights"]
    assert (
        small["instructions"] < int8["instructions"] and small["accuracy"] > int8["accuracy"] - 0.03
    )
    assert int4["flash_bytes"] < int8["flash_bytes"] and floats["agreement"] == 1
    assert found["file_bytes"][1] == out.stat().st_size < found["file_bytes"][0]
    model = onnx.load(out)
    onnx.checker.check_model(model, full_check=True)
    graph = importers.load(out)
    x = np.random.default_rng(0).normal(size=(3, *graph.values[graph.inputs[0]].shape[1:]))
    feeds = {graph.inputs[0]: x.astype(np.float32)}
    layout = graph.metadata.get("layout", {})
    fed = {k: v.transpose(0, 3, 1, 2) if k in layout else v for k, v in feeds.items()}
    (got,) = session(model.SerializeToString()).run(None, fed)
    np.testing.assert_allclose(got, run(graph, feeds)[graph.outputs[0]], rtol=1e-3, atol=1e-5)
    assert sum(c.size for c in graph.constants.values()) < sum(
        c.size for c in importers.load(DIGITS.path).constants.values()
    )


def test_zeros_are_a_flash_saving_and_no_speed_up(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert prune(tmp_path / "p.onnx", "--sparsity", 0.5, "--json", "-") == 0
    found = json.loads(capsys.readouterr().out)
    _, thin, int8, small, _ = found["networks"]
    assert thin["zeros"] > 0.3 * thin["weights"] and thin["macs"] == int8["macs"]
    assert small["constant_bytes"] < int8["constant_bytes"]
    assert small["instructions"] > int8["instructions"]
    gains = [line for line in found["verdict"] if line.startswith("gain")]
    assert not any("instructions" in line for line in gains)
    # In a network as small as this the code of the decoder can be more than what it saves.
    assert any("flash" in line for line in gains) == (small["flash_bytes"] < int8["flash_bytes"])
    assert any(line.startswith("cost") and "instructions" in line for line in found["verdict"])
    assert "calibration" in found["judged_on"]


def side(name: str, flash: int, instructions: int, agreement: float) -> Side:
    return Side(
        name, None, agreement, 30.0, 10, 10, 0, 5, flash, 100, 2 * instructions, instructions
    )


def verdict(after: Side, int4: Side) -> str:
    before = side("int8", 1000, 1000, 0.99)
    done: Any = Pruned(edgekit.graph.Graph("g"), "m", "t", {}, 9, "d", (1, 1), before, after,
                       before, after, int4)  # fmt: skip
    return "\n".join(done.verdict())


def test_verdicts() -> None:
    int4 = side("int4", 600, 1050, 0.98)
    said = verdict(side("x", 1000, 1200, 0.9), int4)
    assert "no gain" in said and "int4 weights serve better" in said
    said = verdict(side("x", 800, 1010, 0.9), int4)
    assert "gain     flash" in said and "cost     instructions" in said and "serve better" in said
    said = verdict(side("x", 900, 500, 0.9), int4)
    assert "not as fast" in said and "instructions 1 000 to 500" in said
    said = verdict(side("x", 500, 500, 0.99), int4)
    assert said.splitlines()[-1].startswith("compare")


def refused(capsys: pytest.CaptureFixture[str], code: str, *arguments: object) -> str:
    status = main([str(a) for a in arguments])
    said = capsys.readouterr().err
    assert status == 1 and said.startswith(f"error: {code} "), said
    return said


def test_bad_input(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "out" / "pruned.onnx"
    good = ["prune", DIGITS.path, "--calibration", DIGITS.calibration, "-o", out]
    refused(capsys, "E232", *good, "--channels", 1.5)
    refused(capsys, "E232", *good, "--sparsity", 0)
    refused(capsys, "E233", *good, "--channels", 0.999)
    refused(capsys, "E235", *good, "--pattern", "4:2")
    with np.load(DIGITS.calibration or "") as file:
        few = {k: file[k][:3] for k in file.files}
    np.savez(tmp_path / "few.npz", **few)
    rest = ["-o", out, "--channels", 0.1]
    refused(capsys, "E205", "prune", DIGITS.path, "--calibration", tmp_path / "few.npz", *rest)
    refused(capsys, "E101", "prune", tmp_path / "no.onnx", *good[2:], "--channels", 0.1)
    assert not out.parent.exists()
    blocked = tmp_path / "few.npz" / "x.onnx"
    for path, why in ((blocked, "not a folder"), (tmp_path, "is a folder")):
        said = refused(capsys, "E704", *good[:4], "-o", path, "--channels", 0.1)
        assert why in said
    assert main([str(a) for a in good]) == 2
    assert main([str(a) for a in [*good, "--channels", 0.1, "--sparsity", 0.1]]) == 2
    assert main([str(a) for a in [*good, "--pattern", "two"]]) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["few.npz"]


def test_a_quantized_model_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from models import TFLITE

    if not TFLITE[0].path.exists():
        pytest.skip("needs the shared models")
    path = compiled(TFLITE[0]).path
    assert path.exists()
    said = refused(capsys, "E231", "prune", TFLITE[0].path, "--calibration", TFLITE[0].samples,
                   "-o", tmp_path / "p.onnx", "--channels", 0.1)  # fmt: skip
    assert "float model" in said


def test_an_interrupt_leaves_no_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(edgekit.pruning.run.pipeline, "compile", stop)
    assert prune(tmp_path / "p.onnx", "--channels", 0.25) == 130
    assert capsys.readouterr().err.strip() == "interrupted"
    assert not list(tmp_path.iterdir())


def test_two_ways_at_once_from_python() -> None:
    with pytest.raises(edgekit.EdgekitError, match="E237 2 ways"):
        edgekit.prune(DIGITS.path, calibration=DIGITS.calibration, channels=0.1, sparsity=0.1)
