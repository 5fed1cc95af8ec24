"""`edgekit profile` as its user sees it: table, JSON, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgekit.cli import main
from edgekit.cli.profile import _print
from edgekit.devices.profile import Profile, Run
from edgekit.output import Output

BOARD = "virtual-cortex-m4"


@pytest.fixture(autouse=True)
def _own_boards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGEKIT_STATE_DIR", str(tmp_path / "boards"))


def test_json_has_what_reports_read(
    digits: Output, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ["profile", str(digits.path), "--board", BOARD, "--repeat", "2", "--cold"]
    trace = tmp_path / "t.json"
    assert main([*arguments, "--interrupts-off", "--json", "-", "--trace", str(trace)]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert said.err == ""
    assert (found["board"], found["unit"], found["counter"]) == (BOARD, "cycles (estimated)", "dwt")
    assert (found["hz"], found["repeat"], found["warm_ups"]) == (120_000_000, 2, 1)
    assert found["cold"] and found["interrupts_off"] and not found["trigger"]
    assert found["cold_how"] == "nothing to empty: no cache on this core"
    assert found["total"] == found["total_min"] == found["total_median"] == found["total_max"]
    assert 0 <= found["total"] - sum(x["value"] for x in found["layers"]) < 0.005 * found["total"]
    assert found["layers"][0].keys() == {"name", "value", "share", "min", "median", "max"}
    flash, ram = found["regions"]
    assert (flash["kind"], ram["kind"]) == ("flash", "ram")
    assert flash["size"] == 0x20_0000 and 20_000 < flash["used"] < 60_000
    assert found["arena_bytes"] + 4096 < ram["used"] < 20_000
    assert 100 < found["stack_bytes"] < 4096
    assert found["warnings"] == []
    assert len(json.loads(trace.read_text())["traceEvents"]) > len(found["layers"])


def test_what_is_printed(digits: Output, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", str(digits.path), "--board", BOARD, "--repeat", "3"]) == 0
    said = capsys.readouterr().out
    assert "median" not in said
    assert "fastest of 3 runs (no difference between them) after 1 to warm up" in said
    assert "FLASH" in said and "of it arena" in said and "stack used" in said


def test_runs_that_differ_have_columns(digits: Output, capsys: pytest.CaptureFixture[str]) -> None:
    count = len(digits.bundle.layers)
    runs = (Run(1000, (100,) * count), Run(1200, (101,) * count), Run(1100, (150,) * count))
    measured = Profile((100,) * count, 1000, "ticks", "dwt", 64_000_000, 3, "real", runs)
    _print(digits, measured, "aot")
    said = capsys.readouterr().out
    head = next(line for line in said.splitlines() if "ticks" in line)
    assert head.split()[-4:] == ["max", "per", "MAC", "%"] and "median" in head
    assert "1 100" in said and "1 200" in said and "150" in said
    assert "0.02 ms at 64 MHz" in said and "estimated" not in said


def test_refusals(digits: Output, capsys: pytest.CaptureFixture[str]) -> None:
    profile = ["profile", str(digits.path), "--board", BOARD]
    assert main([*profile, "--trigger"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: E664 board 'virtual-cortex-m4' names no pin")
    assert "docs/PROFILING.md" in said
    for wrong in (["--repeat", "0"], ["--warm-up", "-1"], ["--repeat", "1001"]):
        assert main([*profile, *wrong]) == 2
