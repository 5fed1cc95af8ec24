"""A target whose reference board is QEMU's compiles without it: sizes are known, speed is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from models import DIGITS

from edgekit import pipeline
from edgekit.cli.compile import print_report
from edgekit.devices.emulators import qemu
from edgekit.errors import EdgekitError
from edgekit.search.budget import Budget
from edgekit.toolchain.link import STACK_BYTES


def test_speed_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(qemu.shutil, "which", lambda command: None)
    report = pipeline.compile(
        DIGITS.path, output=tmp_path / "out", target="cortex-m55", calibration=DIGITS.calibration
    ).report
    assert report.board == "qemu-mps3-an547"
    assert "qemu-system-arm" in report.not_measured
    assert (report.cycles, report.instructions, report.latency_ms) == (None, None, None)
    assert {layer.instructions for layer in report.layers} == {None}
    assert report.longest_step is None
    assert report.ram["stack"] == STACK_BYTES
    assert report.flash["kernels"] > 0
    print_report(report, "out")
    said = capsys.readouterr().out
    assert "speed    unknown: board 'qemu-mps3-an547' needs 'qemu-system-arm'" in said
    cost, counted = report.cost  # what templates count, beside what C nobody counted
    assert 0 < counted < len(report.layers)
    assert f"{cost:,} instructions estimated".replace(",", " ") in said
    assert f"of {counted} of {len(report.layers)} layers" in said


def test_no_latency_without_time(tmp_path: Path) -> None:
    with pytest.raises(EdgekitError, match="has no cycle model") as caught:
        pipeline.compile(
            DIGITS.path, output=tmp_path / "out", target="cortex-m55",
            calibration=DIGITS.calibration, budget=Budget(max_latency=1.0),
        )  # fmt: skip
    assert caught.value.code == "E340"
