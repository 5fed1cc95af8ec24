"""A model's way to the simulated system by the commands that a user types."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pace import thinned

from edgekit.cli import main
from samples.digits import CALIBRATION, MODEL

BOARD = "sim-ecp5-soc"


def run(*words: object) -> int:
    return main([str(w) for w in words])


@pytest.fixture(
    scope="module",
    params=thinned(["8", "16"], lambda bits: bits == "8"),
    ids=["accelerator", "cpu"],
)
def out(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits; with activations of 16 bits no layer is the accelerator's."""
    folder: Path = tmp_path_factory.mktemp("digits") / request.param
    words = ("--calibration", CALIBRATION, "--target", "npu64", "-o", folder)
    assert run("compile", MODEL, *words, "--activation-bits", request.param) == 0
    return folder


def test_flash_validate_profile(
    out: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("EDGEKIT_STATE_DIR", str(tmp_path))
    assert run("flash", out, "--board", BOARD) == 0
    capsys.readouterr()
    assert run("validate", out, "--board", BOARD) == 0  # 0 bytes differ
    assert "0 different" in capsys.readouterr().out
    accelerated = out.name == "8"
    assert (
        run("profile", out, "--board", BOARD, "--repeat", "2", "--json", tmp_path / "p.json") == 0
    )
    profile = json.loads((tmp_path / "p.json").read_text())
    assert (profile["unit"], profile["counter"], profile["lanes"]) == ("cycles", "mcycle", 64)
    work = [layer["accelerator"] for layer in profile["layers"]]
    assert any(w["steps"] and w["moved"] for w in work) == accelerated
    # 38 times as fast with the accelerator.
    assert profile["total"] < 25_000 if accelerated else profile["total"] > 700_000
    capsys.readouterr()
    assert run("profile", out, "--board", BOARD, "--repeat", "1") == 0
    shown = capsys.readouterr().out
    assert ("bus stalls" in shown) == accelerated and "output equals the reference" in shown
