"""npu128 and npu256: compiled, on virtual boards and on their hardware, the reference's bytes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgekit.cli import main
from samples.digits import CALIBRATION, EVALUATION, MODEL

CASES = (
    (256, "virtual-npu256"),
    pytest.param(128, "virtual-npu128", marks=pytest.mark.slow),
    pytest.param(128, "sim-npu128-soc", marks=pytest.mark.slow),
    pytest.param(256, "sim-npu256-soc", marks=pytest.mark.slow),
)


def run(*words: object) -> int:
    return main([str(w) for w in words])


@pytest.mark.parametrize(("macs", "board"), CASES)
def test_exact(
    macs: int,
    board: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("EDGEKIT_STATE_DIR", str(tmp_path / "state"))
    out, file = tmp_path / "out", tmp_path / "p.json"
    words = ("--calibration", CALIBRATION, "--target", f"npu{macs}", "-o", out)
    assert run("compile", MODEL, *words) == 0
    capsys.readouterr()
    data = ("--data", EVALUATION, "--samples", 5)
    assert run("validate", out, "--board", board, *data) == 0
    assert "5 equal, 0 different" in capsys.readouterr().out
    assert run("profile", out, "--board", board, "--repeat", 1, "--json", file) == 0
    profile = json.loads(file.read_text())
    report = json.loads((out / "edgekit.json").read_text())["report"]
    assert profile["lanes"] == macs
    assert profile["total"] == pytest.approx(report["cycles"], rel=0.05)
    work = [layer["accelerator"]["steps"] for layer in profile["layers"]]
    estimated = [
        layer["accelerator"]["steps"] for layer in report["layers"] if layer["accelerator"]
    ]
    assert sum(work) == sum(estimated) > 0
