"""npu16, the target for a small FPGA: the same commands, the same bytes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgekit.cli import main
from edgekit.devices.emulators import soc
from edgekit.toolchain.verilator import require_fpga
from samples.digits import CALIBRATION, EVALUATION, MODEL

BOARDS = ("virtual-npu16", pytest.param("sim-ecp5-25k-soc", marks=pytest.mark.slow))


def run(*words: object) -> int:
    return main([str(w) for w in words])


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits") / "out"
    assert (
        run("compile", MODEL, "--calibration", CALIBRATION, "--target", "npu16", "-o", folder) == 0
    )
    return folder


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("mode", [(), ("--aot",)], ids=["interpreter", "aot"])
def test_exact(
    out: Path,
    board: str,
    mode: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("EDGEKIT_STATE_DIR", str(tmp_path))
    data = ("--data", EVALUATION, "--samples", 10)
    assert run("validate", out, "--board", board, *data, *mode) == 0
    assert "10 equal, 0 different" in capsys.readouterr().out
    file = tmp_path / "p.json"
    assert run("profile", out, "--board", board, "--repeat", 1, "--json", file, *mode) == 0
    profile = json.loads(file.read_text())
    assert profile["lanes"] == 16
    report = json.loads((out / "edgekit.json").read_text())["report"]
    accelerated = [layer for layer in report["layers"] if layer["family"] == "npu"]
    work = [layer["accelerator"]["steps"] for layer in profile["layers"]]
    assert sum(work) == sum(layer["accelerator"]["steps"] for layer in accelerated) > 0
    if not mode:  # the estimate is of the interpreter
        assert profile["total"] == pytest.approx(report["cycles"], rel=0.05)


def test_not_for_the_larger_one(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("profile", out, "--board", "virtual-npu64") == 1
    assert "E620" in capsys.readouterr().err


def test_without_the_extra(
    out: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("EDGEKIT_STATE_DIR", str(tmp_path))
    monkeypatch.setattr(soc, "require_fpga", lambda _module: require_fpga("no_such_package"))
    assert run("flash", out, "--board", "sim-ecp5-25k-soc") == 1
    said = capsys.readouterr().err
    assert "E750" in said and "edgekit[fpga]" in said and "was started" not in said
