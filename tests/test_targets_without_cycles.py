"""A target without a cycle model: instructions instead of cycles, and no latency limit."""

from __future__ import annotations

from pathlib import Path

import pytest
from models import DIGITS

from edgekit import pipeline
from edgekit.cli.compile import print_report
from edgekit.errors import EdgekitError
from edgekit.search.budget import Budget


def test_a_latency_limit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EdgekitError, match="no cycle model") as caught:
        pipeline.compile(
            DIGITS.path,
            output=tmp_path / "out",
            target="riscv32",
            calibration=DIGITS.calibration,
            budget=Budget(max_latency=1.0),
        )
    assert caught.value.code == "E340"
    assert not (tmp_path / "out").exists()


def test_the_report_has_exact_instructions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = pipeline.compile(
        DIGITS.path, output=tmp_path / "out", target="riscv32", calibration=DIGITS.calibration
    )
    report = done.report
    assert report.cycles is None and report.latency_ms is None
    assert all(layer.cycles is None and layer.instructions for layer in report.layers)
    layers = sum(layer.instructions or 0 for layer in report.layers)
    assert 0.98 * (report.instructions or 0) < layers <= (report.instructions or 0)
    print_report(report, "out")
    shown = capsys.readouterr().out
    assert "cycles (est.)" not in shown and "latency" not in shown
    assert "instructions" in shown
