"""Compiled models as Linux programs: the reference's bytes, here and in qemu-user."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from models import DIGITS
from tools import need

from edgekit import data, pipeline
from edgekit.cli import main
from edgekit.devices.routes import local
from edgekit.execute import execute
from edgekit.output import Output, open_output
from edgekit.reference import run

HERE = pytest.mark.skipif(not local.linux.runs_here("x86_64"), reason="needs Linux on an x86-64 PC")


@pytest.fixture(autouse=True)
def state_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKIT_STATE_DIR", str(tmp_path / "state"))


def compiled(folder: Path, target: str) -> Output:
    pipeline.compile(DIGITS.path, output=folder, target=target, calibration=DIGITS.calibration)
    return open_output(folder)


def equal_bytes(folder: Output, where: str, mode: str, count: int = 40) -> None:
    graph = folder.graph
    samples = data.quantize_inputs(graph, data.load(DIGITS.samples, graph).arrays)
    feeds = {name: values[:count] for name, values in samples.items()}
    found, want = execute(folder, feeds, where, mode=mode), run(graph, feeds)
    for name in graph.outputs:
        np.testing.assert_array_equal(found[name], want[name], err_msg=f"{where} {mode}")


@HERE
def test_as_a_user(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    folder = compiled(out, "linux-x86_64")
    assert main(["flash", str(out), "--board", "linux-local"]) == 0
    assert "read back and equal; it runs digits (interpreter, counter clock)" in (
        capsys.readouterr().out
    )
    assert main(["profile", str(out), "--board", "linux-local", "--json", "-"]) == 0
    profile = json.loads(capsys.readouterr().out)
    assert (profile["unit"], profile["hz"], profile["counter"]) == ("ns", 10**9, "clock")
    assert profile["total"] > 1000
    assert main(["validate", str(out), "--board", "linux-local"]) == 0
    assert "0 different" in capsys.readouterr().out
    for mode in ("interpreter", "aot"):
        equal_bytes(folder, "linux-local", mode)


@pytest.mark.parametrize(
    ("target", "board", "command", "too"),
    [
        ("linux-aarch64", "qemu-aarch64-user", "qemu-aarch64", "qemu-cortex-a53"),
        ("linux-armv7", "qemu-armhf-user", "qemu-arm", ""),
    ],
)
@pytest.mark.apt
def test_emulated(
    tmp_path: Path, target: str, board: str, command: str, too: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Also on a board of a later CPU, where there is one."""
    need(command)
    folder = compiled(tmp_path / "out", target)
    if too:
        equal_bytes(folder, too, "aot")
    for mode in ("interpreter", "aot"):
        equal_bytes(folder, board, mode)
    assert main(["profile", str(tmp_path / "out"), "--board", board, "--json", "-"]) == 0
    profile = json.loads(capsys.readouterr().out)
    assert (profile["unit"], profile["hz"]) == ("host ns (emulated)", None)


def test_without_an_emulator_sizes_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local.shutil, "which", lambda command: None)
    report = pipeline.compile(
        DIGITS.path, output=tmp_path / "out", target="linux-aarch64",
        calibration=DIGITS.calibration,
    ).report  # fmt: skip
    assert "needs 'qemu-aarch64', which is not installed" in report.not_measured
    assert (report.cycles, report.instructions, report.latency_ms) == (None, None, None)
    assert report.flash["kernels"] > 0
