"""``edgekit diff`` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from models import DIGITS, compiled

from edgekit.cli import main


def diff(*arguments: object) -> int:
    return main(["diff", *(str(a) for a in arguments)])


def test_model_against_its_compilation(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out, html, figures = compiled(DIGITS).path, tmp_path / "d.html", tmp_path / "d.json"
    assert diff(DIGITS.path, out, "--data", DIGITS.samples, "--samples", 40, "--html", html) == 0
    said = capsys.readouterr().out
    for word in ("logits", "dB SQNR", "loses", "limit", "40 samples"):
        assert word in said
    assert html.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert diff(DIGITS.path, out, "--data", DIGITS.samples, "--no-lift", "--json", figures) == 0
    facts = json.loads(figures.read_text())
    assert facts["logits_sqnr_db"] > 20 and facts["lift_samples"] == 0
    assert {t["name"] for t in facts["tensors"]} >= set(facts["worst_locally"])


def test_two_bundles(capsys: pytest.CaptureFixture[str]) -> None:
    out = compiled(DIGITS).path
    assert diff(out, out, "--data", DIGITS.samples, "--samples", 8, "--json", "-") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["agreement"] == 1 and facts["logits_sqnr_db"] is None


def test_refusals(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = compiled(DIGITS).path
    wrong = tmp_path / "wrong.npz"
    np.savez(wrong, other=np.zeros((1, 3), np.float32))
    html = tmp_path / "d.html"
    cases = [
        ("E701", (DIGITS.path, tmp_path / "none", "--data", DIGITS.samples)),
        ("E701", (DIGITS.path, DIGITS.path, "--data", DIGITS.samples)),
        ("E101", (tmp_path / "none.onnx", out, "--data", DIGITS.samples)),
        ("E200", (DIGITS.path, out, "--data", tmp_path / "none.npz")),
        ("E201", (DIGITS.path, out, "--data", wrong, "--html", html)),
    ]
    for code, arguments in cases:
        assert diff(*arguments) == 1
        assert capsys.readouterr().err.startswith(f"error: {code} ")
    assert not html.exists()
    assert diff(DIGITS.path, out) == 2
    capsys.readouterr()
