"""The virtual board's estimated cycles against the simulated system's, for whole models."""

from __future__ import annotations

import json
from itertools import accumulate
from pathlib import Path

import pytest
from models import DIGITS, TFLITE, TestModel
from shared import needs_shared

from edgekit import execute, pipeline
from edgekit.devices.profile import Profile
from edgekit.errors import EdgekitError
from edgekit.output import Output, open_output
from edgekit.search.budget import Budget
from targets import board

#: Share of the cycles that an estimate may be off, and cycles that short layers may.
SHARE, CYCLES = 0.05, 800


def _profile(folder: Output, name: str) -> Profile:
    on = board(name)
    sample = folder.bundle.golden[0]
    with execute.session(folder, on) as session:
        found = session.profile(list(sample.inputs), repeat=1)
        assert session.outputs() == list(sample.outputs)
    return found


def _compare(folder: Output) -> None:
    estimated = _profile(folder, "virtual-npu64")
    simulated = _profile(folder, "sim-ecp5-soc")
    assert estimated.total == pytest.approx(simulated.total, rel=SHARE)
    # When each layer is over: one that is late leaves the next one less to wait for.
    over = zip(accumulate(estimated.layers), accumulate(simulated.layers), strict=True)
    for mine, theirs in over:
        assert mine == pytest.approx(theirs, rel=SHARE, abs=CYCLES)
    for key in ("steps", "moved"):
        mine, theirs = (
            sum(getattr(work, key) for work in p.runs[0].work) for p in (estimated, simulated)
        )
        assert mine == theirs


def _compiled(model: TestModel, folder: Path, **options: object) -> Output:
    return pipeline.compile(
        model.path,
        output=folder / "out",
        target="npu64",
        calibration=model.calibration,
        **options,  # type: ignore[arg-type]
    ).output


@pytest.fixture(autouse=True)
def state_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKIT_STATE_DIR", str(tmp_path / "state"))


def test_digits(tmp_path: Path) -> None:
    folder = _compiled(DIGITS, tmp_path)
    _compare(folder)
    report = json.loads((folder.path / "edgekit.json").read_text())["report"]
    assert report["cycles"] and report["latency_ms"] < 1
    # Nobody counts the waiting: the same whatever the accelerator takes.
    assert report["instructions"] < 20_000
    assert "+-5 %" in report["cycles_are"]


@pytest.mark.slow
def test_a_limit_of_time_is_kept(tmp_path: Path) -> None:
    kept = _compiled(DIGITS, tmp_path, budget=Budget(max_latency=0.5))
    assert json.loads((kept.path / "edgekit.json").read_text())["report"]["latency_ms"] <= 0.5
    with pytest.raises(EdgekitError, match="latency"):
        _compiled(DIGITS, tmp_path / "less", budget=Budget(max_latency=0.05))


@pytest.mark.slow
def test_digits_on_the_cpu_alone(tmp_path: Path) -> None:
    """With results of 16 bits no layer is the accelerator's: caches and pipeline alone."""
    _compare(_compiled(DIGITS, tmp_path, quantization={"activation_bits": 16}))


@needs_shared
@pytest.mark.slow
@pytest.mark.parametrize("model", TFLITE[:4], ids=lambda m: m.name)
def test_models(model: TestModel, tmp_path: Path) -> None:
    _compare(open_output(_compiled(model, tmp_path).path))
