"""What ``edgekit tune`` prints."""

from __future__ import annotations

import pytest

from edgekit.cli.tune import _print


def test_what_was_not_measured_has_no_time(capsys: pytest.CaptureFixture[str]) -> None:
    layers = [
        {"name": "a", "variant": "direct", "local_sizes": "8x8x1", "default_ns": 9000, "ns": 7000},
        {"name": "b", "variant": "", "local_sizes": "", "default_ns": 0, "ns": 0},
    ]
    figures = {
        "device": "Mali", "driver": "3", "layers": layers, "wrong": [], "measured": 4, "left": 2,
        "choices": "x.ektune", "is_cpu": False,
    }  # fmt: skip
    _print(figures)
    out = capsys.readouterr().out
    assert "us before" in out and "a CPU" not in out
    lines = [line.split() for line in out.splitlines()]
    assert ["1", "b", "not", "measured"] in lines
    assert ["1", "of", "2", "9.00", "7.00"] in lines
    assert lines[-2][:7] == ["4", "variants", "and", "local", "sizes", "measured,", "2"]
    _print({**figures, "is_cpu": True})
    assert "us (a CPU) before" in capsys.readouterr().out
