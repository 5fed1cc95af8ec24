"""A target without a cycle model: instructions instead of cycles, and no latency limit."""

from __future__ import annotations

from pathlib import Path

import pytest
from models import DIGITS

from edgekit import pipeline
from edgekit.cli.compile import print_report
from edgekit.errors import EdgekitError
from edgekit.search.budget import Budget


@pytest.mark.parametrize("limit", ["max_latency", "max_step"])
def test_a_limit_of_time_is_refused(tmp_path: Path, limit: str) -> None:
    with pytest.raises(EdgekitError, match="no cycle model") as caught:
        pipeline.compile(
            DIGITS.path,
            output=tmp_path / "out",
            target="riscv32",
            calibration=DIGITS.calibration,
            budget=Budget(**{limit: 1.0}),
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
    step = report.longest_step
    assert step and (step.cycles, step.ms) == (None, None)
    assert step.instructions == max(layer.instructions or 0 for layer in report.layers)
    print_report(report, "out")
    shown = capsys.readouterr().out
    assert "cycles (est.)" not in shown and "latency" not in shown
    assert "instructions" in shown and "the longest call of ek_step is" in shown
